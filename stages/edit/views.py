"""Pose and camera of a frame as plain numbers in an entry, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.types import Camera, Frame, HeadParams, Similarity

__all__ = ["camera_of", "params_of", "plain", "view_of"]

_SIZES = {"root": (3,), "neck": (3,), "jaw": (3,), "eye_left": (3,), "eye_right": (3,), "translation": (3,)}
_LARGEST = 1e6
_HELP = "undo this edit, and name the frame again"


def plain(value: Any) -> Any:
    """Head parameters or a camera of one frame as numbers, lists and mappings: JSON holds them exactly."""
    if isinstance(value, Tensor):
        return value[0].tolist()
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) is not None}
    return value


def params_of(values: Mapping[str, Any]) -> HeadParams:
    """Head parameters, B = 1, of what `plain` gave.

    Raises:
        BenchError: a value is missing or has another shape.
    """
    found = {name: _tensor(values, name, size) for name, size in _SIZES.items()}
    found["expression"] = _tensor(values, "expression", (None,))
    if "eyelids" in values:
        found["eyelids"] = _tensor(values, "eyelids", (2,))
    outer = values.get("similarity")
    similarity = None
    if isinstance(outer, Mapping):
        similarity = Similarity(_tensor(outer, "scale", ()), _tensor(outer, "R", (3, 3)), _tensor(outer, "t", (3,)))
    return HeadParams(head=str(values.get("head", "")), similarity=similarity, **found)


def camera_of(values: Mapping[str, Any]) -> Camera:
    """Camera, B = 1, of what `plain` gave.

    Raises:
        BenchError: a value is missing or has another shape.
    """
    sides = [values.get(name) for name in ("width", "height")]
    if not all(isinstance(side, int) and 0 < side < 10**5 for side in sides):
        raise BenchError(f"camera: expected width and height in pixels, found {sides}.", _HELP)
    return Camera(_tensor(values, "w2c", (4, 4)), _tensor(values, "K", (3, 3)), int(sides[0]), int(sides[1]))  # type: ignore[arg-type]


def _tensor(values: Mapping[str, Any], name: str, size: tuple[int | None, ...]) -> Tensor:
    """A float32 tensor (1, ...) of nested lists of numbers."""
    try:
        found = torch.tensor(values.get(name), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        found = torch.full((), float("nan"))
    fits = len(found.shape) == len(size) and all(
        want in (None, side) for want, side in zip(size, found.shape, strict=True)
    )
    if not fits or not bool((found.abs() < _LARGEST).all()):
        shape = " x ".join(str(side or "any") for side in size) or "one"
        raise BenchError(f"{name}: expected {shape} finite numbers, found others.", _HELP)
    return found.float()[None]


def view_of(frame: Frame, refined: Mapping[str, Tensor]) -> tuple[HeadParams, Camera]:
    """Pose and camera of a frame, as training refined them where it did.

    Args:
        frame: of the subject.
        refined: `LoadedPortrait.frames` of the avatar.
    """
    params, camera = frame.params, frame.camera
    rows = refined["timesteps"].flatten().tolist() if refined else []
    if frame.timestep not in rows:
        return params, camera
    row = rows.index(frame.timestep)
    for name, table in refined.items():
        if name == "camera_t":
            w2c = camera.w2c.clone()
            w2c[:, :3, 3] = table[row]
            camera = replace(camera, w2c=w2c)
        elif name != "timesteps":
            params = replace(params, **{name: table[row : row + 1]})  # type: ignore[arg-type]  # a tensor field by name
    return params, camera
