"""How much each Gaussian of an avatar counts in pictures: the sum of its blending weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.splat import Rasterizer
from headbench.harness.train.frames import FrameStore

__all__ = ["counted", "spread"]


def counted(avatar: Avatar, store: FrameStore, rows: Sequence[int], rasterizer: Rasterizer) -> Tensor:
    """Mean over frames of each Gaussian's blending weight, summed over the pixels, (N,).

    A picture is the sum of colours times blending weights, so these are the gradient of its sum by the colours.

    Args:
        avatar: in the poses of the frames.
        store: of the frames.
        rows: positions of the frames in the store, at least one.
        rasterizer: the back end that renders.
    """
    total: Tensor | None = None
    black = torch.zeros((1, 3), device=store.device)
    for row in rows:
        batch = store.batch(torch.tensor([row], device=store.device), [row], black)
        with torch.no_grad():
            gaussians = avatar.drive(batch.params).gaussians
        with torch.enable_grad():
            grey = torch.full_like(gaussians.means, 0.5).requires_grad_()
            drawn = rasterizer(replace(gaussians, colours=grey, sh_degree=None), batch.camera, black)
            (found,) = torch.autograd.grad(drawn.image[:, :1].sum(), grey)
        weight = found.reshape(-1, *found.shape[-2:])[..., 0].sum(0)
        total = weight if total is None else total + weight
    assert total is not None
    return total / len(rows)


def spread(rows: Sequence[int], count: int) -> list[int]:
    """At most `count` of some rows, evenly spaced."""
    if len(rows) <= count:
        return list(rows)
    return [rows[number * len(rows) // count] for number in range(count)]
