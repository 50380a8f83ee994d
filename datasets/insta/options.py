"""The reader's options, each of which names a quirk of other code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headbench.datasets.common.options import parse_options

__all__ = ["CHOICES", "HELP", "InstaOptions"]

CHOICES = {"eyes": ("tracker", "fateavatar"), "fov": ("exact", "fateavatar"), "eyelids": ("use", "ignore")}

HELP = {
    "eyes": "tracker: the first six numbers turn the left eyeball, as metrical-tracker poses FLAME; fateavatar: the "
    "eyes are swapped, as FateAvatar's loader has them.",
    "fov": "exact: focal lengths and principal point of the JSON; fateavatar: field of view 2 atan(2 cx^2 / (w fl)) "
    "and a centred principal point, as FateAvatar's loader has them.",
    "eyelids": "use: eyelid coefficients where the subject has them; ignore: none, as in FateAvatar.",
}


@dataclass(frozen=True)
class InstaOptions:
    """Checked options; the defaults read the data as they were tracked."""

    eyes: str = "tracker"
    fov: str = "exact"
    eyelids: str = "use"

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> InstaOptions:
        """Options from a mapping of text.

        Raises:
            DataError: an unknown option or value, with close matches.
        """
        return parse_options(cls, options, CHOICES, "insta")
