"""Gaussians of one pose as plain arrays, in the form that files of Gaussians share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.export.poses import Pose
from headbench.export.source import Source
from headbench.harness.errors import BenchError
from headbench.harness.types import Gaussians

__all__ = ["SMALLEST_SCALE", "Splats", "plain_colours", "splats_at", "splats_of"]

SMALLEST_SCALE = 1e-6
"""Smallest standard deviation that is written, in metres: a thousandth of a millimetre, which no picture shows.
Published programs crash below 1.4e-8."""
_C0 = 0.28209479177387814
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Splats:
    """Gaussians in the world, activated: what is drawn."""

    means: _Floats
    """(N, 3) metres."""
    quats: _Floats
    """(N, 4) unit quaternions (w, x, y, z), after skinning."""
    log_scales: _Floats
    """(N, 3) natural logarithms of standard deviations in metres, at least that of `SMALLEST_SCALE`."""
    opacities: _Floats
    """(N,) in [0, 1]."""
    sh: _Floats
    """(N, K, 3) coefficients of spherical harmonics in the world, K = 1, 4, 9 or 16."""

    @property
    def degree(self) -> int:
        """Degree of the spherical harmonics."""
        return math.isqrt(self.sh.shape[1]) - 1

    def __len__(self) -> int:
        return len(self.means)


def splats_at(source: Source, pose: Pose) -> Splats:
    """Gaussians of an avatar in a pose.

    Raises:
        BenchError: the portrait shows pictures and has no Gaussians, or they are not finite.
    """
    return splats_of(source.session.gaussians(pose.params), pose.name)


def splats_of(gaussians: Gaussians, name: str = "") -> Splats:
    """Gaussians of the first member of a batch as plain arrays.

    Args:
        gaussians: in the world.
        name: of the pose, for messages.

    Raises:
        BenchError: values are not finite.
    """
    quats = _row(gaussians.quats, 2)
    length = np.linalg.norm(quats, axis=1, keepdims=True)
    upright = np.array([1, 0, 0, 0], np.float32)
    quats = np.where(length > 0, quats / np.maximum(length, np.finfo(np.float32).tiny), upright)
    found = Splats(
        _row(gaussians.means, 2),
        quats.astype(np.float32),
        np.log(np.maximum(_row(gaussians.scales, 2), SMALLEST_SCALE)),
        np.clip(_row(gaussians.opacities, 1), 0, 1),
        _coefficients(gaussians),
    )
    whole = [np.isfinite(array).reshape(len(found), -1).all(1) for array in vars(found).values()]
    broken = len(found) - int(np.logical_and.reduce(whole).sum())
    if broken:
        raise BenchError(f"pose {name}: {broken} of {len(found)} Gaussians have values that are not finite.")
    return found


def plain_colours(splats: Splats) -> _Floats:
    """RGB (N, 3) in [0, 1] of the harmonics of degree 0, which do not depend on where one looks from."""
    return np.clip(_C0 * splats.sh[:, 0] + 0.5, 0, 1).astype(np.float32)


def _coefficients(gaussians: Gaussians) -> _Floats:
    """Coefficients (N, K, 3) of the active degree; plain RGB becomes degree 0."""
    if gaussians.sh_degree is None:
        colours = _row(gaussians.colours, 2)
        return ((colours - 0.5) / _C0)[:, None].astype(np.float32)
    return _row(gaussians.colours, 3)[:, : (gaussians.sh_degree + 1) ** 2]


def _row(tensor: torch.Tensor, axes: int) -> _Floats:
    """First member of a batch, or what the batch shares, as an array of `axes` axes on the host."""
    one = tensor[0] if tensor.dim() > axes else tensor
    array: _Floats = one.detach().to("cpu", torch.float32).numpy()
    return array
