"""Images and masks that are numbered differently."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = ["renumbered"]


def renumbered(images: Sequence[str], masks: Sequence[str]) -> str:
    """The first image after a gap across which the masks were numbered on, so that its mask is another's; or nothing.

    That is so where there are as many masks as images and their numbers are consecutive, while the images' are not.

    Args:
        images, masks: names without suffix; only whole numbers count.
    """
    wanted = {int(name): name for name in images if name.isascii() and name.isdecimal()}
    found = sorted({int(name) for name in masks if name.isascii() and name.isdecimal()})
    numbers = sorted(wanted)
    if len(numbers) != len(found) or not numbers or found[-1] - found[0] != len(found) - 1:
        return ""
    after = next((b for a, b in itertools.pairwise(numbers) if b != a + 1), None)
    return "" if after is None or numbers == found else wanted[after]
