"""Findings of the check of a submission."""

from __future__ import annotations

from collections.abc import Sequence

from headbench.harness.problems import Problem, Severity, Where

__all__ = ["errors", "finding"]


def finding(kind: str, message: str, member: str = "", severity: Severity = "error", help: str = "") -> Problem:
    """Make one finding about a submission.

    Args:
        kind: archive, folder, missing, unexpected, duplicate, broken, format, frames, size, black, constant,
            background, colours, order, encoding, tracking, record or unchecked; the message begins with it.
            `Problem.kind` is left empty: such a word stands for several causes, which their messages tell apart.
        message: what was expected and what was found.
        member: the video's name in the zip; empty for the submission as a whole.
        severity: error: do not upload; warning: look at it; note: a measurement, or what could not be checked.
        help: what to do.
    """
    return Problem(severity, Where(member), f"{kind}: {message}", help)


def errors(findings: Sequence[Problem]) -> list[Problem]:
    """Findings that forbid an upload."""
    return [each for each in findings if each.severity == "error"]
