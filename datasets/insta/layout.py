"""Layout of INSTA's data on disk: subjects below a data root, and the files of one subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common import roots
from headbench.datasets.common.sniff import outdone

__all__ = ["DATASET", "KINDS", "REAL_HEAD", "SPLITS", "Folder", "find_subjects"]

DATASET = "insta"
REAL_HEAD = "flame2020"
"""Head model that metrical-tracker fits, and so that of a folder without ``head_model.json``."""
SPLITS = {"train": "transforms_train.json", "test": "transforms_test.json"}
"""Part of the split -> name of its JSON file."""
KINDS = {"exp": 100, "jaw": 6, "eyes": 12, "eyelids": 2, "shape": 300}
"""Folder below ``flame/`` -> how many numbers each of its files holds."""


@dataclass(frozen=True)
class Folder(roots.Folder):
    """Paths of the files of one subject."""

    def split(self, name: str) -> Path:
        """JSON file of the split ``train`` or ``test``."""
        return self.path / SPLITS[name]

    def tracked(self, frame: str) -> Path:
        """metrical-tracker's own checkpoint of a frame."""
        return self.path / "checkpoint" / f"{frame}.frame"

    def parsed(self, frame: str) -> Path:
        """Mouth mask of a frame, made by a face parser."""
        return self.path / "parsing" / f"{frame}_mouth.png"

    def classes(self, frame: str) -> Path:
        """Segmentation image of a frame, made by a face parser."""
        return self.path / "seg_mask" / f"{frame}.png"

    def places(self, *names: str) -> list[Path]:
        """Paths of files and folders in the subject's folder."""
        return [self.path / name for name in names]

    def present(self, folder: str) -> frozenset[str]:
        """Names of the files in a folder of the subject, empty where it is missing; one listing, not many stats."""
        return roots.names_in(self.path / folder)


def find_subjects(root: Path) -> dict[str, Path]:
    """Find INSTA's subjects below a data root, in the dataset's folder, or at one subject: name -> folder, by name.

    Raises:
        DataError: nothing of this layout is there.
    """
    return roots.find_subjects(root, DATASET, _is_subject, SPLITS["train"])


def _is_subject(path: Path) -> bool:
    """Tell whether a folder is an INSTA subject's, even a damaged one, and not of another layout.

    Damaged ones count so that their problems are reported rather than the folder overlooked.
    """
    if outdone(path, DATASET):
        return False
    if any(roots.there(path / name) for name in (*SPLITS.values(), "transforms.json")):
        return True
    return (path / "checkpoint").is_dir() or (path / "flame").is_dir()
