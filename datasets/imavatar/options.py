"""Options of the IMAvatar layout's readers, each of which names a habit of other code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.datasets.common.options import Listed, ReaderOptions

__all__ = ["ImavatarOptions"]


class ImavatarOptions(ReaderOptions):
    """Checked options of the IMAvatar layout's readers; the defaults read the data as they were tracked."""

    camera: Literal["exact", "fateavatar"] = Field(
        "exact",
        description=(
            "exact: the raw camera for any rotation, with its principal point; fateavatar: FateAvatar's steps, "
            "right only where the rotation is the identity (other data are refused): field of view 2 atan(cx / "
            "fx) and a centred principal point."
        ),
    )
    positive_fx: Literal["refuse", "absolute"] = Field(
        "refuse",
        description=(
            "refuse: a first intrinsic above 0 is an error, the layout's is negative; absolute: read it as if it "
            "were negative, as SplattingAvatar does."
        ),
    )
    matte: Literal["auto", "matted", "mask", "image"] = Field(
        "auto",
        description=(
            "auto: matted/ where it is there, otherwise mask/, otherwise RGBA in image/; matted: without "
            "clothing, as FateAvatar; mask: image/ with mask/, clothing kept, as IMAvatar and PointAvatar; image: "
            "the alpha of RGBA in image/, as SplattingAvatar."
        ),
    )
    clothing: Literal["keep", "remove"] = Field(
        "keep",
        description=(
            "keep: alpha as it is stored; remove: 0 where semantic/ has a necklace or cloth (BiSeNet's classes 15 and "
            "16), as FateAvatar's matted/ was made."
        ),
    )
    mask: Literal["soft", "hard"] = Field(
        "soft",
        description=(
            "soft: alpha as stored; hard: above one half or nothing, as IMAvatar and PointAvatar's hard_mask."
        ),
    )
    test: Listed = Field(
        "",
        description=(
            "names of the videos for testing, separated by commas, or how many last frames of the only video; "
            "without it the folders' names say it."
        ),
    )
