"""Plugin of the built-in stage ``train``, registered like a stranger's. Data only: no torch is imported here."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import StageSpec

TRAIN_PLUGIN = "headbench.harness.plugins.stages"

__all__ = ["TRAIN", "TRAIN_PLUGIN", "register_stages"]

TRAIN = StageSpec(
    name="train",
    target="headbench.harness.train.stage:TrainStage",
    summary="trains the method's avatar on the training frames",
)


@hookimpl
def register_stages(register: Callable[[StageSpec], None]) -> None:
    """Register ``train``, the stage that every method has."""
    register(TRAIN)
