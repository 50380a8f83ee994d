"""The readers' options, each of which names a habit of other code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headbench.datasets.common.options import parse_options

__all__ = ["CHOICES", "HELP", "ImavatarOptions"]

CHOICES = {
    "camera": ("exact", "fateavatar"),
    "positive_fx": ("refuse", "absolute"),
    "matte": ("auto", "matted", "mask", "image"),
    "mask": ("soft", "hard"),
}
HELP = {
    "camera": "exact: the raw camera for any rotation, with its principal point; fateavatar: FateAvatar's steps, right "
    "only where the rotation is the identity (other data are refused): field of view 2 atan(cx / fx) and a centred "
    "principal point.",
    "positive_fx": "refuse: a first intrinsic above 0 is an error, the layout's is negative; absolute: read it as if "
    "it were negative, as SplattingAvatar does.",
    "matte": "auto: matted/ where it is there, otherwise mask/, otherwise RGBA in image/; matted: without clothing, as "
    "FateAvatar; mask: image/ with mask/, clothing kept, as IMAvatar and PointAvatar; image: the alpha of RGBA in "
    "image/, as SplattingAvatar.",
    "mask": "soft: alpha as stored; hard: above one half or nothing, as IMAvatar and PointAvatar's hard_mask.",
    "test": "names of the videos for testing, separated by commas, or how many last frames of the only video; without "
    "it the folders' names say it.",
}


@dataclass(frozen=True)
class ImavatarOptions:
    """Checked options; the defaults read the data as they were tracked."""

    camera: str = "exact"
    positive_fx: str = "refuse"
    matte: str = "auto"
    mask: str = "soft"
    test: str = ""

    @classmethod
    def parse(cls, options: Mapping[str, object], dataset: str) -> ImavatarOptions:
        """Options from a mapping of text or numbers.

        Raises:
            DataError: an unknown option or value, with close matches.
        """
        return parse_options(cls, options, CHOICES, dataset)
