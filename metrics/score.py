"""Renders and truth in, one score a frame out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headbench.harness.errors import DataError
from headbench.harness.image import (
    composite,
    exact_float32,
    network_sha256,
    resize_rgba,
    resize_uint8,
    to_float,
    to_uint8,
)
from headbench.harness.pictures import read_picture
from headbench.harness.reading import Unreadable
from headbench.metrics.lpips import LpipsColumn, lpips_columns
from headbench.metrics.protocol import Protocol
from headbench.metrics.psnr import psnr
from headbench.metrics.scores import FrameScore
from headbench.metrics.ssim import ssim

__all__ = ["Truth", "score_frames", "score_pairs", "weights_used"]

Truth = Callable[[str], tuple[Tensor, Tensor]]
"""Frame id -> colour (3, H, W) uint8, un-premultiplied, and alpha (1, H, W) uint8."""


class _Loaded(NamedTuple):
    frame: str
    render: Tensor
    """(3, H, W) uint8"""
    colour: Tensor
    alpha: Tensor


def score_pairs(
    renders: Tensor, truth: Tensor, protocol: Protocol, columns: Sequence[LpipsColumn]
) -> dict[str, list[float]]:
    """renders, truth (B, 3, H, W) in [0, 1] on one device -> column -> B values, for the columns that can be computed.

    Raises:
        ValueError: shapes differ or values leave [0, 1].
    """
    values = {"psnr": psnr(renders, truth, protocol.psnr.reduction), "ssim": ssim(renders, truth, protocol.ssim)}
    for column in columns:
        if column.network is not None:
            values[column.key] = column(renders, truth)
    return {key: value.tolist() for key, value in values.items()}


def weights_used(frames: Sequence[FrameScore]) -> dict[str, str]:
    """column -> SHA-256 of the registered network, for the LPIPS columns that `frames` have."""
    nets = {f"lpips_{net}": f"lpips-{net}" for net in ("alex", "vgg")}
    return {key: network_sha256(name) for key, name in nets.items() if frames and frames[0].value(key) is not None}


def score_frames(
    renders: Mapping[str, Path],
    truth: Truth,
    protocol: Protocol,
    device: torch.device | str = "cpu",
    nets: Collection[str] | None = None,
    batch: int = 8,
    report: Callable[[int, int], None] | None = None,
) -> list[FrameScore]:
    """Score stored renders, in the order of `renders`.

    Args:
        renders: frame id -> 8-bit RGB PNG, rendered on the protocol's background.
        truth: gives a frame's pixels; called once a frame, from one other thread, so that reading overlaps computing.
        protocol: how to score.
        device: where to compute.
        nets: LPIPS networks to compute; None means both on CUDA and AlexNet alone on a CPU.
        batch: frames at a time; results do not depend on it beyond rounding.
        report: called with (frames done, frames in all) after each batch.

    Raises:
        DataError: a render is missing, damaged or of another size than the truth, the truth is not what a reader
            should give, or a value is not a number; the message names the frame.
    """
    if batch < 1:
        raise ValueError(f"expected a batch of at least 1, got {batch}")
    columns = lpips_columns(protocol, device, nets)
    reasons = {column.key: column.reason for column in columns if column.network is None}
    offered = {f"lpips_{rule.net}" for rule in protocol.lpips}
    for net in ("alex", "vgg"):
        if f"lpips_{net}" not in offered:
            reasons[f"lpips_{net}"] = f"n/a (not part of {protocol.label})"
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
            values = score_pairs(images, target, protocol, columns)
            for row, frame in enumerate(each.frame for each in group):
                mine = {key: numbers[row] for key, numbers in values.items()}
                wrong = [key for key, value in mine.items() if math.isnan(value)]
                if wrong:
                    raise DataError(f"Frame {frame}: {', '.join(wrong)} of {renders[frame]} is not a number.")
                scores.append(FrameScore(id=frame, reasons=reasons, **mine))
            if report is not None:
                report(len(scores), len(renders))
    return scores


def _batches(renders: Mapping[str, Path], truth: Truth, protocol: Protocol, batch: int) -> Iterator[list[_Loaded]]:
    """Loaded frames in order, at most `batch` of one size at a time; the next ones are read meanwhile."""
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


def _load(frame: str, path: Path, truth: Truth, protocol: Protocol) -> _Loaded:
    image = _read_render(frame, path)
    colour, alpha = truth(frame)
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
    colour, alpha = colour.cpu(), alpha.cpu()
    if protocol.resolution != "native":
        side = protocol.resolution
        image = resize_uint8(image, side, side)
        colour, alpha = resize_rgba(colour, alpha, side, side)
    return _Loaded(frame, image, colour, alpha)


def _read_render(frame: str, path: Path) -> Tensor:
    """(3, H, W) uint8."""
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
