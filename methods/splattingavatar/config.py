"""The typed configuration of SplattingAvatar; the README beside this file gives the reason of every option."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.blocks.perceptual import Precision
from headbench.harness.head.walk import WalkRule

__all__ = ["Rates", "SplattingAvatarConfig", "Weights"]


class Rates(Section):
    """Adam's learning rates by parameter; the position's, which surface coordinates share, falls log-linearly."""

    position: float = 0.00016
    position_final: float = 0.0000016
    dc: float = 0.0025
    rest: float = 0.000125
    opacity: float = 0.05
    scaling: float = 0.005
    rotation: float = 0.001


class Weights(Section):
    """Weights of the loss terms; a term of weight 0 is not computed and needs no network."""

    l1: float = 1.0
    mse: float = 10.0
    lpips: float = 0.01
    scale: float = 1.0


class SplattingAvatarConfig(MethodConfig):
    """Options of SplattingAvatar; the defaults are those of the released code.

    Lengths are in the method's own world, which is `units` times as large as metres.
    """

    head_topology: Literal["open", "mouth_closed", "teeth"] = "open"
    use_static_offset: bool = True
    """Whether the tracker's static vertex offset, where there is one, is added to the mesh."""
    eyelids: bool = False
    """Whether tracked eyelids move the mesh; the original's FLAME layer has no lids and ignores them."""
    units: float = Field(default=4.0, gt=0)
    """Units of the method's world per metre: displacements, scales and every threshold are in these units."""
    canonical: Literal["first_frame", "mean_expression"] = "first_frame"
    """Canonical mesh, from which areas and rotations of faces are measured."""
    canonical_jaw: float = 0.2
    """Opening of the jaw in the mean expression's canonical mesh, radians."""
    num_points: int = Field(default=10_000, ge=4)
    sh_degree: int = Field(default=0, ge=0, le=3)
    initial_opacity: float = Field(default=0.1, gt=0, lt=1)

    embedding: Literal["released", "lifted"] = "released"
    """Whether surface coordinates learn. released: they are not part of the position, so that they never do. lifted:
    they are, and the walk on triangles moves Gaussians."""
    displacement_freezes: bool = True
    """Whether the displacement stops learning at the first walk, since the original's optimiser then holds another
    tensor."""
    mesh_scaling: Literal["power", "product", "none"] = "power"
    """Rule by which scales s follow the area ratio r of a face: s ** r, r * s, or not at all."""
    area_damping: float = Field(default=1e-4, ge=0)
    """Damping of the area ratio: it is added to both areas, in square units."""
    quaternion_signs: Literal["as_given", "aligned"] = "as_given"
    """Signs of the faces' quaternions. aligned: they are brought to one side before they are summed."""

    rates: Rates = Rates()
    eps: float = 1e-15
    position_steps: int = Field(default=30_000, ge=1)
    """Number of steps over which the position rate falls."""

    weights: Weights = Weights()
    lpips_net: Literal["alex", "vgg"] = "alex"
    lpips_masked: bool = True
    """Whether LPIPS gets both images with black outside the matte."""
    lpips_precision: Precision = "float16"
    """Number type of the frozen network's convolutions on CUDA; a CPU always uses float32. float16 is as near to
    float32 as TF32, in which torch multiplies by default (docs/benchmarks), and takes 2.0 ms where that takes 3.4."""
    scale_threshold: float = 0.008
    """Length of the longest axis above which a Gaussian may be penalised (see `axis_ratio`)."""
    axis_ratio: float = 10.0
    """Ratio of longest to shortest axis above which a Gaussian that is longer than `scale_threshold` is penalised."""
    scale_loss_size: Literal["posed", "canonical"] = "posed"

    densify_from: int = Field(default=600, ge=0)
    """First step at which densification may run."""
    densify_until: int = Field(default=29_000, ge=0)
    """Densification and its statistics end before this step."""
    densify_every: int = Field(default=100, ge=0)
    gradient_threshold: float = 2e-4
    """Mean screen-space gradient, normalised device coordinates x half the image size."""
    extent: float = 2.0
    dense_share: float = 0.01
    """Share of the extent up to which a Gaussian is cloned and above which it is split."""
    clone_size: Literal["posed", "canonical"] = "posed"
    """Size that decides on cloning: in the pose just rendered, or canonical, without the face's area ratio."""
    split_size: Literal["posed", "canonical"] = "canonical"
    prune_size: Literal["posed", "canonical"] = "posed"
    split_point: Literal["canonical", "posed_base"] = "canonical"
    """Point around which a split's children are sampled: the Gaussian on the canonical mesh, or its posed base point
    plus the canonical displacement."""
    split_displacement: Literal["parent", "solved"] = "parent"
    """Displacement of a child: its parent's, or the one at which it stands where it was sampled."""
    solver_start: Literal["above", "nearest"] = "above"
    """Side of the surface from which a child's place is sought: always above, or the side where it is."""
    max_points: int | None = Field(default=None, ge=1)
    """Number of Gaussians from which on nothing is cloned or split; the last densification before may overshoot."""
    min_opacity: float = 0.005
    size_prune_from: int = Field(default=3000, ge=0)
    """Large Gaussians are pruned after this step."""
    max_size_share: float = 0.1
    """Share of the extent above which a Gaussian is pruned."""
    max_radius: float = 20.0
    """Radius on the screen, in pixels, beyond which a Gaussian is pruned; 0 is never. Clone and split clear the radii
    first, so it applies only while `max_points` forbids them."""
    reset_every: int = Field(default=3000, ge=0)
    reset_opacity: float = 0.01
    reset_after_densify: bool = False
    """Whether opacities are still reset from step `densify_until` on."""

    walk_every: int = Field(default=100, ge=1)
    walk_rule: WalkRule = "released"
    """Rule of the walk on triangles. released: moves along an edge's direction are lost, as in the released code."""
    walk_decay: float = Field(default=0.9, gt=0, le=1)
    """Share of a move that is left after each crossing of an edge."""

    def needs_radii(self) -> bool:
        """Whether pruning ever reads the largest radius of each Gaussian."""
        return self.max_radius > 0 and self.max_points is not None

    def topology(self) -> str:
        return self.head_topology

    def networks(self) -> frozenset[str]:
        return frozenset({f"lpips-{self.lpips_net}"} if self.weights.lpips > 0 else ())
