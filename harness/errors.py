"""Errors a person can act on. The command line prints them without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["BenchError", "DataError", "MissingAsset", "PluginError", "did_you_mean"]


class BenchError(Exception):
    """Something the user can mend. The message names the object, what was expected and what was found.

    Args:
        message: one or more sentences.
        help: the command or action that helps, printed on a line of its own.
    """

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  help: {self.help}" if self.help else message


class DataError(BenchError):
    """A dataset, subject or frame that cannot be read as its layout says."""


class MissingAsset(BenchError):
    """A file that only the user may have (FLAME, network weights) is not registered."""


class PluginError(BenchError):
    """A plugin that is broken, misspelt or incomplete; the message names it."""


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown `name` of a `kind`, with close matches and what there is."""
    from headbench.harness.names import one_line

    choices = sorted(known)
    close = difflib.get_close_matches(name.lower(), [c.lower() for c in choices], n=3, cutoff=0.5)
    close = [c for c in choices if c.lower() in close]
    text = f"Unknown {kind} {name!r}."
    if close:
        # Not repr, which doubles backslashes: a suggestion is there to be copied.
        quoted = (f"'{c}'" if c.isprintable() else repr(c) for c in close)
        text += f" Did you mean {' or '.join(quoted)}?"
    return text + f" Available: {', '.join(map(one_line, choices)) or 'none'}."
