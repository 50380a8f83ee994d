"""Render task of a stage instance: test frames, or those of another set of views, without images in, pictures out."""

from __future__ import annotations

import shutil

from headbench.harness.run.render import RenderKey, render_frames, rendered
from headbench.harness.run.tasks.instance import Instance
from headbench.harness.run.track import tracked_frames

__all__ = ["render_task"]


def render_task(instance: Instance, key: RenderKey, tracked: str | None) -> None:
    """Render the frames that `key` shows, unless the folder holds exactly these renders.

    Where the data lack the frames nothing is rendered, and what was rendered of others is removed.

    Args:
        instance: finished stage instance.
        key: names folder, views, background and tracking.
        tracked: digest that `track_task` returned.

    Raises:
        BenchError: a picture cannot be made; the message names its frame.
    """
    folder, frames = instance.paths.renders(key.name), list(instance.subject.showing(key.views).test)
    found = instance.subject.views.get(key.views)
    viewed = found.digest if found is not None else None
    if not frames:
        shutil.rmtree(folder, ignore_errors=True)
        return
    if rendered(folder, instance.weights, [frame.id for frame in frames], tracked, viewed, key):
        return
    instance.progress({"stage": "render"})
    if key.tracking is not None:
        frames = tracked_frames(instance.paths.tracking(key.name), frames)
    render_frames(instance.session, frames, folder, key, instance.weights, instance.progress, tracked, viewed)
