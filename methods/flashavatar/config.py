"""The typed configuration of FlashAvatar; the README beside this file gives the reason of every option."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.blocks.perceptual import Precision

__all__ = ["FlashAvatarConfig", "Rates", "Weights"]


class Rates(Section):
    """Adam's learning rates, constant for the whole run."""

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
    """On the images times the mouth mask, averaged over the whole image: the larger the mouth, the heavier."""
    lpips: float = 0.05


class FlashAvatarConfig(MethodConfig):
    """Defaults are the authors' code; lengths in metres."""

    head_topology: Literal["mouth_closed", "open", "teeth"] = "mouth_closed"
    uv_size: int = Field(default=128, ge=4)
    """Side of the UV raster; the number of Gaussians grows with its square."""
    uv_cull: bool = False
    """Leave out faces that are flipped in the atlas."""
    neck_boundary: Literal["drop", "keep"] = "drop"
    """drop: no Gaussian on a face that touches the region boundary, the rim of the neck."""

    encode: Literal["subject", "template"] = "subject"
    """The mesh on which a Gaussian's encoded position is taken: the neutral one of the subject, or the mean head's."""
    encode_centre: tuple[float, float, float] | None = None
    """Where the middle of that mesh's bounding box is moved to before encoding; None leaves it in its place."""
    octaves: int = Field(default=8, ge=0)
    """Frequencies 1, 2, 4 ... of the encoding, without a factor pi."""
    rotations: Literal["6d", "axis_angle"] = "6d"
    """How the network is told jaw and eyes: 6 or 3 numbers each."""
    eyelids: bool = True
    """Eyelids move the mesh and are told to the network, as 0 where the tracker gives none."""
    detach_codes: bool = True
    """No gradient reaches expression, jaw, eyes and eyelids through the network."""
    hidden: int = Field(default=256, ge=1)
    layers: int = Field(default=6, ge=1)
    """Hidden layers, each with ReLU."""
    last_layer: Literal["default", "zero"] = "default"
    """default starts the cloud some centimetres away from the head; zero starts it on the mesh."""
    offset_bound: float = Field(default=1.0, gt=0)
    """Metres a Gaussian may move away from its place, along each axis."""
    offset_frame: Literal["world", "head"] = "world"
    """head: offsets and rotations turn with root, neck and global similarity, and scales grow with the latter."""
    scale_change: Literal["exponent", "factor"] = "exponent"
    """exponent: s = base ** c, so that 1.1 shrinks 3 mm to 1.7 mm; factor: s = base * c."""

    initial_scale: Literal["neighbours", "mean_distance"] = "neighbours"
    """neighbours: root of the mean squared distance to the 3 nearest on the first deformed cloud, for each Gaussian;
    mean_distance: the mean distance to the nearest one on the mean head, for all."""
    initial_opacity: float = Field(default=0.1, gt=0, lt=1)
    sh_degree: int = Field(default=3, ge=0, le=3)
    sh_every: int = Field(default=500, ge=0)
    """Steps until the active degree rises by one; 0 starts at the full degree."""

    rates: Rates = Rates()
    eps: float = 1e-15
    """Adam's, of the Gaussians."""
    network_eps: float = 1e-8
    """Adam's, of the network."""

    weights: Weights = Weights()
    huber_delta: float = Field(default=0.1, gt=0)
    """Difference above which the loss is linear."""
    lpips_after: int = Field(default=15_000, ge=0)
    """LPIPS counts in the steps after this one, and wherever test frames are tracked by the training loss."""
    head_mask: Literal["alpha", "head", "none"] = "alpha"
    """What LPIPS sees of both images, the rest being black: the matte, a mask of head and neck (which then cuts the
    target as well), or all."""
    lpips_precision: Precision = "float16"
    """Of the frozen network's convolutions on CUDA; a CPU always uses float32. float16 is as near to float32 as TF32
    is, in which torch multiplies by default (docs/benchmarks), and takes 2.0 ms where that takes 3.4."""

    def topology(self) -> str:
        return self.head_topology

    def masks(self) -> frozenset[str]:
        return frozenset(
            name for name, used in (("mouth", self.weights.mouth > 0), ("head", self.head_mask == "head")) if used
        )

    def networks(self) -> frozenset[str]:
        return frozenset({"lpips-vgg"} if self.weights.lpips > 0 else ())
