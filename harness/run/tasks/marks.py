"""Marks task of a stage instance: score the portraits that training kept at common marks of its budget."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.files import discard, read_json, sha256_of, write_json
from headbench.harness.reading import Unreadable
from headbench.harness.run.render import render_frames
from headbench.harness.run.tasks.instance import Instance
from headbench.harness.trained import WEIGHTS, checkpoints
from headbench.harness.types import TEST

if TYPE_CHECKING:
    from headbench.harness.run.tasks.score import Scorer

__all__ = ["marks_task"]


def marks_task(instance: Instance, scorers: Sequence[Scorer]) -> None:
    """Score the held-out frames of every kept portrait; its renders are removed again.

    Protocols that track test frames, or show other views, are left out: marks compare training.

    Args:
        instance: finished stage instance.
        scorers: one for each protocol to score by.
    """
    wanted = [scorer for scorer in scorers if scorer.key.tracking is None and scorer.key.views == TEST]
    kept = checkpoints(instance.paths.marks)
    if not kept and instance.summary.steps:
        instance.progress({"note": "no marks: the training had ended before they were asked for"})
    for checkpoint in kept:
        weights = sha256_of(checkpoint / WEIGHTS[0])
        for scorer in wanted:
            _score(instance, checkpoint, weights, scorer)


def _score(instance: Instance, checkpoint: Path, weights: str, scorer: Scorer) -> None:
    """Score one kept portrait by one protocol, unless that was done.

    Args:
        instance: finished stage instance, which has the frames.
        checkpoint: folder of the kept portrait.
        weights: SHA-256 of its weights.
        scorer: the protocol.
    """
    from headbench.harness.session import Session
    from headbench.harness.train import load_portrait

    target, marker = instance.paths.mark_scores(checkpoint, scorer.name)
    origin = {"weights": weights, "protocol": scorer.hash}
    try:
        known = read_json(marker)
    except Unreadable:
        known = {}
    if target.is_file() and known == {**origin, "scores": sha256_of(target)}:
        return
    discard(marker)
    renders = instance.paths.mark_renders
    session = Session(load_portrait(checkpoint, str(instance.device)), instance.device, instance.execution.rasterizer)
    instance.progress({"stage": f"mark {checkpoint.name.partition('-')[2]}"})
    try:
        frames = list(instance.subject.test)
        render_frames(session, frames, renders, scorer.key.at(instance.paths.way), weights, instance.progress)
        scorer(instance.subject, renders, target, instance.execution.device, instance.progress)
    finally:
        shutil.rmtree(renders, ignore_errors=True)
    write_json(marker, {**origin, "scores": sha256_of(target)})
