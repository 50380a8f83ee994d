"""Adam over an avatar's parameter groups, whose moments follow edits of the Gaussian table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.device import side_by_side
from headbench.harness.errors import PluginError
from headbench.harness.kernels import kernels
from headbench.harness.train.adam import MOMENTS, Adam
from headbench.harness.train.one_launch import OneLaunch
from headbench.harness.train.table import table_of
from headbench.harness.types import Clock, Edit, ParamGroup

__all__ = ["AvatarOptimizer", "Reach"]


@dataclass
class Reach:
    """What a step of some kind may move; the rest keeps its values and its moments as if the step were not there."""

    shared: bool = True
    """Whether groups without columns move: what all Gaussians share, such as a network or a correction of the mesh."""
    make: Callable[[], Tensor] | None = None
    """Makes (N,) bool, the Gaussians that move, on the table's device. None: all."""
    made: Tensor | None = None
    """What `make` made last; None where an edit has changed the table since."""
    most: Mapping[str, Tensor] = field(default_factory=dict)
    """Column of the table -> largest value (scalar, on its device) that rows may have after they moved."""

    def rows(self) -> Tensor | None:
        """The Gaussians that move, (N,) bool, as the table is now; None: all."""
        if self.made is None and self.make is not None:
            self.made = self.make()
        return self.made


class AvatarOptimizer:
    """Adam with one group per ParamGroup. Rows that an Edit keeps keep their moments; new rows start at zero.

    Args:
        avatar: its `param_groups()` are read once; their columns are looked up in `avatar.table` by name.
        name: the method's, for errors.
        batch: images per step, at least 1.
        rule: what a batch does to the learning rates: sqrt, linear or given, see `TrainConfig.batch_rates`.

    Raises:
        PluginError: a parameter of the avatar is in no group, or in two.
    """

    def __init__(self, avatar: Avatar, name: str, batch: int = 1, rule: str = "given") -> None:
        self.avatar = avatar
        self.groups = avatar.param_groups()
        self._scale, power = batch_rule(batch, rule)
        self.factor = 1.0
        """Factor of all learning rates that was set last."""
        self._check(name)
        device = next(
            (tensor.device for group in self.groups for tensor in _members(avatar, group)), torch.device("cpu")
        )
        on_device = device.type != "cpu" or kernels("adam", device) is not None
        # One Adam per group: torch updates the groups of one Adam in turn, and one group is far from filling a GPU.
        rates = [self._scale * group.lr for group in self.groups]
        self._adams = [
            Adam(
                _members(avatar, group),
                lr=torch.tensor(rate, device=device) if on_device else rate,
                betas=(group.betas[0] ** power, group.betas[1] ** power),
                eps=group.eps,
            )
            for group, rate in zip(self.groups, rates, strict=True)
        ]
        self._one_launch = OneLaunch()

    def optimizers(self) -> list[Adam]:
        """One optimizer per group."""
        return list(self._adams)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for adam in self._adams:
            adam.zero_grad()

    def step(self, clock: Clock, factor: float = 1.0, reach: Reach | None = None) -> None:
        """Set the learning rates of this step and update; parameters without a gradient stay as they are.

        Args:
            clock: of the step.
            factor: of all learning rates.
            reach: what may move; None: all.
        """
        self.set_rates(clock, factor)
        for adam in self._reached(reach):
            with self._held(adam, reach):
                adam.step()

    def set_rates(self, clock: Clock, factor: float = 1.0) -> None:
        """Set the learning rates of a step; on a GPU they lie there, where a recorded update reads them.

        Args:
            clock: of the step, for scheduled rates.
            factor: of all learning rates.
        """
        changed, self.factor = factor != self.factor, factor
        for group, adam in zip(self.groups, self._adams, strict=True):
            (options,) = adam.param_groups
            if group.schedule is not None or changed:
                rate = self._scale * factor * (group.lr if group.schedule is None else group.schedule(clock))
                if isinstance(options["lr"], Tensor):
                    options["lr"].fill_(rate)
                else:
                    options["lr"] = rate

    def replayed_step(self, reach: Reach | None = None) -> object:
        """Update with the rates that `set_rates` left: the part of a step that may be recorded into a CUDA graph.

        Returns:
            what a recording must keep, since the update reads it.
        """
        adams = self._reached(reach)
        recording = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        whole = reach is None or reach.rows() is None
        tables = self._one_launch.tables(adams, recording) if whole else None
        if tables is not None:
            tables.update()
            return tables

        def update(adam: Adam) -> None:
            with self._held(adam, reach):
                adam.step()

        side_by_side(*(partial(update, adam) for adam in adams))
        return None

    def prepare(self, reach: Reach | None = None) -> None:
        """Make what a `replayed_step` reads that is recorded next, with the gradients where they are now.

        Args:
            reach: what the step may move; what it makes is made now.
        """
        if reach is None or reach.rows() is None:
            self._one_launch.prepare(self._reached(reach))

    def stepped(self, parameters: Iterable[Tensor], reach: Reach | None = None) -> bool:
        """Whether all of these parameters that a step may move have moments, so that an update only reads and writes.

        Args:
            parameters: those that get a gradient.
            reach: what a step may move.
        """
        mine = {id(p): adam for adam in self._reached(reach) for p in adam.param_groups[0]["params"]}
        return all(bool(mine[id(p)].state.get(p)) for p in parameters if id(p) in mine)

    def apply(self, edit: Edit | None) -> bool:
        """Change the Gaussian table and Adam's moments together, as an edit says; None changes nothing.

        Returns:
            whether some parameter or moment is another tensor now; if not, recordings of them stay valid.
        """
        if edit is None:
            return False
        table = self.avatar.table
        before = {name: table.leaf(name) for name in table.names()}
        kept = table.apply_edit(edit).get("kept")
        for name, old in before.items():
            new, adam = table.leaf(name), self._of(old)
            if name in edit.replace or kept is not None:
                new.grad = None
            state = adam.state.pop(old, {}) if edit.new_optimizer == "none" else {}
            for key in MOMENTS if state else ():
                if kept is not None:
                    state[key] = _follow(state[key], kept, len(new), in_place=new is old)
                if name in edit.zero_moments:
                    state[key].zero_()
            self._exchange(adam, old, new, state)
        if edit.new_optimizer == "all":
            for adam in self._adams:
                adam.state.clear()
        moved = any(table.leaf(name) is not old for name, old in before.items())
        return moved or edit.new_optimizer != "none"

    def reserve(self, share: float) -> bool:
        """Give the table and its moments spare rows, so that edits that fit change both in place.

        Args:
            share: spare rows per row, above 0.

        Returns:
            whether the avatar allows it; its parameters are other tensors then.
        """
        spare_row = self.avatar.spare_row()
        if spare_row is None:
            return False
        table = self.avatar.table
        before = {name: table.leaf(name) for name in table.names()}
        table.reserve(share, spare_row)
        for name, old in before.items():
            new, adam = table.leaf(name), self._of(old)
            state = adam.state.pop(old, {})
            for key in MOMENTS if state else ():
                state[key] = torch.cat([state[key], state[key].new_zeros((len(new) - len(old), *old.shape[1:]))])
            self._exchange(adam, old, new, state)
        return True

    def _exchange(self, adam: Adam, old: Tensor, new: Tensor, state: dict[str, Tensor]) -> None:
        """Have Adam optimise another tensor in the place of one.

        Args:
            adam: has `old` among its parameters.
            old: the tensor that is given up.
            new: the one that takes its place; may be the same.
            state: of `new`; empty: as before its first step.
        """
        adam.state.pop(old, None)
        if state:
            adam.state[new] = state
        adam.param_groups[0]["params"] = [new if p is old else p for p in adam.param_groups[0]["params"]]

    def state(self) -> dict[str, Tensor]:
        """Adam's state: ``<parameter>/<exp_avg|exp_avg_sq|step>`` -> tensor; parameters never stepped are absent."""
        return {
            f"{name}/{key}": value if rows is None or key == "step" else value[:rows]
            for name, parameter, rows in self._named()
            for key, value in self._of(parameter).state.get(parameter, {}).items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned; the table must have its saved size already."""
        for name, parameter, _ in self._named():
            saved = {k: state[f"{name}/{k}"] for k in (*MOMENTS, "step") if f"{name}/{k}" in state}
            if saved:
                self._of(parameter).state[parameter] = {k: v.to(parameter.device).clone() for k, v in saved.items()}

    def _reached(self, reach: Reach | None) -> list[Adam]:
        """The optimisers of the groups that a step may move."""
        pairs = zip(self.groups, self._adams, strict=True)
        return [adam for group, adam in pairs if reach is None or reach.shared or group.columns]

    @contextmanager
    def _held(self, adam: Adam, reach: Reach | None) -> Iterator[None]:
        """Puts the rows of columns that `reach` leaves out, and their moments, back after an update within."""
        rows = None if reach is None else reach.rows()
        names = self.avatar.table.names() if rows is not None else ()
        columns = {id(self.avatar.table[name]): name for name in names}
        held = [p for p in adam.param_groups[0]["params"] if id(p) in columns and p.grad is not None]
        tensors = [[p.detach(), *(adam.state[p][key] for key in MOMENTS if adam.state[p])] for p in held]
        before = [[tensor.clone() for tensor in some] for some in tensors]
        yield
        for parameter, old in zip(held, before, strict=True):
            assert rows is not None
            moving = rows.reshape(-1, *[1] * (parameter.dim() - 1))
            now = [parameter.detach(), *(adam.state[parameter][key] for key in MOMENTS)]
            old = old if len(old) == len(now) else [*old, *(torch.zeros_like(t) for t in now[1:])]
            limit = None if reach is None else reach.most.get(columns[id(parameter)])
            if limit is not None:
                now[0].copy_(torch.minimum(now[0], limit))
            for tensor, kept in zip(now, old, strict=True):
                tensor.copy_(torch.where(moving, tensor, kept))

    def _named(self) -> Iterator[tuple[str, Tensor, int | None]]:
        """Name, tensor that Adam optimises and number of its rows without spare ones; None: all."""
        table = table_of(self.avatar)
        names = table.names() if table is not None else ()
        columns = {id(table[name]): (table.leaf(name), len(table)) for name in names if table is not None}
        grouped = {id(p) for adam in self._adams for p in adam.param_groups[0]["params"]}
        for name, shown in self.avatar.named_parameters():
            parameter, rows = columns.get(id(shown), (shown, None))
            if id(parameter) in grouped:
                yield name, parameter, rows

    def _of(self, parameter: Tensor) -> Adam:
        return next(a for a in self._adams if any(p is parameter for p in a.param_groups[0]["params"]))

    def _check(self, method: str) -> None:
        seen: dict[int, str] = {}
        for group in self.groups:
            for parameter in _members(self.avatar, group):
                if id(parameter) in seen:
                    raise PluginError(
                        f"Method {method}: a parameter stands in groups {seen[id(parameter)]!r} and {group.name!r}."
                    )
                seen[id(parameter)] = group.name
        loose = [n for n, p in self.avatar.named_parameters() if p.requires_grad and id(p) not in seen]
        if loose:
            raise PluginError(f"Method {method}: parameters {loose} are in no group of param_groups().")


def batch_rule(batch: int, rule: str) -> tuple[float, int]:
    """Factor of the learning rates and exponent of Adam's betas for a batch.

    Args:
        batch: images per step, at least 1.
        rule: sqrt, linear or given, see `TrainConfig.batch_rates`.
    """
    if rule == "sqrt":
        return math.sqrt(batch), batch
    return (float(batch) if rule == "linear" else 1.0), 1


def _follow(moment: Tensor, kept: Tensor, rows: int, in_place: bool) -> Tensor:
    """Moments after an edit: those of the rows that stay, then zeros.

    Args:
        moment: (N, ...).
        kept: (N',) indices of the rows that stay.
        rows: length afterwards, with spare rows.
        in_place: whether the moments stay in their memory, of the same length.
    """
    found = torch.cat([moment[kept], moment.new_zeros((rows - len(kept), *moment.shape[1:]))])
    return moment.copy_(found) if in_place else found


def _members(avatar: Avatar, group: ParamGroup) -> list[Tensor]:
    return [*(avatar.table[c] for c in group.columns), *group.parameters]
