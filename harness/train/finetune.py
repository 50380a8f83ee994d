"""Per-frame head parameters that training refines, one row per timestep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from headbench.harness.avatar import FineTuneConfig
from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.train.adam import Adam
from headbench.harness.types import Batch, Camera, Clock, Frame, HeadParams

__all__ = ["FrameParameters"]

_FIELDS = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation", "camera.t")


class FrameParameters(nn.Module):
    """Learned tables of per-frame head parameters, started at the tracker's values, that replace those of a batch.

    Frames of one timestep share a row. ``camera.t`` is the translation of the world-to-camera matrix, keyed the same
    way. Dense Adam moves every row by its momentum in every step; sparse Adam only the rows of the batch, with one step
    count for all rows (as torch's SparseAdam has it), which makes early and late rows move by different amounts.

    Args:
        frames: T training frames.
        params: tracked head parameters of all frames, (T, ·), on the device.
        cameras: of all frames, (T, ·).
        config: which fields are refined, at which rates and from which epoch on.

    Raises:
        BenchError: the configuration names a field that does not exist.
    """

    rows: Tensor
    """(T,) int64: each frame's row in the tables."""

    def __init__(self, frames: Sequence[Frame], params: HeadParams, cameras: Camera, config: FineTuneConfig) -> None:
        super().__init__()
        for name in config.rates:
            if name not in _FIELDS:
                raise BenchError(did_you_mean("per-frame parameter", name, _FIELDS))
        self.config = config
        self.frames = tuple(frames)
        timesteps = sorted({f.timestep for f in frames})
        row_of = {t: k for k, t in enumerate(timesteps)}
        rows = torch.tensor([row_of[f.timestep] for f in frames])
        first = torch.tensor([next(i for i, f in enumerate(frames) if f.timestep == t) for t in timesteps])
        device = params.expression.device
        self.register_buffer("timesteps", torch.tensor(timesteps, device=device))
        self.register_buffer("rows", rows.to(device), persistent=False)
        self.tables = nn.ParameterDict()
        for name in config.rates:
            start = cameras.w2c[:, :3, 3] if name == "camera.t" else getattr(params, name)
            self.tables[name.replace(".", "_")] = nn.Parameter(start[first.to(device)].clone())
        kind = Adam if config.optimizer == "dense" else torch.optim.SparseAdam
        self._optimizers: list[Adam | torch.optim.SparseAdam] = [
            kind([self.tables[name.replace(".", "_")]], lr=rate, eps=config.eps) for name, rate in config.rates.items()
        ]

    def optimizers(self) -> list[Adam | torch.optim.SparseAdam]:
        """The optimizers of the tables, one for each; none where nothing is refined."""
        return list(self._optimizers)

    def active(self, clock: Clock) -> bool:
        """Whether the tables take part in the step of this clock."""
        return bool(self._optimizers) and clock.epoch >= self.config.start_epoch

    def into(self, batch: Batch, index: Tensor) -> Batch:
        """A batch with tracked values replaced by the tables' rows; `index` (B,) are positions of its frames."""
        rows = self.rows.index_select(0, index)
        params, camera = batch.params, batch.camera
        for name in self.config.rates:
            table = self.tables[name.replace(".", "_")]
            value = functional.embedding(rows, table, sparse=self.config.optimizer == "sparse")
            if name == "camera.t":
                top = torch.cat([camera.w2c[:, :3, :3], value[:, :, None]], dim=2)
                camera = replace(camera, w2c=torch.cat([top, camera.w2c[:, 3:]], dim=1))
            else:
                params = replace(params, **{name: value})  # type: ignore[arg-type]  # a tensor field by name
        return replace(batch, params=params, camera=camera)

    def zero_grad_tables(self) -> None:
        """Forget the gradients of the tables."""
        for optimizer in self._optimizers:
            optimizer.zero_grad()

    def step(self) -> None:
        """Update the tables by one step of their optimizers."""
        for optimizer in self._optimizers:
            optimizer.step()

    def optimizer_state(self) -> dict[str, Tensor]:
        """State of the tables' optimizers: ``<table>/<key>`` -> tensor; empty where nothing is refined."""
        named = {id(t): name for name, t in self.tables.items()}
        return {
            f"{named[id(p)]}/{key}": torch.as_tensor(value)
            for optimizer in self._optimizers
            for p, state in optimizer.state.items()
            for key, value in state.items()
        }

    def load_optimizer_state(self, state: dict[str, Tensor]) -> None:
        """Continue from `state`, which `optimizer_state` returned; entries of unknown tables are ignored."""
        for (name, table), optimizer in zip(self.tables.items(), self._optimizers, strict=True):
            saved = {key.split("/")[1]: value for key, value in state.items() if key.split("/")[0] == name}
            if saved and self.config.optimizer == "sparse":
                saved["step"] = int(saved["step"])  # type: ignore[assignment]  # SparseAdam counts in Python
            if saved:
                device = table.device
                optimizer.state[table] = {
                    k: v.to(device).clone() if isinstance(v, Tensor) else v for k, v in saved.items()
                }
