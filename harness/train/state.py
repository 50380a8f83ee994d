"""State that a training goes on from besides its avatar's own tensors, by name, as checkpoints keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from headbench.harness.train.loop import Trainer

__all__ = ["load_state", "state_of", "under"]

_Value = TypeVar("_Value")


def state_of(trainer: Trainer) -> dict[str, Tensor]:
    """State of a trainer: optimisers, refined parameters, sampler, reaches and random generators.

    Args:
        trainer: between two steps; those that do not count yet are settled first.
    """
    trainer.settle()
    state = {f"adam/{k}": v for k, v in trainer.optimizer.state().items()}
    state |= {f"finetune/{k}": v for k, v in trainer.finetune.state_dict().items()}
    state |= {f"finetune_adam/{k}": v for k, v in trainer.finetune.optimizer_state().items()}
    state |= {f"sampler/{k}": v for k, v in trainer.sampler.state().items()}
    state |= {f"reach/{tag}": reach.made for tag, reach in trainer.reach.items() if reach.made is not None}
    state["rng/cpu"] = torch.get_rng_state()
    device = trainer.finetune.rows.device
    if device.type == "cuda":
        state["rng/cuda"] = torch.cuda.get_rng_state(device)
    return state


def load_state(trainer: Trainer, saved: Mapping[str, Tensor]) -> None:
    """Continue from what `state_of` returned.

    Args:
        trainer: of the same avatar, whose tensors have their saved sizes.
        saved: may hold more than that.

    Raises:
        KeyError: something is missing.
        RuntimeError: a tensor has another shape.
    """
    trainer.optimizer.load(under(saved, "adam/"))
    trainer.finetune.load_state_dict(under(saved, "finetune/"))
    trainer.finetune.load_optimizer_state(under(saved, "finetune_adam/"))
    trainer.sampler.load(under(saved, "sampler/"))
    device = trainer.finetune.rows.device
    for tag, rows in under(saved, "reach/").items():
        trainer.reach[tag].made = rows.to(device)
    torch.set_rng_state(saved["rng/cpu"])
    if device.type == "cuda" and "rng/cuda" in saved:
        torch.cuda.set_rng_state(saved["rng/cuda"], device)


def under(values: Mapping[str, _Value], prefix: str) -> dict[str, _Value]:
    """Values whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
