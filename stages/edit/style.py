"""A picture's style on a map, by Gram matrices of VGG16's features (Gatys, Ecker and Bethge, CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.image import Vgg16, load_network, resize
from headbench.stages.edit.entries import Style

__all__ = ["SMALLEST", "Features", "Goal", "fitted", "stylised"]

SMALLEST = 16
"""Least side of a map and of a picture in texels: four blocks of VGG16 halve it three times."""
_CONTENT = 2
"""Block whose last features (relu3_3) keep what the map shows."""
_EVERY = 10
"""Steps between two reports."""


def stylised(
    colour: Tensor, area: Tensor, picture: Tensor, options: Style, report: Callable[[str, int, int], None]
) -> Tensor:
    """Colours (3, S, S) of a map in the style of a picture; only the area is looked at and changed.

    The squared difference of Gram matrices of relu1_2, 2_2, 3_3 and 4_3, each relative to that of the picture, is
    minimised by Adam over the map's colours, together with the relative difference of relu3_3 to the map's own. It
    begins on a map of a quarter of the size, whose change is taken to the half and to the whole: large strokes come
    first, and most steps are cheap. On a GPU features are bfloat16; colours, matrices and losses are float32. Nothing
    waits for the device.

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
    size = colour.shape[1]
    if size < SMALLEST:
        raise BenchError(f"style needs maps of at least {SMALLEST} x {SMALLEST} texels, these have {size}.")
    features = Features(colour.device)
    generator = torch.Generator().manual_seed(options.seed)
    change = torch.zeros(1, 3, 1, 1, device=colour.device)
    done = 0
    for level, share in _LEVELS[min(2, max(0, (size // _COARSEST).bit_length() - 1))]:
        side = max(size // level, SMALLEST)
        start, inside = resize(colour[None], side, side), resize(area[None, None], side, side)[0]
        noise = options.noise * torch.randn((1, 3, side, side), generator=generator).to(colour)
        change = change + noise if done == 0 else resize(change, side, side, "bilinear")
        steps = max(1, round(options.steps * share))
        goal = Goal.of(features, fitted(picture.to(colour), side), start, inside)

        def say(step: int, before: int = done) -> None:
            report("style", before + step, options.steps)

        change = _descend(features, goal, start, change, options, steps, say)
        done += steps
    result = (colour + change[0]).clamp(0, 1)
    if not bool(torch.isfinite(result).all()):
        raise BenchError("the style led to colours that are not finite.", help="take a smaller rate")
    return torch.lerp(colour, result, (area > 0).to(result))


_COARSEST = 64
"""Least side of a map that the style begins on, in texels."""
_LEVELS = (((1, 1.0),), ((2, 0.6), (1, 0.4)), ((4, 0.5), (2, 0.3), (1, 0.2)))
"""By the number of times that a map is halved at first: parts of its side, and their shares of the steps."""


class Features:
    """Features of four blocks of VGG16, float32, of images (1, 3, H, W) in [0, 1]."""

    def __init__(self, device: torch.device) -> None:
        self._kind = torch.bfloat16 if device.type == "cuda" else torch.float32
        # The layout that is faster on each.
        self._layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        weights = {
            name: value.to(self._kind, memory_format=self._layout if value.ndim == 4 else torch.contiguous_format)
            for name, value in load_network("vgg16").items()
        }
        self._network = Vgg16(weights, blocks=4).to(device)
        self._mean = torch.tensor((0.485, 0.456, 0.406), device=device).view(1, 3, 1, 1)
        self._std = torch.tensor((0.229, 0.224, 0.225), device=device).view(1, 3, 1, 1)

    def __call__(self, image: Tensor) -> list[Tensor]:
        image = ((image - self._mean) / self._std).to(dtype=self._kind, memory_format=self._layout)
        return [each[0].float() for each in self._network(image)]


@dataclass(frozen=True)
class Goal:
    """What a map of one size should come to."""

    masks: list[Tensor]
    """(1, h, w) weight of the features of each block."""
    grams: list[Tensor]
    """(C, C) Gram matrices of the picture."""
    content: Tensor
    """(C, h, w) weighted features of the map as it was."""

    @classmethod
    def of(cls, features: Features, picture: Tensor, start: Tensor, area: Tensor) -> Goal:
        """Compute the goal for a map (1, 3, S, S) and its area (1, S, S) from a picture (1, 3, h, w)."""
        with torch.no_grad():
            grams = [_gram(each, torch.ones_like(each[:1])) for each in features(picture)]
            own = features(start)
        masks = [resize(area[None], each.shape[2], each.shape[1])[0] for each in own]
        return cls(masks, grams, own[_CONTENT] * masks[_CONTENT].sqrt())

    def loss(self, blocks: list[Tensor], content: float) -> Tensor:
        """The loss () of features; `content` is the weight of the map's own."""
        kept = (blocks[_CONTENT] * self.masks[_CONTENT].sqrt() - self.content).square().sum()
        total = content * kept / self.content.square().sum().clamp_min(1e-12)
        for block, mask, gram in zip(blocks, self.masks, self.grams, strict=True):
            total = total + (_gram(block, mask) - gram).square().sum() / gram.square().sum().clamp_min(1e-12)
        return total


def _descend(
    features: Features,
    goal: Goal,
    start: Tensor,
    change: Tensor,
    options: Style,
    steps: int,
    report: Callable[[int], None],
) -> Tensor:
    """The change (1, 3, S, S) of a map after some steps; texels outside of the area stay as they are.

    Args:
        features: of images.
        goal: what the map should come to.
        start: (1, 3, S, S) the map.
        change: (1, 3, S, S) where to begin.
        options: rate and weight of the content.
        steps: number of steps.
        report: is called with the number of steps taken.
    """
    inside = goal.masks[0]
    found = change.clone().requires_grad_()
    optimiser = torch.optim.Adam([found], lr=options.rate)
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        goal.loss(features(start + inside * found), options.content).backward()
        optimiser.step()
        with torch.no_grad():
            found.copy_((start + found).clamp_(0, 1) - start)
        if step % _EVERY == 0 or step == steps:
            report(step)
    return found.detach()


def _gram(features: Tensor, mask: Tensor) -> Tensor:
    """Gram matrix (C, C) of features (C, H, W): mean over the mask (1, H, W) of their products."""
    flat = (features * mask.sqrt()).flatten(1)
    return flat @ flat.T / mask.sum().clamp_min(1e-6)


def fitted(picture: Tensor, size: int) -> Tensor:
    """A picture (3, H, W) as (1, 3, h, w) whose longer side is `size` and whose shorter one is no less than VGG's."""
    height, width = picture.shape[1:]
    longer = max(height, width)
    wide, high = (max(SMALLEST, round(side * size / longer)) for side in (width, height))
    return resize(picture[None], wide, high, "bilinear").clamp(0, 1)
