"""Writer of synthetic subjects in INSTA's layout, as a patched export with FlashAvatar's parsing has it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headbench.datasets.synthetic.layout import Clip, Shot, Writer, split
from headbench.datasets.synthetic.picture import Picture
from headbench.datasets.synthetic.scene import TAG
from headbench.datasets.synthetic.views import intrinsics, world_to_camera
from headbench.harness.rotations import axis_angle_to_matrix

__all__ = ["InstaWriter", "header"]

Floats = NDArray[np.float64]

EXPRESSIONS, SHAPES = 100, 300
"""Numbers of coefficients in a file; the open head's are padded with zeros."""
VALIDATION = 20
"""Number of last frames that transforms_val.json holds, as INSTA's script has it."""


class InstaWriter(Writer):
    """Writes subjects in the layout of INSTA's patched export."""

    layout = "insta"

    def tracking(self, folder: Path, clip: Clip) -> None:
        motion, frames = clip.motion, len(clip.motion.yaw)
        for kind in ("images", "matted", "alpha", "parsing", "seg_mask", "depth"):
            (folder / kind).mkdir()
        for kind in ("exp", "shape", "eyes", "jaw", "eyelids"):
            (folder / "flame" / kind).mkdir(parents=True)
        for index in range(frames):
            rows = {
                "exp": _padded(motion.expression[index], EXPRESSIONS),
                "shape": _padded(clip.scene.person.shape, SHAPES),
                "eyes": np.concatenate([_six(motion.eye_left[index]), _six(motion.eye_right[index])]),
                "jaw": _six(motion.jaw[index]),
                "eyelids": np.zeros(2),
            }
            for kind, values in rows.items():
                text = "".join(f"{value:.8f}\n" for value in values)
                (folder / "flame" / kind / f"{index:05d}.txt").write_text(text, encoding="utf-8")
        (folder / "head_model.json").write_text(json.dumps({"tag": TAG}) + "\n", encoding="utf-8")
        poses = np.linalg.inv(world_to_camera(motion))
        train, test = split(frames)
        parts = {"": range(frames), "_train": train, "_test": test, "_val": range(max(0, frames - VALIDATION), frames)}
        for suffix, members in parts.items():
            content = {**header(clip.size), "frames": [_entry(k, poses[k]) for k in members]}
            (folder / f"transforms{suffix}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def frame(self, folder: Path, clip: Clip, shot: Shot, picture: Picture) -> None:
        """Write the images, mattes, masks and depth of one shot.

        Args:
            folder, clip, shot, picture: those of `Writer.frame`.
        """
        name = f"{shot.index:05d}"
        alpha = picture.rgba[..., 3]
        images: dict[str, NDArray[Any]] = {
            f"images/{name}.png": picture.rgba,
            f"matted/{name}.png": picture.rgba,
            f"alpha/{name}.png": alpha,
            f"parsing/{name}_mouth.png": picture.mouth,
            f"parsing/{name}_neckhead.png": ((alpha > 127) * 255).astype(np.uint8),
            f"seg_mask/{name}.png": np.repeat(picture.labels[..., None], 3, axis=2),
            f"depth/{name}.png": picture.depth,
        }
        for path, pixels in images.items():
            Image.fromarray(pixels).save(folder / path, compress_level=3)


def header(size: int) -> dict[str, float]:
    """Size and intrinsics for a transforms JSON: all floats, the sizes too, as INSTA's script writes them."""
    K = intrinsics(size)
    angles = {axis: 2 * math.atan(size / (2 * K[k, k])) for k, axis in enumerate("xy")}
    return {
        **{f"camera_angle_{axis}": angle for axis, angle in angles.items()},
        "fl_x": float(K[0, 0]),
        "fl_y": float(K[1, 1]),
        "cx": float(K[0, 2]),
        "cy": float(K[1, 2]),
        "w": float(size),
        "h": float(size),
        **{f"{axis}_fov": math.degrees(angle) for axis, angle in angles.items()},
        "integer_depth_scale": 0.001,
    }


def _entry(index: int, pose: Floats) -> dict[str, Any]:
    """Entry of one frame in a transforms JSON; `pose` is camera to world (4, 4)."""
    name = f"{index:05d}"
    return {
        "transform_matrix": pose.tolist(),
        "file_path": f"images/{name}.png",
        "mesh_path": f"meshes/{name}.obj",
        "exp_path": f"flame/exp/{name}.txt",
        "depth_path": f"depth/{name}.png",
        "seg_mask_path": f"seg_mask/{name}.png",
    }


def _padded(values: Floats, count: int) -> Floats:
    return np.concatenate([values, np.zeros(count - len(values))])


def _six(axis_angle: Floats) -> Floats:
    """First two rows of the rotation matrix of an axis-angle (3,), as six numbers."""
    matrix = axis_angle_to_matrix(torch.from_numpy(axis_angle))
    return np.asarray(matrix[:2].flatten().numpy())
