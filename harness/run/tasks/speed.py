"""Speed task of a stage instance: measure how fast it renders."""

from __future__ import annotations

from headbench.harness.execution.neighbours import sharing
from headbench.harness.records import write_sealed
from headbench.harness.run.speed import measure_speed, read_speed
from headbench.harness.run.tasks.instance import Instance

__all__ = ["speed_task"]


def speed_task(instance: Instance) -> None:
    """Measure how fast a stage instance renders, unless that is recorded for these weights.

    Where others compute on its device meanwhile the record says so, and a later pass over the cell measures again.
    """
    known = read_speed(instance.paths)
    if known is not None and known.checkpoint == instance.weights and not known.shared:
        return
    from headbench.harness.device import gpu_uuid

    session, subject = instance.session, instance.subject
    instance.progress({"stage": "speed"})
    gpu, cell = gpu_uuid(instance.device), instance.paths.cell
    before = sharing(cell, gpu)
    found = measure_speed(session.portrait, session.rasterizer, subject.test, instance.device, instance.summary)
    shared = before or sharing(cell, gpu)
    write_sealed(instance.paths.speed, {"checkpoint": instance.weights, **found, "shared": shared})
