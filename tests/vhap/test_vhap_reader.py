"""Files written by hand, read: joins, parameters, cameras against VHAP's own projection, colours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from headbench.datasets.insta.reader import InstaReader
from headbench.datasets.vhap.reader import VhapReader
from headbench.harness.cli.data import data
from headbench.harness.errors import DataError
from headbench.harness.head import project


def _clip_space(points, c2w, lens):
    """Pixels by VHAP's projection matrix (vhap/util/camera.py), whose y is up; rows of the image count down."""
    w, h = lens["w"], lens["h"]
    matrix = np.array(
        [
            [2 * lens["fl_x"] / w, 0, (w - 2 * lens["cx"]) / w],
            [0, 2 * lens["fl_y"] / h, (h - 2 * lens["cy"]) / h],
            [0, 0, -1],
        ]
    )
    w2c = np.linalg.inv(c2w)
    clip = (points @ w2c[:3, :3].T + w2c[:3, 3]) @ matrix.T
    ndc = clip[:, :2] / clip[:, 2:]
    return np.stack([(ndc[:, 0] + 1) / 2 * w, (1 - ndc[:, 1]) / 2 * h], 1)


def test_frames_moments_and_cameras_are_those_of_the_files(author) -> None:
    subject = VhapReader().read(author.folder, {})
    assert [f.id for f in subject.train] == [f"{t:05d}_00" for t in range(4)]
    assert [f.id for f in subject.test] == ["00004_00", "00004_01", "00005_00", "00005_01"]
    assert [f.timestep for f in subject.test] == [4, 4, 5, 5]
    assert [f.camera_id for f in subject.test] == ["222200037", "220700191"] * 2
    assert (subject.name, subject.dataset, subject.head) == ("someone", "vhap", "flame2023")
    assert subject.variant == "vhap/multiview" and {f.sequence for f in subject.train} == {""}


def test_parameters_have_their_places(author, by_hand) -> None:
    subject = VhapReader().read(author.folder, {})
    stored, params = by_hand["parameters"](5), subject.test[3].params
    names = {"rotation": "root", "neck_pose": "neck", "jaw_pose": "jaw", "expr": "expression"}
    for key, name in {"translation": "translation", **names}.items():
        np.testing.assert_array_equal(getattr(params, name), stored[key])
    np.testing.assert_array_equal(torch.cat((params.eye_left, params.eye_right), 1), stored["eyes_pose"])
    assert params.similarity is None and params.eyelids is None
    np.testing.assert_array_equal(subject.shape[0], stored["shape"])
    assert subject.static_offset.shape == (1, 5143, 3) and float(subject.static_offset.max()) == pytest.approx(0.001)
    author.all_npz(static_offset=None)
    assert VhapReader().read(author.folder, {}).static_offset is None


def test_cameras_project_as_vhap_does_and_cy_counts_from_below(author, by_hand) -> None:
    points = np.random.default_rng(0).normal(scale=0.1, size=(40, 3))
    subject = VhapReader().read(author.folder, {})
    for frame, yaw in zip(subject.test, (0.0, 0.5, 0.0, 0.5), strict=True):
        seen, depth = project(torch.tensor(points, dtype=torch.float32)[None], frame.camera)
        expected = _clip_space(points, by_hand["pose"](yaw), by_hand["lens"])
        np.testing.assert_allclose(seen[0], expected, atol=1e-3)
        assert (depth > 0.5).all()
    above = project(torch.tensor([[[0.0, 0.1, 0.0]]]), subject.train[0].camera)[0][0, 0]
    assert above[1] < 10.5, "up in the world is up in the image"
    top = VhapReader().read(author.folder, {"principal_point": "top"}).train[0].camera.K[0]
    assert subject.train[0].camera.K[0, 1, 2] == 10.5 and top[1, 2] == 13.5


def test_gaussianavatars_reading_is_centred_with_one_focal_length(author) -> None:
    K = VhapReader().read(author.folder, {"principal_point": "centred"}).train[0].camera.K[0]
    assert (K[0, 2], K[1, 2]) == (16, 12)
    assert K[0, 0] == K[1, 1] == pytest.approx(16 / math.tan(math.atan(0.2)), rel=1e-6)


def test_colours_are_taken_from_the_white_they_were_composited_on(author, by_hand) -> None:
    pixels = VhapReader().read(author.folder, {}).train[2].pixels()
    alpha, true = by_hand["alpha"](), by_hand["colour"](2, 0)
    assert np.array_equal(pixels.alpha[0].numpy(), alpha)
    found = pixels.colour.permute(1, 2, 0).numpy().astype(int)
    assert np.array_equal(found[alpha == 255], true[alpha == 255])
    assert np.abs(found - true)[alpha == 128].max() <= 1 and not found[alpha == 0].any()
    stored = VhapReader().read(author.folder, {"baked": "none"}).train[2].pixels().colour
    assert stored[:, 0, 0].tolist() == [255, 255, 255]
    share = pixels.alpha.float() / 255
    again = (share * pixels.colour + (1 - share) * 255).round()
    assert (again - stored.float()).abs().max() <= 1
    assert {*pixels.masks} == {"mouth"}


def test_alpha_of_rgba_images_and_opaque_ones(author, by_hand) -> None:
    author.drop("fg_mask_path")
    with pytest.raises(DataError, match=r"expected a foreground mask .*--set vhap\.alpha=opaque"):
        VhapReader().read(author.folder, {})
    subject = VhapReader().read(author.folder, {"alpha": "opaque"})
    assert subject.train[0].pixels().alpha.min() == 255 and subject.train[0].pixels().colour[0, 0, 0] == 255
    assert any("no alpha" in note for note in subject.notes)
    for moment in range(4):
        author.save(f"images/{moment:05d}_00.png", np.dstack([by_hand["colour"](moment, 0), by_hand["alpha"]()]))
    pixels = VhapReader().read(author.folder, {"alpha": "opaque"}).train[1].pixels()
    assert np.array_equal(pixels.colour.permute(1, 2, 0).numpy(), by_hand["colour"](1, 0))
    assert np.array_equal(pixels.alpha[0].numpy(), by_hand["alpha"]())


def test_novel_views_and_chosen_cameras(author, write) -> None:
    val = VhapReader().read(author.folder, {"evaluate": "val"})
    assert [f.id for f in val.test] == [f"{t:05d}_01" for t in range(4)]
    assert [f.id for f in val.train] == [f"{t:05d}_00" for t in range(4)]
    assert any("held-out cameras" in note for note in val.notes)
    one = VhapReader().read(author.folder, {"cameras": "222200037"})
    assert one.variant == "vhap/single" and [f.id for f in one.test] == ["00004_00", "00005_00"]
    with pytest.raises(DataError, match="of the cameras 220700191, found 0 and 2; there are 220700191, 222200037"):
        VhapReader().read(author.folder, {"cameras": "220700191"})
    single = write("alone", cameras=(0,))
    assert VhapReader().read(single.folder, {}).variant == "vhap/single"
    with pytest.raises(DataError, match=r"expected test frames, found none .*a single camera has no"):
        VhapReader().read(single.folder, {"evaluate": "val"})
    assert VhapReader().read(single.folder, {"evaluate": "test"}).test


def test_combined_sequences_are_read_where_they_lie(author, by_hand, write) -> None:
    other = write("someone_2", cameras=(0,))
    folder = author.folder.with_name("UNION_someone")
    folder.mkdir()
    (folder / "canonical_flame_param.npz").write_bytes((author.folder / "canonical_flame_param.npz").read_bytes())
    union = type(author)(folder)
    union.json("train", [by_hand["frame"](t, 0, "../someone/") for t in range(6)])
    union.json("val", [])
    later = [{**by_hand["frame"](t, 0, "../someone_2/"), "timestep_index": 6 + t} for t in range(6)]
    union.json("test", later)
    for part, name in (("trainval", "someone"), ("test", "someone_2")):
        (folder / f"sequences_{part}.txt").write_text(f"{name}\n")
    reader = VhapReader()
    assert reader.subjects(author.folder.parents[1]) == {"UNION_someone": folder}
    subject = reader.read(folder, {})
    assert [f.id for f in subject.test] == [f"{t:05d}_00" for t in range(6, 12)]
    assert {f.sequence for f in subject.train} == {"someone"} and {f.sequence for f in subject.test} == {"someone_2"}
    np.testing.assert_array_equal(subject.test[0].params.expression, by_hand["parameters"](0)["expr"])
    other.npz(2, shape=np.zeros(300, np.float32))
    assert any(note.startswith("shape differs") for note in reader.read(folder, {}).notes)


@pytest.mark.parametrize("lists", [True, False])
def test_a_combined_folder_without_its_canonical_head_is_the_subject_still(author, by_hand, write, lists) -> None:
    write("someone_2", cameras=(0,))
    folder = author.folder.with_name("UNION_someone")
    folder.mkdir()
    union = type(author)(folder)
    union.json("train", [by_hand["frame"](t, 0, "../someone/") for t in range(6)])
    union.json("val", [])
    later = [{**by_hand["frame"](t, 0, "../someone_2/"), "timestep_index": 6 + t} for t in range(6)]
    union.json("test", later)
    if lists:
        (folder / "sequences_trainval.txt").write_text("someone\n")
        (folder / "sequences_test.txt").write_text("someone_2\n")
    reader = VhapReader()
    for place in (author.folder.parents[1], author.folder.parent, folder):
        assert reader.subjects(place) == {"UNION_someone": folder}
    assert [f.id for f in reader.read(folder, {}).test] == [f"{t:05d}_00" for t in range(6, 12)]
    (warning,) = [p for p in reader.check(folder, {}) if "canonical_flame_param" in p.line()]
    assert warning.severity == "warning" and "GaussianAvatars' own code would not know this layout" in warning.line()
    # A part that is named directly is a subject, and other layouts' readers leave the combined folder alone.
    assert reader.subjects(author.folder) == {"someone": author.folder}
    with pytest.raises(DataError, match=r"UNION_someone, which has .* looks like a VHAP export"):
        InstaReader().subjects(folder)


def test_folders_that_name_each_other_both_stay(author, by_hand, write) -> None:
    write("someone_2")
    for name, other in (("someone", "someone_2"), ("someone_2", "someone")):
        (author.folder.with_name(name) / "sequences_trainval.txt").write_text(f"{name} {other}\n")
    assert set(VhapReader().subjects(author.folder.parents[1])) == {"someone", "someone_2"}


def test_the_tracked_flame_may_be_any_that_can_be_registered(author) -> None:
    for head in ("flame2023", "flame2020", "flame2023_open"):
        subject = VhapReader().read(author.folder, {"head": head})
        assert subject.head == subject.train[0].params.head == head


def test_roots_and_the_command(author) -> None:
    root = author.folder.parents[1]
    for place in (root, root / "vhap", author.folder):
        assert VhapReader().subjects(place) == {"someone": author.folder}
    with pytest.raises(DataError, match="No subject of vhap"):
        VhapReader().subjects(author.folder / "images")
    (author.folder / "images" / "x_train" / "image").mkdir(parents=True)
    (author.folder / "images" / "x_train" / "flame_params.json").touch()
    with pytest.raises(DataError, match=r"x_train, which has .* looks like IMAvatar's tracking"):
        VhapReader().subjects(author.folder / "images")
    result = CliRunner().invoke(data, ["check", "vhap", "--data-root", str(root)])
    assert result.exit_code == 0, result.output
    for said in ("vhap/multiview, flame2023, 32 x 24", "00000_00", "00005_01", "0 errors, 0 warnings"):
        assert said in result.output


def test_a_change_of_data_changes_its_fingerprint_only(author) -> None:
    before = VhapReader().read(author.folder, {}).fingerprint
    author.npz(3, jaw_pose=np.array([[0.1, 0, 0]], np.float32))
    after = VhapReader().read(author.folder, {}).fingerprint
    assert {key for key in before if before[key] != after[key]} == {"tracking", "tracking:00003_00"}
    assert before.keys() == after.keys()


def test_flame_2020_can_be_declared_and_made_up_heads_declare_themselves(author) -> None:
    assert VhapReader().read(author.folder, {"head": "flame2020"}).head == "flame2020"
    author.overwrite("head_model.json", '{"tag": "openhead"}')
    assert VhapReader().read(author.folder, {}).head == "openhead"
