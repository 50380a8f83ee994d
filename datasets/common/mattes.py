"""Faults of mattes and masks: what makes one unusable, and what their edges say about how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fringe", "MatteFault", "edge_faults", "is_inverted", "is_premultiplied", "level_fault", "matte_fault"]

_Bytes = NDArray[np.uint8]
_LABELS = 20
"""Highest level of a mask that holds 0 and 1, or a face parser's class numbers (19 of them), and no opacity."""
_SPECKS = 1e-3
"""Share of pixels that must have such low levels: a codec leaves single ones on a picture of nothing."""
_CORNER, _CENTRE = 16, 4
"""Divisors of the image's sides that give the size of the blocks in the upper corners, and in the middle."""
_CLEAR, _SOLID = 32, 224
"""Mean level below which a block is transparent, and above which it is opaque."""
_SOFT = (16, 239)
"""Levels of half-transparent pixels that tell how colour goes with alpha; nearer to the ends rounding hides it."""
_TOLERANCE = 4
"""Levels by which a colour that was multiplied by alpha may exceed it: rounding, and the codec of a JPEG."""
_EXCEED = 0.03
"""Share of half-transparent pixels that may be brighter than their alpha.

Where colour was not multiplied, only a subject as dark as the lowest alphas stays below."""
_BLACK = 8.0
"""Mean level of half-transparent pixels below which colour is black either way."""
_INTERCEPT = 0.3
"""Brightness that half-transparent pixels keep where alpha goes to 0, as a share of their mean.

It is 0 where colour was multiplied by alpha, about 1 where not, however dark the subject is."""
_ENOUGH_SOFT = 100
"""Least number of half-transparent pixels, over all frames, that tells whether colours were multiplied by alpha."""
_EXACT = 0.5
"""Least share of a matte's pixels at exactly 0 or 255; video compression leaves almost none there."""
_HALO = 64.0
"""Levels by which half-transparent pixels may be lighter, or darker, in all channels than opaque ones beside them."""
_RING = 3
"""Width in pixels of the ring beside a matte's edge that the edge is compared with."""
_ENOUGH = 40
"""Least number of pixels over which a mean is taken."""


@dataclass(frozen=True)
class MatteFault:
    """Reason why a matte or mask is not what it is taken for, what helps, and the slug of the cause."""

    message: str
    help: str
    kind: str


def level_fault(alpha: _Bytes) -> MatteFault | None:
    """Say whether a matte or mask was written as 0 and 1, or holds class numbers; None where not.

    A mask that is 0 everywhere has no such fault: there may be nothing to see.

    Args:
        alpha: (H, W), expected from 0 to 255.
    """
    high = int(alpha.max(initial=0))
    if not 0 < high <= _LABELS or float((alpha > 0).mean()) < _SPECKS:
        return None
    what = "written as 0 and 1?" if high == 1 else "numbers of classes, or a matte divided by 255?"
    help = "multiply it by 255" if high == 1 else "write 255 where the subject is and 0 elsewhere"
    return MatteFault(f"expected a matte from 0 to 255, found 0 to {high}: {what}", help, "matte-levels")


def matte_fault(alpha: _Bytes) -> MatteFault | None:
    """Say what makes an alpha (H, W) unusable: its levels, or opacity where the head is not; None where nothing does.

    Takes a few tens of microseconds, so that it can be asked of every frame that is decoded.
    """
    fault = level_fault(alpha)
    if fault is None and is_inverted(alpha):
        fault = MatteFault(
            "expected an opaque head on a transparent background, found the upper corners opaque and the middle of the "
            "image transparent: inverted?",
            "invert it, 255 - alpha",
            "matte-inverted",
        )
    return fault


def is_inverted(alpha: _Bytes) -> bool:
    """Tell whether a matte is opaque in both upper corners and transparent in the middle.

    A head is in the middle, and shoulders reach the lower corners alone.

    Args:
        alpha: (H, W).
    """
    height, width = alpha.shape
    high, wide = max(1, height // _CORNER), max(1, width // _CORNER)
    if min(float(alpha[:high, :wide].mean()), float(alpha[:high, -wide:].mean())) < _SOLID:
        return False
    up, left = height // 2 - height // (2 * _CENTRE), width // 2 - width // (2 * _CENTRE)
    middle = alpha[up : up + max(1, height // _CENTRE), left : left + max(1, width // _CENTRE)]
    return float(middle.mean()) < _CLEAR


@dataclass(frozen=True)
class Fringe:
    """Statistics of one frame's half-transparent pixels, as sums that can be added over frames."""

    count: int
    """Number of half-transparent pixels."""
    exceed: int
    """Number of half-transparent pixels that are brighter than their alpha."""
    moments: tuple[float, float, float, float]
    """Sums over the half-transparent pixels: of alpha, alpha squared, brightness, and alpha times brightness."""
    lit: bool
    """Flag: transparent pixels hold colours, so nothing was multiplied by alpha."""

    @classmethod
    def of(cls, colour: _Bytes, alpha: _Bytes) -> Fringe:
        """Measure the half-transparent pixels of an image.

        Args:
            colour: (3, H, W).
            alpha: (H, W).
        """
        soft = (alpha >= _SOFT[0]) & (alpha <= _SOFT[1])
        a = alpha[soft].astype(np.float64)
        brightest = colour[:, soft].max(axis=0).astype(np.float64) if a.size else a
        clear = alpha == 0
        lit = float((colour[:, clear].max(axis=0) > _TOLERANCE).mean()) > _EXCEED if clear.any() else False
        moments = float(a.sum()), float(a @ a), float(brightest.sum()), float(a @ brightest)
        return cls(a.size, int((brightest > a + _TOLERANCE).sum()), moments, lit)


def is_premultiplied(fringes: Sequence[Fringe]) -> bool:
    """Tell whether colours were multiplied by alpha, or composited on black.

    Then nothing is brighter than its alpha, and brightness goes to 0 with alpha. A dark subject stays as dark as it is,
    and a black background alone is no sign.

    Args:
        fringes: statistics of some of the subject's frames.
    """
    count = sum(fringe.count for fringe in fringes)
    if count < _ENOUGH_SOFT or any(fringe.lit for fringe in fringes):
        return False
    a, aa, b, ab = np.sum([fringe.moments for fringe in fringes], axis=0) / count
    if sum(fringe.exceed for fringe in fringes) > _EXCEED * count or b < _BLACK:
        return False
    spread = aa - a * a
    slope = (ab - a * b) / spread if spread > 1 else 0.0
    return bool(b - slope * a < _INTERCEPT * b)


def edge_faults(colour: _Bytes, alpha: _Bytes) -> list[str]:
    """Describe what is odd about a matte's edge, one sentence per fault.

    Args:
        colour: (3, H, W), un-premultiplied.
        alpha: (H, W).
    """
    from scipy.ndimage import binary_dilation  # only a close look needs it, and it takes a third of a second

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
