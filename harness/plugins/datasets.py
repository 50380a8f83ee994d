"""What a dataset plugin implements."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.problems import Problem

if TYPE_CHECKING:
    from headbench.harness.types import Camera, HeadParams, Subject

__all__ = ["DatasetReader", "HiddenView", "SubmissionTask", "VideoSlot"]


@dataclass(frozen=True)
class HiddenView:
    """A sequence whose images a benchmark keeps to itself, seen by one camera: what to render for it."""

    subject: str
    """As `subjects` and the cells of a run name the person."""
    sequence: str
    camera_id: str
    frame_ids: tuple[str, ...]
    """T ids in the order of the video, unique in the view."""
    camera: Camera
    """B = 1; its width and height are the video's."""
    params: HeadParams
    """B = T, in the order of `frame_ids`."""
    tracking: str
    """Version of the tracking that gave `params`, such as flame2023_tracking_v2."""
    fingerprint: str
    """SHA-256 over the files that gave `params` and `camera`: a video that was rendered from others is stale."""


@dataclass(frozen=True)
class VideoSlot:
    """One video of a submission: its name in the archive, and the hidden view that it shows."""

    member: str
    """Path in the zip, with forward slashes."""
    subject: str
    sequence: str
    camera_id: str


@dataclass(frozen=True)
class SubmissionTask:
    """What the organisers of a benchmark ask for: a zip of H.264 videos of hidden views."""

    name: str
    """As the organisers call the task."""
    title: str
    """The benchmark with its version, for records and messages."""
    videos: tuple[VideoSlot, ...]
    """All that a complete submission holds, and nothing else."""
    width: int
    height: int
    fps: float
    crf: int
    """Quality of the H.264 encoding; smaller is better."""
    tracking: str
    """The one version of the tracking that submissions may use."""
    quota: int
    """Submissions that one user may upload."""
    background: str = "white"
    """white, black or green."""


class DatasetReader(abc.ABC):
    """Reads one layout into this project's conventions. Made with no arguments; holds no state."""

    @abc.abstractmethod
    def subjects(self, root: Path) -> dict[str, Path]:
        """Subject name -> its folder, below a data root ``root/<dataset>/<subject>``, the dataset's own folder or
        one subject's folder.

        Raises:
            DataError: nothing of this layout is there; the message says what was looked for.
        """

    @abc.abstractmethod
    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        """The subject, checked before anything trains; images are read later.

        Raises:
            DataError: the first problem, with the number of others and the command that lists all.
        """

    @abc.abstractmethod
    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        """All problems, in the order of frames."""

    def options(self) -> dict[str, str]:
        """Option -> one sentence; what `read` understands."""
        return {}

    def submission(self) -> SubmissionTask | None:
        """What the dataset's benchmark asks for; None, the default, where there is none to submit to."""
        return None

    def hidden(self, folder: Path, options: Mapping[str, object]) -> Sequence[HiddenView]:
        """The hidden views of one subject's folder, sequence by sequence; none by default.

        Each view of `submission().videos` that this subject is part of must be among them. No image is read.

        Raises:
            DataError: a sequence or camera cannot be read as the layout says.
        """
        return ()
