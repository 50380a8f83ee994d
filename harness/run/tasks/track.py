"""Tracking task of a stage instance: optimise test frames' parameters where a protocol asks for it."""

from __future__ import annotations

from headbench.harness.run.render import RenderKey
from headbench.harness.run.tasks.instance import Instance
from headbench.harness.run.track import track_frames, tracked_digest

__all__ = ["track_task"]


def track_task(instance: Instance, key: RenderKey) -> str | None:
    """Optimise the test frames' parameters for renders of `key`, unless that is done.

    Args:
        instance: finished stage instance.
        key: render key, with the rule of the tracking.

    Returns:
        digest of the tracked parameters; None where `key` asks for no tracking.

    Raises:
        BenchError: an optimisation ended in values that are not finite; the message names the frame.
    """
    if key.tracking is None:
        return None
    folder = instance.paths.tracking(key.name)

    def digest() -> str | None:
        return tracked_digest(folder, instance.weights, key, instance.subject.test)

    if digest() is None:
        loaded = instance.loaded
        track_frames(
            loaded.portrait,
            loaded.config,
            instance.subject.test,
            (instance.summary.steps, len(instance.subject.train)),
            folder,
            key,
            instance.weights,
            instance.execution.rasterizer,
            instance.device,
            instance.progress,
        )
    return digest()
