"""Computes metrics over batches of frames: per frame, pair and sequence; waits for the device once per batch."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headbench.harness.errors import DataError, PluginError
from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.ready import Ready, guarded
from headbench.metrics.scores import LARGEST, FrameScore, SequenceScore
from headbench.metrics.truth import Truth

__all__ = ["Evaluation"]

_NO_EARLIER = Absent(AbsentKind.NO_EARLIER, "n/a (no frame of its size before it in its sequence)")


class _Part(NamedTuple):
    """Values of one metric for some rows of a batch, still on the device."""

    ready: Ready
    rows: Sequence[int]
    values: Tensor


class Evaluation:
    """Computes the scores of one subject, batch by batch in the order of frames.

    Args:
        ready: the metrics; those that cannot be computed are left out.
        renders: frame id -> file of its render, for messages.
    """

    def __init__(self, ready: Sequence[Ready], renders: Mapping[str, Path]) -> None:
        computed = [each for each in ready if each.metric is not None]
        self._frame, self._pair, self._sequence = (
            [each for each in computed if each.chosen.spec.scope == scope] for scope in ("frame", "pair", "sequence")
        )
        self._renders = renders
        self._last: dict[str, tuple[Tensor, Truth]] = {}
        """Sequence name -> its last frame so far, kept for metrics that compare two frames."""
        self._states: dict[str, dict[str, Any]] = {}
        """Sequence name -> metric key -> state that the metric has accumulated."""

    def take(self, images: Tensor, truth: Truth) -> list[FrameScore]:
        """Compute the scores of the next batch of frames.

        Args:
            images: (B, 3, H, W) renders in [0, 1].
            truth: ground truth of the same frames.

        Raises:
            DataError: a value is not a number; the message names the frame.
            PluginError: a metric failed, or gave something other than a value per frame.
        """
        count = len(truth.ids)
        parts = [_Part(each, range(count), self._run(each, count, "frame", images, truth)) for each in self._frame]
        absent: dict[int, dict[str, Absent]] = {row: {} for row in range(count)}
        if self._pair:
            parts += self._pairs(images, truth, absent)
        if self._sequence:
            self._gather(images, truth)
        values: dict[int, dict[str, float]] = {row: {} for row in range(count)}
        for part, numbers in zip(parts, _numbers([part.values for part in parts]), strict=True):
            for row, number in zip(part.rows, numbers, strict=True):
                reason = self._undefined(part.ready, number)
                if reason is None:
                    values[row][part.ready.key] = number
                else:
                    absent[row][part.ready.key] = reason
        for row, frame in enumerate(truth.ids):
            self._check(f"Frame {frame}", f" of {self._renders[frame]}", values[row], [p.ready for p in parts])
        return [FrameScore(frame, values[row], absent[row]) for row, frame in enumerate(truth.ids)]

    def finish(self) -> list[SequenceScore]:
        """Scores of whole sequences, in the order in which they began; empty unless a metric is defined per sequence.

        Raises:
            DataError: a value is not a number; the message names the sequence.
            PluginError: a metric failed, or gave something other than one value per sequence.
        """
        if not self._sequence:
            return []
        found = [[self._scalar(each, states[each.key]) for each in self._sequence] for states in self._states.values()]
        numbers = iter(_numbers([value for row in found for value in row]))
        scores = []
        for name in self._states:
            values: dict[str, float] = {}
            absent: dict[str, Absent] = {}
            for each in self._sequence:
                (number,) = next(numbers)
                reason = self._undefined(each, number)
                if reason is None:
                    values[each.key] = number
                else:
                    absent[each.key] = reason
            self._check(f"Sequence {name}", "", values, self._sequence)
            scores.append(SequenceScore(name, values, absent))
        return scores

    def _pairs(self, images: Tensor, truth: Truth, absent: dict[int, dict[str, Absent]]) -> list[_Part]:
        """Compare frames with the ones before them; the last frame of each sequence is kept for the next batch.

        Args:
            images: (B, 3, H, W) renders in [0, 1].
            truth: ground truth of the same frames.
            absent: row -> metric key -> reason; gets an entry for each row without an earlier frame.
        """
        rows: list[int] = []
        earlier: list[tuple[Tensor, Truth, int]] = []
        last = {name: (image, kept, 0) for name, (image, kept) in self._last.items()}
        for row, name in enumerate(truth.sequences):
            before = last.get(name)
            if before is not None and before[0].shape[-2:] == images.shape[-2:]:
                rows.append(row)
                earlier.append(before)
            else:
                absent[row] |= {each.key: _NO_EARLIER for each in self._pair}
            last[name] = (images, truth, row)
        for name in dict.fromkeys(truth.sequences):
            row = last[name][2]
            # A copy, which does not keep the batch in memory.
            self._last[name] = (images[row : row + 1].clone(), truth.rows([row]))
        if not rows:
            return []
        renders = (torch.stack([image[k] for image, _, k in earlier]), torch.stack([images[row] for row in rows]))
        truths = (Truth.pick([(kept, k) for _, kept, k in earlier]), truth.rows(rows))
        return [_Part(each, rows, self._run(each, len(rows), "pair", renders, truths)) for each in self._pair]

    def _gather(self, images: Tensor, truth: Truth) -> None:
        for name in dict.fromkeys(truth.sequences):
            rows = [row for row, other in enumerate(truth.sequences) if other == name]
            whole = len(rows) == len(truth.sequences)
            mine = (images, truth) if whole else (torch.stack([images[row] for row in rows]), truth.rows(rows))
            states = self._states.setdefault(name, {})
            for each in self._sequence:
                assert each.metric is not None
                gather = functools.partial(each.metric.gather, states.get(each.key), *mine)
                states[each.key] = guarded(each.chosen, "computing", gather)

    def _run(self, ready: Ready, count: int, what: str, *arguments: Any) -> Tensor:
        """Call a metric and check that it gives one value per frame or pair, (count,).

        Args:
            ready: the metric.
            count: number of values that are expected.
            what: method to call: frame or pair.
            arguments: arguments of that method.
        """
        compute = getattr(ready.metric, what)
        return _checked(ready, guarded(ready.chosen, "computing", lambda: compute(*arguments)), (count,))

    def _scalar(self, ready: Ready, state: Any) -> Tensor:
        assert ready.metric is not None
        compute = ready.metric.sequence
        return _checked(ready, guarded(ready.chosen, "computing", lambda: compute(state)), ()).reshape(1)

    def _undefined(self, ready: Ready, number: float) -> Absent | None:
        assert ready.metric is not None
        return ready.metric.undefined if math.isnan(number) else None

    def _check(self, where: str, of: str, values: Mapping[str, float], ready: Sequence[Ready]) -> None:
        """Refuse values that are not numbers, too large, or infinite for a metric that has a limit.

        Args:
            where: beginning of messages: the frame or sequence.
            of: rest of what messages name, such as the render's file; may be empty.
            values: metric key -> value.
            ready: the metrics that gave the values.

        Raises:
            DataError: a value is refused.
        """
        wrong = [key for key, value in values.items() if math.isnan(value)]
        if wrong:
            raise DataError(f"{where}: {', '.join(wrong)}{of} is not a number.")
        unlimited = {each.key for each in ready if each.chosen.spec.unlimited}
        for key, value in values.items():
            if not abs(value) < LARGEST and not (value == math.inf and key in unlimited):
                raise DataError(f"{where}: {key}{of} is {value:g}, expected a number below {LARGEST:g}.")


def _checked(ready: Ready, found: object, shape: tuple[int, ...]) -> Tensor:
    good = isinstance(found, Tensor) and tuple(found.shape) == shape and found.is_floating_point()
    if not good or not isinstance(found, Tensor):
        what = f"{tuple(found.shape)} {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        expected = f"a float tensor of shape {shape}"
        raise PluginError(f"{ready.chosen.plugin}: metric {ready.key}: expected {expected}, found {what}.")
    return found


def _numbers(tensors: Sequence[Tensor]) -> list[list[float]]:
    """Values of one-dimensional tensors, copied from the device at once; float32 is exact in float64."""
    if not tensors:
        return []
    device = tensors[0].device
    flat = iter(torch.cat([tensor.to(device, torch.float64) for tensor in tensors]).tolist())
    return [list(itertools.islice(flat, len(tensor))) for tensor in tensors]
