"""Guess which dataset layout a folder has: for messages, and for readers whose marks other layouts share.

One file never decides: a name is one point, what a file says inside is two, and two points are the least.
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
"""Most levels of folders that are searched."""
_MANY = 2000
"""Most folders that are searched."""
_ENOUGH = 2
"""Least points for a folder to be called one of a layout."""
_HEAD = 256 * 1024
"""Most bytes of a document that are searched."""


@dataclass(frozen=True)
class _Layout:
    """Features by which a layout of folders is known, and how a message names it."""

    datasets: tuple[str, ...]
    """Names of the datasets that read it; none where it cannot be read."""
    meaning: str
    """Words for what a folder of this layout is."""
    marks: tuple[str, ...]
    """Names of files and folders, alternatives separated by ``|``: a point each."""
    says: Mapping[str, re.Pattern[bytes]]
    """File -> pattern that its beginning has: two points."""


def _says(*keys: str) -> re.Pattern[bytes]:
    """Pattern of a JSON document that has these keys in this order."""
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
"""Name -> features of the layout. Of those with most points the first one is named."""


def points(folder: Path, layout: str) -> int:
    """Count the features of a layout that a folder has: a point per mark, two for what a document says.

    Args:
        folder: any folder.
        layout: vhap, imavatar, insta, nersemble, nerface or nerf.
    """
    return len(_marks(folder, _LAYOUTS[layout])) + 2 * _spoken(folder, _LAYOUTS[layout])


def outdone(folder: Path, layout: str) -> bool:
    """Tell whether a folder is plainly of another layout, so that the reader of `layout` has to leave it alone."""
    others = max(points(folder, other) for other in _LAYOUTS if other not in (layout, "nerf"))
    return others >= _ENOUGH and others > points(folder, layout)


def looks_like(root: Path, asked: str = "") -> str:
    """Sentence on the first known layout at or below a folder; empty where there is none, or the one asked for.

    Args:
        root: the folder.
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
    """Names of the layout's marks that are in a folder, one per mark."""
    found = (next(filter(lambda name: _there(folder / name), mark.split("|")), "") for mark in layout.marks)
    return [name for name in found if name]


def _spoken(folder: Path, layout: _Layout) -> bool:
    """Tell whether a document in a folder has the keys of a layout."""
    return any(_has(folder / name, pattern.search) for name, pattern in layout.says.items())


def _has(path: Path, search: Callable[[bytes], object]) -> bool:
    """Tell whether a search finds something in the beginning of a file; false where it cannot be read."""
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
