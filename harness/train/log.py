"""The log of a training: metrics.jsonl, optionally TensorBoard, and progress for whoever watches."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.files import append_to, atomic_path
from headbench.harness.reading import Unreadable, parse_json, read_bytes
from headbench.harness.trained import Logged
from headbench.harness.types import Clock

__all__ = ["LogMark", "Progress", "TrainLog"]

Progress = Callable[[Mapping[str, Any]], None]
"""Callback that receives step, total, epoch, rate (steps per second), eta (seconds), gaussians, each loss term."""


@dataclass(frozen=True)
class LogMark:
    """What a log has counted since its last line, to go back to."""

    sums: dict[str, Tensor]
    trail: list[tuple[int, tuple[str, ...], tuple[Tensor, ...]]]
    count: int
    timed: int


class TrainLog:
    """Writes the means of the loss terms since the last line; they are read from the device only when a line is due.

    Args:
        stage: lines are appended to ``stage/metrics.jsonl``; those after `step` are dropped first, so that a resumed
            run has each step once.
        every: steps per line, at least 1.
        step: the last step that was taken, 0 at the start.
        progress: receives each line as well; None: nobody watches.
        tensorboard: whether to write event files to ``stage/tensorboard`` as well.
        logged: what `state` counted at `step`, so that the next line is that of a run without interruption.
        sums: the sums that `state` returned with it, by term.
    """

    def __init__(
        self,
        stage: Path,
        every: int,
        step: int,
        progress: Progress | None,
        tensorboard: bool,
        logged: Logged = Logged(),  # noqa: B008 - frozen
        sums: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.every = every
        self._path = stage / "metrics.jsonl"
        self._progress = progress
        self._sums: dict[str, Tensor] = {name: (sums or {})[name] for name in logged.terms}
        self._trail: list[tuple[int, tuple[str, ...], tuple[Tensor, ...]]] = []
        self._count = logged.count
        self._timed = 0
        self._since = time.perf_counter()
        self._writer = _tensorboard(stage) if tensorboard else None
        _drop_after(self._path, step)

    def add(self, terms: Mapping[str, Tensor], clock: Clock, gaussians: int, frames: tuple[str, ...] = ()) -> None:
        """Count one step in; every `every` steps write a line.

        Args:
            terms: loss terms of the step by name, scalars on the device.
            clock: of the step, in steps.
            gaussians: their number after the step.
            frames: ids of the frames that the step took.

        Raises:
            BenchError: a loss term is not finite.
        """
        for name, value in terms.items():
            value = value.detach()  # copied: a recorded step overwrites it
            self._sums[name] = value.clone() if name not in self._sums else self._sums[name] + value
        # The sums so far are tensors of their own at each step: kept, they tell later which step broke them.
        self._trail.append((clock.step, frames, tuple(self._sums.values())))
        self._count += 1
        self._timed += 1
        if self.due(clock):
            self._write(clock, gaussians)

    def due(self, clock: Clock) -> bool:
        """Whether the step of `clock`, in steps, is the last of a line."""
        return clock.step % self.every == 0 or clock.step == clock.total

    def mark(self) -> LogMark:
        """Remember the steps since the last line, for `rewind`."""
        return LogMark(dict(self._sums), list(self._trail), self._count, self._timed)

    def rewind(self, mark: LogMark) -> None:
        """Count as when `mark` was made; no line may have been written since. The clock of the rate goes on."""
        self._sums, self._trail = dict(mark.sums), list(mark.trail)
        self._count, self._timed = mark.count, mark.timed

    def state(self) -> tuple[Logged, dict[str, Tensor]]:
        """State of the log for a checkpoint: the steps since the last line, and the sums of the loss terms by name."""
        return Logged(tuple(self._sums), self._count), dict(self._sums)

    def _write(self, clock: Clock, gaussians: int) -> None:
        names = list(self._sums)
        means = (torch.stack([self._sums[n] for n in names]) / self._count).tolist()
        terms = dict(zip(names, means, strict=True))
        bad = [n for n, v in terms.items() if not math.isfinite(v)]
        if bad:
            raise BenchError(
                f"Loss terms {bad} are not finite {self._culprit()}.",
                help="`bench data check` looks at the tracking of these frames; or lower the learning rate",
            )
        now = time.perf_counter()
        rate = self._timed / max(now - self._since, 1e-9)
        line = {"step": clock.step, "epoch": clock.epoch, "loss": sum(means), **terms, "gaussians": gaussians}
        with append_to(self._path) as handle:
            handle.write(json.dumps({**line, "rate": round(rate, 3)}).encode() + b"\n")
        if self._writer is not None:
            for name, value in line.items():
                self._writer.add_scalar(name, value, clock.step)
        if self._progress is not None:
            self._progress({**line, "total": clock.total, "rate": rate, "eta": (clock.total - clock.step) / rate})
        self._sums, self._count, self._timed, self._since = {}, 0, 0, now
        self._trail = []

    def _culprit(self) -> str:
        """Name the first step whose sums are not finite, with its frames and those of the step before, which may have
        broken the parameters with a finite loss."""
        finite = torch.stack([torch.stack(sums).isfinite().all() for _, _, sums in self._trail]).tolist()
        first = finite.index(False)
        step, frames, _ = self._trail[first]
        text = f"since step {step}"
        if frames:
            text += f", which drew frame {', '.join(frames)}"
        if frames and first:
            text += f" (the step before it: {', '.join(self._trail[first - 1][1])})"
        return text


def _drop_after(path: Path, step: int) -> None:
    """Keep the lines of a log up to a step; lines that a kill cut short, or something else damaged, are removed."""
    if not path.exists():
        return
    kept = []
    for line in _lines(path):
        try:
            entry = parse_json(line, path)
        except Unreadable:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int) and entry["step"] <= step:
            kept.append(line + "\n")
    with atomic_path(path) as part:
        part.write_text("".join(kept), encoding="utf-8")


def _lines(path: Path) -> list[str]:
    try:
        return read_bytes(path).decode("utf-8", "replace").splitlines()
    except Unreadable:
        return []


def _tensorboard(stage: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BenchError("TensorBoard was asked for and is not installed.", help="pip install tensorboard") from error
    return SummaryWriter(str(stage / "tensorboard"))
