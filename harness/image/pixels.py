"""Pixels as bytes and as floats, compositing on a background, and resampling."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from headbench.harness.pictures import read_picture
from headbench.harness.types import Pixels

__all__ = [
    "composite",
    "on_background",
    "planes_of",
    "read_rgb",
    "resize",
    "resize_rgba",
    "resize_uint8",
    "to_float",
    "to_rgb8",
    "to_uint8",
]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) sRGB.

    Raises:
        Unreadable: as for `read_picture`.
    """
    return np.asarray(read_picture(path).convert("RGB"))


def planes_of(image: Image.Image) -> Tensor:
    """Copy the channels of an 8-bit picture, one plane after the other: (C, H, W) uint8."""
    # Pillow splits channels thirty times as fast as torch permutes bytes, and takes no threads for it.
    channels = image.split()
    planes = np.empty((len(channels), image.height, image.width), dtype=np.uint8)
    for plane, channel in zip(planes, channels, strict=True):
        plane[:] = np.asarray(channel)
    return torch.from_numpy(planes)


def to_float(image: Tensor) -> Tensor:
    """Convert uint8 pixels of any shape to float32 in [0, 1]."""
    if image.dtype != torch.uint8:
        raise TypeError(f"expected uint8 pixels, got {image.dtype} of shape {tuple(image.shape)}")
    return image.to(torch.float32) / 255


def to_uint8(image: Tensor) -> Tensor:
    """Convert float pixels of any shape to uint8: clamped to [0, 1], then rounded to nearest (ties to even)."""
    if not image.is_floating_point():
        raise TypeError(f"expected float pixels, got {image.dtype} of shape {tuple(image.shape)}")
    return (image.detach().to(torch.float32).clamp(0, 1) * 255).round().to(torch.uint8)


def to_rgb8(image: Tensor) -> NDArray[np.uint8]:
    """Bring a picture (C, H, W) from any device, uint8 or float in [0, 1], to the host as (H, W, C) uint8."""
    pixels = image if image.dtype == torch.uint8 else to_uint8(image)
    if pixels.is_cuda:
        return pixels.permute(1, 2, 0).contiguous().cpu().numpy()
    return np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0))


def on_background(pixels: Pixels, background: Sequence[float]) -> NDArray[np.uint8]:
    """Composite a frame's stored pixels on a colour, as a picture (H, W, 3) uint8.

    Args:
        pixels: colour and alpha of the frame.
        background: RGB in [0, 1].
    """
    colour = pixels.colour.permute(1, 2, 0).cpu().numpy()
    # Both bytes in one index, as of a table with a row of 256 colours per alpha.
    places = colour | pixels.alpha.permute(1, 2, 0).cpu().numpy().astype(np.uint16) << 8
    tables = [_composites(float(channel)) for channel in background]
    if tables[1] is tables[0] and tables[2] is tables[0]:
        return tables[0][places]
    return np.stack([table[places[..., channel]] for channel, table in enumerate(tables)], axis=-1)


@functools.cache
def _composites(background: float) -> NDArray[np.uint8]:
    """Composites on one channel of a background, of all alphas and colours: (65536,), alpha after alpha."""
    bytes_ = to_float(torch.arange(256, dtype=torch.uint8))
    made = composite(bytes_.expand(1, 256, 256), bytes_[None, :, None], torch.tensor([background]))
    return to_uint8(made).reshape(-1).numpy()


def composite(colour: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """Composite images with straight alpha on a background colour: (..., 3, H, W), all values in [0, 1].

    Args:
        colour: (..., 3, H, W), not premultiplied.
        alpha: (..., 1, H, W).
        background: (..., 3).
    """
    behind = background.to(colour)[..., :, None, None]
    return colour * alpha + behind * (1 - alpha)


def resize(image: Tensor, width: int, height: int, method: Literal["area", "bilinear", "bicubic"] = "area") -> Tensor:
    """Resample images (B, C, H, W), differentiable: (B, C, height, width).

    Args:
        image: (B, C, H, W) float.
        width: of the result in pixels.
        height: of the result in pixels.
        method: area averages the pixels below each target pixel and is for shrinking; bilinear and bicubic filter with
            antialiasing.
    """
    if method == "area":
        return F.interpolate(image, size=(height, width), mode="area")
    return F.interpolate(image, size=(height, width), mode=method, align_corners=False, antialias=True)


def resize_uint8(image: Tensor, width: int, height: int) -> Tensor:
    """Resample an image (C, H, W) uint8 to (C, height, width) by Pillow's bicubic filter, each channel on its own."""
    if image.dtype != torch.uint8 or image.ndim != 3:
        raise TypeError(f"expected (C, H, W) uint8, got {image.dtype} of shape {tuple(image.shape)}")
    if image.shape[1:] == (height, width):
        return image
    channels = [Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC) for c in image.cpu().numpy()]
    return torch.from_numpy(np.stack([np.asarray(c) for c in channels])).to(image.device)


def resize_rgba(colour: Tensor, alpha: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Resample colour and alpha together by Pillow's bicubic filter.

    Pillow weights colour by alpha while it resamples, so that the colour of transparent pixels does not bleed in.

    Args:
        colour: (3, H, W) uint8, not premultiplied.
        alpha: (1, H, W) uint8.
        width: of the result in pixels.
        height: of the result in pixels.
    """
    if colour.shape[1:] == (height, width):
        return colour, alpha
    pixels = torch.cat([colour, alpha]).permute(1, 2, 0).contiguous().cpu().numpy()
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    out = planes_of(small).to(colour.device)
    return out[:3], out[3:]
