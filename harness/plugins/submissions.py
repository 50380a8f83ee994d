"""Capability of dataset readers whose benchmark keeps test images to itself and takes submissions."""

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
    """Sequence whose images a benchmark keeps to itself, seen by one camera: what to render for it."""

    subject: str
    """Name of the person, as in `subjects` and in the cells of a run."""
    sequence: str
    camera_id: str
    frame_ids: tuple[str, ...]
    """IDs of the T frames in the order of the video, unique in the view."""
    camera: Camera
    """Camera of the view (B = 1), with the video's width and height in pixels."""
    params: HeadParams
    """Head parameters of the frames (B = T), in the order of `frame_ids`."""
    tracking: str
    """Version of the tracking that gave `params`, such as flame2023_tracking_v2."""
    fingerprint: str
    """SHA-256 over the files that gave `params` and `camera`: a video that was rendered from others is stale."""


@dataclass(frozen=True)
class VideoSlot:
    """Video of a submission: its name in the archive, and the hidden view that it shows."""

    member: str
    """Path of the video in the submission's zip, with forward slashes."""
    subject: str
    sequence: str
    camera_id: str


@dataclass(frozen=True)
class SubmissionTask:
    """Task that the organisers of a benchmark set: a zip of H.264 videos of hidden views."""

    name: str
    """Name that the organisers give the task."""
    title: str
    """Name and version of the benchmark, for records and messages."""
    videos: tuple[VideoSlot, ...]
    """Videos that a complete submission holds, and nothing else."""
    width: int
    height: int
    fps: float
    crf: int
    """Constant rate factor of the H.264 encoding; smaller is better."""
    tracking: str
    """Version of the tracking that submissions must use."""
    quota: int
    """Number of submissions that one user may upload."""
    background: str = "white"
    """Colour of the background: white, black or green."""


class TakesSubmissions(DatasetReader):
    """Dataset reader whose benchmark takes submissions, which `bench submit` makes."""

    @abc.abstractmethod
    def submission(self) -> SubmissionTask:
        """Task that the dataset's benchmark sets."""

    @abc.abstractmethod
    def hidden(self, folder: Path, options: Mapping[str, object]) -> Sequence[HiddenView]:
        """Hidden views of one subject, sequence by sequence. No image is read.

        Each view of `submission().videos` that this subject is part of must be among them.

        Args:
            folder: folder of the subject.
            options: options of the reader, as `DatasetReader.read` takes them.

        Raises:
            DataError: a sequence or camera cannot be read as the layout says.
        """
