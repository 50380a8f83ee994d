"""Scores stored renders against the ground truth, frame by frame."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from headbench.harness.errors import DataError
from headbench.harness.image import composite, exact_float32, resize_rgba, resize_uint8, to_float, to_uint8
from headbench.harness.pictures import read_picture
from headbench.harness.reading import Unreadable
from headbench.metrics.evaluate import Evaluation
from headbench.metrics.lpips import NETS
from headbench.metrics.protocol import Protocol
from headbench.metrics.ready import Ready, make_ready, projector_of
from headbench.metrics.scores import FrameScore, Scores, package_versions
from headbench.metrics.truth import GroundTruth, Masks, Truth

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

__all__ = ["score_frames"]


class _Loaded(NamedTuple):
    frame: str
    render: Tensor
    """Stored render, (3, H, W) uint8."""
    colour: Tensor
    alpha: Tensor
    masks: Masks


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
        renders: frame id -> 8-bit RGB PNG, rendered on the protocol's background. Frames of a sequence stand in the
            order of time.
        truth: ground truth; its pixels are read in one other thread, so that reading overlaps computing.
        protocol: names metrics, background and resolution.
        device: where to compute.
        nets: LPIPS networks to compute; None means both on CUDA and AlexNet alone on a CPU.
        batch: number of frames that are scored at a time; results do not depend on it beyond rounding.
        report: called with (frames done, frames in all) after each batch.
        known: registry in which metrics are looked up; None takes the registry of this process.

    Raises:
        DataError: a render is missing, damaged or of another size than the truth, the truth is not what a reader
            should give, or a value is not a number; the message names the frame.
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
    ready = make_ready(protocol, device, truth, next(iter(renders), None), asked, known)
    evaluation, projector = Evaluation(ready, renders), projector_of(truth)
    background = torch.tensor(protocol.background_rgb, device=device)
    scores: list[FrameScore] = []
    with torch.inference_mode(), exact_float32():
        for group in _batches(renders, truth, protocol, batch):
            images, colours, alphas = (
                to_float(torch.stack(planes).to(device))
                for planes in ([g.render for g in group], [g.colour for g in group], [g.alpha for g in group])
            )
            target = composite(colours, alphas, background)
            if protocol.quantise == "uint8_round":
                target = to_float(to_uint8(target))
            ids = [each.frame for each in group]
            sequences, masks = [truth.sequence(frame) for frame in ids], [each.masks for each in group]
            scores += evaluation.take(images, Truth(target, alphas, ids, sequences, masks, projector))
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


def _plugins(ready: Sequence[Ready]) -> dict[str, str]:
    """Distribution -> version of the plugins whose metrics were asked for, without the built-in ones."""
    origins = [each.chosen.origin.rpartition(" ") for each in ready]
    return {name: version for name, _, version in origins if name not in ("", "built")}


def _batches(
    renders: Mapping[str, Path], truth: GroundTruth, protocol: Protocol, batch: int
) -> Iterator[list[_Loaded]]:
    """Load frames in order, at most `batch` of one size at a time; the next ones are read in another thread meanwhile.

    Args:
        renders: frame id -> file of its render.
        truth: ground truth of the frames.
        protocol: says to which size frames are resampled.
        batch: largest number of frames per group.
    """
    ids = list(renders)
    chunks = [ids[start : start + batch] for start in range(0, len(ids), batch)]

    def load(chunk: list[str]) -> list[_Loaded]:
        return [_load(frame, renders[frame], truth, protocol) for frame in chunk]

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = [reader.submit(load, chunk) for chunk in chunks[:1]]
        for index in range(len(chunks)):
            loaded = ahead.pop().result()
            if index + 1 < len(chunks):
                ahead.append(reader.submit(load, chunks[index + 1]))
            start = 0
            for end in range(1, len(loaded) + 1):
                if end == len(loaded) or loaded[end].render.shape != loaded[start].render.shape:
                    yield loaded[start:end]
                    start = end


def _load(frame: str, path: Path, truth: GroundTruth, protocol: Protocol) -> _Loaded:
    """Read the render and the ground truth of one frame, and resample both as the protocol says.

    Args:
        frame: id of the frame.
        path: file of its render.
        truth: ground truth of the frames.
        protocol: says to which size frames are resampled.

    Raises:
        DataError: the render cannot be read, or the truth is of another size or type; the message names the frame.
    """
    image = _read_render(frame, path)
    pixels = truth.pixels(frame)
    colour, alpha = pixels.colour, pixels.alpha
    height, width = image.shape[1:]
    for name, got, channels in (("colour", colour, 3), ("alpha", alpha, 1)):
        if got.dtype != torch.uint8 or got.ndim != 3 or got.shape[0] != channels:
            raise DataError(
                f"Frame {frame}: expected the truth's {name} as ({channels}, H, W) uint8, "
                f"found {tuple(got.shape)} {str(got.dtype).removeprefix('torch.')}."
            )
        if tuple(got.shape[1:]) != (height, width):
            raise DataError(
                f"Frame {frame}: the truth's {name} is {got.shape[2]} x {got.shape[1]} pixels, "
                f"the render {path} is {width} x {height}."
            )
    computed = {name: functools.partial(mask, frame) for name, mask in truth.computed.items()}
    colour, alpha, masks = colour.cpu(), alpha.cpu(), Masks(pixels.masks, height, width, computed)
    if protocol.resolution != "native":
        side = protocol.resolution
        image = resize_uint8(image, side, side)
        colour, alpha = resize_rgba(colour, alpha, side, side)
    return _Loaded(frame, image, colour, alpha, masks)


def _read_render(frame: str, path: Path) -> Tensor:
    """Read a stored render as (3, H, W) uint8, RGB.

    Raises:
        DataError: it is missing, damaged or no 8-bit RGB image; the message names the frame.
    """
    try:
        image = read_picture(path)
    except Unreadable as error:
        if error.missing:
            help = "the same `bench run` command renders it again"
            raise DataError(f"Frame {frame}: there is no render {path}.", help=help) from error
        raise DataError(f"Frame {frame}: render {path} cannot be read: {error.found}.", error.help) from error
    if image.mode != "RGB":
        raise DataError(f"Frame {frame}: expected an 8-bit RGB image, {path} has mode {image.mode}.")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
