"""Files written by hand, read: joins, coefficients, cameras against the raw formula, pixels."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from headbench.datasets.imavatar.reader import ImavatarReader
from headbench.harness.cli.data import data
from headbench.harness.errors import DataError
from headbench.harness.head import project
from headbench.harness.plugins import registry


def _raw_pixels(points, entry, intrinsics, size):
    """Where the authors' own camera puts points of the head in metres: look along -z at four times the head."""
    world = np.array(entry["world_mat"])
    x, y, z = (4 * points @ world[:, :3].T + world[:, 3]).T
    fx, fy, cx, cy = intrinsics
    return np.stack([(-abs(fx) * x / z + cx) * size, (fy * y / z + cy) * size], 1)


def test_frames_are_joined_by_number_and_named_by_video(author, by_hand) -> None:
    subject = ImavatarReader().read(author.folder, {})
    assert [f.id for f in subject.train] == [f"train-{n:05d}" for n in range(1, 12)]
    assert [f.id for f in subject.test] == ["test-00001", "test-00002", "test-00003"]
    assert (subject.name, subject.dataset, subject.head) == ("someone", "imavatar", "flame2020")
    assert subject.variant == "imavatar/fate"
    usual = "images of 32 x 32 instead of the usual 512 x 512"
    assert subject.notes == ("no eyelids: blinks cannot be driven", usual)
    assert len({f.timestep for f in subject.train + subject.test}) == 14
    assert {f.sequence for f in subject.test} == {"test"}
    for frame in subject.train:
        number = int(frame.id.split("-")[1])
        assert int(frame.pixels().colour[2, 5, 5]) == 10 * number
        np.testing.assert_allclose(frame.params.expression[0], by_hand["entry"](number)["expression"], rtol=1e-6)


def test_coefficients_have_their_places(author) -> None:
    subject = ImavatarReader().read(author.folder, {})
    params = subject.train[9].params  # image 10
    for k, name in enumerate(("root", "neck", "jaw", "eye_left", "eye_right")):
        expected = [0.1 + 0.001 * (3 * k + j) for j in range(3)]
        np.testing.assert_allclose(getattr(params, name)[0], expected, rtol=1e-6)
    assert not params.translation.any() and params.eyelids is None and params.similarity is None
    assert subject.shape.shape == (1, 100) and subject.shape[0, :3].tolist() == [0.5, -0.25, 0.0]
    assert params.expression.shape == (1, 50)


@pytest.mark.parametrize("angle", [0.0, 0.3, -0.7])
def test_cameras_are_the_authors_for_any_rotation(angle, write, by_hand) -> None:
    rotation = by_hand["turn"](angle)
    author = write("someone", {"train": range(1, 3), "test": range(1, 3)}, rotation=rotation)
    subject = ImavatarReader().read(author.folder, {})
    points = np.random.default_rng(1).normal(scale=0.1, size=(50, 3))
    for number, frame in enumerate(subject.train, start=1):
        seen, depth = project(torch.tensor(points, dtype=torch.float32)[None], frame.camera)
        expected = _raw_pixels(points, by_hand["entry"](number, rotation), by_hand["intrinsics"], by_hand["size"])
        np.testing.assert_allclose(seen[0], expected, atol=1e-3)
        assert (depth > 0).all() and abs(float(depth.mean()) - 1) < 0.1, "metres: the tracker's 4 are 1"
        assert torch.linalg.det(frame.camera.w2c[0, :3, :3]) == pytest.approx(1, abs=1e-5)
    assert any("cameras turn" in note for note in subject.notes) == (angle != 0)


def test_fateavatars_camera_is_its_steps_and_refuses_turned_cameras(author, write, by_hand) -> None:
    frame = ImavatarReader().read(author.folder, {"camera": "fateavatar"}).train[4]
    fx, fy, cx, cy = by_hand["intrinsics"]
    world = np.array(by_hand["entry"](5)["world_mat"])
    world[:, 3] /= 4
    world[0] *= -1  # fx < 0
    world[:, 2] *= -1
    world[2, 3] *= -1
    world[:2] *= -1
    np.testing.assert_allclose(frame.camera.w2c[0, :3], world, atol=1e-6)
    size = by_hand["size"]
    fov = 2 * math.atan2(cx, -fx), 2 * math.atan2(cy, fy)
    K = frame.camera.K[0].numpy()
    np.testing.assert_allclose([2 * math.atan(size / 2 / K[k, k]) for k in range(2)], fov, rtol=1e-6)
    assert K[0, 2] == K[1, 2] == size / 2
    turned = write("turned", {"train": range(1, 3), "test": range(1, 3)}, rotation=by_hand["turn"](0.2))
    with pytest.raises(DataError, match=r"00001.*expected the identity as rotation.*FateAvatar's conversion"):
        ImavatarReader().read(turned.folder, {"camera": "fateavatar"})
    assert len(ImavatarReader().read(turned.folder, {"camera": "exact"}).train) == 2


def test_pixels_are_matted_or_image_with_mask(author, by_hand) -> None:
    rgba = by_hand["image"](3)
    pixels = ImavatarReader().read(author.folder, {}).train[2].pixels()
    assert np.array_equal(pixels.colour.permute(1, 2, 0).numpy(), rgba[..., :3])
    assert np.array_equal(pixels.alpha[0].numpy(), rgba[..., 3])
    assert np.argwhere(pixels.masks["mouth"][0].numpy()).tolist()[0] == [20, 12]
    for folder in (author.train, author.test):
        shutil.rmtree(folder / "matted")
    subject = ImavatarReader().read(author.folder, {})
    pixels = subject.train[2].pixels()
    assert subject.variant == "imavatar/original" and "clothing kept: alpha read from mask/" in subject.notes
    assert pixels.colour[:, 0, 0].tolist() == [77, 77, 77] and np.array_equal(pixels.alpha[0].numpy(), rgba[..., 3])
    hard = ImavatarReader().read(author.folder, {"mask": "hard"}).train[2].pixels().alpha
    assert set(np.unique(hard)) == {0, 255} and (hard[0].numpy() == 255).sum() == (rgba[..., 3] == 255).sum()


def test_videos_whose_images_have_the_same_names_are_merged(write) -> None:
    parts = {"MVI_1810": range(1, 4), "MVI_1812": range(1, 3), "MVI_1814": range(1, 4)}
    author = write("subject1", parts)
    for place in (author.folder, author.folder.parent):
        subject = ImavatarReader().read(place, {})
        assert [f.id for f in subject.train] == [f"MVI_{v}-{n:05d}" for v in (1810, 1814) for n in (1, 2, 3)]
        assert [f.id for f in subject.test] == ["MVI_1812-00001", "MVI_1812-00002"]
    chosen = ImavatarReader().read(author.folder, {"test": "MVI_1810"})
    assert {f.sequence for f in chosen.test} == {"MVI_1810"} and len(chosen.train) == 5


def test_the_last_frames_of_the_only_video_can_be_for_testing(write) -> None:
    author = write("me", {"video": range(1, 8)})
    with pytest.raises(DataError, match="expected videos for training and for testing"):
        ImavatarReader().read(author.folder, {})
    subject = ImavatarReader().read(author.folder, {"test": 3})
    assert [f.id for f in subject.test] == ["video-00005", "video-00006", "video-00007"] and len(subject.train) == 4


def test_holes_in_the_file_shift_nothing(author) -> None:
    author.edit("train", lambda c: c["frames"].pop(0))  # image 1
    author.edit("train", lambda c: c["frames"].pop(2))  # image 2: 10 and 11 are listed before it
    subject = ImavatarReader().read(author.folder, {})
    assert [f.id[-2:] for f in subject.train] == ["03", "04", "05", "06", "07", "08", "09", "10", "11"]
    assert int(subject.train[0].pixels().colour[2, 5, 5]) == 30


@pytest.mark.parametrize("dataset", ["imavatar", "pointavatar", "4dface", "emotalk3d"])
def test_each_dataset_has_its_own_name(dataset, write) -> None:
    author = write("person", {"train": range(1, 4), "test": range(1, 3)}, dataset=dataset)
    reader = registry().load_dataset(dataset)
    root = author.folder.parents[2]
    assert reader.subjects(root) == {"person": root / dataset / "person"}
    subject = reader.read(author.folder, {})
    assert subject.dataset == dataset and subject.variant == f"{dataset}/fate"
    with pytest.raises(DataError, match=f"option of the {dataset} reader 'cam'"):
        reader.read(author.folder, {"cam": "exact"})
    (author.folder / "train/matted/2.png").unlink()
    with pytest.raises(DataError, match=rf"train-00002.*--set {dataset}\.matte=mask") as caught:
        reader.read(author.folder, {})
    assert f"bench data check {dataset}" in str(caught.value)


def own_alpha(author) -> None:
    """As SplattingAvatar's data: RGBA in image/, neither matted/ nor mask/."""
    for part, numbers in ((author.train, range(1, 12)), (author.test, range(1, 4))):
        shutil.rmtree(part / "mask")
        shutil.rmtree(part / "image")
        (part / "matted").rename(part / "image")
        assert all((part / f"image/{number}.png").is_file() for number in numbers)


@pytest.mark.tried("damaged inputs", "RGBA images without a mask folder", "read, with a note", "nothing")
def test_images_with_an_alpha_of_their_own_need_no_mask(author) -> None:
    matted = ImavatarReader().read(author.folder, {"matte": "matted"})
    expected = [frame.pixels() for frame in matted.train + matted.test]
    own_alpha(author)
    subject = ImavatarReader().read(author.folder, {})
    assert subject.variant == "imavatar/rgba"
    assert any("alpha of the images themselves" in note for note in subject.notes)
    assert not any("clothing kept" in note for note in subject.notes)
    for frame, pixels in zip(subject.train + subject.test, expected, strict=True):
        found = frame.pixels()
        assert torch.equal(found.colour, pixels.colour) and torch.equal(found.alpha, pixels.alpha)
    assert not [p for p in ImavatarReader().check(author.folder, {}) if p.severity == "error"]
    asked = ImavatarReader().read(author.folder, {"matte": "image"})
    assert asked.fingerprint == subject.fingerprint
    # One image without alpha among them is an error of that frame, not a switch to another rule.
    rgba = np.asarray(Image.open(author.train / "image/3.png"))
    Image.fromarray(rgba[..., :3]).save(author.train / "image/3.png")
    with pytest.raises(DataError, match=r"3\.png.*expected 8-bit RGBA, found mode RGB"):
        ImavatarReader().read(author.folder, {})


def test_a_subject_s_folder_may_be_its_only_video(write) -> None:
    author = write("me", {"video": range(1, 8)})
    for child in list((author.folder / "video").iterdir()):
        child.rename(author.folder / child.name)
    (author.folder / "video").rmdir()
    author.folder.rename(author.folder.parent.with_name("moved"))
    author.folder.parent.rmdir()
    folder = author.folder.parent.with_name("moved").rename(author.folder.parent)
    for place in (folder, folder.parent):
        assert list(ImavatarReader().subjects(place).values()) == [folder]
    subject = ImavatarReader().read(folder, {"test": 3})
    assert [f.id for f in subject.test] == ["me-00005", "me-00006", "me-00007"] and len(subject.train) == 4
    with pytest.raises(DataError, match=r"(?s)expected videos for training and for testing.*test=NAME"):
        ImavatarReader().read(folder, {})


def test_masks_win_over_an_alpha_of_the_images(author) -> None:
    masked = ImavatarReader().read(author.folder, {"matte": "mask"}).train[0].pixels()
    shutil.rmtree(author.train / "matted")
    shutil.rmtree(author.test / "matted")
    for path in author.folder.glob("*/image/*.png"):
        Image.open(path).convert("RGBA").save(path)
    subject = ImavatarReader().read(author.folder, {})
    assert subject.variant == "imavatar/original"
    assert torch.equal(subject.train[0].pixels().alpha, masked.alpha)


def test_roots_subjects_and_the_command(author) -> None:
    root = author.folder.parents[1]
    for place in (root, root / "imavatar", author.folder):
        assert ImavatarReader().subjects(place) == {"someone": author.folder}
    with pytest.raises(DataError, match="No subject of imavatar"):
        ImavatarReader().subjects(author.train)
    result = CliRunner().invoke(data, ["check", "imavatar", "--data-root", str(root)])
    assert result.exit_code == 0, result.output
    for said in ("imavatar/fate, flame2020, 32 x 32", "train-00001", "train-00011", "0 errors, 0 warnings"):
        assert said in result.output


def test_a_change_of_data_changes_its_fingerprint_only(author) -> None:
    before = ImavatarReader().read(author.folder, {}).fingerprint
    author.frame(3, "expression", lambda values: [values[0] + 1e-7, *values[1:]])
    after = ImavatarReader().read(author.folder, {}).fingerprint
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"tracking", "tracking:train-00003"} and before.keys() == after.keys()


def test_made_up_heads_name_their_face_units(author) -> None:
    names = ["jawOpen", "browDownLeft"]
    author.overwrite("head_model.json", json.dumps({"tag": "openhead", "expression": names}))
    author.every("expression", lambda values: [*values[:2], *[0.0] * 48])
    subject = ImavatarReader().read(author.folder, {})
    expression = subject.train[0].params.expression[0]
    assert subject.head == "openhead" and expression.shape == (52,)
    assert torch.count_nonzero(expression) == 2
    values = json.loads((author.train / "flame_params.json").read_text())["frames"][0]["expression"]
    assert (expression[24].item(), expression[0].item()) == pytest.approx(tuple(values[:2]), rel=1e-6)


def test_words_in_the_path_mean_nothing(tmp_path, author) -> None:
    place = tmp_path / "insta_images" / "4dface" / "imavatar"
    shutil.copytree(author.folder.parent, place)
    (subject,) = ImavatarReader().subjects(place.parent).values()
    read = ImavatarReader().read(subject, {})
    assert read.dataset == "imavatar" and read.train[0].pixels().alpha.max() == 255


def test_a_folder_of_another_layout_is_named(tmp_path) -> None:
    (tmp_path / "D" / "someone").mkdir(parents=True)
    (tmp_path / "D" / "someone" / "canonical_flame_param.npz").touch()
    (tmp_path / "D" / "someone" / "flame_param").mkdir()
    with pytest.raises(DataError, match=r"someone, which has .* looks like a VHAP export: the dataset is vhap"):
        ImavatarReader().subjects(tmp_path / "D")
    (tmp_path / "E" / "nerface").mkdir(parents=True)
    for part in ("train", "val"):
        (tmp_path / "E" / "nerface" / f"transforms_{part}.json").write_text('{"frames": []}')
    with pytest.raises(DataError, match="NeRF files without FLAME: track the video first"):
        registry().load_dataset("4dface").subjects(tmp_path / "E")
