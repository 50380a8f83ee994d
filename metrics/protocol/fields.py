"""Values that fields of protocols take, with the meaning of each, and the base class of their models."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

__all__ = [
    "ADDED",
    "VIEW_SETS",
    "Aggregate",
    "Frozen",
    "Outside",
    "Part",
    "Quantise",
    "Region",
    "Resampling",
    "Save",
    "TruthSource",
    "ViewSetName",
    "sha256_of_values",
]

ViewSetName = Literal["test", "all-around"]

VIEW_SETS: tuple[str, ...] = get_args(ViewSetName)
"""Sets of views that a protocol may score: held-out frames, and views from all around the head."""

Part = Literal["visible", "hidden", "all"]
"""Part of a head as training saw it: surface that some training frame shows, surface that none does, both."""

Save = Literal["uint8_round", "uint8_truncate", "uint8_stretch", "none"]
"""How a render becomes the picture that is scored.

uint8_round: the stored 8-bit file. uint8_truncate: 8 bit by cutting off what lies behind the point. uint8_stretch: the
picture's least value becomes 0 and its greatest 1, then 8 bit by truncation. none: it stays float. All but the first
score float renders, which have a render key of their own."""

Quantise = Literal["uint8_round", "uint8_truncate", "none"]
"""Rounding of the truth after compositing: to 8 bit by rounding, to 8 bit by truncation in float64, or none."""

Resampling = Literal["bicubic", "bilinear"]
"""Filter where `resolution` differs from the stored size.

bicubic: Pillow's on 8 bit, which widens where it shrinks, colour weighted by alpha. bilinear: OpenCV's on floats, which
mixes the four nearest pixels whatever the scale, colour and alpha apart."""

TruthSource = Literal["composite", "photo"]
"""Truth that renders are compared with: colour composited on the background by alpha, or the photo as it is."""

Region = Literal["full", "no-cloth", "landmark-hull"]
"""Pixels that count.

full: all. no-cloth: weighted by alpha, without a face parser's cloth and necklace. landmark-hull: those in the convex
hull of the 68 landmarks that the data give."""

Outside = Literal["kept", "black"]
"""How SSIM and LPIPS see pixels outside the region: as they are, or black in both images."""

Aggregate = Literal["frames_then_subjects", "frames_plus_1e-6_then_subjects"]
"""Mean over a subject's frames, then over subjects; plus_1e-6: the sum is divided by the frames' number plus 1e-6."""


ADDED = 1e-6
"""Number that frames_plus_1e-6_then_subjects adds to that of the frames."""


class Frozen(BaseModel):
    """Base class of protocols and their parts: unknown fields are errors, values are immutable and finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def sha256_of_values(values: object) -> str:
    """SHA-256 of values as canonical JSON, in hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
