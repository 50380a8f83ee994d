"""Speed task of a stage instance: measure how fast it renders."""

from __future__ import annotations

from headbench.harness.records import write_sealed
from headbench.harness.run.speed import measure_speed, read_speed
from headbench.harness.run.tasks.instance import Instance

__all__ = ["speed_task"]


def speed_task(instance: Instance) -> None:
    """Measure how fast a stage instance renders, unless that is recorded for these weights."""
    known = read_speed(instance.paths)
    if known is not None and known.checkpoint == instance.weights:
        return
    session, subject = instance.session, instance.subject
    instance.progress({"stage": "speed"})
    found = measure_speed(session.portrait, session.rasterizer, subject.test, instance.device, instance.summary)
    write_sealed(instance.paths.speed, {"checkpoint": instance.weights, **found})
