"""Conversion of expressions between FLAME's versions, by least squares on the vertices of the user's two files."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.reenact.performance import Head
from headbench.reenact.placement import Placement

__all__ = ["Conversion", "Converter", "check_convertible", "convert", "converter"]

_FAMILY = "flame"
"""Beginning of the tags of head models that share one topology and one skeleton."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion between head models lost, in millimetres of vertices at rest."""

    before: str
    """Head tag of the driver."""
    after: str
    """Head tag of the avatar."""
    identity_mm: float
    """Root mean square distance of the driver's neutral head from the nearest one of the other model."""
    expression_mm: tuple[float, ...]
    """(T,) root mean square distance that expressions moved vertices otherwise, per frame."""
    largest_mm: float
    """Largest such distance of any vertex in any frame."""

    def sentence(self) -> str:
        """Return the conversion and its residual as a note."""
        mean = sum(value * value for value in self.expression_mm) / max(len(self.expression_mm), 1)
        return (
            f"expression converted from {self.before} to {self.after} by least squares on vertices: residual "
            f"{mean**0.5:.3f} mm RMS, {self.largest_mm:.3f} mm at most (neutral head: {self.identity_mm:.3f} mm RMS)"
        )


@dataclass(frozen=True)
class Converter:
    """Linear map between the expressions of two head models, for one driver."""

    before: str
    after: str
    matrix: Tensor
    """(E', E) float64, expression of the avatar's model per unit of the driver's."""
    left: Tensor
    """(3V, E) float64, metres per unit of the driver's expression that no expression of the other model makes."""
    shift: Tensor
    """(3,) float64, metres from a point of the avatar's model at rest to the same point of the driver's."""
    identity_mm: float


def check_convertible(driver: str, before: str, after: str) -> None:
    """Refuse a driver whose expressions do not drive an avatar; reads no head model.

    Args:
        driver: the driver's name, for the message.
        before: head tag of the driver.
        after: head tag of the avatar.

    Raises:
        BenchError: the tags differ and are not both of FLAME.
    """
    if before != after and not (before.startswith(_FAMILY) and after.startswith(_FAMILY)):
        raise BenchError(
            f"driver {driver} is tracked with head model {before}, the source is of {after}: coefficients of one do "
            "not drive the other, and no converter between the two is known.",
            help=f"choose a driver tracked with {after}; FLAME's versions are converted into one another",
        )


def converter(driver: Head, source: Head, width: int) -> Converter:
    """Find the converter from a driver's head model to an avatar's.

    The driver's neutral head is fitted by the identity of the avatar's model and a shift, which says how far the two
    models' origins are apart; then each expression direction by the expression directions, so that the neutral head
    stays neutral. All in float64.

    Args:
        driver: head of the driver.
        source: head of the avatar.
        width: number of expression coefficients that the avatar was trained with.

    Raises:
        BenchError: the models are not both of FLAME.
    """
    before, after = driver.bound.tag, source.bound.tag
    check_convertible(driver.identity.subject, before, after)
    model = source.model
    neutral = (driver.bound.base - model.template.double()).flatten()
    shapes = model.shape_dirs.double().flatten(0, 1)
    shifts = torch.eye(3, dtype=torch.float64).repeat(len(driver.bound.base), 1)
    basis = torch.cat([shapes, shifts], 1)
    fitted = _solve(basis, neutral[:, None])[:, 0]
    left = (neutral - basis @ fitted).unflatten(0, (-1, 3))
    own, other = source.bound.expression_dirs[:, :width], driver.bound.expression_dirs
    matrix = _solve(own, other)
    return Converter(before, after, matrix, other - own @ matrix, fitted[-3:], _rms_mm(left[None])[0])


def convert(
    found: Converter, expression: Tensor, mean: Tensor, placement: Placement
) -> tuple[Tensor, Tensor, Placement, Conversion]:
    """Convert a performance to another head model.

    Args:
        found: the converter.
        expression: (T, E) of the driver.
        mean: (1, E) its mean.
        placement: where the driver's head stands.

    Returns:
        expression and mean in the other model's coefficients, the placement of its points, and what was lost.
    """
    width = min(expression.shape[1], found.matrix.shape[1])
    matrix, left = found.matrix[:, :width].T, found.left[:, :width].T
    expressions = expression[:, :width].double()
    squared: list[Tensor] = []
    for some in expressions.split(64):  # bounds the memory: 5,023 vertices a frame
        squared.append((some @ left).unflatten(1, (-1, 3)).square().sum(2))
    lengths = torch.cat(squared)
    lost = Conversion(
        found.before,
        found.after,
        found.identity_mm,
        tuple((1000 * lengths.mean(1).sqrt()).tolist()),
        float(1000 * lengths.max().sqrt()),
    )
    moved = Placement(placement.turn, placement.offset + placement.turn @ found.shift)
    means = (mean[:, :width].double() @ matrix).to(mean)
    return (expressions @ matrix).to(expression), means, moved, lost


def _solve(basis: Tensor, wanted: Tensor) -> Tensor:
    """Least-squares coefficients (n, m) of columns `wanted` (r, m) in `basis` (r, n), whatever its rank.

    By the normal equations of columns scaled to unit length, many times faster than a decomposition of the tall matrix;
    what float64 cannot tell apart (1e-12 of the largest eigenvalue) gets the shortest solution.
    """
    lengths = torch.linalg.vector_norm(basis, dim=0).clamp_min(1e-12)
    unit = basis / lengths
    inverse = torch.linalg.pinv(unit.T @ unit, rtol=1e-12, hermitian=True)
    return (inverse @ (unit.T @ wanted)) / lengths[:, None]


def _rms_mm(offsets: Tensor) -> list[float]:
    """Root mean square lengths (T,) of offsets (T, V, 3) in metres, in millimetres."""
    found: list[float] = (1000 * offsets.square().sum(2).mean(1).sqrt()).tolist()
    return found
