"""Writer of synthetic subjects in VHAP's layout, as it exports a tracked video for GaussianAvatars."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.datasets.synthetic.layout import Clip, Shot, Writer
from headbench.datasets.synthetic.picture import Picture
from headbench.datasets.synthetic.rooted import rooted_motion
from headbench.datasets.synthetic.scene import TAG, make_rest_offset
from headbench.datasets.synthetic.views import intrinsics

__all__ = ["VhapWriter"]

Floats = NDArray[np.float64]

SHAPES, EXPRESSIONS = 300, 100
"""Numbers of shape and of expression coefficients in a file; the open head's are padded with zeros."""
TRAIN_SHARE = 0.7
"""Share of the moments that are for training."""
OFFSET_FROM = 64
"""First identity coefficient that is zero in the files; what those from it on do is in the static offset."""
CAMERA_AHEAD = np.array([0.0, 0.0, 1.0])
"""Position in metres of the camera of a single video, before VHAP moves the mean of the translations to the origin."""


class VhapWriter(Writer):
    """Writes subjects in the layout of VHAP's export of one video: one camera that stands still."""

    layout = "vhap"

    def tracking(self, folder: Path, clip: Clip) -> None:
        for kind in ("images", "fg_masks", "flame_param"):
            (folder / kind).mkdir()
        root, places = rooted_motion(clip)
        translations = places + CAMERA_AHEAD
        mean = translations.mean(0)
        c2w = np.eye(4)
        c2w[:3, 3] = CAMERA_AHEAD - mean
        shape = np.zeros(SHAPES)
        shape[:OFFSET_FROM] = clip.scene.person.shape[:OFFSET_FROM]
        fixed = {"shape": _single(shape), "static_offset": make_rest_offset(clip.scene, OFFSET_FROM)[None]}
        motion = clip.motion
        for index in range(len(root)):
            rows = {
                "translation": translations[index] - mean,
                "rotation": root[index],
                "neck_pose": np.zeros(3),
                "jaw_pose": motion.jaw[index],
                "eyes_pose": np.concatenate([motion.eye_left[index], motion.eye_right[index]]),
                "expr": np.concatenate([motion.expression[index], np.zeros(EXPRESSIONS - motion.expression.shape[1])]),
            }
            values = {name: _single(row[None]) for name, row in rows.items()}
            _save(folder / "flame_param" / f"{index:05d}.npz", values | fixed)
        zero = {name: np.zeros_like(value) for name, value in values.items()}
        zero["jaw_pose"] = np.array([[0.3, 0.0, 0.0]])
        _save(folder / "canonical_flame_param.npz", zero | fixed)
        (folder / "head_model.json").write_text(json.dumps({"tag": TAG}) + "\n", encoding="utf-8")
        _write_json(folder, clip.size, c2w, len(root))

    def frame(self, folder: Path, clip: Clip, shot: Shot, picture: Picture) -> None:
        """Write the image of one shot, composited on white, and its foreground mask.

        Args:
            folder, clip, shot, picture: those of `Writer.frame`.
        """
        name = f"{shot.index:05d}_00.png"
        alpha = picture.rgba[..., 3:] / 255
        white = np.round(alpha * picture.rgba[..., :3] + 255 * (1 - alpha)).astype(np.uint8)
        Image.fromarray(white).save(folder / "images" / name, compress_level=3)
        Image.fromarray(picture.rgba[..., 3]).save(folder / "fg_masks" / name, compress_level=3)


def _write_json(folder: Path, size: int, c2w: Floats, count: int) -> None:
    """Write the JSON files of all frames and of the split; none is for validation, for there is a single camera.

    Args:
        folder: the subject's.
        size: side of the images in pixels.
        c2w: (4, 4) camera to world, OpenGL axes, metres.
        count: number of moments, of which the first part is for training.
    """
    frames = [_entry(k, size, c2w) for k in range(count)]
    header = {**_lens(size), "timestep_indices": list(range(count)), "camera_indices": [0]}
    until = math.ceil(TRAIN_SHARE * count)
    train = {**header, "timestep_indices": list(range(until)), "frames": frames[:until]}
    parts: dict[str, dict[str, Any]] = {
        "": {"frames": frames, **header},
        "_backup_flame": {"frames": frames, **header},
        "_train": train,
        "_val": {**train, "camera_indices": [], "frames": []},
        "_test": {**header, "timestep_indices": list(range(until, count)), "frames": frames[until:]},
    }
    untracked = [{k: v for k, v in frame.items() if k != "flame_param_path"} for frame in frames]
    parts["_backup"] = {"frames": untracked, **header}
    for suffix, content in parts.items():
        (folder / f"transforms{suffix}.json").write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def _lens(size: int) -> dict[str, float]:
    """Intrinsics for the JSON, in pixels; cy counts from the bottom edge, as VHAP's OpenGL convention has it."""
    K = intrinsics(size)
    return {
        "cx": float(K[0, 2]),
        "cy": float(size - K[1, 2]),
        "fl_x": float(K[0, 0]),
        "fl_y": float(K[1, 1]),
        "h": size,
        "w": size,
        "camera_angle_x": 2 * math.atan(size / (2 * K[0, 0])),
        "camera_angle_y": 2 * math.atan(size / (2 * K[1, 1])),
    }


def _entry(index: int, size: int, c2w: Floats) -> dict[str, Any]:
    """Entry of one frame in the JSON; `c2w` is camera to world (4, 4), OpenGL axes."""
    name = f"{index:05d}_00.png"
    return {
        "timestep_index": index,
        "timestep_index_original": index,
        "timestep_id": f"frame_{index:05d}",
        "camera_index": 0,
        "camera_id": "0",
        **_lens(size),
        "transform_matrix": c2w.tolist(),
        "file_path": f"images/{name}",
        "fg_mask_path": f"fg_masks/{name}",
        "flame_param_path": f"flame_param/{index:05d}.npz",
    }


def _single(values: Floats) -> NDArray[np.float32]:
    """Convert to float32."""
    return values.astype(np.float32)


def _save(path: Path, values: dict[str, NDArray[Any]]) -> None:
    np.savez(path, **values)  # type: ignore[arg-type]
