"""Options of the reader of the NeRSemble benchmark."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.datasets.common.options import ReaderOptions
from headbench.datasets.nersemble.benchmark import PROXY

__all__ = ["NersembleOptions"]


class NersembleOptions(ReaderOptions):
    """Checked options of the NeRSemble reader; the defaults are for local comparisons on the current tracking."""

    tracking: Literal["v2", "v1"] = Field(
        "v2",
        description=(
            "v2: flame2023_tracking_v2, the only one for submissions; v1: the first tracking, whose mesh drifts "
            "when the head turns. Never both."
        ),
    )
    split: Literal["proxy", "all"] = Field(
        "proxy",
        description=(
            f"proxy: the training sequences {', '.join(PROXY)} are held out to score locally; all: trains on them "
            "too, for a submission, so that local scores are of frames that were trained on."
        ),
    )
    white: Literal["once", "twice"] = Field(
        "once",
        description=(
            "once: colours are solved for so that on white they give the stored image, which is on white already; "
            "twice: the stored image is taken as colour and mixed with white again at soft edges."
        ),
    )
    alpha: Literal["soft", "clean"] = Field(
        "soft",
        description=(
            "soft: mattes as decoded; clean: below 8 becomes 0 and above 247 becomes 255, which undoes what the "
            "video codec blurred."
        ),
    )
    missing: Literal["refuse", "allow"] = Field(
        "refuse",
        description="refuse: all 18 training sequences must be there; allow: those that are there.",
    )
