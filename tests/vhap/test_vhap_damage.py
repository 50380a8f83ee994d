"""Every way in which a folder of this layout goes wrong has a message of its own, with file and frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from damage_cases import Case, each, expect_read, expect_told
from PIL import Image

from headbench.datasets.vhap.reader import VhapReader
from headbench.harness.errors import DataError

TRAIN, VAL, TEST = (f"transforms_{part}.json" for part in ("train", "val", "test"))


def _matrix(change: Callable[[np.ndarray], Any]) -> Callable[[Any], None]:
    def edit(rows: list[list[float]]) -> list[list[float]]:
        array = np.array(rows)
        changed = change(array)
        return (array if changed is None else changed).tolist()

    return lambda author: author.frame(2, "transform_matrix", edit)


def _put(row: int, column: int, value: float) -> Callable[[np.ndarray], None]:
    def change(matrix: np.ndarray) -> None:
        matrix[row, column] = value

    return change


def _opencv(author: Any) -> None:
    author.every("transform_matrix", lambda m: (np.array(m) @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist())


def _w2c(author: Any) -> None:
    author.every("transform_matrix", lambda m: np.linalg.inv(np.array(m)).tolist())


def _far(author: Any) -> None:
    def scale(rows: list[list[float]]) -> list[list[float]]:
        array = np.array(rows)
        array[:3, 3] *= 10
        return array.tolist()

    author.every("transform_matrix", scale)


def _gap(author: Any) -> None:
    for part in ("train", "val"):
        author.edit(part, lambda c: c.__setitem__("frames", [f for f in c["frames"] if f["timestep_index"] != 1]))


def _mesh_mode(author: Any) -> None:
    author.frame(2, "mesh_path", "meshes/00002.obj")
    author.edit("train", lambda c: c["frames"][2].pop("flame_param_path"))


def _half(author: Any, name: str) -> None:
    path = author.folder / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _cut_image(author: Any) -> None:
    author.save("images/00002_00.png", np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    _half(author, "images/00002_00.png")


def _pickled(author: Any) -> None:
    np.savez(author.folder / "flame_param/00002.npz", translation=np.array([{"a": 1}], dtype=object))


def _single(author: Any) -> None:
    path = author.folder / "flame_param/00002.npz"
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)


def _array(key: str, value: Any) -> Callable[[Any], None]:
    return lambda author: author.npz(2, **{key: value})


MOMENT = "flame_param/00002.npz"
IMAGE, MASK = "images/00002_00.png", "fg_masks/00002_00.png"

CASES = [
    Case("no json", lambda a: (a.folder / TEST).unlink(), TEST,
         ("the split's JSON, found no such file", "VHAP's export")),
    Case("cut json", lambda a: _half(a, TRAIN), TRAIN, ("expected JSON, found",)),
    Case("list instead of object", lambda a: a.overwrite(TRAIN, "[]"), TRAIN, ("a JSON object, found list",)),
    Case("nested too deeply", lambda a: a.overwrite(VAL, "[" * 100_000), VAL,
         ("expected JSON, found JSON that nests",)),
    Case("no frames key", lambda a: a.edit("train", lambda c: c.pop("frames")), TRAIN,
         ("a list of frames in `frames`, found None",)),
    Case("entry no object", lambda a: a.edit("train", lambda c: c["frames"].__setitem__(2, 7)), TRAIN,
         ("expected an object at position 2 of `frames`, found 7",)),
    Case("no training frames", lambda a: a.edit("train", lambda c: c["frames"].clear()), TRAIN,
         ("expected training frames, found none (4 in val, 4 in test)",)),
    Case("no test frames", lambda a: a.edit("test", lambda c: c["frames"].clear()), TEST,
         ("expected test frames, found none (4 in train, 4 in val)",)),
    Case("moment missing", lambda a: a.edit("train", lambda c: c["frames"][2].pop("timestep_index")), TRAIN,
         ("a whole number `timestep_index` from 0 at position 2", "found None")),
    Case("moment of text", lambda a: a.frame(2, "timestep_index", "2"), TRAIN,
         ("a whole number `timestep_index` from 0 at position 2", "found '2'")),
    Case("camera negative", lambda a: a.frame(2, "camera_index", -1), TRAIN,
         ("a whole number `camera_index` from 0 at position 2", "found -1")),
    Case("pair twice", lambda a: a.edit("train", lambda c: c["frames"].append(c["frames"][2])), TRAIN,
         ("expected each frame once, found 00002_00 again",), "00002_00"),
    Case("frame in two parts", lambda a: a.edit("test", lambda c: c["frames"][0].update(timestep_index=3)), TEST,
         ("no frame in both splits, found 1 in both (00003_00)",), "00003_00"),
    Case("gap in the moments", _gap, TRAIN, ("expected 0 to 4 without gaps", "found no 1 (00000, 00002-00005)")),
    Case("no focal length", lambda a: a.edit("train", lambda c: [c.pop("fl_x"), c["frames"][2].pop("fl_x")]), TRAIN,
         ("a finite number `fl_x` (pixels), found no such key",), "00002_00"),
    Case("focal length NaN", lambda a: a.frame(2, "fl_y", float("nan")), TRAIN,
         ("a finite number `fl_y` (pixels), found nan",), "00002_00"),
    Case("negative focal length", lambda a: a.frame(2, "fl_x", -80.0), TRAIN,
         ("expected `fl_x` above 0 and below", "found -80"), "00002_00"),
    Case("half a pixel", lambda a: a.frame(2, "w", 32.5), TRAIN, ("expected whole pixels in `w`, found 32.5",),
         "00002_00"),
    Case("principal point outside", lambda a: a.frame(2, "cx", 40.0), TRAIN,
         ("the principal point inside the 32 x 24 image, found (40, 13.5)",), "00002_00"),
    Case("field of view of another size", lambda a: a.frame(2, "camera_angle_x", 1.0), TRAIN,
         ("expected camera_angle_x 0.394791", "found 1.000000", "resized without their intrinsics?"), "00002_00"),
    Case("camera missing", lambda a: a.frame(2, "transform_matrix", None), TRAIN,
         ("`transform_matrix`: expected 4 x 4 numbers",), "00002_00"),
    Case("camera 3 x 4", _matrix(lambda m: m[:3]), TRAIN, ("`transform_matrix`: expected 4 x 4 numbers, found 3 x 4",),
         "00002_00"),
    Case("camera infinite", _matrix(_put(0, 3, float("inf"))), TRAIN,
         ("`transform_matrix`: expected finite numbers, found inf",), "00002_00"),
    Case("last row", _matrix(_put(3, 2, 1.0)), TRAIN, ("expected last row 0 0 0 1, found 0 0 1 1",), "00002_00"),
    Case("no rotation", _matrix(_put(0, 0, 1.5)), TRAIN, ("transform_matrix: expected a rotation",), "00002_00"),
    Case("mirrored", _matrix(_put(0, 0, -1.0)), TRAIN, ("expected determinant +1",), "00002_00"),
    Case("opencv axes", _opencv, "someone",
         ("found it 1.", "looks like OpenCV axes", "negate columns 2 and 3"), "00001_00", times=8),
    Case("world to camera", _w2c, "someone", ("m behind", "is it camera to world?"), "00001_00", times=8),
    Case("COLMAP's scale", _far, "someone", ("0.3 to 4 m before the camera, found 12", "COLMAP's?"), "00000_00",
         "warning"),
    Case("image leaves", lambda a: a.frame(2, "file_path", "../../../etc/passwd"), TRAIN,
         ("`file_path`: expected a path in this folder or in one beside it, found '../../../etc/passwd'",), "00002_00"),
    Case("image absolute", lambda a: a.frame(2, "file_path", "/images/00002_00.png"), TRAIN,
         ("`file_path`: expected a path", "found '/images/00002_00.png'"), "00002_00"),
    Case("mask of a number", lambda a: a.frame(2, "fg_mask_path", 3), TRAIN,
         ("`fg_mask_path`: expected a path", "found 3"), "00002_00"),
    Case("exported as meshes", _mesh_mode, TRAIN,
         ("the parameters' file `flame_param_path`, found none; found exp_path and mesh_path", "--flame_mode param"),
         "00002_00"),
    Case("npz missing", lambda a: (a.folder / MOMENT).unlink(), MOMENT,
         ("expected FLAME parameters (npz), found no such file",), "00002"),
    Case("npz cut", lambda a: _half(a, MOMENT), MOMENT, ("found no zip archive or a damaged one",), "00002"),
    Case("npz of objects", _pickled, MOMENT, ("array translation cannot be read", "Python objects"), "00002"),
    Case("a single array", _single, MOMENT, ("found a single array",), "00002"),
    Case("array missing", _array("expr", None), MOMENT, ("expected an array `expr`, found eyes_pose, jaw_pose",),
         "00002"),
    Case("expression of another tracker", _array("expr", np.zeros((1, 50))), MOMENT,
         ("`expr`: expected 100 numbers, found 1 x 50", "coefficients of other trackers"), "00002"),
    Case("metrical-tracker's eyes", _array("eyes_pose", np.zeros((1, 12))), MOMENT,
         ("`eyes_pose`: expected 6 numbers, found 1 x 12",), "00002"),
    Case("jaw NaN", _array("jaw_pose", np.full((1, 3), np.nan)), MOMENT,
         ("`jaw_pose`: expected finite numbers, found nan",), "00002"),
    Case("rotation of texts", _array("rotation", np.array([["a", "b", "c"]])), MOMENT,
         ("`rotation`: expected 3 numbers, found <U1 values",), "00002"),
    Case("all moments in one file", _array("translation", np.zeros((6, 3))), MOMENT,
         ("`translation`: expected 3 numbers, found 6 x 3",), "00002"),
    Case("shape too short", _array("shape", np.zeros(100)), MOMENT,
         ("`shape`: expected 300 numbers, found 100",), "00002"),
    Case("shape that changes", _array("shape", np.zeros(300)), MOMENT,
         ("`shape`: expected that of someone/flame_param/00000.npz, found another",), "00002", "warning"),
    Case("offset that comes and goes", _array("static_offset", None), MOMENT,
         ("`static_offset`: expected that of someone/flame_param/00000.npz, found another",), "00002", "warning"),
    Case("offset of another head", _array("static_offset", np.zeros((1, 5000, 3))), MOMENT,
         ("`static_offset`: expected 5143 x 3 numbers, found 5000 x 3", "FLAME with teeth"), "00002"),
    Case("offset of two columns", _array("static_offset", np.zeros((1, 5143, 2))), MOMENT,
         ("`static_offset`: expected any x 3 numbers",), "00002"),
    Case("dynamic offset", _array("dynamic_offset", np.ones((1, 5143, 3), np.float32)), "flame_param",
         ("dynamic_offset of 1 moments is not used",), "00002", "warning"),
    Case("no canonical file", lambda a: (a.folder / "canonical_flame_param.npz").unlink(), "canonical_flame_param.npz",
         ("the neutral head, found no such file", "GaussianAvatars' own code"), severity="warning"),
    Case("image lost", lambda a: (a.folder / IMAGE).unlink(), IMAGE, ("expected an image, found no such file",),
         "00002_00"),
    Case("mask lost", lambda a: (a.folder / MASK).unlink(), MASK, ("expected an image, found no such file",),
         "00002_00"),
    Case("no image", lambda a: a.overwrite(IMAGE, "hello"), IMAGE, ("found 5 bytes that are no image",), "00002_00"),
    Case("half the size", lambda a: a.save(IMAGE, np.zeros((12, 16, 3), np.uint8)), IMAGE,
         ("expected 32 x 24 pixels as the JSON's w and h say, found 16 x 12",), "00002_00"),
    Case("palette", lambda a: Image.new("P", (32, 24)).save(a.folder / IMAGE), IMAGE,
         ("expected 8-bit RGB or RGBA, found mode P", "no palette"), "00002_00"),
    Case("16 bits", lambda a: a.save(MASK, np.zeros((24, 32), np.uint16)), MASK, ("found mode I;16",), "00002_00"),
    Case("no mask", lambda a: a.edit("train", lambda c: c["frames"][2].pop("fg_mask_path")), IMAGE,
         ("a foreground mask (`fg_mask_path`) or RGBA, found RGB and none", "--set vhap.alpha=opaque"), "00002_00"),
    Case("cut image", _cut_image, IMAGE, ("found a PNG that is cut",), "00002_00", deep=True),
    Case("cut mask", lambda a: (a.save(MASK, np.random.default_rng(1).integers(0, 256, (24, 32), dtype=np.uint8)),
                                _half(a, MASK)), MASK, ("found a PNG that is cut",), "00002_00", deep=True),
    Case("empty mask", lambda a: a.save(MASK, np.zeros((24, 32), np.uint8)), MASK,
         ("sets head and background apart, found 0 everywhere",), "00002_00", "warning", deep=True),
    Case("unknown head", lambda a: a.overwrite("head_model.json", '{"tag": "flame2032"}'), "head_model.json",
         ("Unknown head tag 'flame2032'",)),
    Case("unknown camera", lambda a: None, "someone", ("of the cameras 9, found 0 and 0",), options={"cameras": 9}),
]  # fmt: skip


@each(CASES)
def test_damage_is_told_with_file_and_frame_and_errors_stop_reading(case, author) -> None:
    case.damage(author)
    expect_told(case, VhapReader().check(author.folder, case.options))
    expect_read(case, "vhap", lambda: VhapReader().read(author.folder, case.options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"principle_point": "top"}, "option of the vhap reader 'principle_point'.*Did you mean 'principal_point'"),
        ({"evaluate": "train"}, "value of the vhap option evaluate: 'train'"),
    ],
)
def test_options_are_checked(options, message, author) -> None:
    with pytest.raises(DataError, match=message):
        VhapReader().read(author.folder, options)
