"""Image operations and perceptual networks for losses and metrics, without torchvision."""

from __future__ import annotations

from headbench.harness.image.error_map import ERROR_LIMIT, error_colours, error_map
from headbench.harness.image.lpips import InputRange, Lpips
from headbench.harness.image.networks import exact_float32, load_network, network_sha256
from headbench.harness.image.photometric import l1_and_dssim
from headbench.harness.image.pixels import (
    composite,
    on_background,
    planes_of,
    read_rgb,
    resize,
    resize_rgba,
    resize_uint8,
    to_float,
    to_rgb8,
    to_uint8,
)
from headbench.harness.image.png import save_png
from headbench.harness.image.ssim import dssim, ssim, ssim_map
from headbench.harness.image.vgg import Vgg16, VggFeatureLoss

__all__ = [
    "ERROR_LIMIT",
    "InputRange",
    "Lpips",
    "Vgg16",
    "VggFeatureLoss",
    "composite",
    "dssim",
    "error_colours",
    "error_map",
    "exact_float32",
    "l1_and_dssim",
    "load_network",
    "network_sha256",
    "on_background",
    "planes_of",
    "read_rgb",
    "resize",
    "resize_rgba",
    "resize_uint8",
    "save_png",
    "ssim",
    "ssim_map",
    "to_float",
    "to_rgb8",
    "to_uint8",
]
