"""Adam's update of all parameter groups as one launch of a GPU kernel, for steps that are recorded.

A recorded step finds its gradients at the same addresses each time, so that a table of addresses can be made once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headbench.harness.kernels import kernels
from headbench.harness.train.adam import MOMENTS, Adam

__all__ = ["OneLaunch", "Tables"]

_KEPT = 8
"""Number of tables that are kept: one for each recording of a step, such as an epoch's short last batch."""

_Rows = tuple[tuple[int, ...], ...]
_Constants = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Tables:
    """What one launch updates: addresses and constants of all tensors, on their device."""

    work: Tensor
    """(programs, 2) int64: row of a tensor in the other tables, first element of a block."""
    addresses: Tensor
    """(tensors, 7) int64: parameter, gradient, both moments, step count, learning rate; and number of elements."""
    constants: Tensor
    """(tensors, 5) float64: both betas, their logarithms, and eps."""
    steps: tuple[Tensor, ...]
    """Step counts, () float32 each."""
    module: Any
    """Module of the kernel."""

    def update(self) -> None:
        """Raise the step counts and update all tensors: two launches, which wait for nothing and may be recorded."""
        torch._foreach_add_(self.steps, 1)
        self.module.update_all(self.work, self.addresses, self.constants)


class OneLaunch:
    """Makes and keeps the tables of optimisers whose tensors stay where they are."""

    def __init__(self) -> None:
        self._tables: dict[tuple[_Rows, _Constants], Tables] = {}

    def prepare(self, adams: Sequence[Adam]) -> None:
        """Make what an update reads that is recorded next, with the gradients where they are now.

        Args:
            adams: as in `tables`.
        """
        made = self.tables(adams, recording=False)
        if made is not None:
            _load(made.module, made.work.device)

    def tables(self, adams: Sequence[Adam], recording: bool) -> Tables | None:
        """Return the tables of all parameters that have a gradient, whose moments are made where they lack.

        None where the kernel is off (``HEADBENCH_KERNELS=-adam``), where a tensor is not contiguous
        float32, or a learning rate is no tensor; and while recording, where these addresses are new, because a table
        is copied from the host: `prepare` makes it before.

        Args:
            adams: those of all groups.
            recording: whether a CUDA graph is being recorded.
        """
        pairs = [(adam, p) for adam in adams for p in adam.param_groups[0]["params"] if p.grad is not None]
        module = kernels("adam", pairs[0][1].device) if pairs else None
        if module is None or not all(_plain(adam, p) for adam, p in pairs):
            return None
        for adam, parameter in () if recording else pairs:
            adam.begin(parameter)
        if not all(_settled(adam.state[p]) for adam, p in pairs):
            return None
        rows = tuple(_addresses(adam, p) for adam, p in pairs)
        constants = tuple(_constants(adam) for adam, _ in pairs)
        found = self._tables.get((rows, constants))
        if found is None and not recording:
            if len(self._tables) >= _KEPT:
                self._tables.clear()
            steps = tuple(adam.state[p]["step"] for adam, p in pairs)
            found = self._tables[rows, constants] = _made(rows, constants, steps, module)
        return found


def _load(module: Any, device: torch.device) -> None:
    """Launch the kernel once on numbers of its own: the first launch compiles and loads it, which no recording may do.

    Args:
        module: of the kernel.
        device: of the recording.
    """
    numbers = torch.ones(6, device=device)  # parameter, gradient, both moments, step count, learning rate
    half = math.log(0.5)
    rows = ((*(number.data_ptr() for number in numbers), 1),)
    _made(rows, ((0.5, 0.5, half, half, 1.0),), (numbers[4],), module).update()


def _plain(adam: Adam, parameter: Tensor) -> bool:
    """Whether the kernel can update a parameter, which has a gradient, as this optimiser would."""
    rate, gradient = adam.param_groups[0]["lr"], parameter.grad
    assert gradient is not None
    return (
        isinstance(rate, Tensor)
        and rate.device == parameter.device
        and all(t.dtype is torch.float32 and t.is_contiguous() for t in (rate, parameter, gradient))
    )


def _settled(state: dict[str, Tensor]) -> bool:
    """Whether a parameter has moments and a step count that the kernel can update."""
    found = [state[key] for key in ("step", *MOMENTS) if key in state]
    return len(found) == 3 and all(t.dtype is torch.float32 and t.is_contiguous() for t in found)


def _addresses(adam: Adam, parameter: Tensor) -> tuple[int, ...]:
    """Row of the table of addresses, see `Tables.addresses`."""
    state, gradient = adam.state[parameter], parameter.grad
    assert gradient is not None
    tensors = (parameter, gradient, *(state[key] for key in MOMENTS), state["step"], adam.param_groups[0]["lr"])
    return (*(t.data_ptr() for t in tensors), parameter.numel())


def _constants(adam: Adam) -> tuple[float, ...]:
    """Row of the table of constants, see `Tables.constants`."""
    betas = adam.param_groups[0]["betas"]
    return (*betas, *(math.log(beta) if beta > 0 else -math.inf for beta in betas), adam.param_groups[0]["eps"])


def _made(
    rows: Sequence[tuple[int, ...]], constants: Sequence[tuple[float, ...]], steps: tuple[Tensor, ...], module: Any
) -> Tables:
    """Make tables on the device of the tensors.

    Args:
        rows: of the table of addresses.
        constants: rows of the table of constants.
        steps: step counts of the tensors.
        module: of the kernel.
    """
    sizes = torch.tensor([row[-1] for row in rows])
    blocks = (sizes + module.BLOCK - 1) // module.BLOCK
    tensor = torch.repeat_interleave(torch.arange(len(rows)), blocks)
    number = torch.arange(len(tensor)) - (blocks.cumsum(0) - blocks)[tensor]
    work = torch.stack([tensor, number * module.BLOCK], dim=1)
    device = steps[0].device
    addresses = torch.tensor(rows, dtype=torch.int64, device=device)
    return Tables(
        work.to(device), addresses, torch.tensor(constants, dtype=torch.float64, device=device), steps, module
    )
