"""Render task of a stage instance: test frames without their images in, pictures out."""

from __future__ import annotations

from headbench.harness.run.render import RenderKey, render_frames, rendered
from headbench.harness.run.tasks.instance import Instance
from headbench.harness.run.track import tracked_frames

__all__ = ["render_task"]


def render_task(instance: Instance, key: RenderKey, tracked: str | None) -> None:
    """Render the test frames under `key`, unless the folder holds exactly these renders.

    Args:
        instance: finished stage instance.
        key: names folder, background and tracking.
        tracked: digest that `track_task` returned.

    Raises:
        BenchError: a picture cannot be made; the message names its frame.
    """
    folder, subject = instance.paths.renders(key.name), instance.subject
    if rendered(folder, instance.weights, [frame.id for frame in subject.test], tracked):
        return
    frames = list(subject.test)
    if key.tracking is not None:
        frames = tracked_frames(instance.paths.tracking(key.name), frames)
    render_frames(instance.session, frames, folder, key, instance.weights, instance.progress, tracked)
