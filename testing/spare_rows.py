"""Check of a method's spare rows: a table that has some draws and learns what it does without."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.testing.case import Case
from headbench.testing.failure import require
from headbench.testing.training import OPTIONS

__all__ = ["require_idle_spare_rows"]


def require_idle_spare_rows(case: Case) -> None:
    """Require of an avatar with a `spare_row` that such rows change neither pictures, nor losses, nor gradients.

    Raises:
        NonConforming: they do.
    """
    parts = prepare(case.kind, case.config, case.subject, OPTIONS)
    store = frame_store(parts.config, case.subject, OPTIONS)
    trainer = make_trainer(parts, parts.portrait, store, OPTIONS, case.spec.name)  # type: ignore[arg-type]
    avatar, table = trainer.avatar, trainer.avatar.table
    rows = avatar.count()

    def found() -> dict[str, Tensor]:
        terms, rendering = trainer.gradients(1)
        places = {id(table.leaf(name)): f"table.{name}" for name in table.names()}
        given = {f"loss {name}": term.detach() for name, term in terms.items()} | {"image": rendering.image.detach()}
        with table.padded():
            parameters = list(avatar.named_parameters())
        for name, parameter in parameters:
            gradient = parameter.grad
            if gradient is not None and id(parameter) in places:
                require(not bool(gradient[rows:].any()), f"no gradient of {name} in spare rows", "some")
                gradient = gradient[:rows]
            given[f"gradient of {name}"] = torch.zeros(()) if gradient is None else gradient.clone()
        return given

    before = found()
    if trainer.optimizer.reserve(0.3):
        for name, value in found().items():
            near = torch.allclose(value, before[name], rtol=1e-3, atol=1e-6 * float(before[name].abs().max()))
            require(near, f"{name} with spare rows as without", "other values")
    store.close()
