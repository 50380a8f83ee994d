"""Every way in which a folder of this layout goes wrong has a message of its own, with file and frame."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from damage_cases import Case, each, expect_read, expect_told

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.errors import DataError


def _put(row: Any, column: Any, value: Any) -> Callable[[np.ndarray], None]:
    def change(matrix: np.ndarray) -> None:
        matrix[row, column] = value

    return change


def _shifted_checkpoints(author: Any) -> None:
    author.frame_files()
    for frame in range(8, 0, -1):
        place = author.folder / "checkpoint"
        (place / f"{frame - 1:05d}.frame").rename(place / f"{frame:05d}.frame")


_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])

CASES = [
    Case(
        "no train json",
        lambda a: a.remove("transforms_train.json"),
        "transforms_train.json",
        ("expected the split's JSON",),
    ),
    Case(
        "no test json",
        lambda a: a.remove("transforms_test.json"),
        "transforms_test.json",
        ("expected the split's JSON, found no such file", "scripts/transforms.py"),
    ),
    Case(
        "cut json",
        lambda a: a.overwrite("transforms_test.json", '{"w": 32, "fra'),
        "transforms_test.json",
        ("expected JSON",),
    ),
    Case(
        "no frames", lambda a: a.edit("train", lambda c: c.pop("frames")), "transforms_train.json", ("a list `frames`",)
    ),
    Case(
        "hole in the list",
        lambda a: a.edit("train", lambda c: c["frames"].__setitem__(2, None)),
        "transforms_train.json",
        ("expected an object at position 2", "found None", "gap in the tracked frames"),
    ),
    Case(
        "no intrinsics",
        lambda a: a.edit("train", lambda c: c.pop("fl_y")),
        "transforms_train.json",
        ("a finite number `fl_y`", "no such key"),
    ),
    Case(
        "focal NaN",
        lambda a: a.edit("train", lambda c: c.update(fl_x=math.nan)),
        "transforms_train.json",
        ("`fl_x`", "found nan"),
    ),
    Case(
        "half pixels",
        lambda a: a.edit("train", lambda c: c.update(w=32.5)),
        "transforms_train.json",
        ("whole pixels in `w`", "32.5"),
    ),
    Case(
        "resized without intrinsics",
        lambda a: a.edit("train", lambda c: c.update(fl_x=120.0)),
        "transforms_train.json",
        ("expected camera_angle_x 0.26", "found 0.521", "images resized without their intrinsics?"),
    ),
    Case(
        "another camera in the test split",
        lambda a: a.edit("test", lambda c: c.update(cx=12.0)),
        "transforms_test.json",
        ("expected the size and intrinsics of transforms_train.json", "12"),
    ),
    Case(
        "NaN token in a matrix",
        lambda a: a.pose(3, _put(0, 3, math.nan)),
        "transforms_train.json",
        ("transform_matrix: expected finite numbers, found NaN",),
        "00003",
    ),
    Case(
        "Infinity token in a matrix",
        lambda a: a.pose(3, _put(0, 3, math.inf)),
        "transforms_train.json",
        ("expected finite numbers, found Infinity",),
        "00003",
    ),
    Case(
        "3 x 4 matrix",
        lambda a: a.pose(1, lambda m: m[:3]),
        "transforms_train.json",
        ("expected 4 x 4 numbers, found 3 x 4",),
        "00001",
    ),
    Case(
        "no matrix",
        lambda a: a.edit("train", lambda c: c["frames"][1].pop("transform_matrix")),
        "transforms_train.json",
        ("transform_matrix: expected 4 x 4 numbers, found none",),
        "00001",
    ),
    Case(
        "ragged matrix",
        lambda a: a.edit("train", lambda c: c["frames"][1]["transform_matrix"][0].pop()),
        "transforms_train.json",
        ("transform_matrix: expected 4 x 4 numbers, found rows of different lengths", "[frame 00001]"),
        "00001",
    ),
    Case(
        "last row",
        lambda a: a.pose(1, _put(3, 0, 0.5)),
        "transforms_train.json",
        ("expected last row 0 0 0 1, found 0.5 0 0 1",),
        "00001",
    ),
    Case(
        "scaled rotation",
        lambda a: a.pose(1, _put(slice(0, 3), 0, 1.5)),
        "transforms_train.json",
        ("expected a rotation", "|R R^T - I|"),
        "00001",
    ),
    Case(
        "mirrored camera",
        lambda a: a.pose(0, lambda m: m @ np.diag([-1.0, 1, 1, 1])),
        "transforms_train.json",
        ("expected determinant +1, found -1.000",),
        "00000",
    ),
    Case(
        "OpenGL axes",
        lambda a: a.pose(2, lambda m: m @ _OPENGL),
        "transforms_train.json",
        ("head in front of the camera, found it 1.00 m behind", "looks like OpenGL axes"),
        "00002",
    ),
    Case(
        "world to camera stored",
        lambda a: a.pose(2, _put(2, 3, -1.0)),
        "transforms_train.json",
        ("behind: is this camera to world?",),
        "00002",
    ),
    Case(
        "millimetres",
        lambda a: a.pose(2, lambda m: m @ np.diag([1.0, 1, 1, 1]) + np.outer([0, 0, 1, 0], [0, 0, 0, 999.0])),
        "transforms_train.json",
        ("expected the head 0.3 to 4 m before the camera", "not in metres?"),
        "00002",
        "warning",
    ),
    Case(
        "frame in both splits",
        lambda a: a.edit("test", lambda c: c["frames"][0].update(file_path="images/00005.png", exp_path="")),
        "transforms_test.json",
        ("expected no frame in both splits, found 1 in both (00005)",),
        "00005",
    ),
    Case(
        "frame twice",
        lambda a: a.edit("train", lambda c: c["frames"].append(c["frames"][1])),
        "transforms_train.json",
        ("expected each frame once, found 00001 again",),
        "00001",
    ),
    Case(
        "empty train split",
        lambda a: a.edit("train", lambda c: c["frames"].clear()),
        "transforms_train.json",
        ("expected training frames, found none (3 test frames)", "the last 350"),
    ),
    Case(
        "empty test split",
        lambda a: a.edit("test", lambda c: c["frames"].clear()),
        "transforms_test.json",
        ("expected test frames, found none (6 training frames)",),
    ),
    Case(
        "unusual number of test frames",
        lambda a: None,
        "transforms_test.json",
        ("3 test frames instead of INSTA's usual 350",),
        severity="warning",
    ),
    Case(
        "gap in the ids",
        lambda a: a.edit("train", lambda c: c["frames"].__delitem__(slice(2, 4))),
        "someone",
        ("2 missing between 00001 and 00004", "INSTA's scripts index frames by number"),
        "00004",
        "warning",
    ),
    Case(
        "tracking named one frame off",
        lambda a: a.edit("train", lambda c: c["frames"][3].update(exp_path="flame/exp/00002.txt")),
        "transforms_train.json",
        ("expected exp_path of frame 00003, found 'flame/exp/00002.txt'", "shifted by -1"),
        "00003",
    ),
    Case(
        "path out of the folder",
        lambda a: a.edit("train", lambda c: c["frames"][3].update(file_path="../other/00003.png")),
        "transforms_train.json",
        ("a file_path inside the subject's folder", "../other/00003.png"),
    ),
    Case(
        "unnumbered image",
        lambda a: a.edit("train", lambda c: c["frames"][3].update(file_path="images/smile.png")),
        "transforms_train.json",
        ("expected a numbered image", "images/smile.png"),
    ),
    Case("image missing", lambda a: a.remove("images/00004.png"), "images/00004.png", ("found no such file",), "00004"),
    Case(
        "jpg for png",
        lambda a: a.resave(4, lambda p: p[..., :3], "jpg"),
        "images/00004.png",
        ("expected this png file, found 00004.jpg", "a JPEG has no alpha"),
        "00004",
    ),
    Case(
        "RGB without alpha",
        lambda a: a.resave(4, lambda p: p[..., :3]),
        "images/00004.png",
        ("expected RGBA, found RGB and neither alpha/ nor matted/", "RobustVideoMatting"),
        "00004",
    ),
    Case("grey image", lambda a: a.resave(4, lambda p: p[..., 0]), "images/00004.png", ("found mode L",), "00004"),
    Case(
        "resized image",
        lambda a: a.resave(4, lambda p: p[::2, ::2]),
        "images/00004.png",
        ("expected 32 x 32 pixels", "found 16 x 16", "resize images and intrinsics together"),
        "00004",
    ),
    Case(
        "no image at all",
        lambda a: a.overwrite("images/00004.png", "hello"),
        "images/00004.png",
        ("5 bytes that are no image",),
        "00004",
    ),
    Case(
        "cut image",
        lambda author: (author.folder / "images/00004.png").write_bytes(
            (author.folder / "images/00004.png").read_bytes()[:150]
        ),
        "images/00004.png",
        ("found a PNG that is cut",),
        "00004",
        deep=True,
    ),
    Case(
        "constant alpha",
        lambda a: a.resave(4, lambda p: np.dstack([p[..., :3], np.full((32, 32), 255, np.uint8)])),
        "images/00004.png",
        ("expected an alpha that sets head and background apart, found 255 everywhere",),
        "00004",
        "warning",
    ),
    Case(
        "stray images",
        lambda author: [author.copy("images/00000.png", f"images/{k}.png") for k in ("00101", "00201")],
        "images",
        ("the 9 images that the JSON files name, found 2 more (00101, 00201)", "camera initialisation"),
        severity="warning",
    ),
    Case(
        "stock export without checkpoints",
        lambda a: a.remove("flame/eyes", "flame/jaw", "flame/shape", "flame/eyelids"),
        "flame/eyes",
        ("a text file of `eyes` for 9 frame(s) (00000-00008)", "stock INSTA dumps exp only", "checkpoint/00000.frame"),
        "00000",
    ),
    Case(
        "one coefficient file missing",
        lambda a: a.remove("flame/jaw/00007.txt"),
        "flame/jaw/00007.txt",
        ("expected 6 numbers, found no such file and no `jaw` in checkpoint/00007.frame",),
        "00007",
    ),
    Case(
        "first checkpoint missing",
        lambda a: a.stock_without(0),
        "flame/eyes/00000.txt",
        ("expected 12 numbers, found no such file and no `eyes` in checkpoint/00000.frame",),
        "00000",
    ),
    Case(
        "cut checkpoint",
        lambda author: [
            author.stock_without(8),
            (author.folder / "checkpoint/00008.frame").write_bytes(b"PK\x03\x04 cut"),
        ],
        "checkpoint/00008.frame",
        (
            "expected tensors, arrays and plain containers, found no zip archive or a damaged one",
            "track the frame again",
        ),
        "00008",
    ),
    Case(
        "DECA coefficients",
        lambda a: a.text("exp", 2, np.zeros(50)),
        "flame/exp/00002.txt",
        ("expected 100 numbers, found 50: DECA/IMAvatar coefficients?", "not interchangeable"),
        "00002",
    ),
    Case(
        "short shape",
        lambda a: a.text("shape", 0, np.zeros(100)),
        "flame/shape/00000.txt",
        ("expected 300 numbers, found 100",),
        "00000",
    ),
    Case(
        "one eye",
        lambda a: a.text("eyes", 2, [1, 0, 0, 0, 1, 0]),
        "flame/eyes/00002.txt",
        ("expected 12 numbers, found 6",),
        "00002",
    ),
    Case(
        "axis-angle jaw",
        lambda a: a.text("jaw", 2, [0.1, 0, 0]),
        "flame/jaw/00002.txt",
        ("expected 6 numbers, found 3",),
        "00002",
    ),
    Case(
        "three lids",
        lambda a: a.text("eyelids", 2, [0.1, 0, 0]),
        "flame/eyelids/00002.txt",
        ("expected 2 numbers, found 3",),
        "00002",
    ),
    Case(
        "NaN coefficient",
        lambda a: a.text("exp", 2, np.where(np.arange(100) == 4, np.nan, 0)),
        "flame/exp/00002.txt",
        ("expected finite numbers, found nan at number 5",),
        "00002",
    ),
    Case(
        "words for numbers",
        lambda a: a.overwrite("flame/exp/00002.txt", "0.1\nnone\n"),
        "flame/exp/00002.txt",
        ("expected one number per line", "none"),
        "00002",
    ),
    Case(
        "zeros for a rotation",
        lambda a: a.text("jaw", 2, np.zeros(6)),
        "flame/jaw/00002.txt",
        ("two independent rows of a rotation (jaw), found 0 0 0 0 0 0", "no rotation is 1 0 0 0 1 0"),
        "00002",
    ),
    Case(
        "parallel rows",
        lambda a: a.text("eyes", 2, [1, 0, 0, 0, 1, 0, 1, 2, 3, 2, 4, 6]),
        "flame/eyes/00002.txt",
        ("rotation (right eye), found 1 2 3 2 4 6",),
        "00002",
    ),
    Case(
        "another identity later",
        lambda a: a.text("shape", 8, np.ones(300)),
        "flame/shape/00008.txt",
        ("a subject has one identity",),
        "00008",
        "warning",
    ),
    Case(
        "no eyelids",
        lambda a: a.remove("flame/eyelids"),
        "flame/eyelids",
        ("found none in text or .frame files: blinks cannot be driven",),
        severity="warning",
    ),
    Case(
        "some eyelids",
        lambda a: a.remove("flame/eyelids/00004.txt", "flame/eyelids/00005.txt"),
        "flame/eyelids",
        ("eyelids missing in 2 frames (00004-00005): none are used",),
        "00004",
        "warning",
    ),
    Case(
        "eyelids that never move",
        lambda a: [a.text("eyelids", k, [0, 0]) for k in range(9)],
        "flame/eyelids",
        ("the same numbers in all 9 frames: blinks cannot be driven",),
        severity="warning",
    ),
    Case(
        "a face that never moves",
        lambda a: [a.text("exp", k, np.zeros(100)) for k in range(9)],
        "flame/exp",
        ("the same numbers in all 9 frames: the face cannot move",),
        severity="warning",
    ),
    Case(
        "an image numbered beyond reason",
        lambda a: a.edit("train", lambda c: c["frames"][3].update(file_path=f"images/{'9' * 12}.png")),
        "transforms_train.json",
        ("expected a numbered image such as images/00012.png, found 'images/999999999999.png'",),
    ),
    Case(
        "a number beyond floating point",
        lambda a: a.pose(3, _put(0, 3, 1e300)),
        "transforms_train.json",
        ("transform_matrix: expected numbers below 1e+06, found 1e+300",),
        "00003",
    ),
    Case(
        "no parsing",
        lambda a: a.remove("parsing"),
        "parsing",
        ("a mouth mask for each of 9 frames, found none: projected", "zllrunning/face-parsing.PyTorch"),
        severity="warning",
    ),
    Case(
        "parsing of another length",
        lambda a: a.remove("parsing/00008_mouth.png"),
        "parsing",
        ("found 1 missing (00008)",),
        "00008",
        "warning",
    ),
    Case(
        "sparse landmarks",
        lambda a: a.landmarks("kpt_dense", np.ones((68, 2))),
        "kpt_dense/00003.npy",
        ("expected 478 landmarks, found an array of 68 x 2",),
        "00003",
        "warning",
    ),
    Case(
        "face not seen",
        lambda a: a.landmarks("kpt", np.zeros((68, 2))),
        "kpt/00003.npy",
        ("found zeros: no face was detected",),
        "00003",
        "warning",
    ),
    Case(
        "checkpoints one frame off",
        _shifted_checkpoints,
        "checkpoint/00004.frame",
        ("expected the camera of the JSON for this frame, found another", "that of 00005 fits: shifted by +1"),
        "00004",
        deep=True,
    ),
    Case(
        "unknown head",
        lambda a: a.overwrite("head_model.json", json.dumps({"tag": "flame2032"})),
        "head_model.json",
        ("Unknown head tag 'flame2032'", "Did you mean 'flame2020' or"),
    ),
    Case(
        "head without a tag",
        lambda a: a.overwrite("head_model.json", "{}"),
        "head_model.json",
        ("a text `tag`, found None",),
    ),
]


@each(CASES)
def test_damage_is_told_with_file_and_frame_and_errors_stop_reading(case, author) -> None:
    case.damage(author)
    expect_told(case, InstaReader().check(author.folder, case.options))
    expect_read(case, "insta", lambda: InstaReader().read(author.folder, case.options))


def test_messages_are_distinct() -> None:
    assert len({case.fragments for case in CASES}) == len(CASES)


def test_all_problems_are_told_at_once(author) -> None:
    author.remove("images/00001.png", "images/00007.png")
    author.pose(3, _put(0, 3, math.nan))
    author.text("exp", 2, np.zeros(50))
    lines = [p.line() for p in InstaReader().check(author.folder, {}) if p.severity == "error"]
    assert len(lines) == 4
    assert [line.split("[frame ")[1][:5] for line in lines] == ["00001", "00002", "00003", "00007"]
    with pytest.raises(DataError, match=r"in 2 frames \(00001, 00007\).*and 2 more problem\(s\)"):
        InstaReader().read(author.folder, {})
