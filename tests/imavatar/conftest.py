"""A subject in IMAvatar layout written by hand: 11 + 3 frames of 32 x 32, nothing of it made by the code under test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage_cases import Kept
from PIL import Image

SIZE = 32
TRAIN, TEST = range(1, 12), range(1, 4)
INTRINSICS = [-2.9, 2.8, 0.51, 0.49]


def turn(angle: float) -> np.ndarray:
    """A rotation about an axis that is none of the camera's."""
    axis = np.array([0.48, 0.6, 0.64])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def image(number: int) -> np.ndarray:
    """(H, W, 4): an opaque disc on nothing with one soft ring, colours by frame."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    radius = np.hypot(x - SIZE / 2, y - SIZE / 2)
    alpha = np.where(radius < 12, 255, np.where(radius < 13.5, 100, 0))
    return np.stack([x * 7, y * 7, np.full_like(x, 10 * number), alpha], axis=2).astype(np.uint8)


def entry(number: int, rotation: np.ndarray | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    world = np.concatenate([np.eye(3) if rotation is None else rotation, [[0.02 * number], [0.1], [-4.0]]], 1)
    return {
        "file_path": f"./image/{number}",
        "world_mat": world.tolist(),
        "expression": (0.5 * rng.normal(size=50)).tolist(),
        "pose": [0.01 * number + 0.001 * k for k in range(15)],
        "bbox": [-0.5, -0.5, 0.5, 0.5],
        "flame_keypoints": np.zeros((68, 2)).tolist(),
    }


class Author:
    """Writes a subject and then damages it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, parts: dict[str, range] | None = None, rotation: np.ndarray | None = None) -> Author:
        for name, numbers in (parts or {f"{self.folder.name}_train": TRAIN, f"{self.folder.name}_test": TEST}).items():
            place = self.folder / name
            for kind in ("image", "mask", "matted", "parsing"):
                (place / kind).mkdir(parents=True)
            for number in numbers:
                rgba = image(number)
                Image.fromarray(rgba).save(place / f"matted/{number}.png")
                Image.fromarray(np.where(rgba[..., 3:] > 0, rgba[..., :3], 77)).save(place / f"image/{number}.png")
                Image.fromarray(rgba[..., [3, 3, 3]]).save(place / f"mask/{number}.png")
                mouth = np.zeros((SIZE, SIZE), np.uint8)
                mouth[20:24, 12:20] = 255
                Image.fromarray(mouth).save(place / f"parsing/{number}_mouth.png")
            shape = [0.5, -0.25, *[0.0] * 98]
            # Not in the order of numbers: 10 comes before 2 in a listing.
            frames = [entry(number, rotation) for number in sorted(numbers, key=str)]
            content = {"frames": frames, "shape_params": shape, "intrinsics": INTRINSICS}
            (place / "flame_params.json").write_text(json.dumps(content))
        return self

    @property
    def train(self) -> Path:
        return self.folder / f"{self.folder.name}_train"

    @property
    def test(self) -> Path:
        return self.folder / f"{self.folder.name}_test"

    def edit(self, part: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the content of a video's JSON; NaN and Infinity tokens are written as they are."""
        path = self.folder / f"{self.folder.name}_{part}" / "flame_params.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def frame(self, number: int, key: str, value: Any, part: str = "train") -> None:
        """Set a key of one frame, or change it by a function."""

        def change(content: dict[str, Any]) -> None:
            (found,) = [f for f in content["frames"] if isinstance(f, dict) and f["file_path"] == f"./image/{number}"]
            found[key] = value(found[key]) if callable(value) else value

        self.edit(part, change)

    def every(self, key: str, change: Callable[[Any], Any]) -> None:
        for part in ("train", "test"):
            self.edit(part, lambda c: [f.__setitem__(key, change(f[key])) for f in c["frames"]])

    def top(self, key: str, value: Any, parts: tuple[str, ...] = ("train", "test")) -> None:
        for part in parts:
            self.edit(part, lambda c: c.__setitem__(key, value(c[key]) if callable(value) else value))

    def overwrite(self, name: str, content: str | bytes) -> None:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def save(self, name: str, pixels: np.ndarray) -> None:
        Image.fromarray(pixels).save(self.folder / name)


@pytest.fixture(scope="session")
def _sound(tmp_path_factory) -> Kept:
    return Kept(Author(tmp_path_factory.mktemp("imavatar") / "someone").write().folder)


@pytest.fixture
def author(_sound, tmp_path) -> Author:
    return Author(_sound.write(tmp_path / "D" / "imavatar" / "someone"))


@pytest.fixture
def write(tmp_path) -> Callable[..., Author]:
    """Writes a subject of the given name with the given videos, in the doubled folder of the authors' archives."""

    def make(name: str, parts: dict[str, range], dataset: str = "imavatar", **how: Any) -> Author:
        author = Author(tmp_path / "D" / dataset / name / name).write(parts, **how)
        return author

    return make


@pytest.fixture(scope="session")
def by_hand():
    """The pieces that the subjects are written from."""
    return {"turn": turn, "entry": entry, "image": image, "intrinsics": INTRINSICS, "size": SIZE}
