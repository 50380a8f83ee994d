"""How work is done: one value that travels whole from a request to a step. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Execution", "Resources"]


@dataclass(frozen=True)
class Execution:
    """How, not what, to compute: nothing here may change a result but `seed`, `deterministic` and `threads`."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:K."""
    rasterizer: str = "auto"
    """auto, or the name of a back end."""
    seed: int = 0
    threads: int | None = None
    """Of the CPU, fixed when a run is planned: sums depend on it. None takes what the machine gives."""
    deterministic: bool = False
    """torch.use_deterministic_algorithms: a resumed CPU run ends bit-equal to an uninterrupted one."""
    checkpoint_every: int | None = None
    """Steps; None: as the trainer's save_schedule does."""
    preview_every: int | None = None
    """Steps; None: as the trainer's save_schedule does."""
    log_every: int = 50
    """Steps."""
    tensorboard: bool = False
    record: bool = True
    """On CUDA, replay what the avatar allows as CUDA graphs; the arithmetic is the same."""


@dataclass(frozen=True)
class Resources:
    """What a cell needs of the machine that it runs on, as far as its run knows; an executor asks for it."""

    gpus: int = 0
    """One where the device is CUDA."""
    cpus: int | None = None
    """Cores; as many as the cell has threads."""
    memory: int | None = None
    """Bytes of host memory, as ``--memory`` says; None: nobody has said it."""
    time: float | None = None
    """Seconds that the cell may take, as ``--timeout`` says; None: any time."""
