"""Replaying a step's own operations as CUDA graphs, so that the host's launch time does not set the rate.

An avatar step is some hundreds of small kernels; launched one by one they cost more than they compute. Recording
changes no arithmetic: the same kernels run on the same memory. Only the rasterizer stays outside, because it reads the
number of tile intersections back to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headbench.harness.types import map_tensors

__all__ = ["Recorded", "builder", "leaves"]


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
        self._layout: Hashable = None
        self._graphed: Callable[..., tuple[Tensor, ...]] | None = None
        self._build: Callable[[Iterator[Tensor]], Any] = lambda queue: None
        self._needs_grad: list[bool] = []

    def reset(self) -> None:
        """Forget the recording: the owner's parameters are other tensors now."""
        self._graphed = None

    def __call__(self, key: Hashable, *values: Any, resident: int = 0) -> Any:
        """The function's result; a `key` that differs from the last call's records afresh.

        Args:
            resident: so many of the first values are results of another recording. They lie in the same memory in
                every call, so the graph reads them there instead of a copy.
        """
        tensors = [leaf for value in values for leaf in leaves(value)]
        layout = (key, tuple((t.shape, t.dtype, t.requires_grad) for t in tensors))
        graphed = self._graphed
        if graphed is None or self._layout != layout:
            shared = sum(len(leaves(value)) for value in values[:resident])
            graphed = self._record(values, tensors, shared)
            self._layout = layout
        found = graphed(*tensors)
        # The graph's autograd node marks every result as differentiable; what was not must not start to be.
        queue = iter([t if needed else t.detach() for t, needed in zip(found, self._needs_grad, strict=True)])
        return self._build(queue)

    def _record(self, values: tuple[Any, ...], tensors: list[Tensor], shared: int) -> Callable[..., tuple[Tensor, ...]]:
        self._graphed = None  # frees the old recording's memory first
        flat = _Flat(self._owner, self._function, values)
        samples = [t.detach() if k < shared else t.detach().clone() for k, t in enumerate(tensors)]
        for sample, tensor in zip(samples, tensors, strict=True):
            sample.requires_grad_(tensor.requires_grad)
        graphed: Any = torch.cuda.make_graphed_callables(flat, tuple(samples), allow_unused_input=True)
        self._graphed, self._build, self._needs_grad = graphed, flat.build, flat.needs_grad
        found: Callable[..., tuple[Tensor, ...]] = graphed
        return found


class _Flat(nn.Module):
    """`function` as a module from a tuple of tensors to a tuple of tensors, holding its owner's parameters."""

    def __init__(self, owner: nn.Module, function: Callable[..., Any], values: tuple[Any, ...]) -> None:
        super().__init__()
        self.owner = owner
        self._function = function
        self._builders = [builder(value) for value in values]
        self.build: Callable[[Iterator[Tensor]], Any] = lambda queue: None
        self.needs_grad: list[bool] = []

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        queue = iter(tensors)
        result = self._function(*(build(queue) for build in self._builders))
        # Without the tensors themselves: a builder that kept them would keep the graph of the first call alive.
        self.build = builder(map_tensors(result, lambda t: t.detach()))
        found = leaves(result)
        self.needs_grad = [leaf.requires_grad for leaf in found]
        return tuple(found)


def leaves(value: Any) -> list[Tensor]:
    """The tensors in nested dataclasses and mappings, in the order of `builder`."""
    if isinstance(value, Tensor):
        return [value]
    names = getattr(value, "__dataclass_fields__", None)
    if names is not None:
        return [leaf for name in names for leaf in leaves(getattr(value, name))]
    if isinstance(value, Mapping):
        return [leaf for member in value.values() for leaf in leaves(member)]
    return []


def builder(value: Any) -> Callable[[Iterator[Tensor]], Any]:
    """A function that makes a copy of `value` with tensors taken from an iterator, in the order of `leaves`.

    Everything but tensors is kept. Made once and called in every step, so it skips the dataclasses' own constructors.
    """
    if isinstance(value, Tensor):
        return next
    names = getattr(value, "__dataclass_fields__", None)
    if names is not None:
        kind, parts = type(value), [(name, builder(getattr(value, name))) for name in names]

        def build(queue: Iterator[Tensor]) -> Any:
            made = object.__new__(kind)
            for name, part in parts:
                object.__setattr__(made, name, part(queue))
            return made

        return build
    if isinstance(value, Mapping):
        members = [(name, builder(member)) for name, member in value.items()]
        return lambda queue: {name: part(queue) for name, part in members}
    return lambda queue: value
