"""Interface of executors, which start workers somewhere and say when they are gone."""

from __future__ import annotations

import abc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from headbench.harness.options import Resources

if TYPE_CHECKING:
    from headbench.harness.run.child import Ended

__all__ = ["Executor", "ExecutorOptions", "Handle", "Resources", "worker_command"]

Handle = dict[str, Any]
"""Handle of a submitted cell with its executor: JSON, so that a later `bench run` finds the cell again."""


class ExecutorOptions(BaseModel):
    """Options of an executor, for ``--executor-set NAME=VALUE``; this base class has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Executor(abc.ABC):
    """Interface of what brings cells to where they are computed.

    A cell is its folder: the worker (`worker_command`) reads job.json there and writes claim, log, progress, state and
    outcome itself. An executor only says whether the worker waits, is at work, or has ended.

    Args:
        options: options of the executor, an instance of `options_type`.
    """

    options_type: ClassVar[type[ExecutorOptions]] = ExecutorOptions
    outlives: ClassVar[bool] = True
    """True where submitted cells may outlive `bench run`, so that `attach` can find them; else it is never asked."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """Maximum number of cells that are submitted and not ended; an executor with its own queue takes any number."""

    @property
    def share(self) -> int:
        """Number of cells that compute on one machine at once, and share its cores."""
        return 1

    @property
    def cores(self) -> int | None:
        """Number of cores that each cell gets where it is computed; None: this machine's, shared out by `share`."""
        return None

    @property
    def queues(self) -> bool:
        """True where cells wait in a queue that wants to know how much time and memory each asks for; see `asks`."""
        return False

    def prepare(self, device: str) -> None:
        """Check that the executor can work, before anything is written.

        Args:
            device: device of the request: auto, cpu, cuda or cuda:K.

        Raises:
            BenchError: it cannot work; the message says what was expected and found.
        """
        return

    def expect(self, device: str, rasterizer: str) -> None:
        """Begin what can be begun before the first cell is submitted, which is being planned; by default nothing.

        It may turn out that there is none, and `close` is then called without any `submit`.

        Args:
            device: device of the request: auto, cpu, cuda or cuda:K.
            rasterizer: rasterizer of the request.
        """
        return

    def admit(self, resources: Resources) -> None:
        """Check that a cell can get the resources it needs, before anything is written; by default it always can.

        Raises:
            BenchError: it cannot; the message says what was asked for and found.
        """
        return

    def asks(self, resources: Resources) -> str:
        """Say what a cell asks a queue for, such as 4 cores, 8.0 GB; by default nothing, and the text is empty."""
        return ""

    def remarks(self) -> list[str]:
        """Sentences that the user should read before cells begin, such as who else is at work; by default none."""
        return []

    @abc.abstractmethod
    def submit(self, cells: Sequence[tuple[Path, Resources]]) -> list[Handle]:
        """Have a worker started for each cell (its folder and resources), now or later; one handle each, in order."""

    @abc.abstractmethod
    def attach(self, handle: Handle) -> bool:
        """Whether a cell that an earlier `bench run` submitted waits or runs, so that `poll` can follow its handle."""

    @abc.abstractmethod
    def poll(self, handles: Sequence[Handle]) -> list[Ended | None]:
        """State of submitted cells: None while one waits or runs, otherwise how it ended as seen from outside.

        What a worker wrote of its own end counts more. This is called several times per second.
        """

    @abc.abstractmethod
    def cancel(self, handles: Sequence[Handle]) -> None:
        """End submitted cells, orderly first (SIGTERM lets a worker write its state); on return none of them writes."""

    def abandon(self, handles: Sequence[Handle]) -> None:
        """End submitted cells at once, after the user interrupted `cancel`.

        Whatever takes longer than a moment is left undone.
        """
        return

    def close(self) -> None:
        """Let go of what the executor holds besides cells, such as a cluster of its own; no cell is submitted any more.

        Where `bench run` is killed, this is not called.
        """
        return


def worker_command(folder: Path) -> list[str]:
    """Command line of the worker that does the cell in `folder`, whoever starts it and wherever."""
    worker = Path(__file__).parents[1] / "cli" / "worker.py"
    return [sys.executable, "-P", str(worker), str(folder.absolute())]
