"""Every way in which a folder of this layout goes wrong has a message of its own, with file and frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
from damage_cases import Case, each, expect_read, expect_told
from PIL import Image

from headbench.datasets.imavatar.reader import ImavatarReader

TRAIN = "someone_train/flame_params.json"
TEST = "someone_test/flame_params.json"


def _world(row: Any, column: Any, value: Any) -> Callable[[Any], None]:
    def change(author: Any) -> None:
        def edit(matrix: list[list[float]]) -> list[list[float]]:
            array = np.array(matrix)
            array[row, column] = value
            return array.tolist()

        author.frame(3, "world_mat", edit)

    return change


def _opencv(author: Any) -> None:
    author.every("world_mat", lambda m: (np.diag([1.0, -1.0, -1.0]) @ np.array(m)).tolist())


def _without_matted(author: Any) -> None:
    for place in (author.train, author.test):
        shutil.rmtree(place / "matted")


def _mask_lost(author: Any) -> None:
    _without_matted(author)
    (author.train / "mask/4.png").unlink()


def _images_folder(author: Any) -> None:
    _without_matted(author)
    (author.train / "image").rename(author.train / "pictures")


def _merged(author: Any) -> None:
    author.edit("train", lambda c: c["frames"].append({**c["frames"][0], "file_path": "./image/3"}))


def _cut(author: Any) -> None:
    path = author.train / "matted/4.png"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(32, 32, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _extra_mask(author: Any) -> None:
    shutil.copy(author.train / "mask/1.png", author.train / "mask/12.png")


def _openhead(**more: Any) -> Callable[[Any], None]:
    return lambda author: author.overwrite("head_model.json", json.dumps({"tag": "openhead", **more}))


def _far_landmarks(author: Any) -> None:
    """The head is where the disc is, the stored landmarks are not."""
    _openhead(landmarks=list(range(68)))(author)
    author.every("expression", lambda values: [0.0] * 50)
    author.every("pose", lambda values: [0.0] * 15)
    author.every("world_mat", lambda m: np.c_[np.eye(3), [0.0, 0.0, -6.0]].tolist())
    author.every("flame_keypoints", lambda points: [[0.9, -0.9]] * 68)


def _landmarks_off_the_mesh(author: Any) -> None:
    _far_landmarks(author)
    _openhead()(author)


def _repaint(author, change) -> None:
    """Change colour (H, W, 3) and alpha (H, W) of one matted image."""
    path = author.train / "matted/1.png"
    pixels = np.array(Image.open(path))
    colour, alpha = change(pixels[..., :3], pixels[..., 3])
    Image.fromarray(np.concatenate([colour, alpha[..., None]], -1).astype(np.uint8)).save(path)


def _with_halo(colour, alpha):
    """A dark square with a rim of half-transparent white."""
    alpha, colour = np.zeros_like(alpha), np.full_like(colour, 255)
    alpha[6:26, 6:26], alpha[8:24, 8:24] = 100, 255
    colour[8:24, 8:24] = 60
    return colour, alpha


CASES = [
    Case("no json", lambda a: (a.test / "flame_params.json").unlink(), TEST,
         ("expected the video's tracking, found no such file", "a video alone is not enough")),
    Case("cut json", lambda a: a.overwrite(TRAIN, '{"frames": [{"fi'), TRAIN, ("expected JSON, found",)),
    Case("list instead of object", lambda a: a.overwrite(TRAIN, "[]"), TRAIN, ("expected a JSON object, found list",)),
    Case("bytes instead of text", lambda a: a.overwrite(TRAIN, b"\xff\xfe\x00\x01"), TRAIN,
         ("expected JSON", "no JSON")),
    Case("no frames key", lambda a: a.edit("train", lambda c: c.pop("frames")), TRAIN, ("a key `frames`, found none",)),
    Case("no shape", lambda a: a.edit("test", lambda c: c.pop("shape_params")), TEST, ("a key `shape_params`",)),
    Case("no intrinsics", lambda a: a.edit("train", lambda c: c.pop("intrinsics")), TRAIN, ("a key `intrinsics`",)),
    Case("empty frames", lambda a: a.top("frames", [], ("train",)), TRAIN, ("a list of frames in `frames`, found []",)),
    Case("hole in the list", lambda a: a.edit("train", lambda c: c["frames"].__setitem__(2, None)), TRAIN,
         ("expected an object at position 2 of `frames`, found None",)),
    Case("file_path missing", lambda a: a.edit("train", lambda c: c["frames"][1].pop("file_path")), TRAIN,
         ("file_path such as './image/12' at position 1", "found None", "numbered from 1")),
    Case("file_path leaves", lambda a: a.frame(3, "file_path", "../image/3"), TRAIN, ("found '../image/3'",)),
    Case("file_path no number", lambda a: a.frame(3, "file_path", "./image/f_0003"), TRAIN,
         ("found './image/f_0003'",)),
    Case("image twice", _merged, TRAIN,
         ("each image once, found './image/3' again at position 11", "videos merged", "a folder of its own"),
         "train-00003"),
    Case("camera 4 x 4", lambda a: a.frame(3, "world_mat", np.eye(4).tolist()), TRAIN,
         ("`world_mat`: expected 3 x 4 numbers, found 4 x 4",), "train-00003"),
    Case("camera missing", lambda a: a.frame(3, "world_mat", None), TRAIN,
         ("`world_mat`: expected 3 x 4 numbers, found",), "train-00003"),
    Case("camera NaN", _world(0, 3, float("nan")), TRAIN, ("`world_mat`: expected finite numbers, found nan",),
         "train-00003"),
    Case("camera no rotation", _world(0, 0, 1.2), TRAIN, ("world_mat: expected a rotation",), "train-00003"),
    Case("camera mirrored", _world(0, 0, -1.0), TRAIN, ("determinant +1, found -1.000: a mirrored camera",),
         "train-00003"),
    Case("opencv axes", _opencv, TRAIN, ("looks along -z", "found 4:", "OpenCV axes already?", "rows 2 and 3"),
         "train-00001", times=14),
    Case("expression of another tracker", lambda a: a.frame(3, "expression", [0.0] * 100), TRAIN,
         ("`expression`: expected 50 numbers, found 100", "DECA's FLAME 2020"), "train-00003"),
    Case("NerFace's expression", lambda a: a.frame(3, "expression", [0.0] * 76), TRAIN,
         ("`expression`: expected 50 numbers, found 76",), "train-00003"),
    Case("expression infinite", lambda a: a.frame(3, "expression", [float("inf")] * 50), TRAIN,
         ("`expression`: expected finite numbers, found inf at [0]",), "train-00003"),
    Case("pose too short", lambda a: a.frame(3, "pose", [0.0] * 9), TRAIN,
         ("`pose`: expected 15 numbers, found 9", "axis-angle"), "train-00003"),
    Case("pose of texts", lambda a: a.frame(3, "pose", ["a"] * 15), TRAIN, ("`pose`: expected 15 numbers",),
         "train-00003"),
    Case("shape of another tracker", lambda a: a.top("shape_params", [0.0] * 300, ("train",)), TRAIN,
         ("`shape_params`: expected 100 numbers, found 300",)),
    Case("shape NaN", lambda a: a.top("shape_params", [float("nan")] * 100, ("test",)), TEST,
         ("`shape_params`: expected finite numbers",)),
    Case("intrinsics of three", lambda a: a.top("intrinsics", [-2.9, 0.5, 0.5], ("train",)), TRAIN,
         ("`intrinsics`: expected 4 numbers, found 3",)),
    Case("positive fx", lambda a: a.top("intrinsics", [2.9, 2.8, 0.51, 0.49], ("train",)), TRAIN,
         ("a negative first intrinsic", "found 2.9", "--set imavatar.positive_fx=absolute")),
    Case("intrinsics in pixels", lambda a: a.top("intrinsics", [-92.8, 89.6, 16.3, 15.7], ("train",)), TRAIN,
         ("found pixels (fourth number 15.7)", "32 x 32", "only IMAvatar's own loader"), severity="warning"),
    Case("focal length of another unit", lambda a: a.top("intrinsics", [-0.035, 0.035, 0.5, 0.5], ("train",)), TRAIN,
         ("expected |fx| between 0.3 and 20", "found 0.035", "intrinsics of another camera")),
    Case("negative fy", lambda a: a.top("intrinsics", [-2.9, -2.8, 0.5, 0.5], ("train",)), TRAIN,
         ("expected fy between 0.3 and 20", "found -2.8")),
    Case("principal point outside", lambda a: a.top("intrinsics", [-2.9, 2.8, -0.1, 0.5], ("train",)), TRAIN,
         ("expected cx inside the image, 0 to 1, found -0.1",)),
    Case("principal point odd", lambda a: a.top("intrinsics", [-2.9, 2.8, 0.5, 0.9], ("train",)), TRAIN,
         ("expected cy between 0.2 and 0.8, found 0.9",), severity="warning"),
    Case("two shapes", lambda a: a.top("shape_params", lambda s: [s[0] + 0.1, *s[1:]], ("test",)), TEST,
         ("`shape_params`: expected those of", "someone_train/flame_params.json", "0.1", "--shape_from")),
    Case("two sizes", lambda a: [Image.open(p).resize((16, 16)).save(p) for p in (a.test / "matted").iterdir()],
         "someone_test", ("expected images of 32 x 32 pixels as in someone_train, found 16 x 16",)),
    Case("no test video", lambda a: shutil.rmtree(a.test), "someone",
         ("videos for training and for testing, such as someone_train and someone_test, found someone_train",
          "--set imavatar.test=NAME")),
    Case("unknown test video", lambda a: None, "someone", ("expected a video MVI_1 for testing, found someone_test",),
         options={"test": "MVI_1"}),
    Case("a number for two videos", lambda a: None, "someone",
         ("expected one video to take the last 3 frames of, found 2",),
         options={"test": 3}),
    Case("turned cameras for fateavatar", lambda a: a.frame(3, "world_mat", lambda m: [m[1], [-x for x in m[0]], m[2]]),
         TRAIN, ("expected the identity as rotation, found another in 1 frames", "--set imavatar.camera=exact"),
         "train-00003", options={"camera": "fateavatar"}),
    Case("matte lost", lambda a: (a.train / "matted/4.png").unlink(), "someone_train/matted/4.png",
         ("expected an image, found no such file", "background and clothing removed"), "train-00004"),
    Case("matte without alpha", lambda a: a.save("someone_train/matted/4.png", np.zeros((32, 32, 3), np.uint8)),
         "someone_train/matted/4.png", ("expected 8-bit RGBA, found mode RGB", "--set imavatar.matte=mask"),
         "train-00004"),
    Case("no image", lambda a: a.overwrite("someone_train/matted/4.png", "hello"), "someone_train/matted/4.png",
         ("expected an image, found 5 bytes that are no image",), "train-00004"),
    Case("mask lost", _mask_lost, "someone_train/mask/4.png",
         ("expected an image, found no such file",), "train-00004"),
    Case("16 bits", lambda a: (_without_matted(a), a.save("someone_train/mask/4.png", np.zeros((32, 32), np.uint16))),
         "someone_train/mask/4.png", ("found mode I;16", "8 bits per channel"), "train-00004"),
    Case("one of another size", lambda a: a.save("someone_train/matted/4.png", np.zeros((30, 32, 4), np.uint8)),
         "someone_train/matted/4.png", ("expected 32 x 32 pixels as most images of the video have, found 32 x 30",),
         "train-00004"),
    Case("images elsewhere", _images_folder, "someone_train/image/1.png", ("expected an image, found no such file",),
         "train-00001", times=11),
    Case("holes", lambda a: a.edit("train", lambda c: c["frames"].pop(4)), TRAIN,
         ("expected images 1 to 11, found 1 of them missing: no face was found", "joined by number"),
         severity="warning"),
    Case("no parsing", lambda a: (a.train / "parsing/4_mouth.png").unlink(), "someone_train/parsing",
         ("a mouth mask for each of 11 frames, found 1 missing (train-00004)", "projected"), "train-00004", "warning"),
    Case("image that is not tracked", lambda a: shutil.copy(a.train / "matted/4.png", a.train / "matted/44.png"),
         "someone_train/matted", ("expected the 11 images", "found 1 more (44)"), severity="warning", deep=True),
    Case("one mask more", _extra_mask, "someone_train/mask", ("as many masks as images, 11, found 12", "off by some"),
         severity="warning", deep=True),
    Case("irises not found", lambda a: a.overwrite("someone_train/iris.json", '{"1.png": null, "2.png": [1, 2]}'),
         "someone_train/iris.json", ("expected irises in every image, found none in 1 (1.png)",), severity="warning",
         deep=True),
    Case("cut image", _cut, "someone_train/matted/4.png", ("found a PNG that is cut",), "train-00004",
         deep=True),
    Case("opaque everywhere", lambda a: a.save("someone_train/matted/4.png", np.full((32, 32, 4), 255, np.uint8)),
         "someone_train/matted/4.png", ("sets head and background apart, found 255 everywhere",), "train-00004",
         "warning", deep=True),
    Case("matte from a video", lambda a: _repaint(a, lambda c, m: (c, np.clip(m, 3, 252))),
         "someone_train/matted/1.png", ("most of alpha at exactly 0 or 255", "compressed video"), "train-00001",
         "warning", deep=True),
    Case("halo", lambda a: _repaint(a, _with_halo), "someone_train/matted/1.png",
         ("where alpha is below a half", "lighter than beside it", "halo"), "train-00001", "warning", deep=True),
    Case("no landmarks", lambda a: (_openhead()(a), a.every("expression", lambda v: [0.0] * 50),
                                    a.every("world_mat", lambda m: np.c_[np.eye(3), [0.0, 0.0, -6.0]].tolist()),
                                    a.every("flame_keypoints", lambda p: None)), TRAIN,
         ("landmarks not compared: no `flame_keypoints`", "zeros alone"), "train-00001", "note", deep=True),
    Case("landmarks elsewhere", _far_landmarks, TRAIN,
         ("flame_keypoints: expected a median of 3 px of 512", "borrowed from another camera"), "train-00001",
         deep=True, times=3),
    Case("landmarks off the mesh", _landmarks_off_the_mesh, TRAIN,
         ("flame_keypoints: expected at least 80% of the landmarks on the projected head, found 0%",), "train-00001",
         deep=True, times=3),
    Case("landmarks of one column", lambda a: a.frame(3, "flame_keypoints", [0.0] * 68), TRAIN,
         ("`flame_keypoints`: expected any x 2 numbers, found 68",), "train-00003"),
    Case("unknown head", lambda a: a.overwrite("head_model.json", '{"tag": "flame2032"}'), "head_model.json",
         ("Unknown head tag 'flame2032'",)),
    Case("unknown face unit", _openhead(expression=["jawOpn"]), "head_model.json", ("Unknown face unit 'jawOpn'",)),
    Case("face unit twice", _openhead(expression=["jawOpen", "jawOpen"]), "head_model.json", ("each face unit once",)),
    Case("face units of numbers", _openhead(expression=[1]), "head_model.json", ("up to 50 names of face units",)),
    Case("landmark vertices outside", _openhead(landmarks=[0, 10**6]), "head_model.json",
         ("`landmarks`: expected vertices 0 to 4119, found 0 to 1000000",)),
    Case("landmark vertices of text", _openhead(landmarks=["nose"]), "head_model.json",
         ("`landmarks`: expected numbers of vertices",)),
]  # fmt: skip


@each(CASES)
def test_damage_is_told_with_file_and_frame_and_errors_stop_reading(case, author) -> None:
    case.damage(author)
    problems = ImavatarReader().check(author.folder, case.options)
    expect_told(case, problems)
    assert not any("DATASET." in problem.line() for problem in problems)
    expect_read(case, "imavatar", lambda: ImavatarReader().read(author.folder, case.options))


def test_messages_are_distinct() -> None:
    assert len({case.fragments for case in CASES}) >= len(CASES) - 1


def test_positive_fx_and_pixels_can_be_read(author) -> None:
    plain = ImavatarReader().read(author.folder, {}).train[0].camera.K
    author.top("intrinsics", [2.9, 2.8, 0.51, 0.49])
    assert (
        ImavatarReader().read(author.folder, {"positive_fx": "absolute"}).train[0].camera.K - plain
    ).abs().max() == 0
    author.top("intrinsics", [-2.9 * 32, 2.8 * 32, 0.51 * 32, 0.49 * 32])
    subject = ImavatarReader().read(author.folder, {})
    assert (subject.train[0].camera.K - plain).abs().max() < 1e-5 and any("pixels" in note for note in subject.notes)


def test_a_folder_images_is_read_and_noted(author) -> None:
    _without_matted(author)
    (author.train / "image").rename(author.train / "images")
    assert any("images/ instead of image/" in note for note in ImavatarReader().read(author.folder, {}).notes)
