"""Where things lie: data roots, people, and the files of one person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common import roots
from headbench.datasets.nersemble.benchmark import TASK, TRACKINGS

__all__ = ["DATASET", "Folder", "find_subjects"]

DATASET = "nersemble"


@dataclass(frozen=True)
class Folder(roots.Folder):
    """Where the files of one person lie."""

    @property
    def calibration(self) -> Path:
        """All cameras."""
        return self.path / "calibration" / "camera_params.json"

    @property
    def sequences(self) -> Path:
        """Holds one folder per sequence, for training and testing alike."""
        return self.path / "sequences"

    def tracking(self, sequence: str, version: str) -> Path:
        """The head's parameters; `version` is one of `TRACKINGS`."""
        return self.sequences / sequence / "tracking" / f"{TRACKINGS[version]}.npz"

    def images(self, sequence: str, serial: str) -> Path:
        """The video of a camera."""
        return self.sequences / sequence / "images" / f"cam_{serial}.mp4"

    def alpha(self, sequence: str, serial: str) -> Path:
        """The matte's video of a camera."""
        return self.sequences / sequence / "alpha_maps" / f"cam_{serial}.mp4"


def find_subjects(root: Path) -> dict[str, Path]:
    """Participant -> folder, by number, below a data root, the download's folder, the task's, or one person's.

    Raises:
        DataError: nothing of this layout is there.
    """
    inner = root / DATASET
    return roots.find_subjects(inner if inner.is_dir() else root, TASK, _is_person, "sequences")


def _is_person(path: Path) -> bool:
    """Also a damaged one, so that its problems are told rather than the folder overlooked."""
    return (path / "sequences").is_dir() or (path / "calibration").is_dir()
