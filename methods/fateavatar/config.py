"""The typed configuration of FateAvatar; the README beside this file gives the reason of every option."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.blocks.perceptual import Precision

__all__ = ["FateAvatarConfig", "Rates", "Weights"]


class Rates(Section):
    """Adam's learning rates by parameter."""

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
    """Weight of the Laplacian term, which is in square metres; the paper prints 100, the released code has 1e5."""
    flame: float = 0.0
    """Weight of the mean square, over vertices and axes, of what the corrections add to the mesh; the paper prints 100,
    the released code has 0."""


class FateAvatarConfig(MethodConfig):
    """Options of FateAvatar; the defaults are those of the released code."""

    head_topology: Literal["mouth_closed", "open", "teeth"] = "mouth_closed"
    num_points: int = Field(default=65536, ge=16)
    """Number of Gaussians at the start. The UV raster has int(sqrt(num_points)) rows; with `fill` the start has its
    square, unless `cover_faces` needs more."""
    eyelids: bool = False
    """Whether tracked eyelids move the mesh; the original's FLAME layer has no lids and ignores them."""
    fill: bool = True
    """Whether random points take the places of empty UV pixels (strict sampling)."""
    barycentrics: Literal["rand_over_sum", "area_uniform"] = "rand_over_sum"
    """Distribution of padding and children on a triangle; rand_over_sum, rand(3) / sum, gathers near the centroid."""
    cover_faces: Literal["none", "seen"] = "none"
    """Whether faces that no UV pixel hit get a Gaussian. seen: those that turn towards a training camera do, before the
    padding is sampled."""

    offset_normal: Literal["raw", "unit"] = "raw"
    """Normal along which offsets move Gaussians. raw: the un-normalised cross product of two edges, so that
    `offset_bound` is in 1/m and the offset inert."""
    offset_bound: float = Field(default=0.05, ge=0)
    """Largest offset: a Gaussian moves by offset_bound · tanh(offset) · normal; 1/m for raw, metres for unit."""
    resize_scale: bool = True
    """Whether scales follow the size of the face relative to the canonical mesh."""
    canonical_jaw: float = 0.2
    """Opening of the jaw in the canonical mesh, radians."""
    delta_blendshapes: bool = True
    """Whether to learn corrections of expression blendshapes and pose correctives."""
    delta_vertex: bool = True
    """Whether to learn a correction of the template."""
    initial_opacity: float = Field(default=0.1, gt=0, lt=1)

    rates: Rates = Rates()
    eps: float = 1e-8
    weights: Weights = Weights()
    rgb_loss: Literal["l1", "l2"] = "l1"
    scale_threshold: float = 9.0
    """Ratio of longest to shortest axis beyond which a Gaussian is penalised."""
    vgg_precision: Precision = "float16"
    """Number type of the frozen network's convolutions on CUDA; a CPU always uses float32."""

    densify_every: int = Field(default=3000, ge=0)
    densify_count: int = Field(default=1000, ge=1)
    densify_weight: Literal["accumulated", "average"] = "accumulated"
    """Weight by which Gaussians get children. accumulated: their summed gradient, which prefers those that are often
    visible; average: the same divided by the number of visits."""
    child_scale: float = 0.75
    max_points: int = Field(default=200_000, ge=1)
    prune_every: int = Field(default=2000, ge=0)
    min_opacity: float = 0.005
    reset_every: int = Field(default=60_000, ge=0)
    reset_opacity: float = 0.01
    maintain_share: float = Field(default=1.0, ge=0, le=1)
    """Share of all steps after which nothing is added, removed or reset any more; with 1 it never stops."""
    renormalise: bool = False
    """Whether local quaternions are scaled back to unit length whenever Gaussians are pruned; their drift in length
    lowers the effective learning rate."""

    def topology(self) -> str:
        return self.head_topology

    def networks(self) -> frozenset[str]:
        return frozenset({"vgg16"} if self.weights.vgg > 0 else ())
