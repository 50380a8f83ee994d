"""Export of an avatar: poses are found, the place is checked, and the format's writer is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from headbench.export.formats import Format
from headbench.export.places import check_place
from headbench.export.poses import FIRST, NEUTRAL, Pose, poses_of
from headbench.export.source import Source
from headbench.harness.avatar import Avatar
from headbench.harness.errors import BenchError
from headbench.harness.train import LoadedPortrait
from headbench.harness.types import Subject

__all__ = ["Exported", "export"]


@dataclass(frozen=True)
class Exported:
    """Result of an export: the number of poses and notes."""

    count: int
    """Number of poses."""
    notes: tuple[str, ...]
    """Sentences on what the format cannot hold and was left out."""


def export(
    source: Source,
    form: Format,
    pose: str | None,
    out: Path,
    subject: Callable[[], Subject],
    own: bool = True,
    limit: int | None = None,
) -> Exported:
    """Export poses of an avatar; the file or folder appears whole or not at all.

    Args:
        source: the avatar.
        form: format to write.
        pose: neutral, first, train, test, the id of a frame or the name of a sequence; None: what the format shows
            without being asked, neutral or the recorded clip of test frames.
        out: file, or folder where the format or a sequence needs one.
        subject: reads the subject with frames and sequences; called only where the pose is one of its own.
        own: whether that is the subject that the avatar was trained on.
        limit: maximum number of frames of a sequence; None: all.

    Raises:
        BenchError: the pose does not exist, the place cannot be written, or the avatar lacks what the format needs.
    """
    loaded = source.session.loaded
    if form.needs and not isinstance(loaded.portrait, Avatar):
        raise BenchError(
            f"format {form.name} needs {form.needs}; {loaded.about['method']} shows pictures and has nothing else.",
            help="--format frames or --format video",
        )
    notes: tuple[str, ...] = ()
    if pose is None:
        pose, notes = (NEUTRAL, ()) if form.pose == NEUTRAL else _clip(subject)
    poses = poses_of(loaded, pose, subject, own, limit)
    check_place(form, poses, out)
    if source.fit:
        source = replace(source, fitting=_training(loaded, subject, own))
    return Exported(len(poses.members), (*notes, *form.writer()(source, poses, out)))


def _clip(subject: Callable[[], Subject]) -> tuple[str, tuple[str, ...]]:
    """Poses of the recorded clip that nobody asked for, and a sentence where there are no frames."""
    try:
        found = subject()
    except BenchError as error:
        return FIRST, (f"{error.args[0]} The page shows the first training frame, and no clip.",)
    return ("test" if found.test else "train"), ()


def _training(loaded: LoadedPortrait, subject: Callable[[], Subject], own: bool) -> tuple[Pose, ...]:
    """Training frames that a fit needs.

    Raises:
        BenchError: they are not here.
    """
    try:
        return poses_of(loaded, "train", subject, own).members
    except BenchError as error:
        raise BenchError(
            f"--fit needs training frames: {error.args[0]}", help="leave out --fit; or --driver FOLDER --dataset NAME"
        ) from error
