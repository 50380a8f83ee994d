"""The reader's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headbench.datasets.common.options import parse_options
from headbench.datasets.nersemble.benchmark import PROXY, TRACKINGS

__all__ = ["CHOICES", "HELP", "NersembleOptions"]

CHOICES = {
    "tracking": tuple(TRACKINGS),
    "split": ("proxy", "all"),
    "white": ("once", "twice"),
    "alpha": ("soft", "clean"),
    "missing": ("refuse", "allow"),
}

HELP = {
    "tracking": "v2: flame2023_tracking_v2, the only one for submissions; v1: the first tracking, whose mesh drifts "
    "when the head turns. Never both.",
    "split": f"proxy: the training sequences {', '.join(PROXY)} are held out to score locally; all: trains on them "
    "too, for a submission, so that local scores are of frames that were trained on.",
    "white": "once: colours are solved for so that on white they give the stored image, which is on white already; "
    "twice: the stored image is taken as colour and mixed with white again at soft edges.",
    "alpha": "soft: mattes as decoded; clean: below 8 becomes 0 and above 247 becomes 255, which undoes what the video "
    "codec blurred.",
    "missing": "refuse: all 18 training sequences must be there; allow: those that are there.",
}


@dataclass(frozen=True)
class NersembleOptions:
    """Checked options; the defaults are for local comparisons on the current tracking."""

    tracking: str = "v2"
    split: str = "proxy"
    white: str = "once"
    alpha: str = "soft"
    missing: str = "refuse"

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> NersembleOptions:
        """Options from a mapping of text.

        Raises:
            DataError: an unknown option or value, with close matches.
        """
        return parse_options(cls, options, CHOICES, "nersemble")
