"""The typed configuration of GaussianAvatars; the README beside this file gives the reason of every option."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.harness.avatar import MethodConfig, Section

__all__ = ["GaussianAvatarsConfig", "Rates", "Weights"]


class Rates(Section):
    """Adam's learning rates by parameter; the position's falls log-linearly to its final value."""

    position: float = 0.005
    position_final: float = 0.00005
    dc: float = 0.0025
    rest: float = 0.0025 / 20
    opacity: float = 0.05
    scaling: float = 0.017
    rotation: float = 0.001


class Weights(Section):
    """Weights of the loss terms; a term of weight 0 is not computed."""

    l1: float = 0.8
    dssim: float = 0.2
    position: float = 0.01
    scale: float = 1.0


class GaussianAvatarsConfig(MethodConfig):
    """Options of GaussianAvatars; the defaults are those of the released code, lengths are in metres unless an option
    says triangle units."""

    head_topology: Literal["teeth", "open", "mouth_closed"] = "teeth"
    use_static_offset: bool = True
    """Whether the tracker's static vertex offset, where there is one, is added to the mesh."""
    eyelids: bool = False
    """Whether tracked eyelids move the mesh; the original's FLAME layer has no lids and ignores them."""
    sh_degree: int = Field(default=3, ge=0, le=3)
    sh_every: int = Field(default=1000, ge=0)
    """Steps until the active degree rises by one; 0 starts at the full degree."""
    sh_rises: Literal["before_step", "after_step"] = "before_step"
    """Whether step `sh_every` itself is rendered with the higher degree (before_step) or only the next (after_step)."""
    initial_opacity: float = Field(default=0.1, gt=0, lt=1)

    rates: Rates = Rates()
    eps: float = 1e-15
    position_steps: int = Field(default=600_000, ge=1)
    """Number of steps over which the position rate falls."""
    position_times_extent: bool = True
    position_rate_set: Literal["before_step", "after_step"] = "before_step"
    """When the position rate is set. after_step: a step uses the rate of the step before."""
    extent: Literal["cameras"] | float = "cameras"
    """Scene extent in metres that sizes are compared with; cameras: 1.1 times the largest distance of a training
    camera from their mean, which is 0 for one fixed camera."""

    weights: Weights = Weights()
    position_threshold: float = 1.0
    scale_threshold: float = 0.6
    position_metric: bool = False
    """Whether the position threshold is in metres, per axis, on signed local coordinates times triangle scale."""
    scale_metric: bool = False
    """Whether the scale threshold is in metres, on scales in the world."""
    regularise: Literal["visible", "all"] = "visible"

    densify_from: int = Field(default=10_000, ge=0)
    """Densification starts after this step."""
    densify_until: int = Field(default=600_000, ge=0)
    """Densification, pruning and their statistics end before this step."""
    densify_every: int = Field(default=2000, ge=0)
    gradient_threshold: float = 2e-4
    """Mean screen-space gradient, normalised device coordinates x half the image size."""
    dense_share: float = 0.01
    """Share of the extent above which a Gaussian is split rather than cloned."""
    size_space: Literal["world", "local"] = "world"
    """Size that clone, split and size pruning compare with the extent: metres in the pose just rendered, or
    exp(scaling)."""
    split_offset: Literal["world_on_local", "local"] = "world_on_local"
    """Unit of the children's offsets. world_on_local adds an offset in metres to a position in triangle units, so that
    children nearly coincide."""
    max_points: int | None = Field(default=None, ge=1)
    """Largest number of Gaussians; None, as in the original: no limit."""
    min_opacity: float = 0.005
    size_prune_from: int = Field(default=60_000, ge=0)
    """Large Gaussians are pruned after this step."""
    max_size_share: float = 0.1
    """Share of the extent above which a Gaussian is pruned."""
    max_radius: float = 20.0
    """Radius on the screen, in pixels, beyond which a Gaussian is pruned; 0 is never."""
    radii_cleared: Literal["before_prune", "after_prune"] = "before_prune"
    """When radii are cleared. before_prune: clone and split clear them first, so that `max_radius` never applies."""
    guard: Literal["all_or_nothing", "keep_one"] = "all_or_nothing"
    """Rule by which pruning never empties a face: it removes none of its candidates, or all but the most opaque."""
    reset_every: int = Field(default=60_000, ge=0)
    reset_opacity: float = 0.01
    white_reset: bool = True
    """Whether, on a white background, opacities are reset at step `densify_from` as well."""
    maintain_share: float = Field(default=1.0, ge=0, le=1)
    """Share of all steps after which nothing is added, removed or reset any more; 1 leaves it to `densify_until`."""

    def needs_radii(self) -> bool:
        """Whether pruning ever reads the largest radius of each Gaussian."""
        return self.max_radius > 0 and self.radii_cleared == "after_prune"

    def topology(self) -> str:
        return self.head_topology
