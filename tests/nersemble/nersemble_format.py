"""A person of the task mono FLAME avatar written by hand: two 32 x 32 images per sequence, nothing of it made by the
code under test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE, FRAMES = 32, 2
CAMERA = "222200037"
SERIALS = (CAMERA, "222200046", "220700191", "222200039")
TRAIN = [
    "EXP-1-head",
    "EXP-2-eyes",
    "EXP-3-cheeks+nose",
    "EXP-4-lips",
    "EXP-5-mouth",
    "EXP-8-jaw-1",
    "EXP-9-jaw-2",
    "EMO-2-surprise+fear",
    "EMO-3-angry+sad",
    "EMO-4-disgust+happy",
    "SEN-01-cramp_small_danger",
    "SEN-02-same_phrase_thirty_times",
    "SEN-03-pluck_bright_rose",
    "SEN-04-two_plus_seven",
    "SEN-05-glow_eyes_sweet_girl",
    "SEN-06-problems_wise_chief",
    "SEN-07-fond_note_fried",
    "SEN-08-clothes_and_lodging",
]
TEST = ["FREE", "EMO-1-shout+laugh", "SEN-09-frown_events_bad", "SEN-10-port_strong_smokey"]
FILES = {"v2": "flame2023_tracking_v2.npz", "v1": "flame2023_tracking.npz"}


def angles(sequence: int, frame: int) -> tuple[float, float, float]:
    """Radians about x, y and z; no two frames alike."""
    return 0.02 * sequence - 0.1, 0.3 - 0.03 * sequence + 0.1 * frame, 0.05 * frame - 0.02


def matrix(a: float, b: float, c: float) -> np.ndarray:
    """Rx(a) Ry(b) Rz(c), multiplied out factor by factor."""
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def arrays(sequence: int, frames: int = FRAMES) -> dict[str, np.ndarray]:
    """The tracking of a sequence, counted from 0 over training and test sequences."""
    rng = np.random.default_rng(sequence)
    expression, shape = np.zeros((frames, 100)), np.zeros((1, 300))
    expression[:, :20] = rng.uniform(0, 0.3, (frames, 20))
    shape[0, :3] = 0.5, -0.25, 0.125
    turns = np.array([angles(sequence, k) for k in range(frames)])
    eyes = np.zeros((frames, 6))
    eyes[:, :3], eyes[:, 3:] = [0.1, 0.2, 0], [0.1, -0.05, 0]
    content = {
        "shape": shape,
        "expression": expression,
        "rotation": turns,
        "rotation_matrices": np.stack([matrix(*turn) for turn in turns]),
        "translation": np.array([[0.004 * k, -0.002 * k, 0.01] for k in range(frames)]),
        "scale": np.array([[0.95]]),
        "jaw": np.tile([0.1, 0.0, 0.01], (frames, 1)),
        "neck": np.tile([0.0, 0.02, 0.0], (frames, 1)),
        "eyes": eyes,
    }
    return {**{key: value.astype(np.float32) for key, value in content.items()}, "frames": np.arange(frames)}


def cameras() -> dict[str, Any]:
    """Four cameras 0.9 m from the head; the first one looks along -z."""
    poses, intrinsics = {}, {}
    for k, (serial, yaw) in enumerate(zip(SERIALS, (0.0, -0.6, 0.1, 0.6), strict=True)):
        pose = np.eye(4)
        pose[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ matrix(0.0, yaw, 0.0)
        pose[:3, 3] = [0.0, 0.0, 0.9]
        poses[serial] = pose.tolist()
        intrinsics[serial] = [[72.0 + k, 0.0, 15.5 + k / 4], [0.0, 71.0 + k, 16.25], [0.0, 0.0, 1.0]]
    return {"world_2_cam": poses, "intrinsics": intrinsics}


def inside() -> np.ndarray:
    """(H, W): an ellipse where the head is."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    return ((x - 15.5) / 8.5) ** 2 + ((y - 16) / 13) ** 2 < 1


def grey(sequence: int, frame: int) -> int:
    """The head's colour in an image; neighbours are far apart."""
    return 40 + 7 * sequence + 60 * frame


def image(sequence: int, frame: int) -> np.ndarray:
    """(H, W, 3): a grey head on white."""
    return np.where(inside()[..., None], np.uint8(grey(sequence, frame)), np.uint8(255)).repeat(3, axis=2)


def matte() -> np.ndarray:
    """(H, W, 3)"""
    return np.where(inside()[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)


def write_mp4(path: Path, images: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "1", "threads": "1"})
        stream.pix_fmt, stream.height, stream.width = "yuv420p", *images[0].shape[:2]
        for picture in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


class Author:
    """Writes a person and then damages it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration" / "camera_params.json"

    def write(self) -> None:
        self.calibration.parent.mkdir(parents=True)
        self.calibration.write_text(json.dumps(cameras()))
        (self.folder / "head_model.json").write_text(json.dumps({"tag": "openhead", "size": SIZE}))
        for k, sequence in enumerate([*TRAIN, *TEST]):
            self.track(sequence, arrays(k))
            if sequence in TRAIN:
                self.film(sequence, [image(k, frame) for frame in range(FRAMES)])
                self.film(sequence, [matte()] * FRAMES, "alpha_maps")

    def tracking(self, sequence: str, version: str = "v2") -> Path:
        return self.folder / "sequences" / sequence / "tracking" / FILES[version]

    def video(self, sequence: str, kind: str = "images") -> Path:
        return self.folder / "sequences" / sequence / kind / f"cam_{CAMERA}.mp4"

    def track(self, sequence: str, content: dict[str, Any], version: str = "v2") -> None:
        """Write a tracking file."""
        path = self.tracking(sequence, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **content)

    def film(self, sequence: str, images: list[np.ndarray], kind: str = "images") -> None:
        """Write a video."""
        write_mp4(self.video(sequence, kind), images)

    def retrack(self, sequence: str, change: Callable[[dict[str, Any]], Any], version: str = "v2") -> None:
        """Change the arrays of a tracking file in place."""
        with np.load(self.tracking(sequence)) as store:
            content = {key: store[key].copy() for key in store.files}
        change(content)
        self.track(sequence, content, version)

    def old_tracking(self, but: str = "") -> None:
        """The first version besides, of the training sequences; its heads stand elsewhere."""
        for sequence in TRAIN:
            if sequence != but and self.sequence(sequence).is_dir():
                self.retrack(sequence, lambda c: c["translation"].__iadd__(np.float32(0.03)), "v1")

    def edit(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the cameras; NaN and Infinity tokens are written as they are."""
        content = json.loads(self.calibration.read_text())
        change(content)
        self.calibration.write_text(json.dumps(content))

    def pose(self, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
        """Change the training camera's matrix, in place or by what `change` returns."""

        def edit(content: dict[str, Any]) -> None:
            pose = np.array(content["world_2_cam"][CAMERA])
            changed = change(pose)
            content["world_2_cam"][CAMERA] = (pose if changed is None else changed).tolist()

        self.edit(edit)

    def cut(self, path: Path, share: float) -> None:
        """Leave the first part of a file."""
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    def remove(self, *paths: Path) -> None:
        """Remove files and folders."""
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def sequence(self, name: str) -> Path:
        """A sequence's folder."""
        return self.folder / "sequences" / name

    def pictures(self, sequence: str, kind: str = "images") -> list[np.ndarray]:
        """The pictures as they were written."""
        if kind == "alpha_maps":
            return [matte()] * FRAMES
        return [image(TRAIN.index(sequence), frame) for frame in range(FRAMES)]

    def swap(self, sequence: str) -> None:
        """Coloured images where the mattes should be, and the other way about."""
        red = [np.where(picture == 255, picture, picture * np.uint8([1, 0, 0])) for picture in self.pictures(sequence)]
        self.film(sequence, red, "alpha_maps")
        self.film(sequence, self.pictures(sequence, "alpha_maps"))

    def scramble(self, path: Path) -> None:
        """Overwrite the coded pictures and leave the container's tables whole."""
        content = bytearray(path.read_bytes())
        start = content.index(b"mdat") + 4
        content[start : content.index(b"moov") - 4] = b"\0" * (content.index(b"moov") - 4 - start)
        path.write_bytes(bytes(content))

    def move(self, name: str) -> None:
        """Give the person another number."""
        self.folder = self.folder.rename(self.folder.with_name(name))
