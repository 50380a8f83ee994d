"""Samplers and stores of completion: training frames and views of a prior in turn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.head.canonical import canonical_params
from headbench.harness.options import Execution
from headbench.harness.train import LoadedPortrait
from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.train.checkpoint import adam_state
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import FrameStore
from headbench.harness.train.loop import Trainer
from headbench.harness.train.optimizer import AvatarOptimizer, Reach
from headbench.harness.train.sampler import AlternatingSampler, EpochSampler
from headbench.harness.train.setup import Parts
from headbench.harness.types import Clock, Edit, Frame, HeadParams, Identity, Pixels
from headbench.harness.view_prior import PseudoView
from headbench.stages.complete.config import CompleteConfig

__all__ = ["CONFIDENCE", "Alternation", "largest_log_scale", "unseen_rows", "view_frames", "view_params"]

CONFIDENCE = "confidence"
"""Name of the mask of a view's frame that becomes `Batch.weight`."""
VIEW = "pseudo"
"""`Batch.tag` of steps on views."""
_SEEN = 0.5
"""Share of sight from which a Gaussian's place counts as seen."""
_FEWEST = 16
"""Least number of seen Gaussians whose scales say anything."""
_NOTHING = frozenset({"mouth"})
"""Masks that are empty in a view, since nothing finds them there; another mask is the view's matte."""
_DENSIFY = {"regular": "regular", "pseudo": "other", "both": "both"}


def view_params(identity: Identity, expression: str) -> HeadParams:
    """Pose that views show (B = 1): all joints and the translation zero.

    Args:
        identity: of the subject.
        expression: canonical, the mean of the training frames, or neutral, coefficients of zero.
    """
    params = canonical_params(identity, 0.0)
    return params if expression == "canonical" else replace(params, expression=torch.zeros_like(params.expression))


def view_frames(
    views: Sequence[PseudoView], identity: Identity, masks: Sequence[str], least: float = 0.0
) -> list[Frame]:
    """Views as frames that a store decodes; their ids begin with ``view-``.

    Args:
        views: checked ones.
        identity: of the subject.
        masks: masks that the method's losses read; `CONFIDENCE` comes besides.
        least: confidence below which a pixel does not count.
    """
    host = identity.to("cpu")
    some = [replace(view, confidence=view.confidence * (view.confidence >= least)) for view in views]
    return [_frame(number, view, host, masks) for number, view in enumerate(some)]


def _frame(number: int, view: PseudoView, identity: Identity, masks: Sequence[str]) -> Frame:
    colour, matte, confidence = (_bytes(part) for part in (view.image, view.matte, view.confidence))
    planes = {name: torch.zeros_like(matte) if name in _NOTHING else matte for name in masks}
    pixels = Pixels(colour, matte, {**planes, CONFIDENCE: confidence})
    params = view_params(identity, view.expression)
    return Frame(f"view-{view.name}", view.camera.to("cpu"), params, lambda: pixels, timestep=-1 - number)


def _bytes(values: Tensor) -> Tensor:
    return (values.detach().cpu() * 255).round().to(torch.uint8)


@torch.no_grad()
def unseen_rows(portrait: Any, seen: Tensor) -> Tensor:
    """Which Gaussians, (N,) bool, lie where training frames show less than a half.

    Args:
        portrait: an avatar on a surface.
        seen: (V,) how far training frames show each vertex of the carrier.
    """
    surface = portrait.surface()
    corners = seen[portrait.head.faces[surface.face_index]]
    unseen: Tensor = (corners * surface.bary).sum(1) < _SEEN
    return unseen


@torch.no_grad()
def largest_log_scale(portrait: Any, seen: Tensor, times: float) -> Tensor | None:
    """Log-scale that is so many times what 99 of 100 seen Gaussians stay below; None where hardly any is seen.

    Args:
        portrait: an avatar on a surface whose table has a column ``scaling`` (N, 3) of log-scales.
        seen: (V,) how far training frames show each vertex of the carrier.
        times: factor, above 0.
    """
    scales = portrait.table["scaling"].detach().amax(1)[~unseen_rows(portrait, seen)]
    if len(scales) < _FEWEST:
        return None
    place = int(0.99 * (len(scales) - 1))
    limit: Tensor = scales.sort().values[place] + math.log(times)
    return limit


@dataclass(frozen=True)
class Alternation:
    """Makes the trainer that takes one view before each training frame."""

    config: CompleteConfig
    loaded: LoadedPortrait
    """The parent."""
    parts: Parts
    store: FrameStore
    """Training frames."""
    views: FrameStore
    """Views of the prior."""
    candidates: Sequence[int]
    """Rows of `views` that are trained on."""
    options: Execution
    seen: Tensor | None = None
    """(V,) how far training frames show each vertex of the carrier; None where it does not matter."""
    largest: Tensor | None = None
    """Log-scale, in the method's own unit, up to which Gaussians may grow that views move; None: without limit."""

    def trainer(self, begins: bool) -> Trainer:
        """The trainer; where training begins, with the first Gaussians that are added."""
        avatar, train = self.parts.portrait, self.loaded.config.train
        assert isinstance(avatar, Avatar)
        trainer = Trainer(
            avatar,
            AvatarOptimizer(avatar, self.loaded.about["method"]),
            self._tables(),
            self._sampler(),
            self.parts.rasterizer,
            train.update_last,
            record=self.options.record and self.parts.device.type == "cuda",
            reach={VIEW: self._reach()},
        )
        if begins and self.config.moments == "parent":
            trainer.optimizer.load(adam_state(self.loaded.path))
        first_rows = getattr(avatar, "first_rows", None)
        if begins and self.config.add_points != "none" and first_rows is not None:
            rows: Mapping[str, Tensor] = first_rows(self.options.seed)
            if self.config.add_points == "unseen":
                kept = self._unseen_faces(avatar)[rows["face_index"]]
                rows = {name: column[kept] for name, column in rows.items()}
            trainer.optimizer.apply(Edit(append=rows, zero_statistics=avatar.table.statistic_names()))
        return trainer

    def _reach(self) -> Reach:
        """What steps on views may move, and how large it may become."""
        unseen = self.config.reach == "unseen"
        most = {"scaling": self.largest} if unseen and self.largest is not None else {}
        return Reach(self.config.shared == "both", self._unseen if unseen else None, most=most)

    def _unseen_faces(self, avatar: Any) -> Tensor:
        """Faces (F,) bool of the carrier that the training frames show by less than a half."""
        assert self.seen is not None
        unseen: Tensor = self.seen[avatar.head.faces].mean(1) < _SEEN
        return unseen

    def _unseen(self) -> Tensor:
        """Which Gaussians, (N,) bool, lie where training frames show less than a half."""
        assert self.seen is not None
        return unseen_rows(self.parts.portrait, self.seen)

    def _sampler(self) -> AlternatingSampler:
        config, train = self.config, self.loaded.config.train
        passes = train.model_copy(update={"epochs": config.passes(len(self.store)), "steps": None, "batch": 1})
        mixed = config.regular_background == "mixed"
        chosen = {"run": train.background, "mixed": "random"}.get(config.regular_background, config.regular_background)
        regular = EpochSampler(self.store, BatchSchedule(passes, len(self.store)), chosen, self.options.seed)
        return AlternatingSampler(
            regular,
            self.views,
            self.candidates,
            "random" if config.view_background == "random" else train.background,
            tag=VIEW,
            densify=_DENSIFY[config.densify],
            start=self.start(),
            count=config.count,
            expression="regular" if config.expression == "frame" else "own",
            alone=int(config.alone * regular.total),
            settle=config.settle,
            other_settle=config.views_settle,
            alone_background=train.background if mixed and train.background != "random" else None,
        )

    def start(self) -> Clock:
        """The method's clock at the end of the parent's training."""
        if self.loaded.step == 0:
            return Clock(0, 0, 0, 0)
        return BatchSchedule(self.loaded.config.train, len(self.store)).seen(self.loaded.step)

    def _tables(self) -> FrameParameters:
        """Refined per-frame parameters, which go on from the parent's."""
        store, refined = self.store, dict(self.loaded.frames)
        tables = FrameParameters(store.frames, store.params, store.cameras, self.loaded.config.train.finetune)
        if refined and set(refined) == {"timesteps", *tables.tables}:
            moments = refined.pop("timesteps")
            tables.load_state_dict({"timesteps": moments, **{f"tables.{name}": t for name, t in refined.items()}})
        return tables
