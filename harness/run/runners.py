"""The `bench run` processes that work in one run's folder at once, on one machine or on several that share it.

Each has a claim of its own in the folder ``runners``, renewed while it lives. What belongs to the run as a whole is
written by one of them at a time; which of them has a cell, a file in the cell's folder says.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.execution import Claim
from headbench.harness.execution.claim import RUNNER
from headbench.harness.execution.holding import asked_to_end, holding, kept, left_at, lives, new_claim, take
from headbench.harness.files import make_folder

if TYPE_CHECKING:
    from headbench.harness.run.request import RunRequest

__all__ = ["RUNNERS", "Runner", "agree", "living", "presence", "runner_of", "writing"]

RUNNERS = "runners"
"""Folder in a run's folder with one file per `bench run` at work there."""
WRITING = "writing.claim"
"""File in that folder that one process holds while it writes plan, settings, records or report of the run."""
_TOKEN = re.compile(r"[0-9a-f]{32}")
_OWN = frozenset({"out", "workers", "gpus", "executor", "executor_set", "memory", "timeout", "fail_on_error"})
"""Keys of a request in which runners of one folder may differ: where and when cells are computed, and not what."""


def presence(run: Path, claim: Claim) -> Path:
    """File that says that the runner of a claim is at work in a run's folder."""
    # The token may come from a file, and becomes a path.
    return run / RUNNERS / f"{claim.token if _TOKEN.fullmatch(claim.token) else 'unknown'}.json"


def living(run: Path) -> list[Claim]:
    """Claims of the runners that work in a run's folder now, sorted by machine and process."""
    found = []
    for path in (run / RUNNERS).glob("*.json"):
        claim = left_at(path)
        if claim is not None and presence(run, claim) == path and lives(claim, path):
            found.append(claim)
    return sorted(found, key=lambda claim: (claim.host, claim.pid))


def runner_of(run: Path, folder: Path) -> Claim | None:
    """Claim of the living runner that has the cell in `folder`; None where none has it."""
    claim = left_at(folder / RUNNER)
    return claim if claim is not None and lives(claim, presence(run, claim)) else None


@contextlib.contextmanager
def writing(run: Path, tell: Callable[[str], object] = lambda _: None) -> Iterator[None]:
    """Be the only process that writes the files of the run as a whole, until the block ends; others are waited for.

    Args:
        run: folder of the run.
        tell: is called with a sentence where another writes and is waited for.
    """
    make_folder(run / RUNNERS)
    path = run / RUNNERS / WRITING
    waits = holding(
        path, f"writes in {run}", wait=math.inf, tell=lambda claim: tell(f"waits for {claim}, which writes")
    )
    try:
        with waits:
            yield
    finally:
        _tidy(run)


def agree(request: RunRequest, run: Path) -> None:
    """Check that a request asks for what the runners at work in the run's folder compute; without any, all is well.

    Raises:
        BenchError: a runner is at work there with other settings; the message names them.
    """
    others = living(run)
    if not others:
        return
    from headbench.harness.run.request import read_request, request_values

    there = request_values(read_request(run / "run.yaml", {}), run)
    here = request_values(request, run)
    names = sorted(name for name in {*there, *here} - _OWN if there.get(name) != here.get(name))
    if names:
        found = "; ".join(f"{name} {_said(there.get(name))} there, {_said(here.get(name))} here" for name in names)
        raise BenchError(
            f"{others[0]} works in {run} with other settings: {found}.",
            help=f"wait for it, end it: bench stop {run}; or choose another --out",
        )


def _said(value: Any) -> str:
    if value in (None, "", []):
        return "not given"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


class Runner:
    """This process as a runner of a run's folder, among others perhaps.

    Args:
        run: folder of the run.
        tell: is called with sentences for the user.
    """

    def __init__(self, run: Path, tell: Callable[[str], object] = lambda _: None) -> None:
        self.run, self.claim, self._tell = run, new_claim(), tell
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._clear()

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Be the only process that writes the files of the run as a whole, until the block ends."""
        return writing(self.run, self._tell)

    def joins(self, begin: Callable[[bool], object] = lambda helps: None) -> bool:
        """Become one of the runners at work; whether there are others already. Whoever calls this is `writing`.

        Args:
            begin: is called first, with whether there are others.
        """
        helps = bool(living(self.run))
        begin(helps)
        path = presence(self.run, self.claim)
        take(path, self.claim, lambda _: True)
        self._stack.enter_context(kept(path, self.claim, lambda _: self._appear()))
        return helps

    def others(self) -> list[Claim]:
        """Claims of other living runners that nobody asked to end."""
        found = [claim for claim in living(self.run) if claim.token != self.claim.token]
        return [claim for claim in found if not asked_to_end(presence(self.run, claim), claim)]

    def has(self, folder: Path) -> bool:
        """Get the cell in `folder` for this runner, unless a living one has it; whether this one has it now."""
        return take(folder / RUNNER, self.claim, lambda claim: lives(claim, presence(self.run, claim)))

    def leave(self, folder: Path) -> None:
        """Let other runners have the cell in `folder`."""
        if left_at(folder / RUNNER) == self.claim:
            (folder / RUNNER).unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove what runners have left that were killed."""
        for path in (self.run / RUNNERS).glob("*.json"):
            claim = left_at(path)
            if claim is not None and not lives(claim, path):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                    (path.with_name(f"{path.stem}.{claim.pid}.stop")).unlink(missing_ok=True)
        _tidy(self.run)

    def _appear(self) -> None:
        """Write this runner's file again where somebody has removed it, unless the run's folder is gone, too."""
        if self.run.is_dir():
            take(presence(self.run, self.claim), self.claim, lambda _: True)


def _tidy(run: Path) -> None:
    """Remove the folder of runners where it is empty."""
    with contextlib.suppress(OSError):
        (run / RUNNERS).rmdir()
