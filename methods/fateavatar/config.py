"""The typed configuration of FateAvatar; the README beside this file gives the reason of every option."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.blocks.perceptual import Precision

__all__ = ["FateAvatarConfig", "Rates", "Weights"]


class Rates(Section):
    """Adam's learning rates."""

    opacity: float = 0.05
    offset: float = 0.0016
    dc: float = 0.0025
    rotation: float = 0.001
    scaling: float = 0.005
    delta_expression: float = 1e-5
    delta_pose: float = 1e-5
    delta_vertex: float = 1e-4


class Weights(Section):
    """Weights of the loss terms; a term of weight 0 is not computed and needs no network."""

    rgb: float = 1.0
    dssim: float = 0.0
    vgg: float = 0.1
    scale: float = 0.1
    laplacian: float = 1e5
    """On square metres; the paper prints 100, the released code has 1e5."""
    flame: float = 0.0
    """Mean square over vertices and axes of what the corrections add; the paper prints 100, the released code has 0."""


class FateAvatarConfig(MethodConfig):
    """Defaults are the released code."""

    head_topology: Literal["mouth_closed", "open", "teeth"] = "mouth_closed"
    num_points: int = Field(default=65536, ge=16)
    """The UV raster has int(sqrt(num_points)) rows; with `fill` the start has its square, unless `cover_faces` needs
    more."""
    eyelids: bool = False
    """Whether tracked eyelids move the mesh; the original's FLAME layer has no lids and ignores them."""
    fill: bool = True
    """Pad empty UV pixels' places with random points (strict sampling)."""
    barycentrics: Literal["rand_over_sum", "area_uniform"] = "rand_over_sum"
    """How padding and children are drawn on a triangle; rand(3) / sum gathers near the centroid."""
    cover_faces: Literal["none", "seen"] = "none"
    """seen: every face that turns towards a training camera gets a Gaussian before the padding is drawn."""

    offset_normal: Literal["raw", "unit"] = "raw"
    """raw: the un-normalised cross product of two edges, so that `offset_bound` is in 1/m and the offset inert."""
    offset_bound: float = Field(default=0.05, ge=0)
    """Times tanh(offset) times the normal: 1/m for raw, metres for unit."""
    resize_scale: bool = True
    """Scales follow the size of the face relative to the canonical mesh."""
    canonical_jaw: float = 0.2
    """Radians the jaw is open in the canonical mesh."""
    delta_blendshapes: bool = True
    """Learn corrections of expression blendshapes and pose correctives."""
    delta_vertex: bool = True
    """Learn a correction of the template."""
    initial_opacity: float = Field(default=0.1, gt=0, lt=1)

    rates: Rates = Rates()
    eps: float = 1e-8
    weights: Weights = Weights()
    rgb_loss: Literal["l1", "l2"] = "l1"
    scale_threshold: float = 9.0
    """Longest over shortest axis beyond which a Gaussian is penalised."""
    vgg_precision: Precision = "float16"
    """Of the frozen network's convolutions on CUDA; a CPU always uses float32."""

    densify_every: int = Field(default=3000, ge=0)
    densify_count: int = Field(default=1000, ge=1)
    densify_weight: Literal["accumulated", "average"] = "accumulated"
    """accumulated prefers faces that are often visible; average divides by the number of visits."""
    child_scale: float = 0.75
    max_points: int = Field(default=200_000, ge=1)
    prune_every: int = Field(default=2000, ge=0)
    min_opacity: float = 0.005
    reset_every: int = Field(default=60_000, ge=0)
    reset_opacity: float = 0.01
    maintain_share: float = Field(default=1.0, ge=0, le=1)
    """Share of all steps after which nothing is added, removed or reset any more; 1 is never to stop."""
    renormalise: bool = False
    """Scale local quaternions back to unit length whenever Gaussians are pruned; their drift shrinks the rate."""

    def topology(self) -> str:
        return self.head_topology

    def networks(self) -> frozenset[str]:
        return frozenset({"vgg16"} if self.weights.vgg > 0 else ())
