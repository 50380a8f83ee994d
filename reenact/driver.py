"""Drivers: the subject and split that a text names, and the performance of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.names import safe_name
from headbench.harness.train import identity_of
from headbench.harness.types import Camera, Frame, HeadParams, Subject
from headbench.reenact.performance import Head, Performance, head_of, performance_of, smoothed
from headbench.reenact.refined import refine

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

__all__ = ["SPLITS", "Driver", "read_driver"]

SPLITS = ("train", "test", "all")
"""Parts of a subject's frames that can drive; all: those for training, then those for testing."""


@dataclass(frozen=True)
class Driver:
    """Subject whose frames drive."""

    text: str
    """The driver as the user named it, with its split: DATASET/SUBJECT:SPLIT."""
    subject: Subject
    split: str
    frames: tuple[Frame, ...]
    """Frames of one camera per sequence, in order."""
    notes: tuple[str, ...]
    """Sentences on frames that were left out."""

    @cached_property
    def head(self) -> Head:
        """The driver's head; means are over its training frames, or over those that drive where there are none.

        Raises:
            MissingAsset: the head model is not registered.
        """
        whole = self.subject if self.subject.train else replace(self.subject, train=self.frames)
        return head_of(identity_of(whole))

    @property
    def label(self) -> str:
        """Name of the driver in folders and pictures."""
        name = f"{self.subject.dataset}-{self.subject.name}-{self.split}".replace("/", "-")
        return safe_name(name, "name of a subject", self.text)

    def performance(
        self, smooth: int = 1, tables: Mapping[str, Tensor] | None = None
    ) -> tuple[Performance, frozenset[str]]:
        """Take the performance of the frames.

        Args:
            smooth: width of the smoothing window in frames; 1 for none.
            tables: refined parameters by timestep (`LoadedPortrait.frames`), which replace the tracked ones of
                training frames.

        Returns:
            the performance, and the ids of the frames whose parameters are refined ones.
        """
        trained = {frame.id for frame in self.subject.train}
        poses = [(frame.params, frame.camera) for frame in self.frames]
        refined = set()
        if tables:
            rows = [k for k, frame in enumerate(self.frames) if frame.id in trained]
            for k, pose in zip(rows, refine([self.frames[k] for k in rows], tables), strict=True):
                if pose is not None:
                    poses[k] = pose
                    refined.add(self.frames[k].id)
        found = performance_of(
            [(frame.id, frame.sequence) for frame in self.frames],
            HeadParams.join([params for params, _ in poses]),
            _same_size([camera for _, camera in poses]),
            self.head,
            self.head.identity.mean_expression,
            _first(self.subject.train, self.frames),
        )
        return smoothed(found, self.head, smooth), frozenset(refined)


def read_driver(text: str, root: Path, registry: Registry, options: Mapping[str, Mapping[str, Any]]) -> Driver:
    """Read the driver that a text names.

    Args:
        text: DATASET/SUBJECT, or DATASET/SUBJECT:SPLIT with one of `SPLITS`; test without it.
        root: folder that holds the datasets.
        registry: knows the datasets.
        options: options of the datasets' readers, by dataset.

    Raises:
        BenchError: there is no such dataset, subject or split, or the split has no frames.
        DataError: the subject cannot be read.
    """
    dataset, slash, rest = text.partition("/")
    if not (slash and dataset and rest):
        raise BenchError(
            f"--driver {text!r}: expected DATASET/SUBJECT or DATASET/SUBJECT:SPLIT, such as insta/bala:test."
        )
    spec = registry.dataset(dataset)
    reader = registry.load_dataset(spec.name)
    found = reader.subjects(root)
    name, colon, split = rest.rpartition(":")
    if not colon or rest in found:
        name, split = rest, "test"
    if name not in found:
        raise BenchError(f"--driver {text}: {root}: {did_you_mean(f'subject of {spec.name}', name, found)}")
    if split not in SPLITS:
        raise BenchError(f"--driver {text}: {did_you_mean('split', split, SPLITS)}")
    subject = reader.read(found[name], options.get(spec.name, {}))
    parts = {"train": subject.train, "test": subject.test, "all": (*subject.train, *subject.test)}
    if not parts[split]:
        there = [part for part in SPLITS[:2] if parts[part]]
        raise BenchError(
            f"--driver {text}: expected frames in the split {split} of {found[name]}, found none.",
            help=f"--driver {spec.name}/{name}:{there[0]} has {len(parts[there[0]])}" if there else "",
        )
    frames, said = one_camera(parts[split])
    notes = [said] if said else []
    if not subject.train:
        notes.append("no training frames: means are over the frames that drive")
    return Driver(f"{spec.name}/{name}:{split}", subject, split, tuple(frames), tuple(notes))


def one_camera(frames: Sequence[Frame]) -> tuple[list[Frame], str]:
    """Keep one camera per sequence: the one with most frames, the first of equals.

    Returns:
        the frames in order, and a sentence where some were left out; otherwise empty.
    """
    counts: dict[tuple[str, str], int] = {}
    for frame in frames:
        counts[frame.sequence, frame.camera_id] = counts.get((frame.sequence, frame.camera_id), 0) + 1
    chosen: dict[str, str] = {}
    for sequence, camera in counts:
        if counts[sequence, camera] > counts.get((sequence, chosen.get(sequence, "")), 0):
            chosen[sequence] = camera
    kept = [frame for frame in frames if chosen[frame.sequence] == frame.camera_id]
    several = len(kept) < len(frames)
    return kept, f"one camera per sequence drives: {len(kept)} of {len(frames)} frames" if several else ""


def _same_size(cameras: Sequence[Camera]) -> Camera:
    """Join cameras (B = 1 each) to one of T, all resized to the size of the first."""
    width, height = cameras[0].width, cameras[0].height
    return Camera.join([c if (c.width, c.height) == (width, height) else c.resized(width, height) for c in cameras])


def _first(train: Sequence[Frame], frames: Sequence[Frame]) -> tuple[HeadParams, Camera]:
    """Parameters and camera of the first training frame of the camera that drives; of the first driving frame if none.

    Args:
        train: training frames.
        frames: frames that drive.
    """
    first = next((frame for frame in train if frame.camera_id == frames[0].camera_id), frames[0])
    return first.params, first.camera
