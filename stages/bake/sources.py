"""Frames that maps are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from headbench.harness.types import Frame

__all__ = ["refined_frames"]


def refined_frames(frames: Sequence[Frame], refined: Mapping[str, Tensor]) -> tuple[Frame, ...]:
    """Frames with the per-frame parameters that the parent's training refined; the same frames where it refined none.

    Args:
        frames: training frames.
        refined: timesteps (T,) and one table (T, ·) per field, as `LoadedPortrait.frames` has them.
    """
    if not refined:
        return tuple(frames)
    row_of = {int(timestep): row for row, timestep in enumerate(refined["timesteps"].tolist())}
    return tuple(
        _refined(frame, refined, row_of[frame.timestep]) if frame.timestep in row_of else frame for frame in frames
    )


def _refined(frame: Frame, refined: Mapping[str, Tensor], row: int) -> Frame:
    values = {name: table[row : row + 1].cpu() for name, table in refined.items() if name != "timesteps"}
    shift = values.pop("camera_t", None)
    camera = frame.camera
    if shift is not None:
        w2c = camera.w2c.clone()
        w2c[:, :3, 3] = shift
        camera = replace(camera, w2c=w2c)
    return replace(frame, camera=camera, params=replace(frame.params, **values))  # type: ignore[arg-type]  # tensor fields by name
