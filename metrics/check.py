"""Check of a metric's two input images: shape, type and range."""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_pair"]


def check_pair(a: Tensor, b: Tensor) -> None:
    """Check that a metric's inputs are two (B, 3, H, W) float images of one shape in [0, 1].

    Raises:
        ValueError: they are not; the message has shapes, types and ranges.
    """
    good = a.ndim == 4 and a.shape == b.shape and a.shape[1] == 3 and a.numel() > 0
    good = good and a.is_floating_point() and b.is_floating_point()
    # Comparisons with NaN are false, so NaN fails here too.
    good = good and all(bool((x.amin() >= 0) & (x.amax() <= 1)) for x in (a, b))
    if not good:
        raise ValueError(f"expected two (B, 3, H, W) float images of one shape in [0, 1], got {_say(a)} and {_say(b)}")


def _say(image: Tensor) -> str:
    values = f"in [{image.amin().item():.6g}, {image.amax().item():.6g}]" if image.numel() else "without values"
    return f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')} {values}"
