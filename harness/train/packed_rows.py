"""Rows of many small tensors in one table, so that those of a batch are gathered at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.train.capture import builder, leaves
from headbench.harness.types import map_tensors

__all__ = ["PackedRows"]

_ALIGNED = 4
"""Columns of each tensor begin at a multiple of this: 16 bytes, which kernels read at once."""


class PackedRows:
    """Tensors of T rows, in dataclasses, whose rows are gathered by one operation.

    Args:
        values: dataclasses by name; their tensors are copied where all are float32, else kept and gathered one by one.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        tensors = leaves(values)
        self._shapes = [tensor.shape[1:] for tensor in tensors]
        self._build = builder(values)
        self._table: Tensor | None = None
        if tensors and all(tensor.dtype == torch.float32 for tensor in tensors):
            flat = [tensor.detach().reshape(len(tensor), -1) for tensor in tensors]
            self._table = torch.cat([functional.pad(t, (0, -t.shape[1] % _ALIGNED)) for t in flat], dim=1)

    def rows(self, index: Tensor) -> dict[str, Any]:
        """Gather rows `index` (B,) int64; their tensors are contiguous."""
        if self._table is None:
            return {name: map_tensors(value, lambda t: t[index]) for name, value in self._values.items()}
        picked = self._table.index_select(0, index)
        found, first = [], 0
        for shape in self._shapes:
            part = picked[:, first : first + shape.numel()]
            found.append(part.reshape(len(picked), *shape).contiguous())
            first += shape.numel() + -shape.numel() % _ALIGNED
        built: dict[str, Any] = self._build(iter(found))
        return built
