"""What a dataset reader offers besides where a benchmark keeps test images to itself and takes submissions."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.plugins.datasets import DatasetReader

if TYPE_CHECKING:
    from headbench.harness.types import Camera, HeadParams

__all__ = ["HiddenView", "SubmissionTask", "TakesSubmissions", "VideoSlot"]


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


class TakesSubmissions(DatasetReader):
    """A dataset reader with this capability besides: `bench submit` takes its dataset."""

    @abc.abstractmethod
    def submission(self) -> SubmissionTask:
        """What the dataset's benchmark asks for."""

    @abc.abstractmethod
    def hidden(self, folder: Path, options: Mapping[str, object]) -> Sequence[HiddenView]:
        """The hidden views of one subject's folder, sequence by sequence. No image is read.

        Each view of `submission().videos` that this subject is part of must be among them.

        Args:
            folder: the subject's.
            options: of the reader, as `DatasetReader.read` takes them.

        Raises:
            DataError: a sequence or camera cannot be read as the layout says.
        """
