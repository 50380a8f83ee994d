"""A page's avatar as a clip of final Gaussians: for avatars that networks move, and heads that may not be passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headbench.export.html.pack import Packer
from headbench.export.poses import Pose
from headbench.export.source import Source
from headbench.export.splats import Splats, splats_at
from headbench.harness.errors import BenchError

__all__ = ["Stills", "evenly", "put_stills"]

_DEFLATED = 0.3
"""Part of its bytes that a clip has at least after deflation: no more frames are made than could fit so."""
_BYTES = {"means": 6, "quats": 4, "log_scales": 6, "opacities": 2}
"""Bytes per Gaussian and frame, where the values change from frame to frame."""


@dataclass(frozen=True)
class Stills:
    """Gaussians of each frame as a page's reader gets them."""

    frames: tuple[Pose, ...]
    """Frames that were kept, T of them."""
    splats: tuple[Splats, ...]
    """Gaussians of each, as they are read back."""


def evenly(frames: Sequence[Pose], count: int) -> tuple[Pose, ...]:
    """At most `count` of the frames, evenly spaced, the first one among them."""
    count = max(1, min(count, len(frames)))
    return tuple(frames[number * len(frames) // count] for number in range(count))


def most_frames(source: Source, first: Pose, room: int) -> int:
    """Number of frames of final Gaussians that could fit into a text of `room` characters."""
    return max(1, int(room * 3 / 4 / (len(splats_at(source, first)) * sum(_BYTES.values()) * _DEFLATED)))


def put_stills(packer: Packer, source: Source, frames: tuple[Pose, ...]) -> Stills:
    """Add the Gaussians of frames.

    Raises:
        BenchError: their number or their harmonics change from frame to frame.
    """
    found = [splats_at(source, pose) for pose in frames]
    if len({splats.sh.shape for splats in found}) > 1:
        counts = sorted({len(splats) for splats in found})
        raise BenchError(f"the number of Gaussians changes from frame to frame ({counts[0]} to {counts[-1]}).")
    read = {
        "means": _put(packer, "means", [splats.means for splats in found]),
        "quats": _put(packer, "quats", _one_side([splats.quats for splats in found]), bits=8),
        "log_scales": _put(packer, "log_scales", [splats.log_scales for splats in found]),
        "opacities": _put(packer, "opacities", [splats.opacities[:, None] for splats in found]),
        "sh": _put(packer, "sh", [splats.sh.reshape(len(splats), -1) for splats in found]),
    }
    count, terms = len(found[0]), found[0].sh.shape[1]
    splats = []
    for number in range(len(frames)):
        one = {name: rows[min(number, len(rows) - 1)].T for name, rows in read.items()}
        sh = one["sh"].reshape(count, terms, 3)
        splats.append(Splats(one["means"], one["quats"], one["log_scales"], one["opacities"][:, 0], sh))
    return Stills(frames, tuple(splats))


def _put(packer: Packer, name: str, values: list[NDArray[np.float32]], bits: int = 16) -> NDArray[np.float32]:
    """Add values (N, C) of each frame; those that never change are there once."""
    if all(np.array_equal(each, values[0]) for each in values):
        values, bits = values[:1], 16
    return packer.rows(f"still/{name}", np.stack([each.T for each in values]), bits)


def _one_side(quats: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Quaternions with the signs that are nearest to those of the first frame."""
    first = quats[0] * np.where(quats[0][:, :1] < 0, -1, 1)
    return [each * np.where((each * first).sum(1, keepdims=True) < 0, -1, 1).astype(np.float32) for each in quats]
