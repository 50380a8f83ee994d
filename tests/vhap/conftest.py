"""A subject in VHAP layout written by hand: 6 moments, two cameras, 32 x 24, nothing of it made by what is tested."""

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

WIDTH, HEIGHT = 32, 24
LENS = {"fl_x": 80.0, "fl_y": 78.0, "cx": 15.0, "cy": 13.5, "w": WIDTH, "h": HEIGHT}
ANGLES = {"camera_angle_x": 2 * math.atan(WIDTH / 160.0), "camera_angle_y": 2 * math.atan(HEIGHT / 156.0)}
CAMERAS = {0: ("222200037", 0.0), 1: ("220700191", 0.5)}
TRAIN, TEST = range(4), range(4, 6)
VERTICES = 5143


def pose(yaw: float) -> np.ndarray:
    """Camera to world with OpenGL axes, 1.2 m from the head, turned about it."""
    c, s = math.cos(yaw), math.sin(yaw)
    matrix = np.eye(4)
    matrix[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    matrix[:3, 3] = 1.2 * matrix[:3, 2]
    return matrix


def parameters(moment: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(moment)
    rows = {
        name: 0.01 * rng.normal(size=(1, size))
        for name, size in (("translation", 3), ("rotation", 3), ("neck_pose", 3), ("jaw_pose", 3), ("eyes_pose", 6))
    }
    rows["expr"] = rng.normal(size=(1, 100))
    rows["shape"] = np.linspace(-1, 1, 300)
    rows["static_offset"] = np.full((1, VERTICES, 3), 0.001)
    return {name: value.astype(np.float32) for name, value in rows.items()}


def alpha() -> np.ndarray:
    """(H, W): opaque in the middle, half at its rim."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    radius = np.hypot(x - WIDTH / 2, y - HEIGHT / 2)
    return np.where(radius < 8, 255, np.where(radius < 9.5, 128, 0)).astype(np.uint8)


def colour(moment: int, camera: int) -> np.ndarray:
    """(H, W, 3) un-premultiplied."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 7, y * 9, np.full_like(x, 20 * moment + 100 * camera)], axis=2).astype(np.uint8)


def frame(moment: int, camera: int, place: str = "") -> dict[str, Any]:
    name = f"{moment:05d}_{camera:02d}.png"
    return {
        "timestep_index": moment,
        "timestep_index_original": moment,
        "timestep_id": f"frame_{moment:05d}",
        "camera_index": camera,
        "camera_id": CAMERAS[camera][0],
        **LENS,
        **ANGLES,
        "transform_matrix": pose(CAMERAS[camera][1]).tolist(),
        "file_path": f"{place}images/{name}",
        "fg_mask_path": f"{place}fg_masks/{name}",
        "flame_param_path": f"{place}flame_param/{moment:05d}.npz",
    }


class Author:
    """Writes a subject and then damages it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, cameras: tuple[int, ...] = (0, 1)) -> Author:
        for kind in ("images", "fg_masks", "flame_param"):
            (self.folder / kind).mkdir(parents=True)
        for moment in (*TRAIN, *TEST):
            np.savez(self.folder / f"flame_param/{moment:05d}.npz", **parameters(moment))
            for camera in cameras:
                name = f"{moment:05d}_{camera:02d}.png"
                share = alpha()[..., None] / 255
                white = share * colour(moment, camera) + (1 - share) * 255
                Image.fromarray(np.round(white).astype(np.uint8)).save(self.folder / "images" / name)
                Image.fromarray(alpha()).save(self.folder / "fg_masks" / name)
        still = {**parameters(0), "jaw_pose": np.array([[0.3, 0, 0]], np.float32)}
        np.savez(self.folder / "canonical_flame_param.npz", **still)
        # The last camera is for validation where there is more than one.
        held = cameras[1:]
        self.json("train", [frame(t, c) for t in TRAIN for c in cameras[:1]])
        self.json("val", [frame(t, c) for t in TRAIN for c in held])
        self.json("test", [frame(t, c) for t in TEST for c in cameras])
        return self

    def json(self, part: str, frames: list[dict[str, Any]]) -> None:
        moments = sorted({f["timestep_index"] for f in frames})
        content = {"frames": frames, **LENS, **ANGLES, "timestep_indices": moments, "camera_indices": [0, 1]}
        (self.folder / f"transforms_{part}.json").write_text(json.dumps(content, indent=4))

    def edit(self, part: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the content of a JSON; NaN and Infinity tokens are written as they are."""
        path = self.folder / f"transforms_{part}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def frame(self, moment: int, key: str, value: Any, part: str = "train") -> None:
        def change(content: dict[str, Any]) -> None:
            found = [f for f in content["frames"] if isinstance(f, dict) and f.get("timestep_index") == moment]
            found[0][key] = value(found[0][key]) if callable(value) else value

        self.edit(part, change)

    def every(self, key: str, change: Callable[[Any], Any]) -> None:
        for part in ("train", "val", "test"):
            self.edit(part, lambda c: [f.__setitem__(key, change(f[key])) for f in c["frames"]])

    def drop(self, key: str) -> None:
        for part in ("train", "val", "test"):
            self.edit(part, lambda c: [f.pop(key) for f in c["frames"]])

    def npz(self, moment: int, **change: Any) -> None:
        """Set arrays of one moment; None removes one."""
        path = self.folder / f"flame_param/{moment:05d}.npz"
        values = {**dict(np.load(path)), **change}
        np.savez(path, **{name: value for name, value in values.items() if value is not None})

    def all_npz(self, **change: Any) -> None:
        for moment in (*TRAIN, *TEST):
            self.npz(moment, **change)

    def overwrite(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def save(self, name: str, pixels: np.ndarray) -> None:
        Image.fromarray(pixels).save(self.folder / name)


@pytest.fixture(scope="session")
def _sound(tmp_path_factory) -> Kept:
    return Kept(Author(tmp_path_factory.mktemp("vhap") / "someone").write().folder)


@pytest.fixture
def author(_sound, tmp_path) -> Author:
    return Author(_sound.write(tmp_path / "D" / "vhap" / "someone"))


@pytest.fixture
def write(tmp_path) -> Callable[..., Author]:
    """Writes a subject of the given name."""
    return lambda name, **how: Author(tmp_path / "D" / "vhap" / name).write(**how)


@pytest.fixture(scope="session")
def by_hand():
    """The pieces that the subjects are written from."""
    return {
        "parameters": parameters, "colour": colour, "alpha": alpha, "pose": pose, "frame": frame, "lens": LENS,
        "cameras": CAMERAS,
    }  # fmt: skip
