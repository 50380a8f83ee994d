"""Point of a training to which it can be taken back: for steps that turn out not to count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headbench.harness.head import HeadModel, SubjectHead
from headbench.harness.train.adam import Adam

if TYPE_CHECKING:
    from headbench.harness.train.log import LogMark, TrainLog
    from headbench.harness.train.loop import Trainer

__all__ = ["RestorePoint"]

_PLAIN = (bool, int, float, str, tuple, type(None))


@dataclasses.dataclass(frozen=True)
class _Optimizer:
    """State of an optimiser besides its tensors: numbers, and which parameters have a state at all."""

    optimizer: Adam | torch.optim.SparseAdam
    rates: list[Any]
    numbers: list[tuple[Tensor, dict[str, Any]]]

    @classmethod
    def of(cls, optimizer: Adam | torch.optim.SparseAdam) -> _Optimizer:
        rates = [group["lr"] for group in optimizer.param_groups]
        numbers = [
            (p, {k: v for k, v in state.items() if not isinstance(v, Tensor)}) for p, state in optimizer.state.items()
        ]
        return cls(optimizer, rates, numbers)

    def restore(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate
        known = {id(p) for p, _ in self.numbers}
        for p, numbers in self.numbers:
            self.optimizer.state[p].update(numbers)
        for p, state in self.optimizer.state.items():
            if id(p) not in known:
                # Made since. Recorded updates read these very tensors, and Adam starts from zeros.
                for key, value in state.items():
                    state[key] = value.zero_() if isinstance(value, Tensor) else type(value)(0)


class RestorePoint:
    """Everything that training steps change, as it is between two steps, to be put back to the bit.

    Tensors are copied on their device and put back into the same memory, which recordings read; nothing waits for the
    device. That is what a checkpoint holds (parameters, buffers, statistics, moments, refined parameters, sampler and
    random generators), with learning rates, the log, and plain values that modules of the avatar keep as attributes.
    Networks that are not trained and head models do not change.

    Args:
        trainer: between two steps.
        step: the one that comes next.
        log: counts steps in; None: nobody does.
        begun: whether the event at the start of that step's epoch has been sent.
        room: an earlier point of the same trainer, whose memory may be taken.
    """

    def __init__(
        self,
        trainer: Trainer,
        step: int,
        log: TrainLog | None = None,
        begun: bool = False,
        room: RestorePoint | None = None,
    ) -> None:
        self.step = step
        self.begun = begun
        self._log: tuple[TrainLog, LogMark] | None = None if log is None else (log, log.mark())
        self._modules = [
            (module, {name: value for name, value in vars(module).items() if isinstance(value, _PLAIN)})
            for module in trainer.avatar.modules()
        ]
        self._tensors = list(_tensors(trainer))
        self._copies = _copied(self._tensors, room)
        self._optimizers = [_Optimizer.of(each) for each in trainer.optimizers()]
        self._factor = trainer.optimizer.factor
        self._sampler = {name: value.clone() for name, value in trainer.sampler.state().items()}
        self._reached = {tag: reach.made for tag, reach in trainer.reach.items()}
        self._device = trainer.finetune.rows.device
        self._host_generator = torch.get_rng_state()
        cuda = self._device.type == "cuda"
        self._device_generator = torch.cuda.get_rng_state(self._device) if cuda else None

    @torch.no_grad()
    def restore(self, trainer: Trainer) -> None:
        """Put everything back; the trainer may then take the same steps again."""
        for module, values in self._modules:
            vars(module).update(values)
        for dtype in {t.dtype for t in self._tensors}:
            pairs = [(t, c) for t, c in zip(self._tensors, self._copies, strict=True) if t.dtype is dtype]
            torch._foreach_copy_([t for t, _ in pairs], [c for _, c in pairs])
        for optimizer in self._optimizers:
            optimizer.restore()
        trainer.optimizer.factor = self._factor
        trainer.sampler.load(self._sampler)
        for tag, made in self._reached.items():
            trainer.reach[tag].made = made
        torch.set_rng_state(self._host_generator)
        if self._device_generator is not None:
            torch.cuda.set_rng_state(self._device_generator, self._device)
        if self._log is not None:
            log, mark = self._log
            log.rewind(mark)


def _tensors(trainer: Trainer) -> Iterator[Tensor]:
    """The tensors that steps may change in place, each once."""
    seen: set[int] = set()
    heads = (m for m in trainer.avatar.modules() if isinstance(m, HeadModel | SubjectHead))
    frozen = {id(t) for head in heads for t in head.buffers()}
    for tensor in _with_repetitions(trainer):
        if id(tensor) not in seen and id(tensor) not in frozen:
            seen.add(id(tensor))
            yield tensor.detach()


def _with_repetitions(trainer: Trainer) -> Iterable[Tensor]:
    for module in (trainer.avatar, trainer.finetune):
        yield from (p for p in module.parameters() if p.requires_grad)
        yield from module.buffers()
    for optimizer in trainer.optimizers():
        yield from (group["lr"] for group in optimizer.param_groups if isinstance(group["lr"], Tensor))
        for state in optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))


@torch.no_grad()
def _copied(tensors: list[Tensor], room: RestorePoint | None) -> list[Tensor]:
    """Copies of tensors, where possible in the memory of an earlier point's, by one launch for each type."""
    old = [] if room is None else room._copies
    fits = len(old) == len(tensors) and all(
        a.shape == b.shape and a.dtype is b.dtype and a.device == b.device for a, b in zip(old, tensors, strict=True)
    )
    if not fits:
        return [t.clone() for t in tensors]
    for dtype in {t.dtype for t in tensors}:
        pairs = [(c, t) for c, t in zip(old, tensors, strict=True) if t.dtype is dtype]
        torch._foreach_copy_([c for c, _ in pairs], [t for _, t in pairs])
    return old
