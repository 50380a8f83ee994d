"""What an executor implements: it starts workers somewhere, and says when they are gone."""

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
"""What an executor knows a submitted cell by: JSON, so that a later `bench run` finds it again."""


class ExecutorOptions(BaseModel):
    """Options of an executor, for ``--executor-set NAME=VALUE``; none as it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Executor(abc.ABC):
    """Brings cells to where they are computed.

    A cell is its folder: the worker (`worker_command`) reads job.json there and writes claim, log, progress, state and
    outcome itself. An executor only says whether the worker is still to come or at work.

    Args:
        options: of `options_type`.
    """

    options_type: ClassVar[type[ExecutorOptions]] = ExecutorOptions

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """How many cells may be submitted and not yet ended; one that queues them itself takes any number."""

    @property
    def share(self) -> int:
        """How many cells compute on one machine at once, and share its cores."""
        return 1

    def prepare(self, device: str) -> None:
        """Look whether it can work, before anything is written.

        Args:
            device: of the request: auto, cpu, cuda or cuda:K.

        Raises:
            BenchError: it cannot; the message says what was expected and found.
        """
        return

    def admit(self, resources: Resources) -> None:
        """Look whether a cell may ever get what it needs, before anything is written; without this, whatever it is.

        Raises:
            BenchError: it may not; the message says what was asked for and found.
        """
        return

    @abc.abstractmethod
    def submit(self, cells: Sequence[tuple[Path, Resources]]) -> list[Handle]:
        """See to it that a worker is started on each folder, now or later; a handle each, in their order."""

    @abc.abstractmethod
    def attach(self, handle: Handle) -> bool:
        """Whether the work behind a handle of an earlier `bench run` waits or goes on; `poll` may be asked for it."""

    @abc.abstractmethod
    def poll(self, handles: Sequence[Handle]) -> list[Ended | None]:
        """For each: None while it waits or works, otherwise how it ended, as far as that is seen from outside.

        What a worker wrote of its own end counts more. Called several times per second.
        """

    @abc.abstractmethod
    def cancel(self, handles: Sequence[Handle]) -> None:
        """End them, orderly first (SIGTERM lets a worker write its state); on return no worker of theirs writes."""

    def abandon(self, handles: Sequence[Handle]) -> None:
        """The user does not want to wait for `cancel`, which was interrupted: end them at once, as far as that can be.

        Whatever takes longer than a moment is left undone.
        """
        return


def worker_command(folder: Path) -> list[str]:
    """The command line that does the cell of a folder, whoever starts it and wherever."""
    worker = Path(__file__).parents[1] / "cli" / "worker.py"
    return [sys.executable, "-P", str(worker), str(folder.absolute())]
