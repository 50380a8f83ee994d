"""Format ply: Gaussians with the properties of 3D Gaussian splatting, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.export.places import each_pose
from headbench.export.poses import Poses
from headbench.export.source import Source
from headbench.export.splats import Splats, splats_at

__all__ = ["encoded", "property_names", "write"]

OPAQUE = 1e-6
"""Distance that opacities keep from 0 and 1, whose logits are infinite."""


def write(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write a file of Gaussians per pose (see `Writer`)."""
    return each_pose(poses, out, ".ply", lambda pose, path: path.write_bytes(encoded(splats_at(source, pose))))


def property_names(coefficients: int, extra: tuple[str, ...] = ()) -> list[str]:
    """Names of the properties of a Gaussian, in their order.

    Args:
        coefficients: K of the spherical harmonics: 1, 4, 9 or 16; those above degree 0 are channel by channel.
        extra: names of further properties, at the end.
    """
    rest = [f"f_rest_{k}" for k in range(3 * (coefficients - 1))]
    colours = [f"f_dc_{k}" for k in range(3)]
    shape = ["opacity", *(f"scale_{k}" for k in range(3)), *(f"rot_{k}" for k in range(4))]
    return ["x", "y", "z", "nx", "ny", "nz", *colours, *rest, *shape, *extra]


def encoded(splats: Splats) -> bytes:
    """Bytes of a binary little-endian PLY file: logits of opacities, logarithms of scales, quaternions (w, x, y, z)."""
    opacity = np.clip(splats.opacities.astype(np.float64), OPAQUE, 1 - OPAQUE)
    logits = np.log(opacity / (1 - opacity))
    return table_bytes(splats.means, splats.sh, logits, splats.log_scales, splats.quats)


def table_bytes(
    means: NDArray[np.floating],
    sh: NDArray[np.floating],
    logits: NDArray[np.floating],
    log_scales: NDArray[np.floating],
    quats: NDArray[np.floating],
    binding: NDArray[np.integer] | None = None,
) -> bytes:
    """Bytes of a PLY file of Gaussians, all values float32.

    Args:
        means: (N, 3) centres.
        sh: (N, K, 3) coefficients of spherical harmonics.
        logits: (N,) of opacities.
        log_scales: (N, 3).
        quats: (N, 4) (w, x, y, z).
        binding: (N,) faces that carry them, written as ``binding_0``; None writes none.
    """
    count, coefficients = sh.shape[:2]
    names = property_names(coefficients, () if binding is None else ("binding_0",))
    rest = sh[:, 1:].transpose(0, 2, 1).reshape(count, -1)
    columns: list[NDArray[Any]] = [means, np.zeros((count, 3)), sh[:, 0], rest, logits[:, None], log_scales, quats]
    if binding is not None:
        columns.append(binding[:, None])
    table = np.concatenate(columns, axis=1).astype("<f4")
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    head += [f"property float {name}" for name in names]
    return "\n".join([*head, "end_header", ""]).encode("ascii") + table.tobytes()
