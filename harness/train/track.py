"""Test-time tracking of one frame: its parameters are optimised on its own image by rendering a frozen avatar.

Together with the stage that calls it (harness/run/track.py) this is the one place that looks at test images before
scoring. It runs only where a protocol asks for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, FineTuneConfig
from headbench.harness.errors import BenchError
from headbench.harness.image import dssim
from headbench.harness.splat import Rasterizer
from headbench.harness.train.capture import sum_of
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import BACKGROUNDS, FrameStore
from headbench.harness.types import Batch, Clock, Frame

__all__ = ["TrackedFrame", "Tracker", "Tracking", "Untrackable"]


class Untrackable(BenchError):
    """Raised where a portrait's picture has no gradient with respect to the parameters to be optimised."""


@dataclass(frozen=True)
class Tracking:
    """Settings of test-time tracking: how the parameters of a test frame are optimised."""

    steps: int
    """Optimisation steps per batch of frames, at least 1."""
    rates: Mapping[str, float]
    """Learning rates by field of HeadParams, or camera.t."""
    optimizer: Literal["adam", "sparse_adam"]
    loss: Literal["training"] | Mapping[str, float]
    """``training`` for the method's own loss terms, or the weights of l1 and dssim."""
    batch: int = 1
    """Number of consecutive frames that are optimised together."""

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        loss = self.loss if isinstance(self.loss, str) else dict(self.loss)
        values = {"steps": self.steps, "rates": dict(self.rates), "optimizer": self.optimizer, "loss": loss}
        # Rules without batches are recorded as before there were any, so that what was tracked by them stays valid.
        return values | ({"batch": self.batch} if self.batch > 1 else {})


@dataclass(frozen=True)
class TrackedFrame:
    """Result of test-time tracking for one frame: its parameters, and the loss of its batch before and after."""

    tensors: Mapping[str, Tensor]
    """Tracked values (1, ·) on the host, by field of HeadParams, or camera.t."""
    loss_before: float
    loss_after: float
    seconds: float
    """Time that its batch took, divided by the number of its frames."""

    def into(self, frame: Frame) -> Frame:
        """The given frame with the tracked parameters in place of its own; its images stay."""
        return replaced(frame, self.tensors)


def replaced(frame: Frame, tensors: Mapping[str, Tensor]) -> Frame:
    """Copy of a frame with other parameters: `tensors` maps fields of HeadParams, or camera.t, to (1, ·)."""
    fields = {name: value for name, value in tensors.items() if name != "camera.t"}
    params = replace(frame.params, **fields)  # type: ignore[arg-type]  # tensor fields by name
    camera = frame.camera
    if "camera.t" in tensors:
        w2c = camera.w2c.clone()
        w2c[:, :3, 3] = tensors["camera.t"].to(w2c)
        camera = replace(camera, w2c=w2c)
    return replace(frame, params=params, camera=camera)


class Tracker:
    """Optimises the parameters of test frames batch after batch, each frame from the values that its dataset gives.

    A batch's result depends on the avatar, its frames and, with sparse_adam, its position in the sequence, and on no
    other batch's result. On a CPU with deterministic algorithms it is the same to the bit whenever it is made again.

    Args:
        avatar: trained; its parameters are frozen for good.
        rasterizer: the back end that renders.
        rule: steps, rates, optimiser and loss.
        store: decodes the frames' images.
        clock: of the last training step, at which the method's loss terms are computed.
        background: white, black or green.
    """

    def __init__(
        self,
        avatar: Avatar,
        rasterizer: Rasterizer,
        rule: Tracking,
        store: FrameStore,
        clock: Clock,
        background: str,
    ) -> None:
        self.avatar = avatar.eval().requires_grad_(False)
        self.rasterizer = rasterizer
        self.rule = rule
        self.store = store
        self.clock = clock
        self.background = torch.tensor([BACKGROUNDS[background]], device=store.device)

    def __call__(self, rows: Sequence[int], position: int) -> list[TrackedFrame]:
        """Optimise the parameters of one batch of frames.

        Args:
            rows: of the frames in the store; they have images of one size.
            position: of the batch in the test sequence, from 0.

        Raises:
            Untrackable: the picture does not depend on any of the parameters in a way that has a gradient.
            BenchError: the loss or a parameter is not finite.
        """
        frames, device = [self.store.frames[row] for row in rows], self.store.device
        torch.manual_seed(position)  # a method's losses may draw, and a resumed stage must draw the same
        started = time.perf_counter()
        index, each = (torch.tensor(places, device=device) for places in (list(rows), list(range(len(rows)))))
        given = self.store.batch(index, list(rows), self.background.expand(len(rows), 3), "track")
        table = self._table(frames, given, position)
        first = torch.zeros((), device=device)
        with torch.enable_grad():
            for step in range(self.rule.steps):
                loss = self._loss(table.into(given, each))
                if not loss.requires_grad:
                    raise Untrackable(f"what it draws has no gradient with respect to {', '.join(self.rule.rates)}")
                table.zero_grad_tables()
                loss.backward()
                table.step()
                first = loss.detach() if step == 0 else first
        with torch.no_grad():
            last = self._loss(table.into(given, each))
        found = {name: table.tables[name.replace(".", "_")].detach().to("cpu", copy=True) for name in self.rule.rates}
        before, after = float(first), float(last)
        _check_finite(frames, found, before, after)
        seconds = (time.perf_counter() - started) / len(rows)
        # Copies, so that a file does not hold the whole batch.
        parts = [{name: value[k : k + 1].clone() for name, value in found.items()} for k in range(len(rows))]
        return [TrackedFrame(part, before, after, seconds) for part in parts]

    def _table(self, frames: Sequence[Frame], given: Batch, position: int) -> FrameParameters:
        """Make a table of the frames' parameters, one row each, with its optimiser.

        Args:
            frames: are optimised.
            given: their batch, with the parameters to start from.
            position: of the batch in the test sequence, from 0.
        """
        kind = "sparse" if self.rule.optimizer == "sparse_adam" else "dense"
        config = FineTuneConfig(rates=self.rule.rates, optimizer=kind)
        # Cameras that saw one moment have rows of their own here: each frame sees its own image alone.
        apart = [replace(frame, timestep=place) for place, frame in enumerate(frames)]
        table = FrameParameters(apart, given.params, given.camera, config)
        if kind == "sparse":
            # One SparseAdam over a table of all frames counts the steps of all and keeps each row's moments, which
            # are zero until the row's first step: so the count alone is what earlier batches leave behind.
            count = torch.tensor(position * self.rule.steps)
            state: dict[str, Tensor] = {}
            for name, values in table.tables.items():
                still = torch.zeros_like(values)
                state |= {f"{name}/step": count, f"{name}/exp_avg": still, f"{name}/exp_avg_sq": still.clone()}
            table.load_optimizer_state(state)
        return table

    def _loss(self, batch: Batch) -> Tensor:
        """The loss of a batch that tracking minimises, a scalar."""
        if not isinstance(self.rule.loss, str):
            image = self.avatar.render(batch.params, batch.camera, batch.background, self.rasterizer)
            found = {
                "l1": lambda: (image - batch.image).abs().mean(),
                "dssim": lambda: dssim(image, batch.image),
            }
            return sum_of({name: weight * found[name]() for name, weight in self.rule.loss.items() if weight})
        posed = self.avatar.drive(batch.params)
        rendering = self.rasterizer(posed.gaussians, batch.camera, batch.background)
        return sum_of(self.avatar.losses(posed, rendering, batch, self.clock))


def _check_finite(frames: Sequence[Frame], found: Mapping[str, Tensor], before: float, after: float) -> None:
    """Check that a batch's optimised values and losses are finite.

    Args:
        frames: that were optimised, for the message.
        found: parameter -> its values.
        before: loss before the first step.
        after: loss after the last.

    Raises:
        BenchError: one is not; the message names the first frame.
    """
    broken = [name for name, value in found.items() if not bool(torch.isfinite(value).all())]
    if broken or not math.isfinite(before) or not math.isfinite(after):
        more = f" and {len(frames) - 1} with it" if len(frames) > 1 else ""
        raise BenchError(
            f"frame {frames[0].id}{more}: test-time tracking went from a loss of {before:g} to {after:g}"
            + (f" and made {', '.join(broken)} not finite." if broken else ", which is not finite."),
            help="lower the rates in the protocol, or score by a protocol without tracking",
        )
