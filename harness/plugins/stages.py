"""Plugin of the built-in roots ``train`` and ``import``, registered like a stranger's. Data only, without torch."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import StageSpec

TRAIN_PLUGIN = "headbench.harness.plugins.stages"

__all__ = ["IMPORT", "TRAIN", "TRAIN_PLUGIN", "register_stages"]

TRAIN = StageSpec(
    name="train",
    target="headbench.harness.train.stage:TrainStage",
    summary="trains the method's avatar on the training frames",
)

IMPORT = StageSpec(
    name="import",
    target="headbench.harness.train.import_stage:ImportStage",
    summary="takes a checkpoint that the method's published code wrote (`bench import`)",
)


@hookimpl
def register_stages(register: Callable[[StageSpec], None]) -> None:
    """Register ``train``, the stage that every method has, and ``import``, the other root."""
    register(TRAIN)
    register(IMPORT)
