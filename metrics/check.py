"""A metric's two input images: the check of shape, type and range, and computing frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

__all__ = ["AT_ONCE", "check_pair", "frame_by_frame"]

AT_ONCE = 4
"""Largest number of frames that a CPU computes at once."""
LARGEST = 1e6
"""Limit of the values of renders that are not clamped."""


def check_pair(a: Tensor, b: Tensor, bounded: bool = True) -> None:
    """Check that a metric's inputs are two (B, 3, H, W) float images of one shape in [0, 1].

    Args:
        a: render.
        b: truth.
        bounded: whether the render must lie in [0, 1] too; otherwise its values need only be finite.

    Raises:
        ValueError: they are not; the message has shapes, types and ranges.
    """
    good = a.ndim == 4 and a.shape == b.shape and a.shape[1] == 3 and a.numel() > 0
    good = good and a.is_floating_point() and b.is_floating_point()
    # Comparisons with NaN are false, so NaN fails here too. A GPU is waited for once.
    limits = ((a, *((0.0, 1.0) if bounded else (-LARGEST, LARGEST))), (b, 0.0, 1.0))
    good = good and bool(torch.stack([t for x, low, high in limits for t in (x.amin() >= low, x.amax() <= high)]).all())
    if not good:
        raise ValueError(f"expected two (B, 3, H, W) float images of one shape in [0, 1], got {_say(a)} and {_say(b)}")


def frame_by_frame(compute: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Values (B,) of B pairs of images, computed one pair at a time; on a CPU a few at once, which share its threads.

    For metrics that need many times the memory of their images: what they need at once is that of one frame, or of
    `AT_ONCE`, however many are read together, and a frame's value is the same to the last bit in any company.

    Args:
        compute: function of two images (1, 3, H, W) that gives (1,).
        a: (B, 3, H, W), B at least 1.
        b: the same shape.
    """
    pairs = [(a[row : row + 1], b[row : row + 1]) for row in range(len(a))]
    threads = torch.get_num_threads()
    workers = min(AT_ONCE, threads) if a.device.type == "cpu" else 1
    if workers < 2:
        return torch.cat([compute(*pair) for pair in pairs])
    inference = torch.is_inference_mode_enabled()

    def one(pair: tuple[Tensor, Tensor]) -> Tensor:
        with torch.inference_mode(inference):
            return compute(*pair)

    # Threads that share the work of each operation wait for each other at every one. A single pair has no more of them
    # than one of many, since sums depend on their number.
    try:
        with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(threads // workers)) as pool:
            return torch.cat(list(pool.map(one, pairs)))
    finally:
        torch.set_num_threads(threads)


def _say(image: Tensor) -> str:
    values = f"in [{image.amin().item():.6g}, {image.amax().item():.6g}]" if image.numel() else "without values"
    return f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')} {values}"
