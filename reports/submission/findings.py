"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "errors"]


@dataclass(frozen=True)
class Finding:
    """One thing about a submission."""

    kind: str
    """archive, missing, unexpected, duplicate, broken, format, frames, size, black, constant, background, colours,
    order, encoding, tracking, record or unchecked."""
    message: str
    """What was expected and what was found."""
    member: str = ""
    """The video; empty for the submission as a whole."""
    severity: str = "error"
    """error: do not upload; warning: look at it; note: a measurement, or what could not be checked."""

    def line(self) -> str:
        """The finding on one line."""
        return f"{self.severity}: {self.member + ': ' if self.member else ''}{self.kind}: {self.message}"


def errors(findings: list[Finding]) -> list[Finding]:
    """Those that forbid an upload."""
    return [finding for finding in findings if finding.severity == "error"]
