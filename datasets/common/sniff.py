"""Which layout a folder looks like, for messages only: what is read is always what was asked for."""

from __future__ import annotations

from pathlib import Path

__all__ = ["looks_like"]

_MARKS = (
    ("canonical_flame_param.npz", "a VHAP export: the dataset is vhap"),
    ("flame_params.json", "IMAvatar's tracking: the dataset is imavatar, pointavatar or 4dface"),
    ("flame/exp", "an INSTA export: the dataset is insta"),
    ("checkpoint", "metrical-tracker's results: the dataset is insta"),
    ("calibration/camera_params.json", "the NeRSemble benchmark: the dataset is nersemble"),
    ("transforms_val.json", "NeRF files without FLAME, such as NerFace's own: track the video first"),
)
_DEEP = 4
"""Levels of folders that are looked at."""
_MANY = 2000
"""Folders that are looked at, at most."""


def looks_like(root: Path) -> str:
    """A sentence on the first known layout at or below a folder, nothing where there is none."""
    level = [root]
    seen = 0
    for _ in range(_DEEP):
        for mark, meaning in _MARKS:
            for folder in level:
                if (folder / mark).exists():
                    return f"{folder / mark} looks like {meaning}"
        children = [child for folder in level for child in _folders(folder)]
        seen += len(children)
        if seen > _MANY:
            return ""
        level = children
    return ""


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
