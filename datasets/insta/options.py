"""Options of the INSTA reader, each of which names a quirk of other code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.datasets.common.options import ReaderOptions

__all__ = ["InstaOptions"]


class InstaOptions(ReaderOptions):
    """Checked options of the INSTA reader; the defaults read the data as they were tracked."""

    eyes: Literal["tracker", "fateavatar"] = Field(
        "tracker",
        description=(
            "tracker: the first six numbers turn the left eyeball, as metrical-tracker poses FLAME; fateavatar: "
            "the eyes are swapped, as FateAvatar's loader has them."
        ),
    )
    fov: Literal["exact", "fateavatar", "centred"] = Field(
        "exact",
        description=(
            "exact: focal lengths and principal point of the JSON; fateavatar: field of view 2 atan(2 cx^2 / (w "
            "fl)) and a centred principal point, as FateAvatar's loader has them; centred: focal lengths of the JSON "
            "and a centred principal point, as FlashAvatar's loader has them."
        ),
    )
    eyelids: Literal["use", "ignore"] = Field(
        "use",
        description="use: eyelid coefficients where the subject has them; ignore: none, as in FateAvatar.",
    )
    test: int = Field(
        0,
        ge=0,
        description=(
            "how many last frames of the whole sequence are for testing, whichever of the two JSON files names them; "
            "0: as the files say. FlashAvatar holds out 500."
        ),
    )
