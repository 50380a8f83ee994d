"""Reading of what training leaves on disk: ``checkpoint-<step>`` folders with state files, and ``summary.json``.

Needs no torch, since whether a cell is whole is asked in places that train nothing.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.files import digest_of, read_json
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record

__all__ = [
    "FORMAT",
    "FRAMES",
    "SUMMARY",
    "WEIGHTS",
    "CheckpointState",
    "Logged",
    "Machine",
    "TrainSummary",
    "checkpoint_fault",
    "checkpoints",
    "finished",
    "latest_checkpoint",
    "read_state",
    "read_summary",
    "remove_damaged",
    "weights_of",
]

FORMAT = 2
"""Version of the checkpoint layout; 1 had no hashes and is read, too."""
WEIGHTS = ("model.safetensors", "optimizer.safetensors")
FRAMES = "frames.safetensors"
"""Name of the file with refined parameters of training frames, by timestep, where there are any."""
SUMMARY = "summary.json"
_AGAIN = "run the same `bench run` command again: it goes on from the newest checkpoint that is whole"


@dataclass(frozen=True)
class Logged:
    """Count of steps since the log's last line; the sums of the loss terms lie beside the optimiser's tensors."""

    terms: tuple[str, ...] = ()
    """Names of the loss terms, in the order of the log's line."""
    count: int = 0
    """Number of steps since the last line."""


@dataclass(frozen=True)
class Machine:
    """Machine on which steps were taken: device, back end and peak memory."""

    device: str
    rasterizer: str
    peak_memory_bytes: int
    """Peak memory of the device over all resumptions, in bytes: torch's maximum allocation on a GPU, 0 on a CPU."""


@dataclass(frozen=True)
class CheckpointState:
    """Content of a checkpoint's ``state.json``: step, configuration, identity and the hashes of its files."""

    step: int
    about: Mapping[str, str]
    """Names of method, preset, variant, dataset and subject."""
    config: Mapping[str, Any]
    seconds: float
    """Seconds spent in steps, over all resumptions."""
    seed: int
    identity: Mapping[str, Any]
    """The part of the identity that is no tensor, by path."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of its bytes as they were written; empty in format 1."""
    log: Logged = Logged()
    notes: tuple[str, ...] = ()
    """Notes on the training so far that tables print, such as on a checkpoint that was lost."""
    machine: Machine | None = None
    """Machine that took the steps; None in format 1."""
    loader: str = ""
    """Name in the registry of the class that loads it, ``method:NAME`` or ``stage:NAME``; empty: the method's."""
    format: int = FORMAT
    images: int | None = None
    """Number of images drawn so far; None where that was not counted."""

    @property
    def verified(self) -> bool:
        """Whether the state holds hashes, by which altered files are found out."""
        return bool(self.sha256)


@dataclass(frozen=True)
class TrainSummary:
    """Summary of a finished stage instance: the content of its ``summary.json``."""

    steps: int
    seconds: float
    """Time spent in steps, over all resumptions; without decoding ahead, checkpoints and previews."""
    rate: float
    """Steps per second."""
    gaussians: int
    peak_memory_bytes: int
    """Peak memory of the device in bytes: torch's maximum allocation on a GPU, 0 on a CPU."""
    device: str
    rasterizer: str
    notes: tuple[str, ...] = ()
    """Notes that tables print: what the head model or the reader fell back to, and checkpoints that were lost."""


def read_summary(stage: Path) -> TrainSummary | None:
    """Read ``summary.json`` of an instance's folder; None where it is missing or damaged: then it is made again."""
    try:
        return read_record(TrainSummary, stage / SUMMARY)
    except Unreadable:
        return None


def finished(stage: Path) -> TrainSummary | None:
    """Summary of a finished instance; None where it is not finished or its checkpoint is not whole.

    Raises:
        BenchError: a newer version wrote it.
    """
    found = read_summary(stage)
    return None if found is None or checkpoint_fault(stage / f"checkpoint-{found.steps}") else found


def checkpoints(stage: Path) -> list[Path]:
    """Checkpoint folders of an instance by their names, oldest first; whether they are whole is not checked."""
    found = {path: re.fullmatch(r"checkpoint-(\d{1,12})", path.name) for path in stage.glob("checkpoint-*")}
    return sorted((path for path, match in found.items() if match and path.is_dir()), key=_step)


def latest_checkpoint(stage: Path) -> Path | None:
    """The newest checkpoint of an instance with a state file, or None; its files are checked when they are read."""
    return next((path for path in reversed(checkpoints(stage)) if os.path.lexists(path / "state.json")), None)


def read_state(checkpoint: Path) -> CheckpointState:
    """Read ``state.json`` of a checkpoint.

    Raises:
        Unreadable: the folder is no checkpoint, or its state file is damaged.
        BenchError: a newer version wrote it.
    """
    path = checkpoint / "state.json"
    try:
        version = read_json(path).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise BenchError(
                f"{path}: found checkpoint format {version}, this version reads up to {FORMAT}.",
                help="update headbench: a newer version wrote this",
            )
        state = read_record(CheckpointState, path, _AGAIN)
    except Unreadable as error:
        if error.missing:
            raise Unreadable(
                checkpoint, "found a folder that is not a checkpoint: it has no state.json", "bench status RUN"
            ) from error
        error.help = error.help or _AGAIN
        raise
    if state.format not in (1, FORMAT):
        raise Unreadable(path, f"found checkpoint format {state.format}, expected 1 or {FORMAT}", _AGAIN)
    if state.format == FORMAT and (set(state.sha256) - {FRAMES} != {*WEIGHTS} or state.machine is None):
        raise Unreadable(path, "found no SHA-256 of the checkpoint's files", _AGAIN)
    return state


def checkpoint_fault(checkpoint: Path) -> str:
    """Why a checkpoint cannot be used, starting with the file's name; empty where it is whole.

    Every file is hashed. In format 1, which has no hashes, only their lengths are checked.

    Raises:
        BenchError: a newer version wrote it, which is no damage.
    """
    try:
        state = read_state(checkpoint)
    except Unreadable as error:
        return f"{error.path.name}: {error.found}"
    if state.step != _step(checkpoint):
        return f"state.json: found step {state.step}"
    for name in (*WEIGHTS, *({FRAMES} & set(state.sha256))):
        digest = digest_of(checkpoint / name)
        if digest is None:
            return f"{name} is missing or cannot be read"
        if state.verified and digest != state.sha256[name]:
            return f"{name} has another SHA-256 than when it was written"
        if not state.verified and not _complete(checkpoint / name):
            return f"{name} is cut or no safetensors file"
    return ""


def weights_of(checkpoint: Path) -> str | None:
    """SHA-256 of a checkpoint's weights file; None where the checkpoint cannot be used."""
    try:
        return None if checkpoint_fault(checkpoint) else digest_of(checkpoint / WEIGHTS[0])
    except BenchError:
        return None


def remove_damaged(stage: Path, all_of_them: bool = False) -> tuple[Path | None, list[str]]:
    """Find the newest whole checkpoint and remove the damaged ones that are newer.

    Args:
        stage: folder of the instance.
        all_of_them: remove damaged older ones, too.

    Returns:
        (the newest whole checkpoint or None, one sentence per removed checkpoint).

    Raises:
        BenchError: a newer version wrote one.
    """
    newest: Path | None = None
    lost: list[str] = []
    for path in reversed(checkpoints(stage)):
        fault = checkpoint_fault(path)
        if fault:
            shutil.rmtree(path)
            lost.append(f"{path.name} was damaged ({fault})")
            continue
        newest = newest or path
        if not all_of_them:
            break
    return newest, lost


def _complete(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    from headbench.harness.tensors import read_metadata

    try:
        read_metadata(path)
        return True
    except Unreadable:
        return False


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])
