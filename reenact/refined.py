"""Refined parameters of training frames in place of tracked ones, where an avatar's training refined any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from headbench.harness.types import Camera, Frame, HeadParams

__all__ = ["refine"]

_CAMERA = "camera_t"
"""Name of the table with translations of world to camera."""


def refine(frames: Sequence[Frame], tables: Mapping[str, Tensor]) -> list[tuple[HeadParams, Camera] | None]:
    """Look up the refined parameters of training frames.

    Args:
        frames: training frames of the subject that the avatar was trained on.
        tables: ``timesteps`` (T,) and one table (T, n) per field, as `LoadedPortrait.frames`.

    Returns:
        parameters and camera per frame, B = 1; None for a frame whose timestep the training did not see, or whose
        fields have another size.
    """
    timesteps = tables["timesteps"].tolist()
    row_of = {timestep: row for row, timestep in enumerate(timesteps)}
    return [_refined(frame, row_of.get(frame.timestep), tables) for frame in frames]


def _refined(frame: Frame, row: int | None, tables: Mapping[str, Tensor]) -> tuple[HeadParams, Camera] | None:
    if row is None:
        return None
    params, camera = frame.params, frame.camera
    for name, table in tables.items():
        if name == "timesteps":
            continue
        value = table[row : row + 1].float()
        if name == _CAMERA:
            w2c = camera.w2c.clone()
            w2c[:, :3, 3] = value
            camera = replace(camera, w2c=w2c)
        elif value.shape != getattr(params, name).shape:
            return None
        else:
            params = replace(params, **{name: value})  # type: ignore[arg-type]  # a tensor field by name
    return params, camera
