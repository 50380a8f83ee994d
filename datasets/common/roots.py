"""Find the folders of subjects: below a data root, in the dataset's own folder, or one subject's folder itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common.sniff import looks_like
from headbench.harness.errors import DataError

__all__ = ["Folder", "find_subjects", "is_file", "listing", "names_in", "odd_names", "there"]


@dataclass(frozen=True)
class Folder:
    """One subject's folder; knows names only, opens nothing."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the subject, or number of a participant."""
        return self.path.resolve().name


def find_subjects(root: Path, dataset: str, is_subject: Callable[[Path], bool], marks: str) -> dict[str, Path]:
    """Find the subjects of a dataset: name -> folder, in the order of names.

    Args:
        root: a data root with ``dataset/SUBJECT`` inside, the folder ``dataset``, or one subject's folder.
        dataset: name of the dataset's folder, also for messages.
        is_subject: whether a folder is a subject's; it should also know damaged ones, so that their problems are
            reported rather than the folder overlooked. Never asked about hidden folders and files.
        marks: the files that make a folder one of a subject, for the message: ``transforms_train.json``.

    Raises:
        DataError: nothing of this layout is there; the message says what was looked for and found, and which other
            layout the folder looks like.
    """
    help = f"--data-root D with D/{dataset}/SUBJECT/{marks}"
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder; expected a data root with {dataset}/SUBJECT inside, the {dataset} folder, or a "
            "subject's folder.",
            help=help,
        )
    if is_subject(root):
        return {root.resolve().name: root}
    for place in (root / dataset, root):
        if place.is_dir():
            folders = (child for child in sorted(place.iterdir()) if child.is_dir() and not child.name.startswith("."))
            found = {child.name: child for child in folders if is_subject(child)}
            if found:
                return found
    message = (
        f"No subject of {dataset} at {root}: looked for {marks} in {root}, in its folders, and in the folders of "
        f"{root / dataset}; found {listing(root)}."
    )
    raise DataError(f"{message} {looks_like(root, dataset)}".rstrip(), help=help)


def listing(path: Path) -> str:
    """Describe what a folder holds, for messages: up to five names."""
    names = sorted(child.name for child in path.iterdir() if not child.name.startswith("."))
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return shown or "an empty folder"


def names_in(place: Path) -> frozenset[str]:
    """Names of what is in a folder, empty where there is none that may be listed; one listing instead of many stats."""
    try:
        return frozenset(path.name for path in place.iterdir())
    except (OSError, ValueError):
        return frozenset()


def odd_names(place: Path) -> frozenset[str]:
    """Names in a folder of what is no regular file and no link to one: folders, named pipes, links to nowhere."""
    try:
        with os.scandir(place) as entries:
            return frozenset(entry.name for entry in entries if not entry.is_file())
    except (OSError, ValueError):
        return frozenset()


def there(path: Path) -> bool:
    """Tell whether there is anything at a path, also a link to nowhere; never raises.

    For what is optional: where it is there, it is read, and reading reports what else than a file it is.
    """
    return os.path.lexists(path)


def is_file(path: Path) -> bool:
    """Tell whether there is a regular file, or a link to one, that can be seen; never raises."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
