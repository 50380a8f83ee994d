"""The typed configuration of MonoGaussianAvatar; the README beside this file gives the reason of every option."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.blocks.perceptual import Precision

__all__ = ["GROWTH", "MonoGaussianAvatarConfig", "Networks", "Regulariser", "GrowthStage", "Weights"]


class GrowthStage(Section):
    """Stage of growth: the number of points, and a shrink of their radius, once a number of epochs is complete."""

    epoch: int = Field(ge=1)
    points: int = Field(ge=1)
    shrink: float = Field(gt=0, le=1)
    """Factor by which the radius is multiplied once, when the stage begins."""


def _growth_stages(*steps: tuple[int, int, float]) -> tuple[GrowthStage, ...]:
    return tuple(GrowthStage(epoch=epoch, points=points, shrink=shrink) for epoch, points, shrink in steps)


GROWTH = _growth_stages(
    (5, 800, 0.75),
    (10, 1600, 0.75),
    (15, 3200, 0.75),
    (20, 6400, 0.75),
    (25, 10_000, 0.75),
    (30, 20_000, 0.75),
    (40, 40_000, 0.75),
    (50, 80_000, 0.75),
    (60, 100_000, 0.9),
)
"""Stages of growth of the released code."""


class Networks(Section):
    """Options of the three networks: their sizes, and how the appearance network starts."""

    deformer_width: int = Field(default=128, ge=4)
    geometry_width: int = Field(default=256, ge=44)
    """Width of the appearance network; above 39, the length of an encoded point, which its fourth layer takes again."""
    correction_width: int = Field(default=64, ge=1)
    correction_layers: Literal[2, 3] = 3
    """Number of layers of the correction network's trunk, with ReLU after each but the last."""
    octaves: Literal[6] = 6
    start: Literal["geometric", "plain"] = "geometric"
    """First weights of the appearance network. geometric: the start of signed-distance networks, with all features
    almost equal. plain: PyTorch's own."""
    products: Literal["float32", "tf32"] = "float32"
    """Number type of matrix products. tf32 rounds their factors to 10 bits on CUDA; a CPU always uses float32."""


class Weights(Section):
    """Weights of the loss terms; a term of weight 0 is not computed and needs no network."""

    rgb: float = 1.0
    dssim: float = 0.25
    vgg: float = 0.1
    skinning: float = 0.1
    pose: float = 10.0
    expression: float = 10.0


class Regulariser(Section):
    """Common factor of the skinning, pose and expression terms, and how it falls."""

    weight: float = 10.0
    milestones: tuple[int, ...] = (20, 30, 50, 70)
    factor: float = 0.5
    decay: Literal["once", "every_step"] = "once"
    """When `milestones` apply. once: before the first step after that number of complete epochs. every_step: before
    each step of the epochs with these numbers, counted from 1."""
    variance: Literal["per_component", "mean"] = "per_component"
    """Weights of the expression term's components: each the inverse of its own variance over the training frames, or
    all the mean of the inverses."""
    variance_floor: float = Field(default=0.0, ge=0)
    """Least variance: smaller ones count as this one. Components that never move have no weight in any case."""


class MonoGaussianAvatarConfig(MethodConfig):
    """Options of MonoGaussianAvatar; the defaults are those of the authors' repository."""

    head_topology: Literal["open", "mouth_closed", "teeth"] = "open"
    canonical_jaw: float = 0.4
    """Opening of the jaw in the canonical head, radians."""
    units: float = Field(default=4.0, gt=0)
    """Units of the cloud per metre of the head model."""
    world_units: float = Field(default=4.0, gt=0)
    """Units of the cloud per metre of the world that cameras see."""

    start: Literal["sphere", "mesh"] = "sphere"
    """Places of the first points. sphere: on random directions, sampled from a cube. mesh: uniformly on the canonical
    head."""
    start_points: int = Field(default=400, ge=1)
    start_radius: float = 0.5
    """Radius of the sphere on which points start, units."""
    splat_radius: float | None = Field(default=None, ge=0)
    """Radius that is added to every scale at the start, units; None: 0.15 * 0.75^log2(start_points / 100)."""
    growth: tuple[GrowthStage, ...] = GROWTH
    shrink_every: int = Field(default=5, ge=0)
    """Number of epochs between further shrinks after the last stage of growth; 0 is never."""
    shrink: float = 0.75
    edit_every: int = Field(default=1, ge=1)
    """Number of epochs from one prune and insert to the next."""
    edit_last: bool = False
    """Whether to prune and insert also after the last epoch, when no step follows to train what is new."""
    prune_opacity: float = 0.1
    """Least opacity: a point stays if it reached this in a training frame of the epoch that ends."""
    jitter: Literal["per_survivor", "per_copy"] = "per_survivor"
    """Whether each survivor or each copy gets a jitter of its own. per_survivor: copies of one point coincide."""
    late_jitter: float | None = 0.004
    """Jitter in units that replaces the radius after more than `late_after` complete epochs; None keeps the radius."""
    late_after: int = 100
    fresh_optimizer: bool = True
    """Whether each prune and insert starts a new Adam, for the networks too."""

    scale_range: float = 0.025
    """Largest amount by which a scale may exceed the radius, units."""
    quaternions: Literal["over_points", "per_point"] = "over_points"
    """Dimension over which quaternions are normalised. over_points leaves Gaussians nearly aligned with the world's
    axes."""

    network: Networks = Networks()
    rate: float = 1e-4
    rate_milestones: tuple[int, ...] = ()
    """Numbers of complete epochs after which the rate is multiplied by `rate_factor`."""
    rate_factor: float = 0.5
    weights: Weights = Weights()
    regulariser: Regulariser = Regulariser()
    vgg_precision: Precision = "float16"
    """Number type of the frozen network's convolutions on CUDA; a CPU always uses float32."""

    def topology(self) -> str:
        return self.head_topology

    def networks(self) -> frozenset[str]:
        return frozenset({"vgg16"} if self.weights.vgg > 0 else ())
