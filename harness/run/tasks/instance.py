"""Finished stage instance with what its tasks (tracking, rendering, timing, scoring) share."""

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
    """Finished stage instance of a cell; its portrait is loaded on first use."""

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
        """Device that the instance is rendered on."""
        from headbench.harness.device import resolve_device

        return resolve_device(self.execution.device)

    @cached_property
    def loaded(self) -> LoadedPortrait:
        """Portrait of the instance, loaded when the first task asks for it."""
        from headbench.harness.device import be_deterministic

        found = self.reload()
        # Training has set this already where it ran in this process, and not where it was finished before.
        be_deterministic(self.execution.deterministic)
        return found

    def reload(self) -> LoadedPortrait:
        """Load another copy of the portrait."""
        from headbench.harness.train import load_portrait

        return load_portrait(self.checkpoint, str(self.device))

    @cached_property
    def session(self) -> Session:
        """Session that renders the portrait, through which from then on nothing may be optimised."""
        from headbench.harness.session import Session

        return Session(self.loaded, self.device, self.execution.rasterizer, self.checkpoint)
