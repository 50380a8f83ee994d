"""Writer of synthetic participants of the NeRSemble benchmark's task mono FLAME avatar."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from headbench.datasets.nersemble.benchmark import (
    CRF,
    PARTICIPANTS,
    SERIALS,
    TASK,
    TEST_SEQUENCES,
    TRACKINGS,
    TRAIN_SEQUENCES,
    TRAIN_SERIAL,
)
from headbench.datasets.synthetic.layout import Clip, Shot, Writer
from headbench.datasets.synthetic.picture import Picture
from headbench.datasets.synthetic.scene import TAG
from headbench.datasets.synthetic.views import DISTANCE, FLIP, intrinsics, world_to_camera
from headbench.harness.errors import BenchError
from headbench.harness.image.video import write_video
from headbench.harness.pictures import read_picture

__all__ = ["NersembleWriter"]

Floats = NDArray[np.float64]

EXPRESSIONS, SHAPES = 100, 300
"""Numbers of expression and of shape coefficients in a file; the open head's are padded with zeros."""
SEQUENCES = (*TRAIN_SEQUENCES, *TEST_SEQUENCES)
"""Names of all sequences, those for training first."""
RATE = Fraction(243, 10)
"""Frames per second of the videos."""
ANGLES = ((6, -4, 2), (-38, 3, 0), (-3, 8, 1), (36, 2, -2))
"""Yaw, pitch and roll of each camera from a frontal one, in degrees, in the order of `SERIALS`."""
SHIFTS = ((0, 0), (0.021, -0.013), (-0.017, 0.024), (0.012, 0.019))
"""Offset of each camera's principal point from the first one's, in parts of the image's side."""
NUDGE = np.array([0.013, -0.021, 0.017])
"""Point that the cameras look at, in metres from the world's origin."""
PENDING = ".pending"
"""Folder that holds images until videos are made of them."""


@dataclass(frozen=True)
class Placed:
    """Place of the head in the world in the frames of a sequence: x -> scale R x + t."""

    rows: range
    """Rows of the motion."""
    scale: float
    R: Floats
    """(T, 3, 3) rotations of the head, one per row."""
    t: Floats
    """(T, 3) translations, metres."""


class NersembleWriter(Writer):
    """Writes people in the layout of the benchmark's download: training videos, and tracking and cameras of all."""

    layout = "nersemble"

    def subject(self, number: int) -> str:
        if number >= len(PARTICIPANTS):
            raise BenchError(f"The benchmark has {len(PARTICIPANTS)} participants, asked for {number + 1}.")
        return f"{TASK}/{PARTICIPANTS[number]}"

    def shots(self, clip: Clip) -> Sequence[Shot]:
        K = _intrinsics(0, clip.size)
        pose = _cameras()[0]
        shots = []
        for name, placed in _placed(clip).items():
            for row, R, t in zip(placed.rows, placed.R, placed.t, strict=True):
                # Scaling everything about the camera changes no picture: the renderer's head has its own size.
                w2c = np.eye(4)
                w2c[:3, :3] = pose[:3, :3] @ R
                w2c[:3, 3] = (pose[:3, :3] @ t + pose[:3, 3]) / placed.scale
                if name in TRAIN_SEQUENCES:
                    shots.append(Shot(row, TRAIN_SERIAL, w2c, K))
        return shots

    def tracking(self, folder: Path, clip: Clip) -> None:
        motion = clip.motion
        (folder / "calibration").mkdir()
        poses = _cameras()
        content = {
            "world_2_cam": {serial: poses[k].tolist() for k, serial in enumerate(SERIALS)},
            "intrinsics": {serial: _intrinsics(k, clip.size).tolist() for k, serial in enumerate(SERIALS)},
        }
        (folder / "calibration" / "camera_params.json").write_text(json.dumps(content, indent=4) + "\n", "utf-8")
        (folder / "head_model.json").write_text(json.dumps({"tag": TAG, "size": clip.size}) + "\n", "utf-8")
        for name, placed in _placed(clip).items():
            rows = slice(placed.rows.start, placed.rows.stop)
            count = len(placed.rows)
            arrays = {
                "shape": _padded(clip.scene.person.shape[None], SHAPES),
                "expression": _padded(motion.expression[rows], EXPRESSIONS),
                "rotation": Rotation.from_matrix(placed.R).as_euler("XYZ"),
                "rotation_matrices": placed.R,
                "translation": placed.t,
                "scale": np.array([[placed.scale]]),
                "jaw": motion.jaw[rows],
                "neck": np.zeros((count, 3)),
                "eyes": np.concatenate([motion.eye_left[rows], motion.eye_right[rows]], axis=1),
            }
            place = folder / "sequences" / name / "tracking"
            place.mkdir(parents=True)
            stored: dict[str, Any] = {key: value.astype(np.float32) for key, value in arrays.items()}
            np.savez(place / f"{TRACKINGS['v2']}.npz", **stored, frames=np.arange(count))
        (folder / PENDING).mkdir()

    def frame(self, folder: Path, clip: Clip, shot: Shot, picture: Picture) -> None:
        """Keep the picture of one shot until the videos are made.

        Args:
            folder, clip, shot, picture: those of `Writer.frame`.
        """
        Image.fromarray(picture.rgba).save(folder / PENDING / f"{shot.index:05d}.png", compress_level=1)

    def truth(self, folder: Path, clip: Clip, vertices: NDArray[np.float32]) -> None:
        """Make the videos of the kept pictures, then write ``truth/``.

        Args:
            folder, clip, vertices: those of `Writer.truth`.
        """
        for name, placed in _placed(clip).items():
            if name in TRAIN_SEQUENCES:
                place = folder / "sequences" / name
                video = f"cam_{TRAIN_SERIAL}.mp4"
                write_video(place / "images" / video, _on_white(folder, placed.rows), RATE, str(CRF))
                write_video(place / "alpha_maps" / video, _mattes(folder, placed.rows), RATE, str(CRF))
        shutil.rmtree(folder / PENDING)
        super().truth(folder, clip, vertices)


def _placed(clip: Clip) -> dict[str, Placed]:
    """Divide a performance into sequences of equal length, and place the head in the world of each.

    The first camera sees the head move as the motion says.
    """
    frames = len(clip.motion.yaw)
    if frames < len(SEQUENCES):
        message = f"Expected at least {len(SEQUENCES)} frames, one per sequence of the benchmark, found {frames}."
        raise BenchError(message, help=f"--frames {2 * len(SEQUENCES)}")
    seen, pose = world_to_camera(clip.motion), _cameras()[0]
    turned = pose[:3, :3].T
    found = {}
    for k, name in enumerate(SEQUENCES):
        rows = range(k * frames // len(SEQUENCES), (k + 1) * frames // len(SEQUENCES))
        scale = 0.94 + 0.01 * (k % 7)
        members = seen[rows.start : rows.stop]
        R = turned @ members[:, :3, :3]
        t = (scale * members[:, :3, 3] - pose[:3, 3]) @ turned.T
        found[name] = Placed(rows, scale, R, t)
    return found


def _cameras() -> Floats:
    """World-to-camera matrices (4, 4, 4), OpenCV axes, in the order of `SERIALS`: all look at a point near the head."""
    poses = np.tile(np.eye(4), (len(SERIALS), 1, 1))
    for pose, angles in zip(poses, ANGLES, strict=True):
        pose[:3, :3] = FLIP @ Rotation.from_euler("YXZ", angles, degrees=True).as_matrix()
        pose[:3, 3] = [0, 0, DISTANCE] - pose[:3, :3] @ NUDGE
    return poses


def _intrinsics(camera: int, size: int) -> Floats:
    """Intrinsic matrix (3, 3) of a camera, in pixels; every camera has its own."""
    K = intrinsics(size)
    K[[0, 1], [0, 1]] *= 1 - 0.03 * camera
    K[:2, 2] += size * np.array(SHIFTS[camera])
    return K


def _padded(values: Floats, count: int) -> Floats:
    return np.pad(values, ((0, 0), (0, count - values.shape[1])))


def _pictures(folder: Path, rows: range) -> Iterator[NDArray[np.uint8]]:
    """Read the pending RGBA images of some rows."""
    for row in rows:
        yield np.array(read_picture(folder / PENDING / f"{row:05d}.png"))


def _on_white(folder: Path, rows: range) -> Iterator[NDArray[np.uint8]]:
    """Composite the pending images of some rows on white."""
    for rgba in _pictures(folder, rows):
        share = rgba[..., 3:] / 255
        yield np.round(share * rgba[..., :3] + 255 * (1 - share)).astype(np.uint8)


def _mattes(folder: Path, rows: range) -> Iterator[NDArray[np.uint8]]:
    """Read the pending alphas of some rows as grey images of three channels."""
    for rgba in _pictures(folder, rows):
        yield np.repeat(rgba[..., 3:], 3, axis=2)
