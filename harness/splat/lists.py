"""Room for lists whose length only the device knows, of a fixed capacity, so that nobody has to ask for it."""

from __future__ import annotations

import torch

__all__ = ["Lists", "room_for"]

MARGIN = 1.5
"""Capacity of lists as a multiple of the longest that were seen: a head comes closer, and Gaussians grow."""
SPARE = 4096
"""Entries of a capacity besides, and what capacities are multiples of."""
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
    """Capacity of lists for drawings of which one wanted `wanted` entries."""
    return (int(wanted * MARGIN) // SPARE + 2) * SPARE
