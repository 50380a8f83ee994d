"""Layout of IMAvatar's data on disk: a subject's videos, and which of them are for testing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.roots import find_subjects as find
from headbench.datasets.common.roots import there
from headbench.datasets.common.sniff import outdone

__all__ = ["IMAGE_FOLDERS", "REAL_HEAD", "TRACKING", "Video", "divide", "find_subjects", "videos"]

TRACKING = "flame_params.json"
"""File in a video's folder that holds cameras and coefficients."""
REAL_HEAD = "flame2020"
"""Head model that DECA fits, and so that of a folder without ``head_model.json``."""
IMAGE_FOLDERS = ("image", "images", "matted", "mask")
_MARKS = f"SUBJECT_train/{TRACKING}"
_RELEASED_TESTS = {
    "subject1": {"MVI_1812"},
    "yufeng": {"MVI_1812"},
    "subject2": {"MVI_1802"},
}
"""Subject -> videos for testing, as IMAvatar and PointAvatar released them."""


@dataclass(frozen=True)
class Video:
    """Folder of one captured video; knows names only, opens nothing."""

    path: Path
    name: str
    """``train`` and ``test`` for ``SUBJECT_train`` and ``SUBJECT_test``; otherwise the folder's own, safe for files."""
    part: str
    """train, test, or nothing where the folder's name does not say it."""

    @property
    def tracking(self) -> Path:
        """File of the video's cameras and coefficients."""
        return self.path / TRACKING


def find_subjects(root: Path, dataset: str) -> dict[str, Path]:
    """Find subjects of this layout: name -> folder, in the order of names.

    Args:
        root: a data root, the dataset's own folder, or one subject's.
        dataset: name of the dataset's folder.

    Raises:
        DataError: nothing of this layout is there.
    """

    def is_subject(path: Path) -> bool:
        found = videos(path)
        # The dataset's own folder holds subjects, which may be single videos, unless it holds a subject's parts.
        return bool(found) and (path.resolve().name != dataset or any(video.part for video in found))

    return find(root, dataset, is_subject, _MARKS)


def videos(subject: Path) -> list[Video]:
    """Find the videos of a subject, whose folder may lie in another of the same name, as the authors' archives have it.

    SplattingAvatar's data have one video, whose folder is the subject's.
    """
    inner = subject / subject.resolve().name
    found = [child for child in _folders(inner) if _is_video(child)]
    if not found:
        found = [child for child in _folders(subject) if _is_video(child)]
    if not found and there(subject / TRACKING) and not _part(subject.resolve().name):
        found = [subject.resolve()]
    return [_video(path) for path in found]


def divide(subject: Path, found: Sequence[Video], test: str, findings: Findings) -> dict[str, str] | None:
    """Assign a subject's videos to training and testing: folder name -> train or test.

    The option `test` wins, then names of folders, then what the authors released.

    Args:
        subject: the subject's folder.
        found: its videos.
        test: names of the test videos with commas between, a number of last frames of the only video, or nothing.
        findings: receives an error where videos cannot be assigned.

    Returns:
        None where they cannot be assigned, which has been reported.
    """
    names = [video.path.name for video in found]
    if test and not test.isdecimal():
        wanted = {name.strip() for name in test.split(",")}
        unknown = sorted(wanted - set(names) - {video.name for video in found})
        if unknown:
            findings.error(
                subject, f"expected a video {unknown[0]} for testing, found {', '.join(names)}", help="the option test"
            )
            return None
        return {v.path.name: "test" if {v.path.name, v.name} & wanted else "train" for v in found}
    if test and len(found) == 1:
        return {names[0]: "train"}
    if test:
        findings.error(
            subject,
            f"expected one video to take the last {test} frames of, found {len(found)}: {', '.join(names)}",
            help="name the test videos instead: --set DATASET.test=NAME",
        )
        return None
    released = _RELEASED_TESTS.get(subject.resolve().name, set())
    if released & set(names):
        return {name: "test" if name in released else "train" for name in names}
    parts = {video.path.name: video.part for video in found}
    if {"train", "test"} <= set(parts.values()) and "" not in parts.values():
        return parts
    findings.error(
        subject,
        f"expected videos for training and for testing, such as {subject.resolve().name}_train and "
        f"{subject.resolve().name}_test, found {', '.join(names) or 'none'}",
        help="--set DATASET.test=NAME of the test video, or a number of last frames where there is one video",
    )
    return None


def _folders(path: Path) -> list[Path]:
    """Visible folders in a folder, sorted by name; none where it is no folder."""
    if not path.is_dir():
        return []
    return [child for child in sorted(path.iterdir()) if child.is_dir() and not child.name.startswith(".")]


def _is_video(path: Path) -> bool:
    """Tell whether a folder is a video's, even a damaged one, and not of another layout.

    Damaged ones count so that their problems are reported rather than the folder overlooked.
    """
    if outdone(path, "imavatar"):
        return False
    if there(path / TRACKING) or path.name.endswith(("_train", "_test")):
        return True
    return any((path / name).is_dir() for name in ("image", "images")) and (path / "mask").is_dir()


def _video(path: Path) -> Video:
    part = _part(path.name)
    return Video(path, part or re.sub(r"[^A-Za-z0-9_.-]", "_", path.name), part)


def _part(name: str) -> str:
    """``train`` or ``test`` where a video's folder is called so, or ends so; otherwise nothing."""
    return next((part for part in ("train", "test") if name == part or name.endswith(f"_{part}")), "")
