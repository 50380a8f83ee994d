"""Table of per-Gaussian parameters, buffers and statistics, N rows that only the trainer changes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headbench.harness.types import Edit

__all__ = ["GaussianTable"]


class GaussianTable(nn.Module):
    """Table of N Gaussians, one row each; a column is a parameter (optimised), a buffer (saved) or a statistic.

    Statistics start at zero and are saved in training checkpoints only.

    Args:
        parameters: name -> (N, ...) float tensor; at least one.
        buffers: name -> (N, ...) tensor, such as face index and barycentrics.
        statistics: name -> (N, ...) tensor whose shape and type are taken, such as gradient sums.

    Columns are read as attributes or by item: ``table["opacity"]``.

    Raises:
        ValueError: columns disagree in N or a name is used twice.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor] | None = None,
        statistics: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        buffers, statistics = buffers or {}, statistics or {}
        names = [*parameters, *buffers, *statistics]
        if len(set(names)) != len(names):
            raise ValueError(f"GaussianTable: a column name is used twice in {names}")
        rows = {name: len(t) for group in (parameters, buffers, statistics) for name, t in group.items()}
        if len(set(rows.values())) != 1:
            raise ValueError(f"GaussianTable: columns differ in their number of rows: {rows}")
        for name, tensor in parameters.items():
            self.register_parameter(name, nn.Parameter(tensor.detach().clone()))
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor.detach().clone())
        for name, tensor in statistics.items():
            self.register_buffer(name, torch.zeros_like(tensor), persistent=False)
        self._parameter_names = tuple(parameters)
        self._buffer_names = tuple(buffers)
        self._statistic_names = tuple(statistics)

    def __len__(self) -> int:
        return len(getattr(self, self._parameter_names[0]))

    def __getitem__(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name)
        return value

    def names(self) -> tuple[str, ...]:
        """Names of the parameter columns, in order."""
        return self._parameter_names

    def buffer_names(self) -> tuple[str, ...]:
        """Names of the buffer columns, in order."""
        return self._buffer_names

    def statistic_names(self) -> tuple[str, ...]:
        """Names of the statistic columns, in order; they are zero at the start and for new rows."""
        return self._statistic_names

    def resize(self, rows: int) -> None:
        """Make every column `rows` long with undefined content, before a checkpoint is loaded."""
        for name in (*self._parameter_names, *self._buffer_names, *self._statistic_names):
            old = self[name]
            self._set(name, old.detach().new_zeros((rows, *old.shape[1:])))

    def apply_edit(self, edit: Edit) -> dict[str, Tensor]:
        """Change the rows as `edit` says; called by the optimiser alone, which changes its moments to match.

        Returns:
            ``{"kept": (N',)}``, indices of the old rows that stand first; empty when no row was added or removed.

        Raises:
            ValueError: `append` lacks a column, has an unknown one, or shapes do not fit.
        """
        self._check(edit)
        for name, value in edit.replace.items():
            with torch.no_grad():
                self[name].copy_(value)
        for name in edit.zero_statistics:
            self[name].zero_()
        if edit.keep is None and edit.append is None:
            return {}
        kept = torch.arange(len(self), device=self[self._parameter_names[0]].device)
        if edit.keep is not None:
            kept = kept[edit.keep]
        for name in (*self._parameter_names, *self._buffer_names, *self._statistic_names):
            rows = self[name].detach()
            rows = rows if edit.keep is None else rows[kept]
            if edit.append is not None:
                some = next(iter(edit.append.values()))
                new = edit.append.get(name, rows.new_zeros((len(some), *rows.shape[1:])))
                rows = torch.cat([rows, new.detach().to(rows.dtype)])
            self._set(name, rows)
        return {"kept": kept}

    def _set(self, name: str, value: Tensor) -> None:
        value = value.detach()
        if name in self._parameter_names:
            setattr(self, name, nn.Parameter(value.clone()))
        else:
            setattr(self, name, value.clone())

    def _check(self, edit: Edit) -> None:
        columns = (*self._parameter_names, *self._buffer_names)
        unknown = [n for n in (*edit.replace, *edit.zero_moments) if n not in columns]
        unknown += [n for n in edit.zero_statistics if n not in self._statistic_names]
        unknown += [n for n in edit.append or {} if n not in columns]
        if unknown:
            raise ValueError(f"Edit names columns that the table lacks: {unknown}; it has {list(columns)}")
        missing = [n for n in columns if edit.append is not None and n not in edit.append]
        if missing:
            raise ValueError(f"Edit.append lacks columns {missing}")
        for name, value in edit.replace.items():
            if value.shape != self[name].shape:
                raise ValueError(
                    f"Edit.replace[{name!r}] has shape {tuple(value.shape)}, expected {tuple(self[name].shape)}"
                )
        added = {name: len(value) for name, value in (edit.append or {}).items()}
        if len(set(added.values())) > 1:
            raise ValueError(f"Edit.append's columns differ in their number of rows: {added}")
        if edit.keep is not None and edit.keep.shape != (len(self),):
            raise ValueError(f"Edit.keep has shape {tuple(edit.keep.shape)}, expected ({len(self)},)")
        for name, value in (edit.append or {}).items():
            if value.shape[1:] != self[name].shape[1:]:
                raise ValueError(
                    f"Edit.append[{name!r}] has rows of {tuple(value.shape[1:])}, expected {self[name].shape[1:]}"
                )
