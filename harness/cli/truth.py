"""Ground truth for metrics from a dataset's subject: pixels, sequences, and the tracked head in the image.

The mask ``seen`` says which pixels show surface that training frames show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from headbench.harness.names import one_line, shortened

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headbench.harness.head import SubjectHead
    from headbench.harness.types import Frame, Pixels, Subject
    from headbench.metrics import GroundTruth, Projection
    from headbench.metrics.truth import Projector

__all__ = ["ground_truth"]


def ground_truth(subject: Subject, device: torch.device, seen: bool = False) -> GroundTruth:
    """Ground truth of a subject's test frames; images are read on use.

    Args:
        subject: gives the test frames, and the training frames for the mask ``seen``.
        device: where the head's projection and the mask are computed, if a metric asks for them.
        seen: add the mask ``seen`` to those of the data.
    """
    from headbench.metrics import GroundTruth

    frames = {frame.id: frame for frame in subject.test}

    def pixels(frame: str) -> Pixels:
        return frames[frame].pixels()

    computed = {"seen": _seen(subject, frames, device)} if seen else {}

    return GroundTruth(pixels, _sequences(subject.test), lambda: _projector(subject, frames, device), computed)


def _seen(subject: Subject, frames: Mapping[str, Frame], device: torch.device) -> Callable[[str], Tensor]:
    """Function that says of a frame, by its ID, which pixels (1, H, W) show surface that training frames show: 255.

    Args:
        subject: gives head model, identity and training frames.
        frames: frame ID -> frame.
        device: where to compute.
    """
    import torch

    from headbench.harness.head.seen import seen_pixels

    def mask(frame: str) -> Tensor:
        head, seen = _seen_head(subject, device)
        return seen_pixels(head, frames[frame], seen).to(torch.uint8) * 255

    return mask


_last: list[tuple[object, torch.device, SubjectHead, Tensor]] = []
"""Training frames of the subject asked for last, the device, its head, and the vertices that the frames show."""


def _seen_head(subject: Subject, device: torch.device) -> tuple[SubjectHead, Tensor]:
    """Head of a subject, and which of its vertices its training frames show; kept for the next protocol or stage."""
    from headbench.harness.head.seen import seen_vertices

    if not _last or _last[0][0] is not subject.train or _last[0][1] != device:
        head = _head(subject, "teeth", device)
        _last[:] = [(subject.train, device, head, seen_vertices(head, subject.train))]
    return _last[0][2:]


def _head(subject: Subject, topology: str, device: torch.device) -> SubjectHead:
    """Head model of a subject with its identity.

    Raises:
        MissingAsset: the head model's file is not registered.
    """
    from headbench.harness.head import load_head
    from headbench.harness.train import identity_of

    return load_head(subject.head, topology, device=device).bind(identity_of(subject).to(device))


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
    from headbench.harness.head import project
    from headbench.harness.types import Camera, HeadParams
    from headbench.metrics import Projection

    head = _head(subject, "open", device)

    def projection(ids: Sequence[str]) -> Projection:
        chosen = [frames[each] for each in ids]
        params = HeadParams.join([frame.params for frame in chosen]).to(device)
        camera = Camera.join([frame.camera for frame in chosen]).to(device)
        vertices, depth = project(head.vertices(params), camera)
        return Projection(vertices, depth, head.faces, camera.width, camera.height)

    return projection
