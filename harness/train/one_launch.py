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

__all__ = ["OneLaunch", "Tables"]

_KEPT = 8
"""Number of tables that are kept: one for each recording of a step, such as an epoch's short last batch."""
_MOMENTS = ("exp_avg", "exp_avg_sq")

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
    """Makes and keeps the tables of optimisers whose tensors stay where they are.

    A graph that holds the update with its gradients has them at addresses that are known once it is recorded, when
    nothing can be copied from the host: `reserve` before, and `fill` after.
    """

    def __init__(self) -> None:
        self._tables: dict[Any, Tables] = {}
        self._reserved: tuple[_Rows, _Constants, Tables] | None = None
        self._unfilled: list[tuple[Tables, _Rows]] = []

    def reserve(self, adams: Sequence[torch.optim.Adam]) -> None:
        """Make tables for a recording in which all gradients that there are now will lie elsewhere.

        Args:
            adams: as in `tables`.
        """
        made = self.tables(adams, recording=False)
        self._reserved = None
        if made is not None:
            _load(made.module, made.work.device)
            (key,) = [key for key, tables in self._tables.items() if tables is made]
            self._reserved = (*key, self._tables.pop(key))

    def fill(self) -> None:
        """Write the addresses of a recording that is complete into the tables that it reads."""
        for tables, rows in self._unfilled:
            tables.addresses.copy_(torch.tensor(rows, dtype=torch.int64))
        self._unfilled.clear()

    def tables(self, adams: Sequence[torch.optim.Adam], recording: bool) -> Tables | None:
        """Return the tables of all parameters that have a gradient, whose moments are made where they lack.

        None where the kernel is off (it is, unless ``HEADBENCH_KERNELS=+adam``), where a tensor is not contiguous
        float32, or a learning rate is no tensor; and while recording, where these addresses are new and no tables are
        reserved, because a table is copied from the host.

        Args:
            adams: torch's fused ones, each with one group.
            recording: whether a CUDA graph is being recorded.
        """
        pairs = [(adam, p) for adam in adams for p in adam.param_groups[0]["params"] if p.grad is not None]
        module = kernels("adam", pairs[0][1].device) if pairs else None
        if module is None or not all(_plain(adam, p) for adam, p in pairs):
            return None
        for adam, parameter in () if recording else pairs:
            _make_moments(adam, parameter)
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
        if found is None and self._reserved is not None:
            expected, same, tables = self._reserved
            if constants == same and [_but_gradient(row) for row in rows] == [_but_gradient(row) for row in expected]:
                self._reserved = None
                self._unfilled.append((tables, rows))
                return tables
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


def _plain(adam: torch.optim.Adam, parameter: Tensor) -> bool:
    """Whether the kernel can update a parameter, which has a gradient, as this optimiser would."""
    options = adam.param_groups[0]
    usual = not (options["amsgrad"] or options["maximize"] or options["weight_decay"])
    rate, gradient = options["lr"], parameter.grad
    assert gradient is not None
    return (
        usual
        and isinstance(rate, Tensor)
        and rate.device == parameter.device
        and all(t.dtype is torch.float32 and t.is_contiguous() for t in (rate, parameter, gradient))
    )


def _make_moments(adam: torch.optim.Adam, parameter: Tensor) -> None:
    """Make the state of a parameter as torch's fused Adam does in its first step."""
    if not adam.state[parameter]:
        adam.state[parameter]["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        for key in _MOMENTS:
            adam.state[parameter][key] = torch.zeros_like(parameter, memory_format=torch.preserve_format)


def _settled(state: dict[str, Tensor]) -> bool:
    """Whether a parameter has moments and a step count that the kernel can update."""
    found = [state[key] for key in ("step", *_MOMENTS) if key in state]
    return len(found) == 3 and all(t.dtype is torch.float32 and t.is_contiguous() for t in found)


def _addresses(adam: torch.optim.Adam, parameter: Tensor) -> tuple[int, ...]:
    """Row of the table of addresses, see `Tables.addresses`."""
    state, gradient = adam.state[parameter], parameter.grad
    assert gradient is not None
    tensors = (parameter, gradient, *(state[key] for key in _MOMENTS), state["step"], adam.param_groups[0]["lr"])
    return (*(t.data_ptr() for t in tensors), parameter.numel())


def _but_gradient(row: tuple[int, ...]) -> tuple[int, ...]:
    """A row of addresses without that of the gradient."""
    return (row[0], *row[2:])


def _constants(adam: torch.optim.Adam) -> tuple[float, ...]:
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
