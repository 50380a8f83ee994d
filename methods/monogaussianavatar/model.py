"""MonoGaussianAvatar: a cloud of points that networks turn into Gaussians and move with a head model's codes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.avatar import Avatar
from headbench.harness.head import HeadModel, SubjectHead, matrix_to_quat, quat_multiply
from headbench.harness.head.canonical import canonical_params
from headbench.harness.train import GaussianTable
from headbench.harness.types import (
    Batch,
    Clock,
    Edit,
    Event,
    Gaussians,
    HeadParams,
    Identity,
    ParamGroup,
    PosedAvatar,
    Rendering,
    TrainView,
)

from .config import MonoGaussianAvatarConfig
from .deform import code_matrix, looks_of, pose_points
from .edits import densify_and_prune, edit_due, on_mesh, on_sphere
from .losses import HeadTargets, ImageLosses
from .networks import Corrections, Deformer, Geometry, Skin
from .schedule import first_radius, learning_rate, radius, regulariser

__all__ = ["MonoGaussianAvatar"]

_LEAST = torch.finfo(torch.float32).smallest_normal * 2**-24
"""Factor of the regulariser that is 0 in float32, as all below it."""


class MonoGaussianAvatar(Avatar):
    """Avatar of MonoGaussianAvatar: points that networks turn into Gaussians and move with a head model's codes.

    The README beside this file has the method, its citation and every difference from the original.

    The table's columns: parameter points (N, 3) units; statistic seen (N,) bool, opaque in a frame of this epoch. All
    else about a point comes from the networks. `config.units` of these units are a metre of the head model.

    Args:
        head: the head model bound to the subject.
        identity: of the subject; gives the canonical head.
        points: (N, 3) units, on the avatar's device.
        config: the method's options.
        seed: of the run, for the networks' first weights.
    """

    config_type = MonoGaussianAvatarConfig
    seed: Tensor
    radius: Tensor
    factor: Tensor
    rest_feature: Tensor
    rest_bones: Tensor
    rest_expression: Tensor
    still: Tensor
    """(3, 4) transform of the bone that never moves."""
    lengths: Tensor
    """(4,) factors of a transform's columns from metres to units."""

    def __init__(
        self, head: SubjectHead, identity: Identity, points: Tensor, config: MonoGaussianAvatarConfig, seed: int
    ) -> None:
        super().__init__()
        self.config = config
        self.head = head
        seen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        self.table = GaussianTable({"points": points}, statistics={"seen": seen})
        generator = torch.Generator().manual_seed(seed)
        features, bones = head.pose_dirs.shape[0], len(head.parents) + 1
        size = config.network
        self.deformer = Deformer(size, features, head.expression_size, bones, generator).to(points)
        self.geometry = Geometry(size, generator).to(points)
        self.corrections = Corrections(size, generator).to(points)
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("radius", points.new_tensor(first_radius(config)))
        self.register_buffer("factor", points.new_tensor(config.regulariser.weight))
        self.register_buffer("still", torch.eye(3, 4).to(points), persistent=False)
        self.register_buffer("lengths", torch.tensor([1.0, 1.0, 1.0, config.units]).to(points), persistent=False)
        rest = canonical_params(identity, config.canonical_jaw)
        feature, transforms = self._codes(rest)
        for name, value in (
            ("rest_feature", feature),
            ("rest_bones", transforms),
            ("rest_expression", self._expression(rest)),
        ):
            self.register_buffer(name, value.detach(), persistent=False)
        variance = identity.var_expression[0].to(points)[: head.expression_size]
        vertices = config.units * head.vertices(rest)[0].detach()
        self.targets = HeadTargets(head, vertices, variance, config)
        self._images = ImageLosses(config)
        self._factor: float | None = None
        self.register_load_state_dict_post_hook(_read_factor)

    @classmethod
    def create(
        cls, head: HeadModel, identity: Identity, train: TrainView | None, config: MonoGaussianAvatarConfig
    ) -> Self:
        """Make a new avatar; without training frames with a cloud of one point that a checkpoint will replace.

        Args:
            head: in the configuration's topology.
            identity: of the subject.
            train: the training frames, or None.
            config: the method's options.

        Raises:
            MissingAsset: the VGG loss is on and its weights are not registered.
        """
        subject = head.bind(identity, identity.mean_expression.shape[1])
        seed = train.seed if train is not None else 0
        generator = torch.Generator().manual_seed(seed)
        if train is None:
            points = torch.zeros(1, 3)
        elif config.start == "sphere":
            points = on_sphere(config.start_points, config.start_radius, generator)
        else:
            rest = canonical_params(identity, config.canonical_jaw)
            vertices = config.units * subject.vertices(rest)[0]
            points = on_mesh(vertices, head.faces, config.start_points, generator)
        avatar = cls(subject, identity, points.to(head.template), config, seed)
        if train is not None and config.weights.vgg > 0:
            avatar._images.vgg.load(head.template.device)
        return avatar

    def drive(self, params: HeadParams) -> PosedAvatar:
        again: dict[str, Tensor] = {}
        points = self.table["points"]
        if self.training and self._factor is not None and self._factor > _LEAST:
            # What the losses will want of the deformer, without a second run of its layers.
            skin, apart = self.deformer.twice(points)
            again = apart._asdict()
        else:
            skin = self.deformer(points)
        gaussians = self._gaussians(skin, params)
        with torch.no_grad():
            if self.training:
                # Into memory that stays: pruning asks for it when the epoch ends, and a recorded step must write it.
                self.table["seen"].logical_or_((gaussians.opacities >= self.config.prune_opacity).any(0))
            vertices = self.head.vertices(params)
        return PosedAvatar(gaussians, vertices, vertices, again)

    def gaussians(self, params: HeadParams) -> Gaussians:
        return self._gaussians(self.deformer(self.table["points"]), params)

    def _gaussians(self, skin: Skin, params: HeadParams) -> Gaussians:
        """Turn the table's points into the Gaussians of poses, given how they follow the head."""
        config, points = self.config, self.table["points"]
        moved = self._move(skin.points, skin.directions, skin.weights, params)
        looks = self.geometry(points.detach())
        change = self.corrections((moved - skin.points).detach())
        scales, quats, opacities, colours = looks_of(
            looks.scale + change.scale,
            looks.rotation + change.rotation,
            looks.opacity + change.opacity,
            looks.colour + change.colour,
            self.radius,
            config.scale_range,
            config.world_units,
            config.quaternions == "over_points",
        )
        similarity = params.similarity
        if similarity is not None:
            quats = quat_multiply(matrix_to_quat(similarity.R)[:, None], quats)
            scales = scales * similarity.scale[:, None, None]
        return Gaussians(
            means=self.head.to_world(moved / config.world_units, params),
            quats=quats,
            scales=scales,
            opacities=opacities.squeeze(-1),
            colours=colours,
        )

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute MonoGaussianAvatar's weighted loss terms, name -> scalar.

        The regulariser's factor is the one that `edit` has set, at the start of the epoch or after a step.

        Args:
            posed: has the deformer's skin apart from the points, or the deformer is evaluated once more.
            rendering: of the posed avatar.
            batch: B training images.
            clock: of the step; the regulariser is left out once its factor is 0.
        """
        terms = self._images(rendering, batch)
        if self._regularised(clock):
            # This loss reaches the deformer and not the points.
            apart = Skin(**posed.aux) if posed.aux else self.deformer(self.table["points"].detach())
            terms |= self.targets(apart, self.factor)
        return terms

    def param_groups(self) -> list[ParamGroup]:
        networks = (*self.deformer.parameters(), *self.geometry.parameters(), *self.corrections.parameters())
        config = self.config
        schedule = (lambda clock: learning_rate(config, clock)) if config.rate_milestones else None
        return [ParamGroup("all", config.rate, ("points",), networks, schedule)]

    def edit(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        if event is Event.EPOCH_START:
            self._set_factor(clock)
        elif event is Event.AFTER_STEP:
            step = clock.step + 1
            epoch = (step - 1) // clock.steps_per_epoch + 1
            self._set_factor(Clock(step, epoch, clock.steps_per_epoch, clock.total))
        elif event is Event.EPOCH_END:
            edit = None
            if edit_due(self.config, clock):
                edit = densify_and_prune(self.table, self.config, clock, float(self.radius), int(self.seed))
                self.radius.fill_(radius(self.config, clock.epoch))
            self.table["seen"].zero_()
            return edit
        return None

    def capture_key(self, clock: Clock) -> Hashable:
        return self._regularised(clock)

    def collect_key(self, clock: Clock) -> Hashable:
        return "same"

    def _regularised(self, clock: Clock) -> bool:
        """Whether the regulariser's factor is above 0 in float32; where it is halved in every step it soon is not."""
        return regulariser(self.config.regulariser, clock) > _LEAST

    def _set_factor(self, clock: Clock) -> None:
        value = regulariser(self.config.regulariser, clock)
        if value != self._factor:
            self.factor.fill_(value)
            self._factor = value

    def _move(self, points: Tensor, directions: Tensor, weights: Tensor, params: HeadParams) -> Tensor:
        """Move canonical points into poses, (B, N, 3) units, before `to_world`.

        Expression and pose directions are taken out with the canonical codes and put in with the frames', which is one
        product with the difference of codes.

        Args:
            points: (N, 3) in the canonical head, units.
            directions: (N, 3 P + 3 E) blendshapes at the points.
            weights: (N, J + 1) skinning weights.
            params: B poses.
        """
        feature, bones = self._codes(params)
        expression = self._expression(params)
        codes = code_matrix(feature - self.rest_feature, expression - self.rest_expression, self.head.unit)
        return pose_points(points, directions, codes, weights, self.rest_bones, bones)

    def _codes(self, params: HeadParams) -> tuple[Tensor, Tensor]:
        """Pose feature (B, P) and bone transforms (B, J + 1, 3, 4) in units, the first of a bone that never moves."""
        feature, bones = self.head.bones(params)
        return feature, torch.cat([self.still.expand(len(bones), 1, 3, 4), bones * self.lengths], 1)

    def _expression(self, params: HeadParams) -> Tensor:
        """Expression coefficients (B, E) of the head model's number, with zeros for missing ones."""
        given = params.expression[:, : self.head.expression_size]
        missing = self.head.expression_size - given.shape[1]
        return functional.pad(given, (0, missing)) if missing else given


def _read_factor(avatar: MonoGaussianAvatar, _: object) -> None:
    """Take the regulariser's factor from loaded buffers."""
    avatar._factor = float(avatar.factor)
