"""Image size and pinhole parameters as NeRF's JSON files store them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headbench.datasets.common.documents import finite_number, found_instead
from headbench.datasets.common.findings import Findings

__all__ = ["Intrinsics", "check_angles", "read_intrinsics"]

_LARGEST = 100_000
"""Pixels that no side of an image and no focal length reaches."""
_ANGLE_TOLERANCE = 1e-4
"""Radians by which `camera_angle_*` may differ from the angle that size and focal length give."""


@dataclass(frozen=True)
class Intrinsics:
    """Image size and pinhole parameters in pixels; origin at the top left corner where the layout has no other."""

    width: int
    height: int
    fl_x: float
    fl_y: float
    cx: float
    cy: float

    def angle(self, axis: str) -> float:
        """Field of view along ``x`` or ``y``, in radians."""
        side, focal = (self.width, self.fl_x) if axis == "x" else (self.height, self.fl_y)
        return 2 * math.atan(side / (2 * focal))

    def centred_inside(self) -> bool:
        """Tell whether the principal point is inside the image."""
        return 0 < self.cx < self.width and 0 < self.cy < self.height


def read_intrinsics(
    path: Path, content: Mapping[str, Any], findings: Findings, frame: str = "", help: str = ""
) -> Intrinsics | None:
    """Read ``w h fl_x fl_y cx cy`` from a JSON object; None where they cannot be used, which has been reported.

    Args:
        path: the file that `content` was read from, for messages.
        content: the object.
        findings: receives what is wrong.
        frame: id of the frame that the object belongs to; empty where all frames share it.
        help: who writes it.
    """
    values: dict[str, float] = {}
    for key in ("w", "h", "fl_x", "fl_y", "cx", "cy"):
        value = finite_number(content.get(key))
        if value is None:
            found, remedy = found_instead(content[key]) if key in content else ("no such key", "")
            message = f"expected a finite number `{key}` (pixels), found {found}"
            findings.error(path, message, frame, remedy or help)
        elif key not in ("cx", "cy") and not 0 < value < _LARGEST:
            findings.error(path, f"expected `{key}` above 0 and below {_LARGEST}, found {value:g}", frame)
        elif key in ("w", "h") and value != int(value):
            findings.error(path, f"expected whole pixels in `{key}`, found {value:g}", frame)
        else:
            values[key] = value
    if len(values) < 6:
        return None
    return Intrinsics(int(values["w"]), int(values["h"]), *(values[key] for key in ("fl_x", "fl_y", "cx", "cy")))


def check_angles(path: Path, content: Mapping[str, Any], k: Intrinsics, findings: Findings, frame: str = "") -> bool:
    """Tell whether ``camera_angle_x`` and ``_y``, where they are numbers, agree with image size and focal length.

    Args:
        path: the file that `content` was read from, for messages.
        content: the JSON object with the angles, radians.
        k: size and focal lengths to compare them with.
        findings: receives what is wrong.
        frame: id of the frame that the object belongs to; empty where all frames share it.
    """
    fits = True
    for axis, size, focal in (("x", k.width, k.fl_x), ("y", k.height, k.fl_y)):
        stored = _number(content.get(f"camera_angle_{axis}"))
        if stored is not None and not abs(stored - k.angle(axis)) < _ANGLE_TOLERANCE:
            findings.error(
                path,
                f"expected camera_angle_{axis} {k.angle(axis):.6f} from size {size} and fl_{axis} {focal:g}, found "
                f"{stored:.6f}: images resized without their intrinsics?",
                frame,
                f"scale fl_{axis} and the principal point with the images, then camera_angle_{axis}",
            )
            fits = False
    return fits


def _number(value: Any) -> float | None:
    """A number of JSON as float, also one that is not finite, which is no angle; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
