"""The record of a re-enactment as plain values for JSON: who drove whom, how, and the parameters of each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.types import HeadParams
from headbench.reenact.driver import Driver
from headbench.reenact.performance import Performance
from headbench.reenact.placement import Placement
from headbench.reenact.source import Source
from headbench.reenact.transfer import Options, Transferred

__all__ = ["FORMAT", "driven_record"]

FORMAT = 1
"""Version of the record's layout."""
_FIELDS = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation", "eyelids")


def driven_record(
    source: Source,
    driver: Driver,
    performance: Performance,
    made: Transferred,
    options: Options,
    refined: tuple[int, Path | None],
) -> dict[str, Any]:
    """Plain values that say what was transferred from a driver to a source.

    Args:
        source: the driven avatar.
        driver: who drove.
        performance: what was driven with.
        made: the parameters that drove.
        options: what was taken from whom.
        refined: number of frames with refined parameters, and the checkpoint that they are from.
    """
    identity, loaded = source.head.identity, source.session.loaded
    frames = [
        {
            "id": name,
            "driver": _pose(performance.params, k),
            "head_to_camera": _motion(performance.placement, k),
            "source": _driven(made, k),
        }
        for k, name in enumerate(performance.ids)
    ]
    return {
        "format": FORMAT,
        "source": {**loaded.about, "checkpoint": str(loaded.path), "step": loaded.step, "head": identity.head},
        "driver": {
            "dataset": driver.subject.dataset,
            "subject": driver.subject.name,
            "split": driver.split,
            "head": driver.subject.head,
            "frames": len(frames),
            "refined_frames": refined[0],
            "refined_by": str(refined[1]) if refined[0] else None,
        },
        "options": asdict(options),
        "motion": {"from": driver.head.form, "to": source.head.form},
        "coefficients": {
            "driver": int(performance.params.expression.shape[1]),
            "source": int(identity.mean_expression.shape[1]),
        },
        "means": {"source": _row(identity.mean_expression), "driver": _row(made.driver_mean)},
        "conversion": _conversion(made),
        "camera": {"width": made.camera.width, "height": made.camera.height},
        "notes": [note for note in (source.note(), *driver.notes, *made.notes) if note],
        "frames": frames,
    }


def _conversion(made: Transferred) -> dict[str, Any] | None:
    if made.conversion is None:
        return None
    values: Mapping[str, Any] = asdict(made.conversion)
    return {
        **{name: value for name, value in values.items() if name not in ("before", "after")},
        "from": values["before"],
        "to": values["after"],
    }


def _driven(made: Transferred, row: int) -> dict[str, Any]:
    """Parameters and camera of one frame as they drove the source."""
    similarity = made.params.similarity
    placed = None
    if similarity is not None:
        placed = {name: value[row].tolist() for name, value in vars(similarity).items()}
    camera = {"w2c": made.camera.w2c[row].tolist(), "K": made.camera.K[row].tolist()}
    return {**_pose(made.params, row), "similarity": placed, **camera}


def _motion(placement: Placement, row: int) -> list[list[float]]:
    """Motion of one frame from the head at rest to the camera, 3 x 4, metres; smoothed where that was asked for."""
    found: list[list[float]] = torch.cat([placement.turn[row], placement.offset[row, :, None]], 1).tolist()
    return found


def _pose(params: HeadParams, row: int) -> dict[str, Any]:
    fields = {name: getattr(params, name) for name in _FIELDS}
    return {name: None if value is None else value[row].tolist() for name, value in fields.items()}


def _row(values: Tensor) -> list[float]:
    found: list[float] = values[0].tolist()
    return found
