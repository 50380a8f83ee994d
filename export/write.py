"""Export of an avatar: poses are found, the place is checked, and the format's writer is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headbench.export.formats import Format
from headbench.export.places import check_place
from headbench.export.poses import poses_of
from headbench.export.source import Source
from headbench.harness.avatar import Avatar
from headbench.harness.errors import BenchError
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
    pose: str,
    out: Path,
    subject: Callable[[], Subject],
    own: bool = True,
    limit: int | None = None,
) -> Exported:
    """Export poses of an avatar; the file or folder appears whole or not at all.

    Args:
        source: the avatar.
        form: format to write.
        pose: neutral, first, train, test, the id of a frame or the name of a sequence.
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
    poses = poses_of(loaded, pose, subject, own, limit)
    check_place(form, poses, out)
    return Exported(len(poses.members), tuple(form.writer()(source, poses, out)))
