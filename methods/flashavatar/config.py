"""The typed configuration of FlashAvatar; the README beside this file gives the reason of every option."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.blocks.perceptual import Precision

__all__ = ["FlashAvatarConfig", "Rates", "Weights"]


class Rates(Section):
    """Adam's learning rates by parameter, constant for the whole run."""

    dc: float = 0.0025
    rest: float = 0.0025 / 20
    opacity: float = 0.05
    scaling: float = 0.005
    rotation: float = 0.001
    network: float = 1e-4


class Weights(Section):
    """Weights of the loss terms; a term of weight 0 is not computed and needs neither mask nor network."""

    huber: float = 1.0
    mouth: float = 40.0
    """Weight of the Huber term on the images times the mouth mask; it is averaged over the whole image, so it weighs
    more where the mouth is larger."""
    lpips: float = 0.05


class FlashAvatarConfig(MethodConfig):
    """Options of FlashAvatar; the defaults are those of the authors' code, lengths are in metres."""

    head_topology: Literal["mouth_closed", "open", "teeth"] = "mouth_closed"
    uv_size: int = Field(default=128, ge=4)
    """Side of the UV raster in pixels; the number of Gaussians grows with its square."""
    uv_cull: bool = False
    """Whether faces that are flipped in the atlas are left out."""
    neck_boundary: Literal["drop", "keep"] = "drop"
    """Whether Gaussians sit at the rim of the neck. drop: none on a face that touches the region ``boundary``."""

    encode: Literal["subject", "template"] = "subject"
    """The mesh on which a Gaussian's encoded position is taken: the neutral one of the subject, or the mean head's."""
    encode_centre: tuple[float, float, float] | None = None
    """Point to which the middle of that mesh's bounding box is moved before encoding; None leaves it in its place."""
    octaves: int = Field(default=8, ge=0)
    """Number of frequencies 1, 2, 4 … of the encoding, without a factor pi."""
    rotations: Literal["6d", "axis_angle"] = "6d"
    """Form in which the network gets the rotations of jaw and eyes: 6 or 3 numbers each."""
    eyelids: bool = True
    """Whether eyelids move the mesh and are an input of the network, 0 where the tracker gives none."""
    detach_codes: bool = True
    """Whether the network passes no gradient on to expression, jaw, eyes and eyelids."""
    hidden: int = Field(default=256, ge=1)
    layers: int = Field(default=6, ge=1)
    """Number of hidden layers, each with ReLU."""
    products: Literal["float32", "tf32"] = "float32"
    """Number type of the network's matrix products. tf32 rounds their factors to 10 bits on CUDA; a CPU always uses
    float32."""
    last_layer: Literal["default", "zero"] = "default"
    """First weights of the last layer. default (PyTorch's) starts the cloud some centimetres away from the head; zero
    starts it on the mesh."""
    offset_bound: float = Field(default=1.0, gt=0)
    """Largest offset of a Gaussian from its place along each axis, metres."""
    offset_frame: Literal["world", "head"] = "world"
    """Frame of the network's output. head: offsets and rotations turn with root, neck and global similarity, and scales
    grow with the latter."""
    scale_change: Literal["exponent", "factor"] = "exponent"
    """Effect of the network's scale output c. exponent: s = base ** c, so that 1.1 shrinks 3 mm to 1.7 mm; factor:
    s = base * c."""

    initial_scale: Literal["neighbours", "mean_distance"] = "neighbours"
    """Scale at the start. neighbours: per Gaussian, the root of the mean squared distance to the 3 nearest on the first
    deformed cloud; mean_distance: for all, the mean distance to the nearest one on the mean head."""
    initial_opacity: float = Field(default=0.1, gt=0, lt=1)
    sh_degree: int = Field(default=3, ge=0, le=3)
    sh_every: int = Field(default=500, ge=0)
    """Steps until the active degree rises by one; 0 starts at the full degree."""

    rates: Rates = Rates()
    eps: float = 1e-15
    """Adam's epsilon for the Gaussians."""
    network_eps: float = 1e-8
    """Adam's epsilon for the network."""

    weights: Weights = Weights()
    huber_delta: float = Field(default=0.1, gt=0)
    """Difference of pixel values above which the Huber loss is linear."""
    lpips_after: int = Field(default=15_000, ge=0)
    """LPIPS counts in the steps after this one, and wherever test frames are tracked by the training loss."""
    head_mask: Literal["alpha", "head", "none"] = "alpha"
    """Part of both images that LPIPS compares, the rest being black: the matte, a mask of head and neck (which then
    cuts the target as well), or all."""
    lpips_precision: Precision = "float16"
    """Number type of the frozen network's convolutions on CUDA; a CPU always uses float32. float16 is as near to
    float32 as TF32, in which torch multiplies by default (docs/benchmarks), and takes 2.0 ms where that takes 3.4."""

    def topology(self) -> str:
        return self.head_topology

    def masks(self) -> frozenset[str]:
        return frozenset(
            name for name, used in (("mouth", self.weights.mouth > 0), ("head", self.head_mask == "head")) if used
        )

    def networks(self) -> frozenset[str]:
        return frozenset({"lpips-vgg"} if self.weights.lpips > 0 else ())
