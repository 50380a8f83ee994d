"""Layout of the NeRSemble benchmark's data on disk: people below a data root, and the files of one person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common import roots
from headbench.datasets.nersemble.benchmark import TASK, TRACKINGS

__all__ = ["DATASET", "Folder", "find_subjects"]

DATASET = "nersemble"


@dataclass(frozen=True)
class Folder(roots.Folder):
    """Paths of the files of one person."""

    @property
    def calibration(self) -> Path:
        """JSON file of all cameras."""
        return self.path / "calibration" / "camera_params.json"

    @property
    def sequences(self) -> Path:
        """Folder that holds one folder per sequence, for training and testing alike."""
        return self.path / "sequences"

    def tracking(self, sequence: str, version: str) -> Path:
        """File of the head's parameters in a sequence.

        Args:
            sequence: its name.
            version: a key of `TRACKINGS`.
        """
        return self.sequences / sequence / "tracking" / f"{TRACKINGS[version]}.npz"

    def images(self, sequence: str, serial: str) -> Path:
        """Video of a camera's images in a sequence."""
        return self.sequences / sequence / "images" / f"cam_{serial}.mp4"

    def alpha(self, sequence: str, serial: str) -> Path:
        """Video of a camera's mattes in a sequence."""
        return self.sequences / sequence / "alpha_maps" / f"cam_{serial}.mp4"


def find_subjects(root: Path) -> dict[str, Path]:
    """Find participants below a data root, in the download's or the task's folder, or at one person's.

    Returns:
        Participant's number -> folder, sorted.

    Raises:
        DataError: nothing of this layout is there.
    """
    inner = root / DATASET
    return roots.find_subjects(inner if inner.is_dir() else root, TASK, _is_person, "sequences")


def _is_person(path: Path) -> bool:
    """Tell whether a folder is a person's, even a damaged one, so that its problems are reported."""
    return (path / "sequences").is_dir() or (path / "calibration").is_dir()
