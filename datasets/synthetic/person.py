"""Synthetic people: identity, colours and texture detail from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PARTS", "Person", "make_person"]

Floats = NDArray[np.float64]

PARTS = ("skin", "lips", "eye_left", "eye_right", "mouth", "teeth", "hair")
"""Parts of a head that a ray can hit; a face of the mesh belongs to one of them."""
SHAPE_SPREAD = 0.8
"""Standard deviation of identity coefficients, which are cut at two."""


@dataclass(frozen=True)
class Person:
    """Everything of a synthetic subject that does not move. Colours are sRGB in [0, 1]."""

    seed: int
    shape: Floats
    """(S,) identity coefficients of the open head."""
    skin: Floats
    """(3,) sRGB, as are the other colours."""
    lips: Floats
    iris: Floats
    hair: Floats
    brow_weight: float
    """Darkness of the brows, 0 to 1."""
    freckles: float
    """Strength of the freckles, 0 to 0.5."""
    hair_length: float
    """Length of the hair in metres."""
    noise: NDArray[np.float32]
    """(N, N, N) periodic field in [0, 1] from which all texture detail is read."""


def make_person(seed: int, shapes: int) -> Person:
    """Make the person of a seed; `shapes` is the head's number of identity coefficients S."""
    rng = np.random.default_rng([seed, 1])
    tone = rng.uniform(0.15, 1.0)
    skin = (1 - tone) * np.array([0.36, 0.23, 0.17]) + tone * np.array([0.87, 0.68, 0.58])
    hairs = np.array(
        [[0.09, 0.07, 0.06], [0.24, 0.15, 0.09], [0.45, 0.31, 0.17], [0.62, 0.50, 0.30], [0.38, 0.16, 0.08]]
    )
    irises = np.array([[0.28, 0.17, 0.09], [0.22, 0.36, 0.52], [0.25, 0.38, 0.24], [0.42, 0.30, 0.15]])
    return Person(
        seed=seed,
        shape=np.clip(rng.normal(scale=SHAPE_SPREAD, size=shapes), -2, 2),
        skin=skin + rng.normal(scale=0.015, size=3),
        lips=np.clip(skin * [0.90, 0.70, 0.70] + rng.normal(scale=0.02, size=3), 0, 1),
        iris=irises[rng.integers(len(irises))],
        hair=hairs[rng.integers(len(hairs))],
        brow_weight=rng.uniform(0.55, 0.9),
        freckles=rng.uniform(0.0, 0.5),
        hair_length=rng.uniform(0.018, 0.045),
        noise=rng.random((48, 48, 48), dtype=np.float32),
    )
