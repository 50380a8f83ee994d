"""Every preparation of the layout is read, and what was fallen back to is said."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.datasets.insta.frame_files import read_frame_file
from headbench.datasets.insta.reader import InstaReader
from headbench.harness.errors import DataError
from headbench.harness.types import HeadParams

USUAL = "3 test frames instead of INSTA's usual 350"


def _all(subject) -> HeadParams:
    return HeadParams.join([f.params for f in subject.train + subject.test])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_stock_export_takes_the_rest_from_frame_files(author, zipped) -> None:
    expected = _all(InstaReader().read(author.folder, {}))
    author.frame_files(_use_new_zipfile_serialization=zipped)
    for kind in ("eyes", "jaw", "shape", "eyelids"):
        shutil.rmtree(author.folder / "flame" / kind)
    subject = InstaReader().read(author.folder, {})
    assert subject.variant == "insta/original"
    assert "jaw, eyes, eyelids, shape read from checkpoint/*.frame (no text files)" in subject.notes
    found = _all(subject)
    for name in ("expression", "jaw", "eye_left", "eye_right", "eyelids"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-6, rtol=0)
    assert subject.shape[0, :3].tolist() == [0.5, -0.25, 0.125]


def test_tracker_output_with_json_files_alone_is_read(author) -> None:
    author.frame_files()
    shutil.rmtree(author.folder / "flame")
    subject = InstaReader().read(author.folder, {})
    assert subject.variant == "insta/tracker"
    assert np.abs(subject.train[4].params.expression[0].numpy() - author.numbers(4)["exp"]).max() < 1e-6


def test_single_missing_text_files_come_from_frame_files_with_a_warning(author) -> None:
    author.frame_files()
    (author.folder / "flame/jaw/00002.txt").unlink()
    subject = InstaReader().read(author.folder, {})
    assert "jaw of 1 of 9 frames read from checkpoint/*.frame" in subject.notes
    lines = [p.line() for p in InstaReader().check(author.folder, {}) if p.frame == "00002"]
    assert len(lines) == 1 and lines[0].startswith("warning") and "(00002): text files missing" in lines[0]


def test_numpy_1_frame_files_are_read(author) -> None:
    # What numpy 1 wrote names numpy.core, which numpy 2 calls numpy._core; both names have to be understood.
    author.frame_files(_use_new_zipfile_serialization=False)
    path = author.folder / "checkpoint/00003.frame"
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    assert read_frame_file(path).coefficients["exp"].shape == (100,)


def _parameter(values):
    return torch.nn.Parameter(torch.from_numpy(values))


TRACKED = {
    "parameter": (_parameter, {}),
    "gradient": (lambda values: torch.from_numpy(values).requires_grad_(), {}),
    "bfloat16": (lambda values: torch.from_numpy(values).bfloat16(), {}),
    "old parameter": (_parameter, {"_use_new_zipfile_serialization": False}),
    "protocol 3": (_parameter, {"pickle_protocol": 3}),
    "protocol 4": (lambda values: values, {"pickle_protocol": 4}),
    "protocol 5": (lambda values: np.asfortranarray(values), {"pickle_protocol": 5}),
}


@pytest.mark.parametrize("how", TRACKED)
@pytest.mark.tried("damaged inputs", "`.frame` files with gradients, parameters, bfloat16 and any pickle protocol")
def test_frame_files_are_read_in_whichever_way_a_tracker_saved_them(tmp_path, how) -> None:
    make, saving = TRACKED[how]
    rng = np.random.default_rng(2)
    numbers = {kind: rng.normal(size=(1, 6)).astype(np.float32) for kind in ("exp", "jaw", "eyes", "eyelids", "shape")}
    turn, shift = np.eye(3, dtype=np.float32)[None], np.ones((1, 3), np.float32)
    content = {"flame": {k: make(v) for k, v in numbers.items()}, "opencv": {"R": make(turn), "t": make(shift)}}
    torch.save(content, tmp_path / "0.frame", **saving)
    found = read_frame_file(tmp_path / "0.frame")
    for kind, values in numbers.items():
        np.testing.assert_allclose(found.coefficients[kind], values[0], rtol=2**-8 if how == "bfloat16" else 0)
    np.testing.assert_array_equal(found.w2c, [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]])


class _Stranger:
    def __reduce__(self):
        return (print, ("code of a stranger ran",))


def test_frame_files_that_name_anything_else_are_refused(author, capsys) -> None:
    author.frame_files()
    shutil.rmtree(author.folder / "flame/eyes")
    torch.save({"flame": {"eyes": _Stranger()}}, author.folder / "checkpoint/00003.frame")
    with pytest.raises(
        DataError,
        match=r"00003\.frame \[frame 00003\]: expected tensors.*found a torch file that names __builtin__.print, which",
    ):
        InstaReader().read(author.folder, {})
    assert "stranger" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"camera": {}}, "expected a dictionary with `flame`, found the keys camera"),
        ([1], "expected a dictionary with `flame`, found a list"),
        ({"flame": {"exp": {"a": 1}}}, "expected numbers in `exp`, found dict"),
    ],
)
def test_frame_files_of_another_kind_are_told(tmp_path, content, words) -> None:
    torch.save(content, tmp_path / "00000.frame")
    with pytest.raises(DataError) as caught:
        read_frame_file(tmp_path / "00000.frame")
    assert words in str(caught.value)


def _rgb_images(author) -> None:
    for frame in range(9):
        Image.fromarray(author.image(frame)[..., :3]).save(author.folder / f"images/{frame:05d}.png")


@pytest.mark.parametrize("where", ["alpha", "matted"])
def test_rgb_images_take_their_alpha_from_beside_them(author, where) -> None:
    _rgb_images(author)
    (author.folder / where).mkdir()
    for frame in range(9):
        matte = author.image(frame)
        matte = matte[..., 3] if where == "alpha" else 255 - (255 - matte)
        Image.fromarray(matte).save(author.folder / where / f"{frame:05d}.png")
    subject = InstaReader().read(author.folder, {})
    assert f"alpha of 9 of 9 images read from {where}/ (images are RGB)" in subject.notes
    pixels = subject.train[2].pixels()
    stored = torch.from_numpy(author.image(2)).permute(2, 0, 1)
    assert torch.equal(pixels.colour, stored[:3]) and torch.equal(pixels.alpha, stored[3:])


def test_colour_and_alpha_of_separate_files_are_both_decoded(author) -> None:
    _rgb_images(author)
    (author.folder / "alpha").mkdir()
    for frame in range(9):
        Image.fromarray(author.image(frame)[..., 3]).save(author.folder / f"alpha/{frame:05d}.png")
    for name in ("images/00002.png", "alpha/00005.png"):
        content = (author.folder / name).read_bytes()
        (author.folder / name).write_bytes(content[: len(content) - 40])
    errors = [p for p in InstaReader().check(author.folder, {}) if p.severity == "error"]
    assert [str(p.path.relative_to(author.folder)) for p in errors] == ["images/00002.png", "alpha/00005.png"]
    assert all("found a PNG that is cut" in p.message for p in errors)


def test_alpha_of_another_size_is_told(author) -> None:
    _rgb_images(author)
    (author.folder / "alpha").mkdir()
    for frame in range(9):
        Image.fromarray(author.image(frame)[..., 3][:16]).save(author.folder / f"alpha/{frame:05d}.png")
    with pytest.raises(DataError, match=r"/alpha: expected 32 x 32 pixels.*found 32 x 16 in 9 frames"):
        InstaReader().read(author.folder, {})


def test_matted_images_serve_where_there_is_no_images_folder(author) -> None:
    (author.folder / "images").rename(author.folder / "matted")
    subject = InstaReader().read(author.folder, {})
    assert subject.variant == "insta/fate-matted"
    assert "no images/: images read from matted/ (soft alpha, clothing removed)" in subject.notes
    assert torch.equal(subject.test[0].pixels().alpha[0], torch.from_numpy(author.image(6)[..., 3]))


def test_flashavatar_jpegs_with_alpha_serve_where_there_is_nothing_else(author) -> None:
    shutil.rmtree(author.folder / "images")
    for place in ("imgs", "alpha"):
        (author.folder / place).mkdir()
    for frame in range(9):
        Image.fromarray(author.image(frame)[..., :3]).save(author.folder / f"imgs/{frame:05d}.jpg", quality=95)
        Image.fromarray(author.image(frame)[..., 3]).save(author.folder / f"alpha/{frame:05d}.jpg", quality=95)
    subject = InstaReader().read(author.folder, {})
    assert subject.variant == "insta/fate-imgs"
    assert "no images/: images read from imgs/ with alpha/ (clothing not removed)" in subject.notes
    pixels = subject.train[0].pixels()
    assert pixels.colour.shape == (3, 32, 32) and pixels.alpha[0, 16, 16] > 250 and pixels.alpha[0, 0, 0] < 5


def test_a_data_root_with_images_in_its_name_is_no_trouble(author) -> None:
    moved = author.folder.parents[2] / "images" / "exp"
    moved.parent.mkdir()
    author.folder.rename(moved)
    subject = InstaReader().read(moved, {})
    assert subject.train[0].pixels().masks["mouth"].any() and subject.notes == (USUAL,)


def test_images_that_are_not_square_keep_their_shape(author) -> None:
    def widen(content) -> None:
        content.update(w=48.0)
        content.pop("camera_angle_x")

    for split in ("train", "test"):
        author.edit(split, widen)
    for frame in range(9):
        wide = np.pad(author.image(frame), ((0, 0), (8, 8), (0, 0)))
        Image.fromarray(wide).save(author.folder / f"images/{frame:05d}.png")
    frame = InstaReader().read(author.folder, {}).train[0]
    assert (frame.camera.width, frame.camera.height) == (48, 32)
    assert frame.pixels().colour.shape == (3, 32, 48)


def test_a_dot_before_the_image_paths_is_no_trouble(author) -> None:
    for split in ("train", "test"):
        author.edit(split, lambda c: [f.update(file_path=f"./{f['file_path']}") for f in c["frames"]])
    assert [p.message for p in InstaReader().check(author.folder, {}) if p.severity != "note"] == [
        f"{USUAL}: numbers do not compare with published ones"
    ]
