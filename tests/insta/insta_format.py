"""A subject in INSTA layout written by hand: 9 frames of 32 x 32, nothing of it made by the code under test."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

SIZE = 32
FOCAL = 60.0
TRAIN, TEST = range(6), range(6, 9)


def _c2w(frame: int) -> np.ndarray:
    """A camera 1 m before the face that swings a little to the side; OpenCV axes."""
    yaw = 0.02 * frame
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    pose = np.eye(4)
    pose[:3, :3] = turn @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = turn @ [0.0, 0.0, 1.0]
    return pose


def _coefficients(frame: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(frame)
    gaze, jaw = 0.1 * frame, 0.05 * frame
    turned = [math.cos(gaze), 0, math.sin(gaze), 0, 1, 0]
    shape = np.zeros(300)
    shape[:3] = 0.5, -0.25, 0.125
    return {
        "exp": np.concatenate([rng.normal(size=10), np.zeros(90)]),
        "shape": shape,
        "eyes": np.array([*turned, 1, 0, 0, 0, 1, 0], dtype=float),
        "jaw": np.array([1, 0, 0, 0, math.cos(jaw), -math.sin(jaw)]),
        "eyelids": np.array([0.1, 0.2]) * (frame % 3),
    }


def _image(frame: int) -> np.ndarray:
    """(H, W, 4): an opaque disc on nothing, colours by frame."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = (x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2 < (0.4 * SIZE) ** 2
    colour = np.stack([x * 7, y * 7, np.full_like(x, 20 * frame)], axis=2)
    return np.concatenate([colour, inside[..., None] * 255.0], axis=2).astype(np.uint8)


def _entry(frame: int) -> dict[str, Any]:
    name = f"{frame:05d}"
    return {
        "transform_matrix": _c2w(frame).tolist(),
        "file_path": f"images/{name}.png",
        "mesh_path": f"meshes/{name}.obj",
        "exp_path": f"flame/exp/{name}.txt",
        "depth_path": f"depth/{name}.png",
        "seg_mask_path": f"seg_mask/{name}.png",
    }


def write_json(path: Path, frames: list[int]) -> None:
    angle = 2 * math.atan(SIZE / (2 * FOCAL))
    content = {"w": float(SIZE), "h": float(SIZE), "fl_x": FOCAL, "fl_y": FOCAL, "cx": 15.5, "cy": 16.25}
    content |= {"camera_angle_x": angle, "camera_angle_y": angle, "integer_depth_scale": 0.001}
    path.write_text(json.dumps({**content, "frames": [_entry(k) for k in frames]}))


def write_frame_file(folder: Path, frame: int, **saving: Any) -> None:
    """What metrical-tracker stores, with numpy arrays inside."""
    numbers = {kind: values.astype(np.float32)[None] for kind, values in _coefficients(frame).items()}
    w2c = np.linalg.inv(_c2w(frame)).astype(np.float32)
    intrinsics = np.array([[[FOCAL, 0, 15.5], [0, FOCAL, 16.25], [0, 0, 1]]], dtype=np.float32)
    content = {
        "flame": {**numbers, "tex": np.zeros((1, 140), np.float32), "sh": np.zeros((1, 9, 3), np.float32)},
        "camera": {"R": np.array([[1, 0, 0, 0, 1, 0]], np.float32), "t": np.zeros((1, 3), np.float32)},
        "opencv": {"R": w2c[None, :3, :3], "t": w2c[None, :3, 3], "K": intrinsics},
        "img_size": np.array([SIZE, SIZE]),
        "frame_id": f"{frame:05d}",
        "global_step": 7,
    }
    (folder / "checkpoint").mkdir(exist_ok=True)
    torch.save(content, folder / "checkpoint" / f"{frame:05d}.frame", **saving)


class Author:
    """Writes a subject and then damages it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self) -> None:
        for name, frames in (("train", TRAIN), ("test", TEST)):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / f"transforms_{name}.json", list(frames))
        (self.folder / "images").mkdir()
        (self.folder / "parsing").mkdir()
        for frame in (*TRAIN, *TEST):
            Image.fromarray(_image(frame)).save(self.folder / "images" / f"{frame:05d}.png")
            mouth = np.zeros((SIZE, SIZE), np.uint8)
            mouth[20:24, 12:20] = 255
            Image.fromarray(mouth).save(self.folder / "parsing" / f"{frame:05d}_mouth.png")
            for kind, values in _coefficients(frame).items():
                self.text(kind, frame, values)

    def text(self, kind: str, frame: int, values: Any) -> None:
        """Write a coefficient file, one number per line."""
        path = self.folder / "flame" / kind / f"{frame:05d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{value:.8f}\n" for value in np.atleast_1d(values)))

    def edit(self, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the content of a split's JSON; NaN and Infinity tokens are written as they are."""
        path = self.folder / f"transforms_{name}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def frame_files(self, **saving: Any) -> None:
        """metrical-tracker's files of all frames."""
        for frame in (*TRAIN, *TEST):
            write_frame_file(self.folder, frame, **saving)

    def pose(self, frame: int, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
        """Change the matrix of a training frame, in place or by what `change` returns."""

        def edit(content: dict[str, Any]) -> None:
            matrix = np.array(content["frames"][frame]["transform_matrix"])
            changed = change(matrix)
            content["frames"][frame]["transform_matrix"] = (matrix if changed is None else changed).tolist()

        self.edit("train", edit)

    def remove(self, *paths: str) -> None:
        """Remove files and folders."""
        for path in paths:
            place = self.folder / path
            shutil.rmtree(place) if place.is_dir() else place.unlink()

    def overwrite(self, path: str, text: str) -> None:
        """Put a text where another file was."""
        (self.folder / path).write_text(text)

    def copy(self, path: str, other: str) -> None:
        """A second copy of a file."""
        shutil.copy(self.folder / path, self.folder / other)

    def matte(self, frame: int) -> None:
        """Store the alpha of a frame in ``alpha/``."""
        (self.folder / "alpha").mkdir(exist_ok=True)
        Image.fromarray(self.image(frame)[..., 3]).save(self.folder / f"alpha/{frame:05d}.png")

    def resave(self, frame: int, change: Callable[[np.ndarray], np.ndarray], suffix: str = "png") -> None:
        """Store changed pixels of a frame, perhaps as another kind of file."""
        self.remove(f"images/{frame:05d}.png")
        Image.fromarray(change(self.image(frame))).save(self.folder / f"images/{frame:05d}.{suffix}")

    def stock_without(self, frame: int) -> None:
        """A stock export whose tracker checkpoint lacks one frame."""
        self.frame_files()
        self.remove("flame/eyes", "flame/jaw", "flame/shape", "flame/eyelids", f"checkpoint/{frame:05d}.frame")

    def landmarks(self, folder: str, values: np.ndarray, frame: int = 3) -> None:
        """The tracker's landmarks of a frame."""
        (self.folder / folder).mkdir(exist_ok=True)
        np.save(self.folder / folder / f"{frame:05d}.npy", values)

    def image(self, frame: int) -> np.ndarray:
        """The pixels as they were written, (H, W, 4)."""
        return _image(frame)

    def camera(self, frame: int) -> np.ndarray:
        """Camera to world, (4, 4)."""
        return _c2w(frame)

    def numbers(self, frame: int) -> dict[str, np.ndarray]:
        """The coefficients as they were written."""
        return _coefficients(frame)
