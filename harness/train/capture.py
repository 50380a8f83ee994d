"""Replaying a step's own operations as CUDA graphs, so that the host's launch time does not set the rate.

An avatar step is some hundreds of small kernels; launched one by one they cost more than they compute. Recording
changes no arithmetic: the same kernels run on the same memory. Only the rasterizer stays outside, because it reads the
number of tile intersections back to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from headbench.harness.types import map_tensors

__all__ = ["Recorded"]


class _Flat(nn.Module):
    """`function` as a module from a tuple of tensors to a tuple of tensors, holding its owner's parameters."""

    def __init__(self, owner: nn.Module, function: Callable[..., Any], values: tuple[Any, ...]) -> None:
        super().__init__()
        self.owner = owner
        self._function = function
        self._values = tuple(map_tensors(v, lambda t: t.detach()) for v in values)
        self.shape: Any = None
        self.needs_grad: list[bool] = []

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        queue = iter(tensors)
        result = self._function(*(map_tensors(v, lambda _: next(queue)) for v in self._values))
        self.shape = map_tensors(result, lambda t: t.detach())
        leaves = _leaves(result)
        self.needs_grad = [leaf.requires_grad for leaf in leaves]
        return tuple(leaves)


class Recorded:
    """A differentiable function of dataclasses of tensors, recorded at its first call and replayed after.

    Args:
        owner: the module whose parameters the function reads.
        function: from dataclasses or mappings of tensors to one of them.

    The results live in memory that the next call overwrites: use or copy them within the step.
    """

    def __init__(self, owner: nn.Module, function: Callable[..., Any]) -> None:
        self._owner = owner
        self._function = function
        self._key: Hashable = None
        self._graphed: Callable[..., tuple[Tensor, ...]] | None = None
        self._shape: Any = None
        self._needs_grad: list[bool] = []

    def reset(self) -> None:
        """Forget the recording: the owner's parameters are other tensors now."""
        self._graphed = None

    def __call__(self, key: Hashable, *values: Any) -> Any:
        """The function's result; a `key` that differs from the last call's records afresh."""
        tensors = _leaves(values)
        layout = (key, tuple((t.shape, t.dtype, t.requires_grad) for t in tensors))
        if self._graphed is None or self._key != layout:
            self._record(values, tensors)
            self._key = layout
        assert self._graphed is not None
        found = self._graphed(*tensors)
        # The graph's autograd node marks every result as differentiable; what was not must not start to be.
        queue = iter(t if needed else t.detach() for t, needed in zip(found, self._needs_grad, strict=True))
        return map_tensors(self._shape, lambda _: next(queue))

    def _record(self, values: tuple[Any, ...], tensors: list[Tensor]) -> None:
        self._graphed = None  # frees the old recording's memory first
        flat = _Flat(self._owner, self._function, values)
        samples = tuple(t.detach().clone().requires_grad_(t.requires_grad) for t in tensors)
        graphed: Any = torch.cuda.make_graphed_callables(flat, samples, allow_unused_input=True)
        self._graphed = graphed
        self._shape, self._needs_grad = flat.shape, flat.needs_grad


def _leaves(value: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for member in value if isinstance(value, tuple) else (value,):
        map_tensors(member, note)
    return found
