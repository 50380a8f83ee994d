"""What a matte's edge tells about how it was made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

__all__ = ["matte_faults"]

_EXACT = 0.5
"""Share of pixels that a matte has at exactly 0 or 255; video compression leaves almost none there."""
_HALO = 64.0
"""Levels by which half-transparent pixels may differ from the opaque ones beside them, in all channels to one side."""
_RING = 3
"""Pixels beside the edge that it is compared with."""
_ENOUGH = 40
"""Pixels that a mean is taken of at least."""


def matte_faults(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> list[str]:
    """Sentences about a matte, none where nothing is odd.

    Args:
        colour: (3, H, W), un-premultiplied.
        alpha: (H, W).
    """
    found = []
    exact = float(((alpha == 0) | (alpha == 255)).mean())
    if exact < _EXACT:
        found.append(
            f"expected most of alpha at exactly 0 or 255, found {exact:.0%} of the pixels there: taken from a "
            "compressed video? Its edges are blocky, and its frames may be shifted"
        )
    edge = (alpha > 0) & (alpha < 128)
    ring = binary_dilation(edge, iterations=_RING) & (alpha > 250)
    if min(int(edge.sum()), int(ring.sum())) >= _ENOUGH:
        steps = colour[:, edge].astype(np.float64).mean(axis=1) - colour[:, ring].astype(np.float64).mean(axis=1)
        if float(np.abs(steps).min()) > _HALO and len(set(np.sign(steps))) == 1:
            lighter = "lighter" if steps[0] > 0 else "darker"
            found.append(
                f"expected the head's colours where alpha is below a half, found them {abs(steps).mean():.0f} levels "
                f"{lighter} than beside it: a halo of the background that the matte did not take out"
            )
    return found
