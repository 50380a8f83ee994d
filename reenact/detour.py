"""The loss of a detour: a performance goes to another subject's avatar and comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headbench.harness.image import to_float
from headbench.harness.rotations import axis_angle_to_matrix
from headbench.harness.session import View
from headbench.harness.types import HeadParams, map_tensors
from headbench.reenact.performance import Head, Performance, performance_of
from headbench.reenact.placement import Placement, head_to_camera
from headbench.reenact.source import Source
from headbench.reenact.transfer import Options, Transferred, transfer

__all__ = ["Detour", "detour", "image_loss", "parameter_loss"]

Psnr = Callable[[Tensor, Tensor], Tensor]
"""PSNR per frame in decibels of two batches (B, 3, H, W) in [0, 1]: (B,)."""


@dataclass(frozen=True)
class Detour:
    """Parameters for one avatar, straight from the driver and by way of another avatar."""

    straight: Transferred
    back: Transferred
    notes: tuple[str, ...]
    """Sentences on what the way there and the way back could not carry."""


def detour(
    performance: Performance, driver: Head, source: Head, other: Head, options: Options, straight: Transferred
) -> Detour:
    """Send a performance to another avatar and from there to the source.

    Args:
        performance: of the driver.
        driver: the driver's head.
        source: head of the avatar that is driven in the end.
        other: head of the avatar on the way.
        options: of both transfers.
        straight: the transfer from the driver to the source.
    """
    there = transfer(performance, driver, other, options)
    first = (other.identity.first, other.identity.camera)
    frames = list(zip(performance.ids, performance.sequences, strict=True))
    via = performance_of(frames, there.params, there.camera, other, there.mean, first)
    back = transfer(via, other, source, options)
    return Detour(straight, back, tuple(dict.fromkeys((*there.notes, *back.notes))))


def parameter_loss(found: Detour, source: Head) -> dict[str, float]:
    """Compare the parameters of a detour with the straight ones.

    Args:
        found: both.
        source: head that they drive.

    Returns:
        name -> root mean square over frames: ``expression`` in units of the coefficients and ``expression_largest``;
        ``head_degrees``, ``head_mm`` (the root joint before the camera) and degrees of each other joint; ``eyelids``;
        ``vertices_mm``, of the head at rest before the camera, and ``vertices_largest_mm``.
    """
    one, two = found.straight.params, found.back.params
    losses = {"expression": _rms(one.expression - two.expression)}
    losses["expression_largest"] = float((one.expression - two.expression).abs().max())
    places = [_placed(each, source) for each in (found.straight, found.back)]
    losses["head_degrees"] = _rms(_degrees(places[0][0].turn, places[1][0].turn))
    losses["head_mm"] = 1000 * _rms(torch.linalg.vector_norm(places[0][1] - places[1][1], dim=1))
    for name in ("neck", "jaw", "eye_left", "eye_right"):
        pair = [axis_angle_to_matrix(getattr(each, name).double()) for each in (one, two)]
        losses[f"{name}_degrees"] = _rms(_degrees(*pair))
    if one.eyelids is not None and two.eyelids is not None:
        losses["eyelids"] = _rms(one.eyelids - two.eyelids)
    lengths = torch.cat([_distances(one.rows(rows), two.rows(rows), source) for rows in _chunks(len(one.expression))])
    losses["vertices_mm"], losses["vertices_largest_mm"] = 1000 * _rms(lengths), 1000 * float(lengths.max())
    return losses


def image_loss(found: Detour, source: Source, ids: Sequence[str], background: str, psnr: Psnr) -> dict[str, Any]:
    """Render both and compare the 8-bit pictures.

    Args:
        found: both parameters.
        source: the avatar.
        ids: frame ids.
        background: white, black or green.
        psnr: PSNR per frame.

    Returns:
        ``psnr_mean`` and ``psnr_lowest`` in decibels over the frames whose pictures differ (None where none does),
        ``identical``, the number of frames whose pictures are equal, and ``frames``.
    """
    streams = [
        source.session.stream(
            [
                View(name, made.params.rows(slice(k, k + 1)), made.camera.rows(slice(k, k + 1)))
                for k, name in enumerate(ids)
            ],
            background,
        )
        for made in (found.straight, found.back)
    ]
    values = [float(psnr(to_float(a)[None], to_float(b)[None])) for a, b in zip(*streams, strict=True)]
    differing = [value for value in values if math.isfinite(value)]
    return {
        "psnr_mean": sum(differing) / len(differing) if differing else None,
        "psnr_lowest": min(differing, default=None),
        "identical": len(values) - len(differing),
        "frames": len(values),
    }


def _placed(made: Transferred, source: Head) -> tuple[Placement, Tensor]:
    joints = source.joints(made.params.expression)
    placement = head_to_camera(made.params, made.camera, joints)
    return placement, placement.of(joints)


def _distances(one: HeadParams, two: HeadParams, source: Head) -> Tensor:
    """Distances (T, V) in metres of the vertices that expression, neck, jaw, eyes and lids move; the root at rest."""
    posed = []
    for each in (one, two):
        zero = torch.zeros_like(each.root)
        still = replace(each, root=zero, translation=zero, similarity=None)
        posed.append(source.bound.vertices(map_tensors(still, torch.Tensor.double)))
    return torch.linalg.vector_norm(posed[0] - posed[1], dim=2)


def _chunks(count: int) -> list[slice]:
    return [slice(start, start + 32) for start in range(0, count, 32)]


def _degrees(one: Tensor, two: Tensor) -> Tensor:
    """Angles (T,) between rotations (T, 3, 3), in degrees; by the chord, which is exact for small ones."""
    chord = torch.linalg.matrix_norm(one - two) / (2 * math.sqrt(2))
    return torch.rad2deg(2 * torch.asin(chord.clamp(max=1)))


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
