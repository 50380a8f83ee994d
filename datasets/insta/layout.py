"""Where things lie: data roots, subjects, and the files of one subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common import roots
from headbench.datasets.common.sniff import outdone

__all__ = ["DATASET", "KINDS", "REAL_HEAD", "SPLITS", "Folder", "find_subjects"]

DATASET = "insta"
REAL_HEAD = "flame2020"
"""What metrical-tracker fits, and so what a folder without a word about it holds."""
SPLITS = {"train": "transforms_train.json", "test": "transforms_test.json"}
KINDS = {"exp": 100, "jaw": 6, "eyes": 12, "eyelids": 2, "shape": 300}
"""Folder below ``flame/`` -> how many numbers a file holds."""


@dataclass(frozen=True)
class Folder(roots.Folder):
    """Where the files of one subject lie."""

    def split(self, name: str) -> Path:
        """The JSON of the split ``train`` or ``test``."""
        return self.path / SPLITS[name]

    def tracked(self, frame: str) -> Path:
        """metrical-tracker's own checkpoint of a frame."""
        return self.path / "checkpoint" / f"{frame}.frame"

    def parsed(self, frame: str) -> Path:
        """Mask of the mouth from a face parser."""
        return self.path / "parsing" / f"{frame}_mouth.png"

    def places(self, *names: str) -> list[Path]:
        """Files and folders in this one."""
        return [self.path / name for name in names]

    def present(self, folder: str) -> frozenset[str]:
        """Names of the files in ``folder``, empty where there is no such folder; one listing instead of many stats."""
        return roots.names_in(self.path / folder)


def find_subjects(root: Path) -> dict[str, Path]:
    """Subject -> folder, in the order of names, below a data root, the dataset's own folder, or one subject.

    Raises:
        DataError: nothing of this layout is there.
    """
    return roots.find_subjects(root, DATASET, _is_subject, SPLITS["train"])


def _is_subject(path: Path) -> bool:
    """Also a damaged one, so that its problems are told rather than the folder overlooked; but no other layout's."""
    if outdone(path, DATASET):
        return False
    if any(roots.there(path / name) for name in (*SPLITS.values(), "transforms.json")):
        return True
    return (path / "checkpoint").is_dir() or (path / "flame").is_dir()
