"""Timing of a rasterizer on a synthetic head of Gaussians."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass

import torch

from headbench.harness.splat.rasterizer import Rasterizer
from headbench.harness.splat.registry import make_rasterizer
from headbench.harness.types import Camera, Gaussians

__all__ = ["Timing", "head_scene", "time_rasterizer"]


@dataclass(frozen=True)
class Timing:
    """Time that a rasterizer takes for one image: medians over the repeats, in milliseconds."""

    rasterizer: str
    """Name of the back end."""
    count: int
    """Number of Gaussians."""
    size: int
    """Side of the square image in pixels."""
    forward: float
    """Milliseconds of the forward pass."""
    backward: float
    """Milliseconds of the backward pass."""

    @property
    def total(self) -> float:
        """Milliseconds of forward and backward pass together."""
        return self.forward + self.backward


def head_scene(count: int, size: int, device: str = "cpu", seed: int = 0) -> tuple[Gaussians, Camera]:
    """Make random Gaussians on a head-sized ellipsoid, flat as trained ones are, and a camera that it fills.

    Args:
        count: number of Gaussians.
        size: side of the square image in pixels.
        device: where the tensors are made.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    spacing = math.sqrt(4 * math.pi * 0.11**2 / count)
    scales = spacing * (0.3 + torch.rand(count, 3, generator=generator))
    gaussians = Gaussians(
        means=directions * torch.tensor([0.09, 0.13, 0.11]),
        quats=torch.randn(count, 4, generator=generator),
        scales=scales,
        opacities=0.3 + 0.69 * torch.rand(count, generator=generator),
        colours=torch.rand(count, 3, generator=generator),
    )
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    K = torch.tensor([[3.0 * size, 0, size / 2], [0, 3.0 * size, size / 2], [0, 0, 1]])
    moved = {name: getattr(gaussians, name).to(device) for name in ("means", "quats", "scales", "opacities", "colours")}
    return Gaussians(**moved), Camera(w2c[None], K[None], size, size).to(device)


def time_rasterizer(
    count: int, size: int, repeats: int = 20, device: str = "cpu", rasterizer: Rasterizer | None = None
) -> Timing:
    """Measure the median times of forward and backward for one image, with gradients for every input of the Gaussians.

    Args:
        count: number of Gaussians.
        size: side of the square image in pixels.
        repeats: number of measurements, after a warm-up of three.
        device: where to compute.
        rasterizer: what to measure; None: the one that `auto` chooses for the device.
    """
    rasterizer = rasterizer or make_rasterizer("auto", device)
    gaussians, camera = head_scene(count, size, device)
    leaves = {name: value.requires_grad_() for name, value in vars(gaussians).items() if torch.is_tensor(value)}
    background = torch.ones(3, device=device)
    target = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1)).to(device)
    forward, backward = [], []
    for _ in range(repeats + 3):
        start = _now(device)
        rendering = rasterizer(gaussians, camera, background)
        middle = _now(device)
        loss = (rendering.image - target).abs().mean()
        before = _now(device)
        torch.autograd.grad(loss, list(leaves.values()))
        end = _now(device)
        forward.append(middle - start)
        backward.append(end - before)
    return Timing(
        rasterizer.name, count, size, 1e3 * statistics.median(forward[3:]), 1e3 * statistics.median(backward[3:])
    )


def _now(device: str) -> float:
    """Return the time in seconds once the device has finished its work."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()
