"""Room for lists whose length only the device knows, of a fixed capacity, so that nobody has to ask for it."""

from __future__ import annotations

import torch

from headbench.harness.errors import BenchError

__all__ = ["Lists", "counted", "room_for"]

MARGIN = 1.5
"""Capacity of lists as a multiple of the longest that were seen: a head comes closer, and Gaussians grow."""
SPARE = 4096
"""Entries of a capacity besides, and what capacities are multiples of."""
MOST = 2**31 - 2**13
"""Largest capacity: entries are counted in 32 bits."""
_TIGHT = 0.85
"""Share of the capacity above which longer lists are due before anything is left out."""


class Lists:
    """Capacity of the lists of tiles and Gaussians that a recordable rasterizer draws from, and what it wanted of them.

    With a capacity the rasterizer leaves out what is beyond it, and the picture is wrong; `wanted` is then above the
    capacity, and whoever drew must ask before the picture counts. Without one the lists are as long as they have to
    be, for which the rasterizer waits for the device: that is how a capacity is measured.

    Args:
        device: where Gaussians are drawn.
        capacity: largest number of entries; None: any number.
    """

    def __init__(self, device: torch.device, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.wanted = torch.zeros((), dtype=torch.int32, device=device)
        """() largest number of entries that any drawing wanted, on the device."""

    def fix(self) -> None:
        """Set the capacity by what was wanted so far, with a margin; waits for the device."""
        self.capacity = room_for(int(self.wanted))

    def too_short(self, wanted: int) -> bool:
        """Tell if a drawing that wanted so many entries left some out."""
        return self.capacity is not None and wanted > self.capacity

    def tight(self, wanted: int) -> bool:
        """Tell if longer lists are due soon, where a drawing wanted so many entries."""
        return self.capacity is not None and wanted > _TIGHT * self.capacity


def room_for(wanted: float) -> int:
    """Return the capacity of lists for drawings of which one wanted `wanted` entries.

    Raises:
        BenchError: no lists can be as long.
    """
    return counted((int(wanted * MARGIN) // SPARE + 2) * SPARE)


def counted(entries: int) -> int:
    """Return a number of entries, if kernels can count them.

    Raises:
        BenchError: there are more.
    """
    if entries > MOST:
        raise BenchError(
            f"The Gaussians of a picture cover more tiles than the rasterizer can list, {MOST:,}: they have grown too "
            "large, or there are too many images per step.",
            help="lower the learning rates, or take fewer images per step",
        )
    return entries
