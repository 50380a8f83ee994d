"""Where things lie: data roots, subjects, and the files of one subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import DataError

__all__ = ["DATASET", "HEAD_FILE", "KINDS", "SPLITS", "Folder", "find_subjects"]

DATASET = "insta"
SPLITS = {"train": "transforms_train.json", "test": "transforms_test.json"}
HEAD_FILE = "head_model.json"
"""Names the head whose coefficients the subject holds; real data have none and mean FLAME 2020."""
KINDS = {"exp": 100, "jaw": 6, "eyes": 12, "eyelids": 2, "shape": 300}
"""Folder below ``flame/`` -> how many numbers a file holds."""


@dataclass(frozen=True)
class Folder:
    """One subject's folder; knows names only, opens nothing."""

    path: Path

    @property
    def name(self) -> str:
        """The subject."""
        return self.path.resolve().name

    def split(self, name: str) -> Path:
        """The JSON of the split ``train`` or ``test``."""
        return self.path / SPLITS[name]

    def tracked(self, frame: str) -> Path:
        """metrical-tracker's own checkpoint of a frame."""
        return self.path / "checkpoint" / f"{frame}.frame"

    def parsed(self, frame: str) -> Path:
        """Mask of the mouth from a face parser."""
        return self.path / "parsing" / f"{frame}_mouth.png"

    def present(self, folder: str) -> frozenset[str]:
        """Names of the files in ``folder``, empty where there is no such folder; one listing instead of many stats."""
        place = self.path / folder
        return frozenset(entry.name for entry in place.iterdir()) if place.is_dir() else frozenset()


def find_subjects(root: Path) -> dict[str, Path]:
    """Subject -> folder, in the order of names, below a data root, the dataset's own folder, or one subject.

    Raises:
        DataError: nothing of this layout is there.
    """
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder; expected a data root with {DATASET}/SUBJECT inside, the {DATASET} folder, or a "
            "subject's folder.",
            help="--data-root D with D/insta/SUBJECT/transforms_train.json",
        )
    if _is_subject(root):
        return {Folder(root).name: root}
    for place in (root / DATASET, root):
        if place.is_dir():
            found = {child.name: child for child in sorted(place.iterdir()) if _is_subject(child)}
            if found:
                return found
    raise DataError(
        f"No subject in INSTA layout at {root}: looked for {SPLITS['train']} and {SPLITS['test']} in {root}, in its "
        f"folders, and in the folders of {root / DATASET}; found {_listing(root)}.",
        help="--data-root D with D/insta/SUBJECT/transforms_train.json",
    )


def _is_subject(path: Path) -> bool:
    """Also a damaged one, so that its problems are told rather than the folder overlooked."""
    if not path.is_dir() or path.name.startswith("."):
        return False
    if any((path / name).is_file() for name in (*SPLITS.values(), "transforms.json")):
        return True
    return (path / "checkpoint").is_dir() or (path / "flame").is_dir()


def _listing(path: Path) -> str:
    names = sorted(child.name for child in path.iterdir() if not child.name.startswith("."))
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return shown or "an empty folder"
