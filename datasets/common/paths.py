"""Paths that a JSON file names: read whatever system and loader wrote them, and never out of the subject's folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.images import SUFFIXES, any_suffix
from headbench.datasets.common.roots import is_file, there
from headbench.harness.names import is_inside, quoted
from headbench.harness.reading import kind_at

__all__ = ["Paths", "image_stem", "not_folders"]

_LONGEST = 255
"""Most bytes in a name that file systems take."""
_DRIVE = re.compile(r"[A-Za-z]:/|//")
_ODD = {
    "backslash": "paths with backslashes, as Windows writes them; read as paths",
    "absolute": "absolute paths into this folder; read, but they end when it is moved",
    "suffix": "names of images without suffix, or with one in other letters; the image of that name is taken",
}
"""Unusual way of writing paths -> what a remark says of it."""


@dataclass
class Paths:
    """Reads the paths of one document, and remembers how they were written.

    Args:
        folder: the subject's, which paths are relative to.
        beside: whether they may lie in a folder beside it, ``../OTHER/images/0.png``.
    """

    folder: Path
    beside: bool = False
    odd: dict[str, list[str]] = field(default_factory=dict)
    """Unusual way of writing paths, a key of `_ODD` -> the paths that were written so."""

    def read(self, value: object) -> PurePosixPath | None:
        """Read a path relative to the folder, with forward slashes; None where it is no text or leads elsewhere.

        Args:
            value: what the document holds in place of a path.
        """
        if not isinstance(value, str) or not value:
            return None
        path = value.replace("\\", "/")
        if _is_absolute(path):
            path = self._own(path)
        inside = path[3:] if self.beside and path.startswith("../") and path.count("/") > 2 else path
        if not path or not is_inside(inside) or any(len(os.fsencode(_plain(n))) > _LONGEST for n in path.split("/")):
            return None
        if _is_absolute(value.replace("\\", "/")):
            self._remember("absolute", value)
        elif "\\" in value:
            self._remember("backslash", value)
        return PurePosixPath(path)

    def at(self, path: PurePosixPath) -> Path:
        """Place in the file system of a path that `read` gave."""
        if path.parts[:1] == ("..",):
            return self.folder.resolve().parent / PurePosixPath(*path.parts[1:])
        return self.folder / path

    def image(self, path: PurePosixPath) -> PurePosixPath:
        """Correct the path of an image whose suffix was left out or is in other letters, if that file is there."""
        if there(self.at(path)):
            return path
        place, stem = self.at(path).parent, image_stem(path)
        suffixes = SUFFIXES if stem == path.name else [s for s in SUFFIXES if _family(s) == _family(path.suffix)]
        found = any_suffix(place, stem, suffixes)
        if found is None:
            return path if stem != path.name else path.with_name(f"{stem}{SUFFIXES[0]}")
        self._remember("suffix", f"{path} for {found.name}")
        return path.with_name(found.name)

    def help(self, value: object) -> str:
        """Remedy for a path that `read` refuses; where it ends in a file of this folder, how to shorten it."""
        path = value.replace("\\", "/") if isinstance(value, str) else ""
        if not _is_absolute(path):
            return ""
        parts = path.split("/")
        for start in range(1, len(parts)):
            rest = "/".join(parts[start:])
            if rest and is_inside(rest) and is_file(self.folder / rest):
                return f"the file is here as {rest}: replace {quoted('/'.join(parts[:start]) + '/')} by nothing"
        return "write paths relative to the subject's folder"

    def tell(self, document: Path, findings: Findings) -> None:
        """Report a remark for each unusual way of writing paths that was met.

        Args:
            document: the file that names the paths.
            findings: receives the remarks.
        """
        for how, values in self.odd.items():
            findings.remark(document, f"found {_ODD[how]} ({values[0]} is the first of {len(values)})", kind=how)

    def _own(self, path: str) -> str:
        """Make an absolute path that leads into the folder relative to it; empty for any other."""
        for folder in (self.folder, self.folder.absolute(), self.folder.resolve()):
            for base, up in ((folder, ""), (folder.parent, "../")) if self.beside else ((folder, ""),):
                start = f"{base.as_posix().rstrip('/')}/"
                if len(start) > 1 and path.startswith(start):
                    return up + path[len(start) :]
        return ""

    def _remember(self, how: str, value: str) -> None:
        self.odd.setdefault(how, []).append(quoted(value))


def image_stem(path: PurePosixPath) -> str:
    """Name of an image without suffix, whether the path has one or not."""
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def not_folders(paths: Iterable[Path], findings: Findings) -> bool:
    """Report an error for each path that should be a folder and is a link to nowhere, a file or a pipe; tell if any is.

    What such a folder should hold must not be taken from elsewhere.

    Args:
        paths: folders that are read where they are there.
        findings: receives the errors.
    """
    odd = {path: found for path in dict.fromkeys(paths) if (found := kind_at(path)) not in ("", "a folder")}
    for path, found in odd.items():
        help = "mend the link" if found.startswith("a link") else "put the folder back, or move this away"
        findings.error(path, f"expected a folder, found {found}", help=help, kind="no-folder")
    return bool(odd)


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or _DRIVE.match(path) is not None


def _family(suffix: str) -> str:
    return suffix.lower().replace("jpeg", "jpg")


def _plain(name: str) -> str:
    """A name without what cannot be in a file name, so that its length can be measured."""
    return name.encode("utf-8", "replace").decode("utf-8")
