"""Graphs of autograd that outlive their step, which a recording must not meet."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["let_go", "lingering"]

_MARK = "headbench"


def let_go(parameters: Sequence[Tensor]) -> None:
    """Free the graphs of earlier steps that lead to these parameters, before they are recorded.

    The node that collects a parameter's gradient belongs to the CUDA stream on which it was made, and lives as long as
    any graph that leads to it: a recording on another stream that meets one is void. A step's graph ends with the step,
    unless it hangs in a circle of Python objects, as frames do after compilers have caught exceptions below them.
    Garbage is collected where that is so, and nowhere else, because it takes a tenth of a second.

    Args:
        parameters: leaves that require gradients.
    """
    if lingering(parameters):
        gc.collect()


def lingering(parameters: Sequence[Tensor]) -> int:
    """Return the number of these parameters to which a graph of an earlier step still leads."""
    _mark(parameters)
    # A node that nothing else holds is gone by now, and is made anew without a mark.
    return sum(_mark(parameters))


def _mark(parameters: Sequence[Tensor]) -> list[bool]:
    """Mark the nodes that collect the gradients of leaves, and return which of them had the mark already."""
    with torch.enable_grad():
        ends = [parameter.view_as(parameter).grad_fn for parameter in parameters]
    nodes: list[Any] = [end.next_functions[0][0] for end in ends if end is not None]
    found = [_MARK in node.metadata for node in nodes]
    for node in nodes:
        node.metadata[_MARK] = True
    return found
