"""Options of baking, and the configuration of what it makes; the README beside this file has the reason of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.blocks.perceptual import Precision
from headbench.harness.errors import did_you_mean
from headbench.harness.validation import validate

from .maps import CHANNELS, Rows

__all__ = ["BakeConfig", "BakeWeights", "BakedConfig", "Shape"]

Size = Literal[16, 32, 64, 128, 256, 512, 1024, 2048]


class BakeWeights(Section):
    """Weights of the loss terms; a term of weight 0 is not computed and needs no network."""

    rgb: float = Field(default=1.0, ge=0)
    vgg: float = Field(default=0.1, ge=0)
    scale: float = Field(default=0.1, ge=0)
    rotation: float = Field(default=0.1, ge=0)
    prior: float = Field(default=0.0, ge=0)
    """Weight of the mean square of what the decoder changes of the parent's maps, before activation (`start`
    parent)."""
    smooth: float = Field(default=0.0, ge=0)
    """Weight of the mean square difference of neighbouring texels in what the network gives, before activation. Texels
    between the places follow those that images decide, so that the maps can be sampled at other places."""


class Shape(Section):
    """How maps become Gaussians."""

    size: Size = 512
    """Texels along a side of the maps; ``decode_only`` as published has 256."""
    rows: Rows = "v_up"
    """Order of the maps' rows; files for people always have row 0 at v = 1."""
    second_tanh: bool = True
    """Whether offsets, which are a tanh already, go through another one."""
    offset_normal: Literal["raw", "unit"] = "raw"
    """Normal along which offsets move Gaussians. raw: the cross product of two edges, so that `offset_bound` is in 1/m
    and the offset inert."""
    offset_bound: float | None = Field(default=0.05, gt=0)
    """Largest offset: 1/m for raw, metres for unit. None: 1.25 times the 99.9th percentile of the parent's offsets, at
    least 5 mm."""
    resize_scale: bool = True
    """Whether scales follow the size of the face relative to the canonical mesh."""
    residual: bool = True
    """Whether what the parent's network adds in a pose is kept, where it has such a network."""
    points: int | None = Field(default=None, ge=16, le=1_000_000)
    """Number of places at which the maps are sampled, in training and when the avatar is loaded. None: the parent's
    places and `added_points`."""
    sampling: Literal["area", "uv"] = "area"
    """What `points` are spread evenly in: the canonical mesh or its UV atlas."""
    cover: Literal["all", "parent"] = "all"
    """Faces that `points` may lie on. parent: those where the parent has a Gaussian, and their neighbours."""
    added_points: int = Field(default=65536, ge=0)
    """Number of places that are added to the parent's: a UV raster of int(sqrt(added_points)) rows, padded with random
    points to its square."""
    doubled: bool = True
    """Whether added places may be exactly those of the parent's Gaussians."""
    keep_look: bool = False
    """Whether Gaussians look the same where other places are sampled than in training: they grow where these are fewer,
    and are more transparent where they are more."""


class BakeConfig(Shape):
    """Options of the stage ``bake``; the defaults are those of FATE's released code."""

    network: Literal["unet", "decode_only", "texture"] = "unet"
    """What makes the maps. texture: they are parameters themselves."""
    start: Literal["random", "parent"] = "random"
    """Where maps start. parent: at the parent's attributes, spread over the atlas, to which the network adds."""
    training: Literal["two_stage", "one_stage"] = "two_stage"
    """two_stage: the avatar is trained, then its maps with its learned corrections as they are; one_stage: the
    corrections begin anew and are trained with the maps, and nothing of the parent's Gaussians is used."""
    epochs: int = Field(default=5, ge=0)
    steps: int | None = Field(default=None, ge=0)
    """Number of steps, instead of epochs."""
    rate: float = Field(default=1e-3, gt=0)
    """Adam's learning rate, constant for a network."""
    rates: Mapping[str, float] = Field(default_factory=dict)
    """Learning rates by map, for ``texture``; those left out have `rate`."""
    rate_falls_to: float = Field(default=1.0, gt=0, le=1)
    """Share of its rate that each parameter ends with; rates fall in equal ratios per step."""
    weights: BakeWeights = BakeWeights()
    scale_threshold: float = 9.0
    """Ratio of longest to shortest axis beyond which a Gaussian is penalised."""
    quaternion: Literal["zwxy", "wxyz"] = "zwxy"
    """Order in which a rotation's components are stored as (w, x, y, z). zwxy: as released, the last comes first."""
    rotation_loss: Literal["yw", "angle"] = "yw"
    """What the rotation term penalises. yw: mean square of components 0 and 2 of the axis-angle of the quaternion as
    stored; angle: of all three components."""
    scale_bound: Literal["deviation", "largest"] = "deviation"
    """Upper bound of log-scales. deviation: mean and one standard deviation of the parent's; largest: the parent's
    99.9th percentile and a half."""
    wander: Literal["never", "half", "always"] = "never"
    """Steps on which Gaussians stand elsewhere on their faces: on none, every second or all. Maps then say something
    at every place, so that they can be sampled at other places than those of training."""
    gutter: bool = False
    """Whether texels outside the atlas are copies of the nearest inside, in training and in files."""
    export_norm: Literal["train", "eval"] = "train"
    """Mode of BatchNorm when the maps are taken. train: statistics of the map itself; eval: running ones."""
    export: Literal["after", "before"] = "after"
    """Maps that are kept: those after the last step, or those that the last step's loss saw, before it (as FATE's
    dumps)."""
    tracking: Literal["refined", "restart"] = "restart"
    """Per-frame parameters where the method refines some. refined: the parent's; restart: tracked ones, trained again
    with the maps, which are not kept: the instance has its parent's."""
    view_expression: Literal["canonical", "frame"] = "frame"
    """Expression of the avatar in steps on views, after ``complete``. canonical: that which the view shows; frame: the
    tracked one of the training frame that follows, whatever the view shows."""
    view_background: Literal["run", "random"] = "random"
    """Background of views: that of the method's configuration, or a random colour per step."""
    alone: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps on training frames after ``complete`` that come at the end, without views: where the back of
    the head is transparent, views see the face through it and change it, and this mends it."""
    regular_background: Literal["run", "white"] = "white"
    """Background of training frames after ``complete``: that of the method's configuration, or white whatever that
    says."""
    vgg_precision: Precision = "float16"
    """Number type of the frozen network's convolutions on CUDA; a CPU always uses float32."""
    bits: Literal[8, 16] = 16
    """Bits per channel of the PNG files for people."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        unknown = sorted(set(self.rates) - set(CHANNELS))
        if unknown:
            raise ValueError(did_you_mean("map", unknown[0], CHANNELS))
        if self.offset_normal == "raw" and self.offset_bound is None:
            raise ValueError("offset_bound: a number in 1/m goes with offset_normal: raw")
        if self.training == "one_stage" and self.start == "parent":
            raise ValueError("start: random goes with training: one_stage")
        if self.network != "texture" and self.size < 32:
            raise ValueError(f"size: at least 32 goes with network: {self.network}")
        return self

    def networks(self) -> frozenset[str]:
        """Registered networks that the losses load."""
        return frozenset({"vgg16"} if self.weights.vgg > 0 else ())


class BakedConfig(MethodConfig, BakeConfig):
    """Configuration of a baked avatar: the options of the stage, and the method of its parent."""

    method: str
    """Name of the method whose head and corrections carry the maps."""
    method_config: Mapping[str, Any]
    """Configuration of that method."""

    @cached_property
    def carrier_type(self) -> Any:
        """Class of the method."""
        from headbench.harness.plugins import registry

        return registry().load_method(self.method)

    @cached_property
    def carrier_config(self) -> MethodConfig:
        """Configuration of the method, of its own type."""
        found: MethodConfig = validate(self.carrier_type.config_type, self.method_config, f"method {self.method}")
        return found

    def topology(self) -> str:
        return self.carrier_config.topology()
