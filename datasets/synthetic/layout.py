"""Base class of the writers of synthetic subjects: which pictures a layout wants, and where their files go."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.synthetic.motion import Motion
from headbench.datasets.synthetic.picture import Picture
from headbench.datasets.synthetic.scene import Scene
from headbench.datasets.synthetic.views import intrinsics, world_to_camera

__all__ = ["Clip", "Shot", "Writer", "split"]

Floats = NDArray[np.float64]

TEST_SHARE = 0.2
"""Share of a subject's frames that are for testing."""


@dataclass(frozen=True)
class Clip:
    """Performance of one synthetic subject: who moves how, in pictures of what size."""

    name: str
    """Name of the subject's folder."""
    scene: Scene
    motion: Motion
    """Motion of the head, T rows."""
    size: int
    """Side of the pictures in pixels."""


@dataclass(frozen=True)
class Shot:
    """Row and camera of one picture to render."""

    index: int
    """Row of the motion."""
    camera: str
    """Name of the camera."""
    w2c: Floats
    """(4, 4) world to camera, OpenCV axes, metres.

    The world is the head before it turns: yaw, pitch, roll and offset of the motion are in here."""
    K: Floats
    """(3, 3) intrinsics in pixels."""


class Writer(abc.ABC):
    """Writes subjects in one layout. Holds no state: processes that render have one each."""

    layout: str
    """Name of the layout for `--layout`, and of the dataset's folder below the data root."""

    def subject(self, number: int) -> str:
        """Name of the folder of a subject, counted from 0."""
        return f"synth{number:02d}"

    def shots(self, clip: Clip) -> Sequence[Shot]:
        """List every picture that `frame` is to write; the first one of each row of the motion gives the true vertices.

        One camera, as a tracker of a single video finds it, unless the layout has more.
        """
        K = intrinsics(clip.size)
        return [Shot(k, "0", w2c, K) for k, w2c in enumerate(world_to_camera(clip.motion))]

    @abc.abstractmethod
    def tracking(self, folder: Path, clip: Clip) -> None:
        """Write everything but images, before any `frame`: coefficients, cameras, split, head, and the folders."""

    @abc.abstractmethod
    def frame(self, folder: Path, clip: Clip, shot: Shot, picture: Picture) -> None:
        """Write the image files of one shot. Called in any order and by several processes.

        Args:
            folder: the subject's.
            clip: its performance.
            shot: the row and the camera of the picture.
            picture: what was rendered.
        """

    def truth(self, folder: Path, clip: Clip, vertices: NDArray[np.float32]) -> None:
        """Write the vertices into ``truth/``, which no real dataset has, once all frames are written.

        Args:
            folder: the subject's.
            clip: its performance.
            vertices: (T, V, 3) metres, without hair.
        """
        (folder / "truth").mkdir(exist_ok=True)
        faces = clip.scene.head.faces.numpy()
        np.savez_compressed(folder / "truth" / "vertices.npz", vertices=vertices, faces=faces)


def split(frames: int) -> tuple[range, range]:
    """Divide frames into training and test: the last fifth is for testing, at least one frame."""
    test = max(1, round(frames * TEST_SHARE))
    return range(frames - test), range(frames - test, frames)
