"""Errors that a person can act on; the command line prints them without a traceback."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable

__all__ = ["BenchError", "DataError", "MissingAsset", "PluginError", "did_you_mean", "of_system"]

_FOUND = {
    errno.ENOENT: ("found no such file or folder", "name one that is there"),
    errno.EACCES: ("this user may not read or write it", "change its permissions, or name another place"),
    errno.EPERM: ("this user may not do that with it", "change its permissions, or name another place"),
    errno.ENOTDIR: ("a part of this path is a file, not a folder", "name another place"),
    errno.EISDIR: ("expected a file, found a folder", "name a file in it"),
    errno.EEXIST: ("it exists already", "remove it or name another place"),
    errno.ENOTEMPTY: ("the folder is not empty", "remove what is in it, or name another place"),
    errno.ENAMETOOLONG: ("a name in this path is too long", "use names of at most 255 bytes"),
    errno.ELOOP: ("links in this path lead in a circle", "mend the links"),
    errno.ENOSPC: ("no space is left on its disk", "make space; the same command goes on"),
    errno.EDQUOT: ("the quota of its disk is used up", "make space; the same command goes on"),
    errno.EROFS: ("its file system is read-only", "name another place"),
    errno.EIO: ("the disk answers with an error", "look at the system's log; copy the data to another disk"),
    errno.EMFILE: ("too many files are open", "ulimit -n 4096, then the same command"),
    errno.ENFILE: ("too many files are open", "close other programs"),
    errno.ENXIO: ("expected a file, found a named pipe or a device", "name a regular file"),
    errno.ETXTBSY: ("another program uses it", "end that program"),
    errno.ESTALE: ("the network drive has lost it", "mount the drive again"),
    errno.ENOMEM: ("no memory is left", "end other programs"),
}
"""Error number of the operating system -> what was found and what helps, in the project's words."""


class BenchError(Exception):
    """Error that the user can mend; the message names the object, what was expected and what was found.

    Args:
        message: one or more sentences.
        help: the command or action that helps, printed on a separate line.
    """

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  help: {self.help}" if self.help else message


class DataError(BenchError):
    """Error of a dataset, subject or frame that cannot be read as its layout says."""


class MissingAsset(BenchError):
    """Error of a file that only the user may have (FLAME, network weights) and has not registered."""


class PluginError(BenchError):
    """Error of a plugin that is broken, misspelt or incomplete; the message names it."""


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown name, with close matches and all known names.

    Args:
        kind: what is named, in words: ``method``.
        name: the unknown name.
        known: the names that there are.
    """
    from headbench.harness.names import one_line

    choices = sorted(known)
    close = difflib.get_close_matches(name.lower(), [c.lower() for c in choices], n=3, cutoff=0.5)
    close = [c for c in choices if c.lower() in close]
    text = f"Unknown {kind} {name!r}."
    if close:
        # Not repr, which doubles backslashes: a suggestion should work when it is copied.
        quoted = (f"'{c}'" if c.isprintable() else repr(c) for c in close)
        text += f" Did you mean {' or '.join(quoted)}?"
    return text + f" Available: {', '.join(map(one_line, choices)) or 'none'}."


def of_system(error: OSError, place: str = "") -> BenchError:
    """Return an error of the operating system about a file as a `BenchError` with a remedy.

    Args:
        error: what the system reported.
        place: the file, where the error names none.
    """
    unknown = f"the system refuses it ({errno.errorcode.get(error.errno or 0, error.errno)})"
    found, help = _FOUND.get(error.errno or 0, (unknown, "name another place"))
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return BenchError(f"{' -> '.join(names) or place}: {found}.", help)
