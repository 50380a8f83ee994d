"""A finished stage instance, with what the tasks that show it share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.layout import StagePaths
from headbench.harness.options import Execution
from headbench.harness.run.render import Progress

if TYPE_CHECKING:
    import torch

    from headbench.harness.session import Session
    from headbench.harness.train import LoadedPortrait
    from headbench.harness.trained import TrainSummary
    from headbench.harness.types import Subject

__all__ = ["Instance"]


@dataclass
class Instance:
    """A finished stage instance of a cell."""

    paths: StagePaths
    checkpoint: Path
    weights: str
    """SHA-256 of the checkpoint's weights."""
    summary: TrainSummary
    subject: Subject
    execution: Execution
    progress: Progress

    @cached_property
    def device(self) -> torch.device:
        """Where it is shown."""
        from headbench.harness.device import resolve_device

        return resolve_device(self.execution.device)

    @cached_property
    def loaded(self) -> LoadedPortrait:
        """The portrait, loaded when the first task asks for it."""
        from headbench.harness.device import be_deterministic

        found = self.reload()
        # Training has set this already where it ran in this process, and not where it was finished before.
        be_deterministic(self.execution.deterministic)
        return found

    def reload(self) -> LoadedPortrait:
        """Another copy of the portrait."""
        from headbench.harness.train import load_portrait

        return load_portrait(self.checkpoint, str(self.device))

    @cached_property
    def session(self) -> Session:
        """What renders it; from then on nothing may be optimised through the portrait."""
        from headbench.harness.session import Session

        return Session(self.loaded, self.device, self.execution.rasterizer, self.checkpoint)
