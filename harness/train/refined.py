"""Refined parameters of training frames, as a trained portrait keeps them, put in place of the tracker's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from headbench.harness.train.checkpoint import LoadedPortrait
from headbench.harness.types import Camera, Frame, HeadParams

__all__ = ["refined_params"]


def refined_params(
    loaded: LoadedPortrait, frames: Sequence[Frame], device: torch.device
) -> tuple[HeadParams, list[Camera]]:
    """Head parameters (B frames) and cameras (B = 1 each) of frames, refined where training refined them.

    Args:
        loaded: a trained portrait.
        frames: at least one; a frame whose timestep training did not see keeps the tracker's values.
        device: where the result shall live.
    """
    params = HeadParams.join([frame.params for frame in frames]).to(device)
    cameras = [frame.camera.to(device) for frame in frames]
    tables = dict(loaded.frames)
    if not tables:
        return params, cameras
    row_of = {int(moment): row for row, moment in enumerate(tables.pop("timesteps").tolist())}
    pairs = [(place, row_of[frame.timestep]) for place, frame in enumerate(frames) if frame.timestep in row_of]
    if not pairs:
        return params, cameras
    places, rows = (torch.tensor(part) for part in zip(*pairs, strict=True))
    for name, table in tables.items():
        values = table[rows].to(device)
        if name == "camera_t":
            for place, value in zip(places.tolist(), values, strict=True):
                pose = cameras[place].w2c.clone()
                pose[0, :3, 3] = value
                cameras[place] = replace(cameras[place], w2c=pose)
        else:
            whole = getattr(params, name).clone()
            whole[places.to(device)] = values
            params = replace(params, **{name: whole})
    return params, cameras
