"""A picture's style on a map, by Gram matrices of VGG16's features (Gatys, Ecker and Bethge, CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.image import Vgg16, load_network, resize
from headbench.stages.edit.entries import Style

__all__ = ["SMALLEST", "stylised"]

SMALLEST = 16
"""Least side of a map and of a picture in texels: four blocks of VGG16 halve it three times."""
_CONTENT = 2
"""Block whose last features (relu3_3) keep what the map shows."""
_EVERY = 10
"""Steps between two reports."""


def stylised(
    colour: Tensor, area: Tensor, picture: Tensor, options: Style, report: Callable[[str, int, int], None]
) -> Tensor:
    """Colours (3, S, S) of a map in the style of a picture; only the area is looked at.

    The mean squared difference of Gram matrices of relu1_2, 2_2, 3_3 and 4_3, each relative to that of the picture, is
    minimised by Adam over the map's colours, together with the relative difference of relu3_3 to the map's own. On a
    GPU features are bfloat16; colours, matrices and losses are float32. Nothing waits for the device.

    Args:
        colour: (3, S, S) in [0, 1].
        area: (S, S) weight of each texel in [0, 1].
        picture: (3, H, W) in [0, 1]; it is resized to S along its longer side, so that the size of its brush strokes
            is relative to the atlas.
        options: weights, steps and seed.
        report: is called with what is done, the step and the number of steps.

    Raises:
        BenchError: the map is too small, or nothing finite comes of the options.
        MissingAsset: VGG16 is not registered.
    """
    size, device = colour.shape[1], colour.device
    if size < SMALLEST:
        raise BenchError(f"style needs maps of at least {SMALLEST} x {SMALLEST} texels, these have {size}.")
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    network = Vgg16({name: value.to(kind) for name, value in load_network("vgg16").items()}, blocks=4).to(device)
    mean, std = (
        colour.new_tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    def features(image: Tensor) -> list[Tensor]:
        image = ((image - mean) / std).to(dtype=kind, memory_format=torch.channels_last)
        return [each[0].float() for each in network(image)]

    masks = [F.interpolate(area[None, None], scale_factor=0.5**block, mode="area")[0] for block in range(4)]
    with torch.no_grad():
        wanted = [_gram(each, torch.ones_like(each[:1])) for each in features(_fitted(picture.to(colour), size))]
        own = features(colour[None])[_CONTENT] * masks[_CONTENT].sqrt()
    scales = [gram.square().sum().clamp_min(1e-12) for gram in wanted]
    noise = torch.randn(colour.shape, generator=torch.Generator().manual_seed(options.seed)).to(device)
    found = (colour + options.noise * noise).clamp(0, 1).requires_grad_()
    optimiser = torch.optim.Adam([found], lr=options.rate)
    for step in range(1, options.steps + 1):
        optimiser.zero_grad()
        blocks = features(found[None])
        loss = sum(
            (_gram(each, mask) - gram).square().sum() / scale
            for each, mask, gram, scale in zip(blocks, masks, wanted, scales, strict=True)
        )
        kept = (blocks[_CONTENT] * masks[_CONTENT].sqrt() - own).square().sum() / own.square().sum().clamp_min(1e-12)
        (loss + options.content * kept).backward()
        optimiser.step()
        with torch.no_grad():
            found.clamp_(0, 1)
        if step % _EVERY == 0 or step == options.steps:
            report("style", step, options.steps)
    result = found.detach()
    if not bool(torch.isfinite(result).all()):
        raise BenchError("the style led to colours that are not finite.", help="a smaller --rate")
    return result


def _gram(features: Tensor, mask: Tensor) -> Tensor:
    """Gram matrix (C, C) of features (C, H, W): mean over the mask (1, H, W) of their products."""
    flat = (features * mask.sqrt()).flatten(1)
    return flat @ flat.T / mask.sum().clamp_min(1e-6)


def _fitted(picture: Tensor, size: int) -> Tensor:
    """A picture (3, H, W) as (1, 3, h, w) whose longer side is `size` and whose shorter one is no less than VGG's."""
    height, width = picture.shape[1:]
    longer = max(height, width)
    wide, high = (max(SMALLEST, round(side * size / longer)) for side in (width, height))
    return resize(picture[None], wide, high, "bilinear").clamp(0, 1)
