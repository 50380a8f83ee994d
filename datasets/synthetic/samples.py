"""Smallest synthetic subject of each layout, for checks: functions for the `sample` of built-in datasets."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

from headbench.datasets.synthetic.write import write_synthetic

__all__ = ["emotalk3d", "fourdface", "imavatar", "insta", "nersemble", "pointavatar", "vhap"]

SIZE = 48
"""Side of the images in pixels."""
_FRAMES = {"nersemble": 22}
"""Frames of a layout's sample where 6 are too few: NeRSemble's sequences need at least one each."""


def insta(root: Path) -> None:
    """Write a tiny synthetic subject below ``root/insta``."""
    _place("insta", root / "insta")


def nersemble(root: Path) -> None:
    """Write a tiny synthetic participant below ``root/nersemble``."""
    _place("nersemble", root / "nersemble")


def imavatar(root: Path) -> None:
    """Write a tiny synthetic subject below ``root/imavatar``."""
    _place("imavatar", root / "imavatar")


def pointavatar(root: Path) -> None:
    """Write a tiny synthetic subject below ``root/pointavatar``, in IMAvatar's layout."""
    _place("imavatar", root / "pointavatar")


def fourdface(root: Path) -> None:
    """Write a tiny synthetic subject below ``root/4dface``, in IMAvatar's layout."""
    _place("imavatar", root / "4dface")


def emotalk3d(root: Path) -> None:
    """Write a tiny synthetic subject below ``root/emotalk3d``, in IMAvatar's layout."""
    _place("imavatar", root / "emotalk3d")


def vhap(root: Path) -> None:
    """Write a tiny synthetic subject below ``root/vhap``."""
    _place("vhap", root / "vhap")


def _place(layout: str, target: Path) -> None:
    """Copy the sample of a layout to a folder."""
    # Copies, because a check may damage what it was given.
    shutil.copytree(_written(layout) / layout, target)


@functools.cache
def _store() -> tempfile.TemporaryDirectory[str]:
    """Temporary folder of this process that holds the samples."""
    return tempfile.TemporaryDirectory(prefix=f"headbench-samples-{os.getpid()}-")


@functools.cache
def _written(layout: str) -> Path:
    """Folder in which the sample of a layout lies, written once per process."""
    root = Path(_store().name)
    write_synthetic(root, layout, 1, _FRAMES.get(layout, 6), SIZE, 3, lambda line: None, workers=1, orbit=1)
    return root
