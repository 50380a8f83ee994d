"""Base classes that a method implements: its configuration, `Portrait` and `Avatar`."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from headbench.harness.types import (
    Batch,
    Camera,
    Clock,
    Edit,
    Event,
    Gaussians,
    HeadParams,
    Identity,
    ParamGroup,
    PosedAvatar,
    Rendering,
    ScreenStatistics,
    TrainView,
)

if TYPE_CHECKING:
    from headbench.harness.head import HeadModel
    from headbench.harness.splat import Rasterizer
    from headbench.harness.train.table import GaussianTable

__all__ = ["Avatar", "BatchStage", "FineTuneConfig", "MethodConfig", "Portrait", "Section", "TrainConfig"]


class Section(BaseModel):
    """Part of a configuration: unknown keys are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FineTuneConfig(Section):
    """Which per-frame parameters training refines, keyed by timestep; empty rates refine none."""

    rates: Mapping[str, float] = Field(default_factory=dict)
    """Learning rates by field of HeadParams (expression, root, neck, jaw, eye_left, eye_right, translation), and for
    camera.t."""
    optimizer: str = Field(default="dense", pattern="^(dense|sparse)$")
    """dense: Adam moves every row by its momentum each step; sparse: only the rows of the batch (SparseAdam)."""
    start_epoch: int = Field(default=1, ge=1)
    eps: float = 1e-8


class BatchStage(Section):
    """Stage of a batch schedule: the images per step from an epoch on."""

    epoch: int = Field(ge=1)
    """First epoch of the stage, counted from 1."""
    images: int = Field(ge=1)


class TrainConfig(Section):
    """Options of the training loop; every method's configuration holds them as `train`."""

    epochs: int | None = Field(default=None, ge=0)
    """Number of passes over the training frames; exactly one of `epochs` and `steps` is set."""
    steps: int | None = Field(default=None, ge=0)
    batch: Annotated[int, Field(ge=1)] | tuple[BatchStage, ...] = 1
    """Images per step; or stages, the first of them at epoch 1, where their number changes with epochs. Stages go with
    `schedules` images and `batch_rates` given."""
    schedules: Literal["images", "steps"] = "images"
    """Unit of `steps` and of the method's own schedules where `batch` is above 1. images: a step of B images counts as
    the B steps that it stands for, so that a larger batch makes fewer steps and densifies after the same images."""
    batch_rates: Literal["sqrt", "linear", "given"] = "sqrt"
    """Effect of a batch of B images on the learning rates. sqrt: rate times sqrt(B), Adam's betas to the power B
    (Zhao et al., On Scaling Up 3D Gaussian Splatting Training, 2024); linear: rate times B; given: nothing."""
    update_last: bool = True
    """Whether the last step updates parameters: in code that descends from 3D Gaussian splatting it does not."""
    resolution: int | None = Field(default=None, ge=16)
    """Side of the square training images; None keeps the stored size."""
    background: str = Field(default="white", pattern="^(white|black|green|random)$")
    """Background of the training images; random takes a random colour per image. Scored renders take the protocol's."""
    finetune: FineTuneConfig = FineTuneConfig()

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        if isinstance(self.batch, int):
            return self
        epochs = [stage.epoch for stage in self.batch]
        if epochs[:1] != [1] or epochs != sorted(set(epochs)):
            raise ValueError(f"batch: stages must start at epoch 1 and rise, found epochs {epochs}")
        if self.schedules != "images" or self.batch_rates != "given":
            raise ValueError("batch: stages need schedules: images and batch_rates: given")
        return self

    def images_a_step(self) -> list[tuple[int, int]]:
        """Stages of the batch schedule as (first epoch, images per step), in order."""
        if isinstance(self.batch, int):
            return [(1, self.batch)]
        return [(stage.epoch, stage.images) for stage in self.batch]


class MethodConfig(Section):
    """Base of every method's typed configuration; presets are YAML files of it."""

    train: TrainConfig

    def topology(self) -> str:
        """The head topology this configuration needs: open, mouth_closed or teeth."""
        return "open"

    def masks(self) -> frozenset[str]:
        """Masks that this configuration's losses read from a batch, such as mouth."""
        return frozenset()

    def networks(self) -> frozenset[str]:
        """Registered networks that this configuration's losses load: vgg16, lpips-vgg, lpips-alex."""
        return frozenset()

    def needs(self) -> frozenset[str]:
        """Masks and networks that a cell must have before anything trains."""
        return self.masks() | self.networks()


class Portrait(nn.Module, abc.ABC):
    """Anything that, once made from training frames, renders the head for given parameters and camera.

    The state_dict, the Identity and the configuration are the whole checkpoint: `create` is called with the saved
    identity and `train=None` before `load_state_dict`, after `resize_for` has seen the saved tensors' shapes.
    """

    config_type: ClassVar[type[MethodConfig]]

    @classmethod
    @abc.abstractmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: Any) -> Self:
        """Make a new, untrained portrait.

        Args:
            head: in the topology that `config.topology()` named, on the device where the portrait shall live.
            identity: what the portrait may keep of its subject, on the same device.
            train: the training frames; None when a checkpoint will be loaded into the portrait.
            config: of `config_type`.
        """

    @abc.abstractmethod
    def render(self, params: HeadParams, camera: Camera, background: Tensor, rasterizer: Rasterizer) -> Tensor:
        """Render images.

        Args:
            params: B poses of the head model.
            camera: B cameras; they have the size of the images.
            background: (B, 3) in [0, 1].
            rasterizer: the back end.

        Returns:
            (B, 3, H, W), composited on `background`, not clamped.
        """

    def resize_for(self, shapes: Mapping[str, torch.Size]) -> None:
        """Make room for a checkpoint whose tensors have these shapes, by name; default: nothing varies in size."""
        return None

    def count(self) -> int:
        """Number of Gaussians, 0 where there are none."""
        return 0


class Avatar(Portrait):
    """A head avatar: head parameters in, 3D Gaussians in world space out."""

    table: GaussianTable
    absolute_gradient: ClassVar[bool] = False
    """Whether `edit` reads `rendering.screen.absolute()`; it costs a little."""
    reads_depth: ClassVar[bool] = False
    """Whether `losses` or `edit` read `rendering.depth`; it costs a little."""

    @abc.abstractmethod
    def drive(self, params: HeadParams) -> PosedAvatar:
        """Pose the avatar: its Gaussians, batch B, in the pose of `params`.

        The result is differentiable with respect to the avatar's parameters and to `params`.
        """

    @abc.abstractmethod
    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute the named, weighted loss terms, whose sum is minimised. Must not wait for the device.

        Args:
            posed: what `drive` returned for the batch.
            rendering: of the posed avatar, on the batch's background.
            batch: B training images with masks, parameters and cameras.
            clock: of the step, in the units of the method's schedules.

        Returns:
            term -> scalar.
        """

    @abc.abstractmethod
    def param_groups(self) -> list[ParamGroup]:
        """Parameter groups with their learning rates and schedules; each parameter is in exactly one."""

    def edit(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        """Densify, prune, reset or walk at an event of a step; default: nothing. Statistics are updated here.

        Args:
            event: which moment of the step it is.
            rendering: of the step, after backward; None at the start and the end of an epoch.
            clock: of the step, in the units of the method's schedules.

        Returns:
            the change of the table; None: no change.
        """
        return None

    def capture_key(self, clock: Clock) -> Hashable:
        """Key under which `drive` and `losses` may be recorded once and replayed as CUDA graphs; None forbids it.

        A value that is equal from step to step says that both do the same operations on the same tensors until the
        next Edit: no random numbers, no reading of values, no dependence on `clock` but through this key. None, the
        default, never records.
        """
        return None

    def collect_key(self, clock: Clock) -> Hashable:
        """Key under which `edit` after a backward pass may be recorded with its step and the update; None forbids it.

        A value that is equal from step to step says that `edit` asks for no Edit at AFTER_BACKWARD and does the same
        operations on the same tensors, as `capture_key` says it of `drive`. With None, the default, `edit` is called
        in each step.
        """
        return None

    def screen_statistics(self, clock: Clock) -> ScreenStatistics | None:
        """Statistics to which a step's backward pass may add by itself, so that `edit` need not.

        Where they are taken, `rendering.collected` says so in `edit` at AFTER_BACKWARD, as `blocks.densify.accumulate`
        looks up. None, the default: there are none, or not at this step.

        Args:
            clock: of a step at which the table may change.

        Returns:
            columns of the table.
        """
        return None

    def spare_row(self) -> Mapping[str, Tensor] | None:
        """Values of a row of the table that draws nothing and changes no loss term, nor what other rows learn.

        With such rows behind its own, a table grows and shrinks within the tensors that recordings read. Between
        `edit`s the table may then have some, in `drive` and `losses` and in an `edit` that `collect_key` lets be
        recorded: sums and means over all rows must leave them out (`GaussianTable.own_rows`).

        Returns:
            column -> value of one row, zero in columns that are left out, on the table's device. None, the default:
            there is no such row, and each Edit that changes the number of rows makes all recordings anew.
        """
        return None

    def gaussians(self, params: HeadParams) -> Gaussians:
        """The Gaussians of `drive` alone, for rendering; override where `drive` computes more for the losses."""
        return self.drive(params).gaussians

    def render(self, params: HeadParams, camera: Camera, background: Tensor, rasterizer: Rasterizer) -> Tensor:
        """Rasterize the Gaussians of a pose.

        Args:
            params: B poses of the head model.
            camera: B cameras; they have the size of the images.
            background: (B, 3) in [0, 1].
            rasterizer: the back end.

        Returns:
            (B, 3, H, W), composited on `background`, not clamped.
        """
        return rasterizer(self.gaussians(params), camera, background).image

    def resize_for(self, shapes: Mapping[str, torch.Size]) -> None:
        self.table.resize(shapes[f"table.{self.table.names()[0]}"][0])

    def count(self) -> int:
        return len(self.table)
