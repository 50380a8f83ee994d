"""Options of execution: how work is done, as one value that travels whole from a request to a step. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Execution", "Resources"]


@dataclass(frozen=True)
class Execution:
    """Options of how, not what, to compute: only `seed`, `deterministic`, `threads` and `seconds` change a result."""

    device: str = "auto"
    """Device that computes: auto, cpu, cuda or cuda:K."""
    rasterizer: str = "auto"
    """Name of the rasterizer's back end, or auto."""
    seed: int = 0
    threads: int | None = None
    """Number of CPU threads, fixed when a run is planned, since sums depend on it. None leaves it to torch."""
    deterministic: bool = False
    """Whether torch uses deterministic algorithms: a resumed CPU run then ends bit-equal to an uninterrupted one."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; None: as the trainer's `SaveSchedule` decides."""
    preview_every: int | None = None
    """Steps between previews; None: as the trainer's `SaveSchedule` decides."""
    log_every: int = 50
    """Steps per line of the log."""
    tensorboard: bool = False
    seconds: float | None = None
    """Time in training steps after which training ends; None: after the configuration's steps."""
    marks: int = 0
    """Number of equal parts of the training at whose ends the portrait is kept to be scored; 0: none."""
    record: bool = True
    """Whether a GPU replays what the avatar allows as CUDA graphs; the arithmetic is the same."""


@dataclass(frozen=True)
class Resources:
    """Resources that a cell needs of its machine, as far as its run knows; an executor requests them."""

    gpus: int = 0
    """Number of GPUs: 1 where the device is CUDA, else 0."""
    cpus: int | None = None
    """Number of CPU cores: as many as the cell has threads; None: not known."""
    memory: int | None = None
    """Host memory in bytes, as ``--memory`` says; None: not known."""
    time: float | None = None
    """Seconds that the cell may take, as ``--timeout`` says; None: no limit."""
    likely_memory: int | None = None
    """Host memory in bytes that is enough for cells like it, which an executor asks for where the user names none;
    None: not known. It limits nothing."""
    likely_gpu_memory: int | None = None
    """GPU memory in bytes that cells like it had in use at most; None: not known. It limits nothing."""
    likely_time: float | None = None
    """Seconds that are enough for cells like it, which an executor asks for where the user names none; None: not
    known. It limits nothing."""
