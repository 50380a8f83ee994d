"""Where things lie: a subject's JSON files, and that images and parameters may be in a sequence's folder beside it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from headbench.datasets.common.roots import find_subjects as find
from headbench.harness.names import is_inside
from headbench.harness.reading import read_text

__all__ = ["CANONICAL", "DATASET", "PARTS", "find_subjects", "member"]

DATASET = "vhap"
PARTS = {name: f"transforms_{name}.json" for name in ("train", "val", "test")}
CANONICAL = "canonical_flame_param.npz"
"""By whose presence GaussianAvatars knows the layout."""


def find_subjects(root: Path) -> dict[str, Path]:
    """Subject -> folder, in the order of names. Sequences that a combined folder refers to are no subjects there.

    Raises:
        DataError: nothing of this layout is there.
    """
    found = find(root, DATASET, _is_subject, f"{PARTS['train']} and {CANONICAL}")
    combined = [path for path in found.values() if _sequences(path)]
    used = {name for path in combined for name in _sequences(path)}
    return {name: path for name, path in found.items() if name not in used}


def member(folder: Path, path: str) -> Path | None:
    """A file that a JSON names: inside the subject's folder, or inside one beside it (``../SEQUENCE/images/...``)."""
    relative = PurePosixPath(path)
    if relative.parts[:1] == ("..",) and len(relative.parts) > 2 and is_inside(str(PurePosixPath(*relative.parts[1:]))):
        return folder.resolve().parent / PurePosixPath(*relative.parts[1:])
    return folder / relative if is_inside(path) else None


def _is_subject(path: Path) -> bool:
    """Also a damaged one, so that its problems are told rather than the folder overlooked."""
    if (path / CANONICAL).is_file() or (path / "flame_param").is_dir():
        return True
    return (path / PARTS["train"]).is_file() and (path / "fg_masks").is_dir()


def _sequences(path: Path) -> list[str]:
    names: list[str] = []
    for part in ("trainval", "test"):
        listed = path / f"sequences_{part}.txt"
        if listed.is_file():
            names += read_text(listed).split()
    return names
