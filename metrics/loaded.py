"""Frames as they are scored: renders and truth read from files, in groups of one size, ahead of the device."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from headbench.harness.errors import DataError
from headbench.harness.image import planes_of, resize_rgba, resize_uint8, to_uint8
from headbench.harness.pictures import read_picture
from headbench.harness.reading import Unreadable
from headbench.harness.tensors import FLOATS, read_float_picture
from headbench.metrics.prepare import hull_plane, no_cloth_plane
from headbench.metrics.protocol import Protocol
from headbench.metrics.truth import GroundTruth, Masks

__all__ = ["Loaded", "batches", "stacked"]


_READERS = 8
"""Limit of the threads that read frames."""


class Loaded(NamedTuple):
    """One frame as it was read, on the host."""

    frame: str
    render: Tensor
    """Stored render, (3, H, W) uint8 or float32."""
    colour: Tensor
    alpha: Tensor
    masks: Masks
    region: Tensor | None
    """(1, H, W) uint8 in the size in which pixels are counted, from the data's landmarks or parsing; None: all."""


def stacked(group: Sequence[Loaded], part: Literal["render", "colour", "alpha", "region"], device: object) -> Tensor:
    """One part of several frames of one size as a batch on a device."""
    return torch.stack([getattr(each, part) for each in group]).to(device)  # type: ignore[call-overload,no-any-return]


def batches(renders: Mapping[str, Path], truth: GroundTruth, protocol: Protocol, batch: int) -> Iterator[list[Loaded]]:
    """Load frames in order, at most `batch` of one size at a time; the next ones are read in other threads meanwhile.

    Args:
        renders: frame id -> file of its render.
        truth: ground truth of the frames.
        protocol: says to which size frames are resampled.
        batch: largest number of frames per group.
    """
    ids = list(renders)
    chunks = [ids[start : start + batch] for start in range(0, len(ids), batch)]

    def load(frame: str) -> Loaded:
        return _load(frame, renders[frame], truth, protocol)

    with ThreadPoolExecutor(max_workers=min(_READERS, batch, os.cpu_count() or 1)) as readers:
        ahead = [readers.map(load, chunk) for chunk in chunks[:1]]
        for index in range(len(chunks)):
            loaded = list(ahead.pop())
            if index + 1 < len(chunks):
                ahead.append(readers.map(load, chunks[index + 1]))
            start = 0
            for end in range(1, len(loaded) + 1):
                if end == len(loaded) or _kind(loaded[end]) != _kind(loaded[start]):
                    yield loaded[start:end]
                    start = end


def _kind(loaded: Loaded) -> tuple[object, ...]:
    return loaded.render.shape, loaded.render.dtype, loaded.colour.shape


def _load(frame: str, path: Path, truth: GroundTruth, protocol: Protocol) -> Loaded:
    """Read the render and the ground truth of one frame, and resample both where Pillow does it.

    Args:
        frame: id of the frame.
        path: file of its render.
        truth: ground truth of the frames.
        protocol: says to which size frames are resampled, and what counts.

    Raises:
        DataError: the render cannot be read, or the truth is of another size or type; the message names the frame.
    """
    image = _read_floats(frame, path) if path.suffix == FLOATS else _read_render(frame, path)
    if protocol.save == "none" and image.dtype == torch.uint8:
        raise DataError(
            f"Frame {frame}: {protocol.label} scores float renders, {path} holds 8 bit.",
            help="bench list protocols",
        )
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
                f"the render {path} is {width} x {height}.",
                help="render in the truth's size, or bring both to one size yourself: how is a part of what is scored",
            )
    computed = {name: functools.partial(mask, frame) for name, mask in truth.computed.items()}
    colour, alpha, masks = colour.cpu(), alpha.cpu(), Masks(pixels.masks, height, width, computed)
    side = None if protocol.resolution == "native" else protocol.resolution
    region = _region(frame, truth, masks, protocol, (side or width, side or height))
    if side is not None and protocol.resampling == "bicubic":
        image = resize_uint8(image if image.dtype == torch.uint8 else to_uint8(image), side, side)
        colour, alpha = resize_rgba(colour, alpha, side, side)
    return Loaded(frame, image, colour, alpha, masks, region)


def _region(frame: str, truth: GroundTruth, masks: Masks, protocol: Protocol, size: tuple[int, int]) -> Tensor | None:
    """Plane (1, H, W) uint8 from which a frame's region is made; None where all pixels count.

    Args:
        frame: id of the frame.
        truth: gives the landmarks.
        masks: of the frame.
        protocol: names the region.
        size: width and height of the image in which pixels are counted.

    Raises:
        DataError: the frame lacks what the region needs.
    """
    if protocol.region == "landmark-hull":
        return hull_plane(truth.landmarks.get(frame), *size, frame)
    if protocol.region == "no-cloth":
        if "classes" in masks.planes:
            return no_cloth_plane(masks.checked("classes", frame), None, *size)
        return no_cloth_plane(None, masks.checked("cloth", frame), *size)
    return None


def _read_floats(frame: str, path: Path) -> Tensor:
    """Read a stored float render as (3, H, W) float32, RGB.

    Raises:
        DataError: it is missing, damaged or of another layout; the message names the frame.
    """
    try:
        return read_float_picture(path)
    except Unreadable as error:
        raise _unread(frame, path, error) from error


def _read_render(frame: str, path: Path) -> Tensor:
    """Read a stored render as (3, H, W) uint8, RGB.

    Raises:
        DataError: it is missing, damaged or no 8-bit RGB image; the message names the frame.
    """
    try:
        image = read_picture(path)
    except Unreadable as error:
        raise _unread(frame, path, error) from error
    if image.mode != "RGB":
        raise DataError(f"Frame {frame}: expected an 8-bit RGB image, {path} has mode {image.mode}.")
    return planes_of(image)


def _unread(frame: str, path: Path, error: Unreadable) -> DataError:
    """Error that says why the render of a frame could not be read."""
    if error.missing:
        help = "the same `bench run` command renders it again"
        return DataError(f"Frame {frame}: there is no render {path}.", help=help)
    return DataError(f"Frame {frame}: render {path} cannot be read: {error.found}.", error.help)
