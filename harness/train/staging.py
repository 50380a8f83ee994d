"""Makes one stage instance: hands a stage its work, resumes it, and saves the portrait that it returns."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.device import be_deterministic, device_label, resolve_device
from headbench.harness.errors import BenchError
from headbench.harness.files import make_folder, remove_leftovers
from headbench.harness.options import Execution
from headbench.harness.records import write_sealed
from headbench.harness.stage import Kept, Stage, StageWork
from headbench.harness.train.checkpoint import LoadedPortrait, checkpoint_tensors, restore_portrait, save_checkpoint
from headbench.harness.train.setup import identity_of, peak_memory, restart_peak
from headbench.harness.trained import (
    SUMMARY,
    WEIGHTS,
    CheckpointState,
    Machine,
    TrainSummary,
    finished,
    read_state,
    read_summary,
    remove_damaged,
)
from headbench.harness.types import Subject

__all__ = ["Making", "make_instance"]


@dataclasses.dataclass
class Making:
    """One stage instance to make: where it lies, what it is made from and how it is saved."""

    folder: Path
    about: Mapping[str, str]
    """Names of method, preset, variant, dataset and subject."""
    portrait_type: type[Portrait]
    portrait_config: MethodConfig
    """Configuration of the class that loads the result."""
    loader: str
    """Name of that class in the registry: ``method:NAME`` or ``stage:NAME``."""
    parent: LoadedPortrait | None
    subject: Subject
    options: Execution
    seconds: float = 0.0
    """Seconds spent on the instance before this process took it up."""
    kept: Kept | None = None
    """What the portrait keeps of its subject, where the stage itself says so."""

    def save(self, portrait: Portrait, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint of a portrait.

        Args:
            portrait: its state_dict is saved.
            step: number of steps taken; part of the checkpoint's name.
            tensors: what the stage needs to go on from here, by name.
        """
        state = CheckpointState(
            step=step,
            about=dict(self.about),
            config=self.portrait_config.model_dump(mode="json"),
            seconds=self.seconds + time.perf_counter() - self.started,
            seed=self.options.seed,
            identity={},
            machine=self.machine(),
            loader=self.loader,
        )
        kept = self.kept
        if kept is None and self.parent is not None:
            kept = Kept(self.parent.identity, self.parent.frames)
        kept = kept or Kept(identity_of(self.subject), {})
        save_checkpoint(self.folder, portrait, kept.identity, tensors, state, frames=kept.frames)

    def resume(self, portrait: Portrait) -> tuple[int, Mapping[str, Tensor]] | None:
        """Put the newest whole checkpoint into a portrait.

        Returns:
            its step and the tensors that `save` got; None where there is no checkpoint.
        """
        found, _ = remove_damaged(self.folder)
        if found is None:
            return None
        state = read_state(found)
        self.seconds = state.seconds
        restore_portrait(portrait, checkpoint_tensors(found, WEIGHTS[0], state), found)
        return state.step, checkpoint_tensors(found, WEIGHTS[1], state)

    def machine(self) -> Machine:
        """Description of the machine on which the work is done."""
        device = resolve_device(self.options.device)
        return Machine(device_label(device), self.options.rasterizer, peak_memory(device))

    def __post_init__(self) -> None:
        self.started = time.perf_counter()


def make_instance(stage: Stage, making: Making, work: StageWork) -> TrainSummary:
    """Run a stage unless its instance is finished and whole.

    Args:
        stage: does the work.
        making: the instance, with which the portrait is saved.
        work: what the stage gets.

    Returns:
        the instance's summary.

    Raises:
        BenchError: what the stage raises; or its result is no portrait of the class that is to load it.
    """
    folder = making.folder
    remove_leftovers(folder)
    saved = finished(folder)
    if saved is not None:
        remove_damaged(folder, all_of_them=True)
        return saved
    make_folder(folder)
    restart_peak(resolve_device(making.options.device))
    _seed(making.options)
    portrait = stage.run(work)
    if portrait is None:
        found = read_summary(folder)
        if found is None:
            raise BenchError(f"stage {folder.name} gave no portrait and saved none.", help="bench plugins --check")
        return found
    if type(portrait) is not making.portrait_type:
        raise BenchError(
            f"stage {folder.name} gave a {type(portrait).__name__}, expected {making.portrait_type.__name__}, "
            "which is the class that is to load it.",
            help="name the class in StageSpec(portrait=…)",
        )
    making.kept = stage.keeps(work)
    newest, _ = remove_damaged(folder)
    step = read_state(newest).step if newest is not None else 0
    making.save(portrait, step + 1, {})
    machine = making.machine()
    seconds = making.seconds + time.perf_counter() - making.started
    if making.kept is not None and making.kept.seconds is not None:
        seconds = making.kept.seconds
    summary = TrainSummary(
        steps=step + 1,
        seconds=seconds,
        rate=(step + 1) / seconds if seconds else 0.0,
        gaussians=portrait.count(),
        peak_memory_bytes=machine.peak_memory_bytes,
        device=machine.device,
        rasterizer=machine.rasterizer,
        notes=(*making.subject.notes, *(making.kept.notes if making.kept is not None else ())),
    )
    write_sealed(folder / SUMMARY, dataclasses.asdict(summary))
    return summary


def _seed(options: Execution) -> None:
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - plugins may draw from the global generator
    torch.manual_seed(options.seed)
    be_deterministic(options.deterministic)
