"""Scores stored renders against the ground truth, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from headbench.harness.image import exact_float32
from headbench.metrics.absent import Absent
from headbench.metrics.choose import find
from headbench.metrics.evaluate import Evaluation
from headbench.metrics.loaded import batches, stacked
from headbench.metrics.lpips import NETS
from headbench.metrics.prepare import missing_for_region, region_of, resampled, saved, true_image
from headbench.metrics.protocol import Protocol
from headbench.metrics.ready import Ready, make_ready, projector_of
from headbench.metrics.scores import FrameScore, Scores, package_versions
from headbench.metrics.truth import GroundTruth, Truth

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

__all__ = ["score_frames"]


def score_frames(
    renders: Mapping[str, Path],
    truth: GroundTruth,
    protocol: Protocol,
    device: torch.device | str = "cpu",
    nets: Collection[str] | None = None,
    batch: int = 8,
    report: Callable[[int, int], None] | None = None,
    known: Registry | None = None,
) -> Scores:
    """Score stored renders, in the order of `renders`.

    Args:
        renders: frame id -> picture, rendered on the protocol's background: an 8-bit RGB PNG or JPEG, or a safetensors
            file with floats where the protocol scores those. Frames of a sequence stand in the order of time. A
            protocol that makes 8-bit pictures of floats in a way of its own takes 8-bit files as made in that way.
        truth: ground truth; its pixels are read in other threads, so that reading overlaps computing.
        protocol: names metrics, background and resolution.
        device: where to compute.
        nets: LPIPS networks to compute; None means both on CUDA and AlexNet alone on a CPU.
        batch: number of frames that are read and moved to the device at a time. A frame's scores do not depend on it:
            SSIM and LPIPS, whose memory is that of one frame, on a CPU that of as many as are computed at once (at most
            four), to the last bit, means over pixels within 1e-12.
        report: called with (frames done, frames in all) after each batch.
        known: registry in which metrics are looked up; None takes the registry of this process.

    Where the data lack what the protocol's region needs, no frame is scored and each metric has that as its reason.

    Raises:
        DataError: a render is missing, damaged or of another size than the truth, holds 8 bit where floats are scored,
            the truth is not what a reader should give, or a value is not a number; the message names the frame.
        BenchError: a metric of the protocol is not registered, or fails.
        ValueError: `nets` has an unknown name, or `batch` is below 1.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (32, 32), "white").save(folder / "a.png")
        >>> truth = GroundTruth(pixels=lambda name: frame.pixels())
        >>> scores = score_frames({"a": folder / "a.png"}, truth, load_protocol("headbench@1"))
        >>> 0 < scores.mean("psnr") < 10
        True
    """
    if batch < 1:
        raise ValueError(f"expected a batch of at least 1, got {batch}")
    unknown = set(nets or ()) - set(NETS)
    if unknown:
        raise ValueError(f"unknown LPIPS networks {sorted(unknown)}; known are {' and '.join(NETS)}")
    asked = {} if nets is None else {"lpips": nets}
    first = next(iter(renders), None)
    lacking = _lacking(protocol, truth, first)
    if lacking is not None:
        keys = [key for key, _ in find(protocol, known)]
        return Scores.of(protocol, (), keys, absent=dict.fromkeys(keys, lacking), versions=package_versions())
    ready = make_ready(protocol, device, truth, first, asked, known)
    evaluation, projector = Evaluation(ready, renders), projector_of(truth)
    scores: list[FrameScore] = []
    with torch.inference_mode(), exact_float32():
        for group in batches(renders, truth, protocol, batch):
            images = resampled(saved(stacked(group, "render", device), protocol), protocol)
            target, alphas = true_image(stacked(group, "colour", device), stacked(group, "alpha", device), protocol)
            planes = None if group[0].region is None else stacked(group, "region", device)
            ids = [each.frame for each in group]
            sequences, masks = [truth.sequence(frame) for frame in ids], [each.masks for each in group]
            region, bounded = region_of(planes, alphas, protocol), protocol.clamp or not protocol.floats
            true = Truth(target, alphas, ids, sequences, masks, projector, region, bounded)
            scores += evaluation.take(images, true)
            if report is not None:
                report(len(scores), len(renders))
        joined = evaluation.finish()
    return Scores.of(
        protocol,
        scores,
        [each.key for each in ready],
        sequences=tuple(joined),
        absent={each.key: each.absent for each in ready if each.absent is not None},
        weights={each.key: digest for each in ready if each.metric and (digest := each.metric.weights())},
        versions=package_versions() | _plugins(ready),
    )


def _lacking(protocol: Protocol, truth: GroundTruth, first: str | None) -> Absent | None:
    """Reason why nothing can be scored, since the data lack what the protocol's region needs; None where they do not.

    Args:
        protocol: names the region.
        truth: ground truth; asked for the masks of one frame.
        first: id of that frame; None where there is no frame.
    """
    if protocol.region == "full" or first is None:
        return None
    masks = truth.pixels(first).masks if protocol.region == "no-cloth" else ()
    return missing_for_region(protocol, masks, bool(truth.landmarks))


def _plugins(ready: Sequence[Ready]) -> dict[str, str]:
    """Distribution -> version of the plugins whose metrics were asked for, without the built-in ones."""
    origins = [each.chosen.origin.rpartition(" ") for each in ready]
    return {name: version for name, _, version in origins if name not in ("", "built")}
