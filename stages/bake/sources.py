"""Frames that maps are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from headbench.harness.staged import read_stage
from headbench.harness.train import LoadedPortrait
from headbench.harness.train.frames import FrameStore
from headbench.harness.train.sampler import AlternatingSampler, EpochSampler, Sampler
from headbench.harness.types import Frame
from headbench.harness.way import Way
from headbench.stages.complete.config import CompleteConfig
from headbench.stages.complete.stage import views_between
from headbench.stages.complete.storage import VIEWS, read_views
from headbench.stages.complete.training import CONFIDENCE, view_frames

from .config import BakeConfig

__all__ = ["refined_frames", "turns_with_views", "view_store"]


def view_store(parent: LoadedPortrait, device: torch.device) -> tuple[FrameStore, list[int]] | None:
    """Views that the parent was completed with, and which of them count; None where it was not completed.

    The stage ``complete`` keeps its views beside its checkpoints; those between its azimuths count.

    Args:
        parent: what is baked.
        device: where batches are wanted.

    Raises:
        BenchError: the views are damaged, or gone.
    """
    record = read_stage(parent.path.parent) if parent.path != Path() else None
    if record is None or Way.parse(record.way).stage != "complete":
        return None
    options: Mapping[str, Any] = record.config
    known = CompleteConfig.model_fields
    azimuths, least, weighs = (options.get(n, known[n].default) for n in ("azimuths", "least", "confidence"))
    views = read_views(parent.path.parent / VIEWS)
    frames = view_frames(views, parent.identity, (), least)
    store = FrameStore(frames, device, masks=[CONFIDENCE], weight=CONFIDENCE if weighs else None)
    return store, views_between(views, tuple(azimuths))


def turns_with_views(
    regular: EpochSampler, views: tuple[FrameStore, list[int]] | None, config: BakeConfig, background: str
) -> Sampler:
    """Sampler that takes a view before each training frame; the regular one where there are no views.

    Args:
        regular: of the training frames.
        views: their store and the rows that count.
        config: background and expression of the views, and how many steps end without them.
        background: of the method's configuration.
    """
    if views is None:
        return regular
    behind = "random" if config.view_background == "random" else background
    shown: Literal["own", "regular"] = "own" if config.view_expression == "canonical" else "regular"
    alone = int(config.alone * regular.total)
    return AlternatingSampler(regular, *views, behind, expression=shown, alone=alone)


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
