"""Ground truth for metrics from a dataset's subject: pixels, sequences, landmarks, and the tracked head in the image.

The mask ``seen`` says which pixels show surface that training frames show, and masks such as ``region-mouth`` which
belong to a region of the person."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
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


def ground_truth(subject: Subject, device: torch.device, needs: Collection[str] = ()) -> GroundTruth:
    """Ground truth of a subject's test frames; images are read on use.

    Args:
        subject: gives the test frames, and the training frames for the mask ``seen``.
        device: where the head's projection and masks are computed, if a metric asks for them.
        needs: all that metrics will ask for; masks that are computed are added to those of the data where they are
            among it.
    """
    from headbench.metrics import GroundTruth
    from headbench.metrics.needs import SEEN

    frames = {frame.id: frame for frame in subject.test}

    def pixels(frame: str) -> Pixels:
        return frames[frame].pixels()

    computed = {SEEN: _seen(subject, frames, device)} if SEEN in needs else {}
    regions, lacking = _regions(subject, frames, device, needs)
    return GroundTruth(
        pixels,
        _sequences(subject.test),
        lambda: _projector(subject, frames, device),
        computed | regions,
        lacking=lacking,
        landmarks={frame.id: frame.landmarks.numpy() for frame in subject.test if frame.landmarks is not None},
    )


def _regions(
    subject: Subject, frames: Mapping[str, Frame], device: torch.device, needs: Collection[str]
) -> tuple[dict[str, Callable[[str], Tensor]], dict[str, str]]:
    """Masks of regions that are needed, as functions from a frame's ID to (1, H, W) uint8.

    Args:
        subject: gives head model and identity.
        frames: frame ID -> frame.
        device: where to compute.
        needs: names of masks and of whatever else metrics ask for.

    Returns:
        mask -> function, and mask -> why there is none, of regions that the head model does not name.
    """
    import torch

    from headbench.harness.errors import MissingAsset
    from headbench.harness.head.regions import COUNTED, REGIONS, lacking, region_labels
    from headbench.metrics.regions import mask_of

    label_of = {each.name: label for label, each in enumerate(REGIONS, 1)}
    wanted = {name: [label_of[each] for each in parts] for name, parts in COUNTED.items() if mask_of(name) in needs}
    if not wanted:
        return {}, {}
    try:
        head = _head(subject, "teeth", device)
    except MissingAsset:  # which the need of the projection says
        return {}, {}
    unnamed = lacking(head.regions)

    @functools.lru_cache(maxsize=_KEPT)
    def labels(frame: str) -> Tensor:
        return torch.from_numpy(region_labels(head, frames[frame]))

    def mask(parts: Sequence[int]) -> Callable[[str], Tensor]:
        return lambda frame: torch.isin(labels(frame), torch.tensor(parts)).to(torch.uint8)[None] * 255

    found = {mask_of(name): mask(parts) for name, parts in wanted.items() if name not in unnamed}
    why = "the head model {} names no region {} of its mesh; FLAME_masks.pkl does: bench assets add flame2020"
    return found, {mask_of(name): why.format(subject.head, unnamed[name]) for name in wanted if name in unnamed}


_KEPT = 32
"""Number of frames whose labels of regions are kept: more than are scored at a time, since each region asks anew."""


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
