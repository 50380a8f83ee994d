"""Output on the console: colours and tables on a terminal, plain text elsewhere."""

from __future__ import annotations

import functools
import io
import shutil
import sys
from typing import TYPE_CHECKING

from headbench.harness.names import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

__all__ = [
    "STATE_STYLES",
    "console",
    "duration",
    "forgive_encoding",
    "is_terminal",
    "literal",
    "live",
    "plain",
    "say",
    "size",
]

STATE_STYLES = {
    "done": "green",
    "running": "cyan",
    "queued": "dim",
    "failed": "red",
    "timeout": "red",
    "oom": "red",
    "interrupted": "yellow",
    "skipped": "yellow",
    "unknown": "red",
}
"""State of a cell (one run of a method on a subject) -> colour of the library rich."""


@functools.cache
def console() -> Console:
    """Return the console on standard output; where that is no terminal, lines are not wrapped."""
    from rich.console import Console

    width = None if is_terminal() else max(160, shutil.get_terminal_size((160, 24)).columns)
    return Console(width=width, highlight=False, soft_wrap=not is_terminal())


def forgive_encoding() -> None:
    """Print question marks from now on for characters that standard output's encoding lacks, not an exception.

    Standard error replaces them by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def say(text: str, err: bool = False, nl: bool = True, mark: str = "") -> None:
    """Print text that may come from files: no control character reaches the terminal but line ends and tabs.

    Args:
        text: one line or several.
        err: print to standard error.
        nl: end with a line end.
        mark: printed before the text as it is, colours too; never from a file.
    """
    import click

    click.echo(mark + printable(text), err=err, nl=nl)


def live(text: str = "") -> Status:
    """Return a status line with a spinner, not started yet; pass later texts through `plain`."""
    spinner = "dots" if console().encoding.startswith("utf") else "line"
    return console().status(plain(text), spinner=spinner)


def literal(text: str, style: str = "") -> Text:
    """Return one line of text for a rich table, free of control characters; `style` is a rich style."""
    from rich.text import Text

    return Text(one_line(text), style=style)


def plain(text: str) -> str:
    """Return one line of text in which rich sees no markup: square brackets are escaped, hidden characters too."""
    from rich.markup import escape

    return escape(one_line(text))


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def duration(seconds: float) -> str:
    """Format a duration in seconds for people: 12 s, 3 min 5 s, 2 h 7 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Format a number of bytes for people, in powers of 1000: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
