"""Which layout a folder looks like: for messages, and for readers whose marks other layouts share.

No layout is told by one file: names are one point each, what a file says inside is two, and two points are the least.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headbench.harness.reading import Unreadable, open_regular

__all__ = ["looks_like", "outdone", "points"]

_DEEP = 4
"""Levels of folders that are looked at."""
_MANY = 2000
"""Folders that are looked at, at most."""
_ENOUGH = 2
_HEAD = 256 * 1024
"""Bytes of a document that are looked at."""


@dataclass(frozen=True)
class _Layout:
    datasets: tuple[str, ...]
    """Names under which it is read; none where it is not."""
    meaning: str
    marks: tuple[str, ...]
    """Files and folders, alternatives separated by ``|``: a point each."""
    says: Mapping[str, re.Pattern[bytes]]
    """File -> what its beginning has: two points."""


def _says(*keys: str) -> re.Pattern[bytes]:
    return re.compile(rb".*?".join(rb'"%b"\s*:' % re.escape(key).encode() for key in keys), re.DOTALL)


_IMAVATAR = ("imavatar", "pointavatar", "4dface", "emotalk3d")
_SPLITS = "transforms_train.json|transforms_test.json|transforms_val.json"
_LAYOUTS = {
    "vhap": _Layout(
        ("vhap",),
        "a VHAP export: the dataset is vhap",
        ("canonical_flame_param.npz", "flame_param", "fg_masks", _SPLITS, "sequences_trainval.txt|sequences_test.txt"),
        dict.fromkeys(_SPLITS.split("|"), _says("flame_param_path")),
    ),
    "imavatar": _Layout(
        _IMAVATAR,
        f"IMAvatar's tracking: the dataset is {', '.join(_IMAVATAR[:-1])} or {_IMAVATAR[-1]}",
        ("flame_params.json", "image|images|matted", "mask"),
        {"flame_params.json": _says("world_mat")},
    ),
    "insta": _Layout(
        ("insta",),
        "INSTA's export or metrical-tracker's results: the dataset is insta",
        ("flame/exp", "checkpoint", "transforms.json|" + _SPLITS, "images|imgs|matted"),
        {},
    ),
    "nersemble": _Layout(
        ("nersemble", "mono_flame_avatar"),
        "the NeRSemble benchmark: the dataset is nersemble",
        ("calibration/camera_params.json", "sequences"),
        {},
    ),
    "nerface": _Layout(
        (),
        "NerFace's own files, whose 76 Face2Face coefficients drive no FLAME head: track the video first",
        (_SPLITS,),
        dict.fromkeys(_SPLITS.split("|"), re.compile(rb'"expression"\s*:\s*\[')),
    ),
    "nerf": _Layout(
        (),
        "NeRF files without FLAME: track the video first",
        ("transforms_val.json", "transforms_train.json", "transforms_test.json"),
        {},
    ),
}
"""The first of those with most points is named."""


def points(folder: Path, layout: str) -> int:
    """How many features of a layout (vhap, imavatar, insta, nersemble, nerface, nerf) a folder has."""
    return len(_marks(folder, _LAYOUTS[layout])) + 2 * _spoken(folder, _LAYOUTS[layout])


def outdone(folder: Path, layout: str) -> bool:
    """Whether a folder is plainly of another layout, so that this one's reader has to leave it alone."""
    others = max(points(folder, other) for other in _LAYOUTS if other not in (layout, "nerf"))
    return others >= _ENOUGH and others > points(folder, layout)


def looks_like(root: Path, asked: str = "") -> str:
    """A sentence on the first known layout at or below a folder; nothing where there is none, or the one asked for.

    Args:
        asked: the dataset that was looked for in vain.
    """
    level = [root]
    seen = 0
    for _ in range(_DEEP):
        for folder in level:
            best = max(_LAYOUTS, key=partial(points, folder))
            if points(folder, best) >= _ENOUGH:
                layout = _LAYOUTS[best]
                marks = " and ".join(_marks(folder, layout)[:2])
                return "" if asked in layout.datasets else f"{folder}, which has {marks}, looks like {layout.meaning}"
        children = [child for folder in level for child in _folders(folder)]
        seen += len(children)
        if seen > _MANY:
            return ""
        level = children
    return ""


def _marks(folder: Path, layout: _Layout) -> list[str]:
    """Names of the layout's marks that are there, one for each."""
    found = (next(filter(lambda name: _there(folder / name), mark.split("|")), "") for mark in layout.marks)
    return [name for name in found if name]


def _spoken(folder: Path, layout: _Layout) -> bool:
    return any(_has(folder / name, pattern.search) for name, pattern in layout.says.items())


def _has(path: Path, search: Callable[[bytes], object]) -> bool:
    try:
        with open_regular(path) as file:
            return bool(search(file.read(_HEAD)))
    except (Unreadable, OSError):
        return False


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _folders(folder: Path) -> list[Path]:
    try:
        return [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    except OSError:
        return []
