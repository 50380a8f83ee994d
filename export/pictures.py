"""Formats frames and video: pictures with alpha as PNG, and an mp4 on a background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.export.places import each_pose
from headbench.export.poses import Pose, Poses
from headbench.export.source import Source
from headbench.harness.image import save_png, to_rgb8
from headbench.harness.image.video import write_video
from headbench.harness.session import View

__all__ = ["straight", "write_film", "write_frames"]

_CLEAR = 1 / 512
"""Coverage below which a pixel rounds to no coverage in 8 bits, and has no colour of its own."""


def write_frames(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write a PNG with alpha per pose (see `Writer`)."""

    def one(pose: Pose, path: Path) -> None:
        image = source.session.render(pose.params, pose.camera, "black", "float32", alpha=True)
        save_png(to_rgb8(straight(image[0])), path)

    return each_pose(poses, out, ".png", one)


def write_film(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write all poses as one mp4 (see `Writer`)."""
    views = [View(pose.name, pose.params, pose.camera) for pose in poses.members]

    def images() -> Iterator[NDArray[np.uint8]]:
        for image in source.session.stream(views, source.background):
            yield to_rgb8(image)

    write_video(out, images(), source.fps)
    return ["an mp4 holds no alpha: --format frames does."]


def straight(image: torch.Tensor) -> torch.Tensor:
    """Colour and coverage (4, H, W) of a picture on black, with the colour divided by the coverage, in [0, 1]."""
    alpha = image[3:].clamp(0, 1)
    colour = torch.where(alpha > _CLEAR, image[:3] / alpha.clamp(min=_CLEAR), 0.0)
    return torch.cat([colour.clamp(0, 1), alpha])
