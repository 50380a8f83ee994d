"""Table of per-Gaussian parameters, buffers and statistics, N rows that only the trainer changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from headbench.harness.types import Edit

__all__ = ["GaussianTable", "padded", "table_of"]


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
        self._leaves: dict[str, nn.Parameter] = {}
        """Parameters with spare rows, whose first rows are the table's; empty where nothing is reserved."""
        self._others: dict[str, Tensor] = {}
        """Buffers and statistics with spare rows."""
        self._own: Tensor | None = None
        self._spare_row: Mapping[str, Tensor] = {}
        self._share = 0.0
        self._is_padded = False

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

    @property
    def reserved(self) -> bool:
        """True if columns have spare rows, so that edits that fit change them in place."""
        return bool(self._leaves)

    @property
    def room(self) -> int:
        """Number of rows with the spare ones."""
        return len(self.leaf(self._parameter_names[0]))

    def leaf(self, name: str) -> Tensor:
        """The tensor of a parameter column that is optimised: with the spare rows, where some are reserved."""
        return self._leaves.get(name, self[name])

    def own_rows(self) -> Tensor | None:
        """(N,) bool, False for spare rows, in memory that stays; None where none are shown: all rows are the table's.

        A mean over all Gaussians is one over these.
        """
        return self._own if self._is_padded else None

    def reserve(self, share: float, spare_row: Mapping[str, Tensor]) -> None:
        """Move all columns into memory with spare rows; from now on edits change it in place as long as they fit.

        The table shows its own rows as before, as views; `padded` shows the spare ones, too. Parameters are other
        tensors afterwards. An edit that does not fit reserves anew.

        Args:
            share: spare rows per row, above 0.
            spare_row: column -> value of a spare row, without the first dimension; 0 in columns that it lacks.
        """
        self._share, self._spare_row = share, spare_row
        self._move({name: self[name].detach() for name in self._columns()})

    @contextmanager
    def padded(self) -> Iterator[None]:
        """Within, columns have their spare rows as well, and parameters are those that `leaf` returns."""
        if not self._leaves or self._is_padded:
            yield
            return
        # Twice in each step of a training, whence no attribute is set by way of the module.
        parameters, buffers = dict(self._parameters), dict(self._buffers)
        self._parameters.update(self._leaves)
        self._buffers.update(self._others)
        self._is_padded = True
        try:
            yield
        finally:
            self._parameters.update(parameters)
            self._buffers.update(buffers)
            self._is_padded = False

    def resize(self, rows: int) -> None:
        """Make every column `rows` long with undefined content, before a checkpoint is loaded; nothing is reserved."""
        self._leaves, self._others, self._own, self._share = {}, {}, None, 0.0
        for name in self._columns():
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
        columns = {}
        for name in self._columns():
            rows = self[name].detach()
            rows = rows if edit.keep is None else rows[kept]
            if edit.append is not None:
                some = next(iter(edit.append.values()))
                new = edit.append.get(name, rows.new_zeros((len(some), *rows.shape[1:])))
                rows = torch.cat([rows, new.detach().to(rows.dtype)])
            columns[name] = rows
        self._move(columns)
        return {"kept": kept}

    def _columns(self) -> tuple[str, ...]:
        """Names of all columns: parameters, buffers, statistics."""
        return (*self._parameter_names, *self._buffer_names, *self._statistic_names)

    def _move(self, columns: Mapping[str, Tensor]) -> None:
        """Make these the columns, (N', ...) each: in the reserved memory, in a larger one, or in tensors of their own.

        Args:
            columns: of all names; none of them lies in the reserved memory, or nothing changes in what lies there.
        """
        if self._is_padded:
            raise RuntimeError("GaussianTable: the rows change while spare rows are shown")
        if not self._share:
            for name, value in columns.items():
                self._set(name, value)
            return
        before, rows = len(self), len(next(iter(columns.values())))
        if not self._leaves or rows > self.room:
            room = rows + math.ceil(self._share * rows)
            memory = {n: self._spare(n, v).expand(room, *v.shape[1:]).clone() for n, v in columns.items()}
            self._leaves = {name: nn.Parameter(memory.pop(name)) for name in self._parameter_names}
            self._others = memory
            self._own = torch.arange(room, device=next(iter(columns.values())).device) < rows
        for name, value in columns.items():
            whole = (self._leaves if name in self._leaves else self._others)[name].detach()
            whole[:rows].copy_(value)
            if before > rows:
                whole[rows:before].copy_(self._spare(name, whole))
            setattr(self, name, self._shown(name, whole[:rows]))
        if self._own is not None:
            self._own[:rows] = True
            self._own[rows:] = False

    def _spare(self, name: str, like: Tensor) -> Tensor:
        """Value of a spare row of a column, of the type and on the device of `like`."""
        value = self._spare_row.get(name)
        return like.new_zeros(()) if value is None else value.to(like)

    def _shown(self, name: str, value: Tensor) -> Tensor:
        """The column's values as what the table shows of them: a parameter, or a plain tensor."""
        return nn.Parameter(value) if name in self._parameter_names else value

    def _set(self, name: str, value: Tensor) -> None:
        setattr(self, name, self._shown(name, value.detach().clone()))

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


def table_of(avatar: nn.Module) -> GaussianTable | None:
    """Return the table of an avatar; None where it has none, as one that bakes."""
    table: GaussianTable | None = getattr(avatar, "table", None)
    return table


def padded(avatar: nn.Module) -> AbstractContextManager[None]:
    """Show the spare rows of an avatar's table within; do nothing where it has none."""
    table = table_of(avatar)
    return nullcontext() if table is None else table.padded()
