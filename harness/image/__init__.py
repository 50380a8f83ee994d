"""Image operations and perceptual networks for losses and metrics, without torchvision."""

from __future__ import annotations

from headbench.harness.image.lpips import InputRange, Lpips
from headbench.harness.image.networks import exact_float32, load_network, network_sha256
from headbench.harness.image.pixels import composite, read_rgb, resize, resize_rgba, resize_uint8, to_float, to_uint8
from headbench.harness.image.ssim import dssim, ssim, ssim_map
from headbench.harness.image.vgg import Vgg16, VggFeatureLoss

__all__ = [
    "InputRange",
    "Lpips",
    "Vgg16",
    "VggFeatureLoss",
    "composite",
    "dssim",
    "exact_float32",
    "load_network",
    "network_sha256",
    "read_rgb",
    "resize",
    "resize_rgba",
    "resize_uint8",
    "ssim",
    "ssim_map",
    "to_float",
    "to_uint8",
]
