"""Pictures of strangers' folders as renders and ground truth: checked by their headers, read when they are scored."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from headbench.harness.errors import BenchError, DataError
from headbench.harness.image import composite, planes_of, to_float, to_uint8
from headbench.harness.pictures import PictureHeader, picture_header, read_picture
from headbench.harness.reading import Unreadable
from headbench.harness.types import Pixels
from headbench.harness.videos import open_video, to_rgb
from headbench.metrics.protocol import Protocol
from headbench.metrics.truth import GroundTruth

__all__ = [
    "Checked",
    "background_notes",
    "check_alpha",
    "check_pictures",
    "composited",
    "folder_truth",
    "images_of_video",
    "rate_notes",
    "same_sizes",
    "shift_notes",
]

_READERS = 8
_COLOUR = {"RGB": False, "RGBA": True}
"""Modes that pictures may have -> whether they have an alpha channel."""
_ALPHA = ("L", "1", "RGB", "RGBA")
"""Modes that pictures of alpha may have."""
_NEAR = 16
"""Largest difference in levels from a background's colour at which a pixel counts as background."""
_MOST = 0.5
"""Least share of the uncovered pixels of a render that tells its background."""
_TRIED = 8
"""Number of frames that are compared with their neighbours."""
_COARSE = 128
"""Number of pixels to which an image's side is thinned out for that comparison."""
_CLEARLY = 0.8
"""Largest share of the error that is left with a neighbour's truth, for the neighbour to fit better."""
_SAME_RATE = 0.01
"""Largest relative difference of two videos' images per second that is none; averages vary with a video's end."""
_DEPTH = "write 8 bits per channel, RGB or RGBA: magick mogrify -type TrueColor -depth 8"


@dataclass(frozen=True)
class Checked:
    """What the headers of a folder's pictures say."""

    sizes: Mapping[str, tuple[int, int]]
    """Name -> width and height in pixels."""
    alpha: bool
    """Whether the pictures have an alpha channel."""


def check_pictures(files: Mapping[str, Path]) -> Checked:
    """Check that pictures are 8-bit RGB, or all RGBA.

    Args:
        files: name -> file; at least one.

    Raises:
        DataError: a file is no such picture, or some have alpha and others have none; the message names the file.
    """
    headers = _headers(files)
    for name, header in headers.items():
        if header.mode not in _COLOUR:
            raise DataError(f"{files[name]}: expected 8-bit RGB or RGBA, found mode {header.mode}.", help=_DEPTH)
    without = [name for name, header in headers.items() if not _COLOUR[header.mode]]
    if without and len(without) < len(headers):
        other = next(name for name in headers if _COLOUR[headers[name].mode])
        raise DataError(
            f"{files[without[0]]} has no alpha and {files[other]} has: expected all pictures of a folder alike.",
            help="write all of them with alpha, or all without",
        )
    return Checked({name: header.size for name, header in headers.items()}, not without)


def check_alpha(files: Mapping[str, Path]) -> Checked:
    """Check by their headers that pictures can be mattes: one channel, or colours of which one is taken.

    Raises:
        DataError: a file is no such picture; the message names it.
    """
    headers = _headers(files)
    for name, header in headers.items():
        if header.mode not in _ALPHA:
            raise DataError(
                f"{files[name]}: expected an 8-bit matte, found mode {header.mode}.",
                help="write 8 bits in one channel: magick mogrify -type Grayscale -depth 8",
            )
    return Checked({name: header.size for name, header in headers.items()}, True)


def same_sizes(
    pairs: Iterable[tuple[str, str]], one: tuple[str, Checked], other: tuple[str, Checked], what: tuple[str, str]
) -> None:
    """Refuse pictures of two folders that belong together and differ in size.

    Args:
        pairs: a name in the one folder, and its partner's in the other.
        one: the first folder, and what its headers say.
        other: the same of the second.
        what: what messages call a picture of each.

    Raises:
        DataError: a pair differs; the message names the first, and how many there are.
    """
    unlike = [(a, b) for a, b in pairs if one[1].sizes[a] != other[1].sizes[b]]
    if unlike:
        first, second = unlike[0]
        (width, height), (wide, high) = one[1].sizes[first], other[1].sizes[second]
        count = f" ({len(unlike)} pairs differ)" if len(unlike) > 1 else ""
        raise DataError(
            f"The {what[0]} {first} of {one[0]} is {width} x {height} pixels, its {what[1]} {second} of {other[0]} is "
            f"{wide} x {high}{count}.",
            help="bring both to one size yourself: how is a part of what is scored",
        )


def _headers(files: Mapping[str, Path]) -> dict[str, PictureHeader]:
    """Headers of pictures by name; one that cannot be read, or is stored turned, is an error that names the first."""

    def read(path: Path) -> PictureHeader | Unreadable:
        try:
            return picture_header(path)
        except Unreadable as error:
            return error

    with ThreadPoolExecutor(_READERS) as pool:
        found = dict(zip(files, pool.map(read, files.values()), strict=True))
    faults = [(files[name], each) for name, each in found.items() if isinstance(each, Unreadable)]
    if faults:
        path, error = faults[0]
        more = f" {len(faults)} of {len(files)} pictures cannot be read." if len(faults) > 1 else ""
        raise DataError(f"{path}: expected a picture, {error.found}.{more}", error.help)
    headers = {name: each for name, each in found.items() if isinstance(each, PictureHeader)}
    turned = next((name for name, header in headers.items() if header.orientation != 1), None)
    if turned is not None:
        raise DataError(
            f"{files[turned]}: expected pixels stored upright, found an EXIF orientation of "
            f"{headers[turned].orientation}.",
            help="turn the pixels and remove the tag: jhead -autorot",
        )
    return headers


def _decoded(path: Path) -> Tensor:
    """Decode a picture to (C, H, W) uint8; black and white becomes 0 and 255.

    Raises:
        DataError: its pixels are cut or damaged.
    """
    try:
        image = read_picture(path)
    except Unreadable as error:
        raise DataError(f"{path}: expected a picture, {error.found}.", error.help) from error
    return planes_of(image.convert("L") if image.mode == "1" else image)


def _matte(path: Path) -> Tensor:
    """Read a matte (1, H, W) uint8: the alpha channel, or the one value of all colours.

    Raises:
        DataError: it is damaged, or a picture of colours.
    """
    planes = _decoded(path)
    if planes.shape[0] == 4:
        return planes[3:]
    if planes.shape[0] == 3 and not bool((planes == planes[:1]).all()):
        raise DataError(f"{path}: expected a matte in grey, found colours.", help="name the folder of mattes")
    return planes[:1]


def folder_truth(files: Mapping[str, Path], alpha: Mapping[str, Path] | None, has_alpha: bool) -> GroundTruth:
    """Ground truth from pictures: colour, and coverage from their alpha channel or from mattes.

    Args:
        files: frame id -> picture.
        alpha: frame id -> matte; None where there are none.
        has_alpha: whether the pictures have an alpha channel.
    """

    def pixels(frame: str) -> Pixels:
        planes = _decoded(files[frame])
        if alpha is not None:
            return Pixels(planes[:3], _matte(alpha[frame]))
        return Pixels(planes[:3], planes[3:] if has_alpha else torch.full_like(planes[:1], 255))

    return GroundTruth(pixels, has_alpha=has_alpha or alpha is not None)


def composited(renders: Mapping[str, Path], protocol: Protocol, scratch: Path) -> dict[str, Path]:
    """Composite RGBA renders on a protocol's background, in 8 bit: rounded, or cut off where the protocol does that.

    Args:
        renders: frame id -> RGBA file.
        protocol: names the background.
        scratch: an empty folder, which gets the pictures.

    Returns:
        frame id -> RGB file.
    """
    found = {}
    for number, (frame, path) in enumerate(renders.items()):
        planes = to_float(_decoded(path))
        image = composite(planes[:3], planes[3:], planes.new_tensor(protocol.background_rgb))
        image = (image * 255).to(torch.uint8) if protocol.save == "uint8_truncate" else to_uint8(image)
        found[frame] = scratch / f"{number:06d}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(found[frame], compress_level=1)
    return found


def background_notes(path: Path, truth: Pixels, protocol: Protocol) -> list[str]:
    """Say where a render seems to be on the other background than the one on which its truth is composited.

    Args:
        path: the render, RGB.
        truth: its ground truth.
        protocol: names the background.

    Returns:
        a sentence, or none.
    """
    image, clear = _decoded(path), truth.alpha[0] == 0
    if image.shape[1:] != clear.shape or not bool(clear.any()):
        return []
    other, level = ("black", 0) if protocol.background == "white" else ("white", 255)
    off = (image[:, clear].int() - level).abs().amax(0)
    if float((off <= _NEAR).float().mean()) < _MOST:
        return []
    return [
        f"{path.name} is {other} where the ground truth covers nothing, and {protocol.label} composites on "
        f"{protocol.background}: were the renders made for it?"
    ]


def shift_notes(renders: Mapping[str, Path], truth: GroundTruth, protocol: Protocol) -> list[str]:
    """Say where renders fit the frame before or after better than the one that they were joined with.

    Some frames are compared with their own truth and that of their neighbours, coarsely. Nothing is said unless nearly
    all of them, and all together clearly, fit the same neighbour better: numbering from 0 in one place and from 1 in
    the other looks so, and a still head or an avatar of any quality does not.

    Args:
        renders: frame id -> picture without alpha, in the order of time.
        truth: ground truth of the frames.
        protocol: names the background.

    Returns:
        a sentence, or none.
    """
    ids = list(renders)
    if len(ids) < _TRIED + 2:
        return []
    background = torch.tensor(protocol.background_rgb)
    errors = []
    for place in (1 + k * (len(ids) - 3) // (_TRIED - 1) for k in range(_TRIED)):
        image = _decoded(renders[ids[place]])
        step = max(1, min(image.shape[1:]) // _COARSE)
        image = to_float(image[:, ::step, ::step])
        true = [truth.pixels(ids[place + k]) for k in (-1, 0, 1)]
        planes = [(to_float(each.colour), to_float(each.alpha)) for each in true]
        seen = [composite(colour, alpha, background)[:, ::step, ::step] for colour, alpha in planes]
        if any(each.shape != image.shape for each in seen):
            return []  # which scoring says
        errors.append([float((image - each).square().mean()) for each in seen])
    before, own, after = (list(column) for column in zip(*errors, strict=True))
    for name, other in (("before", before), ("after", after)):
        better = sum(a < b for a, b in zip(other, own, strict=True))
        if better >= _TRIED - 1 and sum(other) < _CLEARLY * sum(own):
            return [
                f"renders fit the frame {name} theirs better ({better} of {_TRIED} that were tried): are both numbered "
                f"from the same frame on?"
            ]
    return []


def images_of_video(path: Path, scratch: Path) -> dict[str, Path]:
    """Decode a video into PNG files.

    Args:
        path: an mp4 file.
        scratch: an empty folder, which gets the pictures.

    Returns:
        number of the image, from 0 and in six digits -> file.

    Raises:
        BenchError: the video cannot be opened or decoded, or has no image.
    """
    found: dict[str, Path] = {}
    try:
        with open_video(path) as video:
            for number, frame in zip(itertools.count(), video.frames(), strict=False):
                name = f"{number:06d}"
                found[name] = scratch / f"{name}.png"
                Image.fromarray(to_rgb(frame)).save(found[name], compress_level=1)
    except Unreadable as error:
        raise DataError(f"{path}: expected a video, {error.found}.", error.help) from error
    if not found:
        raise BenchError(f"{path}: expected a video, found one without images.")
    return found


def rate_notes(renders: Path, truth: Path) -> list[str]:
    """Sentence on two videos whose numbers of images per second differ; empty where they agree, or one has none.

    Args:
        renders: one mp4 file.
        truth: the other.
    """
    rates = []
    for path in (renders, truth):
        with open_video(path) as video:
            rates.append(float(video.rate or 0))
    if not all(rates) or abs(rates[0] - rates[1]) <= _SAME_RATE * rates[1]:
        return []
    return [
        f"{renders} has {rates[0]:.4g} images per second and {truth} has {rates[1]:.4g}: they are compared by their "
        "number, not by their time"
    ]
