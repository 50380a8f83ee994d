"""Ground truth for metrics from a dataset's subject: pixels, sequences, and the tracked head in the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headbench.harness.names import one_line, shortened

if TYPE_CHECKING:
    import torch

    from headbench.harness.types import Frame, Pixels, Subject
    from headbench.metrics import GroundTruth, Projection
    from headbench.metrics.truth import Projector

__all__ = ["ground_truth"]


def ground_truth(subject: Subject, device: torch.device) -> GroundTruth:
    """Ground truth of a subject's test frames; images are read on use.

    Args:
        subject: gives the test frames.
        device: where the head's projection is computed, if a metric asks for it.
    """
    from headbench.metrics import GroundTruth

    frames = {frame.id: frame for frame in subject.test}

    def pixels(frame: str) -> Pixels:
        return frames[frame].pixels()

    return GroundTruth(pixels, _sequences(subject.test), lambda: _projector(subject, frames, device))


def _sequences(frames: Sequence[Frame]) -> dict[str, str]:
    """Frame ID -> name of its sequence; where there are several cameras, each has sequences of its own."""
    several = len({frame.camera_id for frame in frames}) > 1
    named = {}
    for frame in frames:
        name = frame.sequence or "all"
        named[frame.id] = shortened(one_line(f"{name}, camera {frame.camera_id}" if several else name))
    return named


def _projector(subject: Subject, frames: Mapping[str, Frame], device: torch.device) -> Projector:
    """Function that projects the tracked head's mesh into frames, by the dataset's parameters.

    Args:
        subject: gives head model and identity.
        frames: frame ID -> frame.
        device: where to compute.

    Raises:
        MissingAsset: the head model's file is not registered.
    """
    from headbench.harness.head import load_head, project
    from headbench.harness.train import identity_of
    from headbench.harness.types import Camera, HeadParams
    from headbench.metrics import Projection

    model = load_head(subject.head, "open", device=device)
    head = model.bind(identity_of(subject).to(device))

    def projection(ids: Sequence[str]) -> Projection:
        chosen = [frames[each] for each in ids]
        params = HeadParams.join([frame.params for frame in chosen]).to(device)
        camera = Camera.join([frame.camera for frame in chosen]).to(device)
        vertices, depth = project(head.vertices(params), camera)
        return Projection(vertices, depth, model.faces, camera.width, camera.height)

    return projection
