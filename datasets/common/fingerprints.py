"""Digests of a subject's images, tracking and split, for provenance: of the whole subject and of every frame."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["array_digest", "fingerprint"]

_SHORT = 16
"""Hex digits kept of a frame's digest, which only says which frame changed; the whole one says whether any did."""


def array_digest(values: Sequence[NDArray[Any] | str]) -> str:
    """SHA-256 over arrays (as little-endian float64, with their shapes) and texts, in order."""
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, str):
            total.update(value.encode())
            continue
        total.update(f"{value.shape}".encode())
        total.update(np.ascontiguousarray(value, dtype="<f8").tobytes())
    return total.hexdigest()


def fingerprint(
    train: Sequence[str],
    test: Sequence[str],
    images: Mapping[str, str],
    tracking: Mapping[str, Sequence[NDArray[Any]]],
    shared: Sequence[NDArray[Any] | str],
) -> dict[str, str]:
    """Digest a subject's images, tracking and split: the value of `Subject.fingerprint`.

    Args:
        train, test: frame ids.
        images: frame id -> digest of the bytes that its pixels are read from.
        tracking: frame id -> its numbers as they lie in the files (not as this project converts them, which may
            change in the last bit from machine to machine).
        shared: numbers and texts that all frames share: head tag, shape, intrinsics, static offset.

    Returns:
        ``images``, ``tracking`` and ``split`` -> SHA-256 over all frames; ``images:ID`` and ``tracking:ID`` -> first
        digits of a frame's own, by which a run says which frames changed.
    """
    ids = sorted({*train, *test})
    numbers = {name: array_digest(tracking[name]) for name in ids}
    split = json.dumps([list(train), list(test)])
    whole = {
        "tracking": _whole([array_digest(shared), *(f"{name} {numbers[name]}" for name in ids)]),
        "split": hashlib.sha256(split.encode()).hexdigest(),
        "images": _whole([f"{name} {images[name]}" for name in ids]),
    }
    frames = {f"images:{name}": hashlib.sha256(images[name].encode()).hexdigest()[:_SHORT] for name in ids}
    return whole | frames | {f"tracking:{name}": numbers[name][:_SHORT] for name in ids}


def _whole(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
