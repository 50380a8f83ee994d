"""The one console: colours and tables on a terminal, plain text elsewhere."""

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
"""State of a cell -> rich style."""


@functools.cache
def console() -> Console:
    """The console on standard output; where that is no terminal, lines are as long as they need to be."""
    from rich.console import Console

    width = None if is_terminal() else max(160, shutil.get_terminal_size((160, 24)).columns)
    return Console(width=width, highlight=False, soft_wrap=not is_terminal())


def forgive_encoding() -> None:
    """From now on a character that standard output's encoding lacks becomes a question mark, not an exception.

    Standard error does so by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def say(text: str, err: bool = False, nl: bool = True, mark: str = "") -> None:
    """Print lines that may hold texts of files: no control character reaches the terminal but line ends and tabs.

    Args:
        err: on standard error.
        nl: end with a line end.
        mark: what stands before it and may be coloured; nothing of a file.
    """
    import click

    click.echo(mark + printable(text), err=err, nl=nl)


def live(text: str = "") -> Status:
    """A line with a spinner on a terminal, not yet started; see `plain` for its texts."""
    spinner = "dots" if console().encoding.startswith("utf") else "line"
    return console().status(plain(text), spinner=spinner)


def literal(text: str, style: str = "") -> Text:
    """One line of text for a table of rich, with nothing in it that a terminal obeys."""
    from rich.text import Text

    return Text(one_line(text), style=style)


def plain(text: str) -> str:
    """One line of text where rich reads markup, which leaves its square brackets alone."""
    from rich.markup import escape

    return escape(one_line(text))


def is_terminal() -> bool:
    """Whether a person watches standard output."""
    return sys.stdout.isatty()


def duration(seconds: float) -> str:
    """12 s, 3 min 5 s, 2 h 7 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes for people: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
