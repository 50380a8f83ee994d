"""The readers' options, each of which names a habit of other code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from headbench.harness.errors import DataError, did_you_mean

__all__ = ["CHOICES", "HELP", "ImavatarOptions"]

CHOICES = {
    "camera": ("exact", "fateavatar"),
    "positive_fx": ("refuse", "absolute"),
    "matte": ("auto", "matted", "mask"),
    "mask": ("soft", "hard"),
}
HELP = {
    "camera": "exact: the raw camera for any rotation, with its principal point; fateavatar: FateAvatar's steps, right "
    "only where the rotation is the identity (other data are refused): field of view 2 atan(cx / fx) and a centred "
    "principal point.",
    "positive_fx": "refuse: a first intrinsic above 0 is an error, the layout's is negative; absolute: read it as if "
    "it were negative, as SplattingAvatar does.",
    "matte": "auto: matted/ where it is there, otherwise image/ with mask/; matted: without clothing, as FateAvatar; "
    "mask: image/ with mask/, clothing kept, as IMAvatar and PointAvatar.",
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
        known = [f.name for f in fields(cls)]
        for name, value in options.items():
            if name not in known:
                raise DataError(did_you_mean(f"option of the {dataset} reader", name, known))
            if name in CHOICES and value not in CHOICES[name]:
                raise DataError(did_you_mean(f"value of the {dataset} option {name}:", str(value), CHOICES[name]))
        values = dict(options)
        test = values.get("test")
        if isinstance(test, list | tuple):
            values["test"] = ",".join(str(name) for name in test)
        return cls(**{name: str(value) for name, value in values.items()})
