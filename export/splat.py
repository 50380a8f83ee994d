"""Format splat: 32 bytes per Gaussian, without spherical harmonics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headbench.export.places import each_pose
from headbench.export.poses import Pose, Poses
from headbench.export.source import Source
from headbench.export.splats import Splats, plain_colours, splats_at

__all__ = ["RECORD", "encoded", "write"]

RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
"""One Gaussian: centre and standard deviations (metres), colour and opacity, quaternion (w, x, y, z) as 128 q + 128."""


def write(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write a file of Gaussians per pose (see `Writer`)."""

    def one(pose: Pose, path: Path) -> list[str]:
        splats = splats_at(source, pose)
        path.write_bytes(encoded(splats))
        if splats.degree == 0:
            return []
        return [
            f"format splat holds no spherical harmonics: those of degree 1 to {splats.degree} were left out, so "
            "colours do not change with the direction from which one looks."
        ]

    return each_pose(poses, out, ".splat", one)


def encoded(splats: Splats) -> bytes:
    """Bytes of the file: one record per Gaussian, those that cover most first, since viewers show what has arrived."""
    records = np.empty(len(splats), RECORD)
    scales = np.exp(splats.log_scales)
    records["mean"], records["scale"] = splats.means, scales
    rgba = np.concatenate([plain_colours(splats), splats.opacities[:, None]], axis=1)
    records["rgba"] = np.rint(255 * rgba)
    records["quat"] = np.clip(np.rint(128 * splats.quats + 128), 0, 255)
    cover = splats.log_scales.sum(1) + np.log(np.maximum(splats.opacities, 1e-6))
    return records[np.argsort(-cover, kind="stable")].tobytes()
