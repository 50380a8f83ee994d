"""Outcomes of conformance checks, and the error of one that fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import BenchError, PluginError
from headbench.harness.names import one_line

__all__ = ["NonConforming", "Outcome", "attempt", "require"]


class NonConforming(PluginError):
    """Raised where a method or dataset does not do what the harness relies on.

    The message names it, the check, what was expected and what was found.

    Args:
        subject: what is checked, such as method Beads.
        check: name of the check, such as resume.
        expected: phrase without a full stop.
        found: phrase without a full stop.
    """

    def __init__(self, subject: str, check: str, expected: str, found: str) -> None:
        super().__init__(one_line(f"{subject}: check {check}: expected {expected}, found {found}."))
        self.subject, self.check, self.expected, self.found = subject, check, expected, found


@dataclass(frozen=True)
class Outcome:
    """Result of one check that has run."""

    subject: str
    """Name of what was checked, such as method Beads."""
    check: str
    """Name of the check, such as resume."""
    note: str = ""
    """Note of a check that passed, such as 3 edits, 400 to 420 Gaussians."""
    failure: NonConforming | None = None
    """The failure of a check that did not pass; None where it did."""

    def line(self) -> str:
        """The outcome on one line."""
        if self.failure is not None:
            found = self.failure
            return one_line(f"{self.subject}: {self.check}: FAILED: expected {found.expected}, found {found.found}")
        return one_line(f"{self.subject}: {self.check}: ok" + (f" ({self.note})" if self.note else ""))


class Unmet(Exception):
    """Raised where a condition of a check does not hold; `attempt` adds the name of what was checked.

    Args:
        expected: phrase without a full stop.
        found: phrase without a full stop.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected, self.found = expected, found


def require(holds: bool, expected: str, found: str) -> None:
    """End the check that is running unless `holds`.

    Args:
        holds: the condition.
        expected: phrase without a full stop.
        found: phrase without a full stop.
    """
    if not holds:
        raise Unmet(expected, found)


def attempt(subject: str, check: str, action: Callable[[], str]) -> Outcome:
    """Run one check; whatever the code under test raises is a failure of the check.

    Args:
        subject: what is checked, such as method Beads.
        check: name of the check.
        action: runs the check and returns a note.
    """
    try:
        return Outcome(subject, check, action())
    except Unmet as unmet:
        failure = NonConforming(subject, check, unmet.expected, unmet.found)
    except BenchError as error:
        failure = NonConforming(subject, check, "no error", str(error.args[0]).rstrip("."))
        failure.__cause__ = error
    except Exception as error:
        text = " ".join(str(error).split())
        found = f"{type(error).__name__}" + (f": {text}" if text else "") + f" ({_place(error)})"
        failure = NonConforming(subject, check, "no exception", found)
        failure.__cause__ = error
    return Outcome(subject, check, failure=failure)


def _place(error: Exception) -> str:
    """Innermost line of the code under test in a traceback; without one, the innermost line of the harness."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(__file__).parents[1]
    theirs = [frame for frame in frames if "site-packages" not in frame.filename and frame.filename[:1] != "<"]
    strange = [frame for frame in theirs if not Path(frame.filename).is_relative_to(ours / "harness")]
    strange = [frame for frame in strange if not Path(frame.filename).is_relative_to(ours / "testing")]
    frame = (strange or theirs or list(frames))[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
