"""Networks that make maps: FATE's U-Net and its decoder, and maps that are parameters themselves."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["RAW", "DecodeOnly", "PlainTexture", "UNet", "make_network"]

RAW = 11
"""Channels before activation: colour 3, opacity 1, scaling 3, rotation 3 (axis-angle), offset 1."""


class _DoubleBlock(nn.Sequential):
    """Two 3 x 3 convolutions without bias, each with BatchNorm and ReLU.

    Args:
        inside: channels of the input.
        middle: channels between the convolutions.
        out: channels of the output.
    """

    def __init__(self, inside: int, middle: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(inside, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )


def _twice() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


class UNet(nn.Module):
    """U-Net from a fixed noise image to raw maps of the same size, 17,268,235 parameters.

    Args:
        size: of the maps, a multiple of 16.
        generator: gives the noise, uniform in [-1, 1); on the CPU. It is a buffer: FATE does not train it.
    """

    noise: Tensor

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("noise", torch.rand((1, RAW, size, size), generator=generator) * 2 - 1)
        self.first = _DoubleBlock(RAW, 64, 64)
        self.downs = nn.ModuleList(
            [
                _DoubleBlock(64, 128, 128),
                _DoubleBlock(128, 256, 256),
                _DoubleBlock(256, 512, 512),
                _DoubleBlock(512, 512, 512),
            ]
        )
        self.ups = nn.ModuleList(
            [
                _DoubleBlock(1024, 512, 256),
                _DoubleBlock(512, 256, 128),
                _DoubleBlock(256, 128, 64),
                _DoubleBlock(128, 64, 64),
            ]
        )
        self.last = nn.Conv2d(64, RAW, 1)
        self.pool, self.twice = nn.MaxPool2d(2), _twice()

    def forward(self) -> Tensor:
        """Raw maps (1, 11, S, S)."""
        x = self.first(self.noise)
        skips = [x]
        for down in self.downs:
            x = down(self.pool(x))
            skips.append(x)
        for up, skip in zip(self.ups, reversed(skips[:-1]), strict=True):
            x = up(torch.cat([skip, self.twice(x)], dim=1))
        found: Tensor = self.last(x)
        return found


class DecodeOnly(nn.Module):
    """Decoder from a fixed noise image of a 32nd of the size to raw maps, 4,713,195 parameters.

    Args:
        size: of the maps, a multiple of 32; 256 as published.
        generator: gives the noise, uniform in [-1, 1); on the CPU. It is a buffer: FATE does not train it.
    """

    noise: Tensor

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("noise", torch.rand((1, 512, size // 32, size // 32), generator=generator) * 2 - 1)
        widths = [(512, 256, 512), (512, 256, 256), (256, 128, 128), (128, 64, 64), (64, 32, 32)]
        self.ups = nn.ModuleList([_DoubleBlock(*each) for each in widths])
        self.last = nn.Conv2d(32, RAW, 1)
        self.twice = _twice()

    def forward(self) -> Tensor:
        """Raw maps (1, 11, S, S)."""
        x = self.noise
        for up in self.ups:
            x = up(self.twice(x))
        found: Tensor = self.last(x)
        return found


class PlainTexture(nn.Module):
    """Raw maps as parameters, one per map so that each can have its learning rate.

    Args:
        size: of the maps.
        generator: gives the first values, uniform in [-1, 1); on the CPU.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        raw = torch.rand((1, RAW, size, size), generator=generator) * 2 - 1
        for name, part in zip(RAW_CHANNELS, raw.split(list(RAW_CHANNELS.values()), dim=1), strict=True):
            self.register_parameter(name, nn.Parameter(part.clone()))

    def forward(self) -> Tensor:
        """Raw maps (1, 11, S, S)."""
        return torch.cat([getattr(self, name) for name in RAW_CHANNELS], dim=1)


RAW_CHANNELS = {"colour": 3, "opacity": 1, "scaling": 3, "rotation": 3, "offset": 1}
"""Channels of each map before activation, in their order."""


def make_network(
    kind: Literal["unet", "decode_only", "texture"], size: int, generator: torch.Generator, silent: bool
) -> nn.Module:
    """Make a network with its first weights, which PyTorch's defaults draw from its global generator.

    Args:
        kind: which network.
        size: of the maps in texels.
        generator: of its fixed input, or of a texture's first values; on the CPU.
        silent: whether its first output is zero everywhere.
    """
    types = {"unet": UNet, "decode_only": DecodeOnly, "texture": PlainTexture}
    network: nn.Module = types[kind](size, generator)
    if silent:
        last = getattr(network, "last", network)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    return network
