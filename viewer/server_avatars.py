"""Avatars that a viewer shows, and the frames that pose them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headbench.export.poses import FIRST, Pose, poses_of
from headbench.harness.errors import BenchError
from headbench.harness.head import load_head
from headbench.harness.layout import stage_at
from headbench.harness.session import Session, open_checkpoint
from headbench.harness.types import Frame, Subject
from headbench.viewer.loop_timing import TimedRasterizer
from headbench.viewer.posing import Posing

__all__ = ["Shown", "Timeline", "open_avatars"]


@dataclass(frozen=True)
class Shown:
    """Avatar that is opened to be looked at."""

    label: str
    """Name on the page, unique in the viewer."""
    session: Session
    posing: Posing
    timed: TimedRasterizer
    """The session's rasterizer."""

    @property
    def centre(self) -> Tensor:
        """Middle (3,) of the head in the first training frame, metres, on the host."""
        loaded = self.session.loaded
        identity = loaded.identity
        head = load_head(identity.head, loaded.config.topology(), device=identity.shape.device).bind(identity)
        return head.vertices(identity.first).mean(dim=1)[0].cpu()


@dataclass(frozen=True)
class Timeline:
    """Frames in the order of their timeline, and how each avatar is posed in them."""

    ids: tuple[str, ...]
    splits: tuple[str, ...]
    """Split of each frame: train, test, or first where no dataset is there."""
    poses: tuple[tuple[Pose, ...], ...]
    """Poses and cameras on the host, per avatar and frame."""
    frames: tuple[Frame, ...] = ()
    """Frames of the dataset with their images; empty where it is not there."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the dataset's cameras, in the order of their first frames."""
        return tuple(dict.fromkeys(frame.camera_id for frame in self.frames)) or ("0",)

    def seen_by(self, camera: str) -> tuple[int, ...]:
        """Indices of the frames of one camera, in the timeline's order; of all where there is one camera."""
        if len(self.cameras) == 1:
            return tuple(range(len(self.ids)))
        return tuple(index for index, frame in enumerate(self.frames) if frame.camera_id == camera)


def open_avatars(paths: Sequence[Path], device: str, rasterizer: str, opened: ExitStack) -> tuple[Shown, ...]:
    """Open checkpoints of one head model to be looked at.

    Args:
        paths: checkpoints, stages or cells.
        device: auto, cpu, cuda or cuda:K.
        rasterizer: auto, or the name of a back end.
        opened: closes the sessions.

    Raises:
        BenchError: one cannot be opened, or two are of different head models.
    """
    sessions = [opened.enter_context(open_checkpoint(path, device, rasterizer)) for path in paths]
    first = sessions[0].loaded.identity.head
    for session in sessions:
        if session.loaded.identity.head != first:
            raise BenchError(
                f"{session.path} is of head model {session.loaded.identity.head}, {sessions[0].path} of {first}: "
                "one viewer poses all its avatars by the same controls.",
                help="start a viewer for each",
            )
    shown = []
    for label, session in zip(_labels(sessions), sessions, strict=True):
        timed = TimedRasterizer(session.rasterizer, session.device)
        session.rasterizer = timed
        shown.append(Shown(label, session, Posing.of(session.loaded), timed))
    return tuple(shown)


def timeline_of(avatars: Sequence[Shown], subject: Subject | None) -> Timeline:
    """Frames that pose avatars: those of a subject, or without one the first training frame alone.

    Args:
        avatars: all of one head model.
        subject: training frames, then test frames; None: the first training frame, as each checkpoint holds it.

    Raises:
        BenchError: the subject is of another head model, or has no frames.
    """
    if subject is None:
        poses = [poses_of(shown.session.loaded, FIRST, _none).members for shown in avatars]
        return Timeline((FIRST,), (FIRST,), _on_host(poses))
    splits = [name for name in ("train", "test") if getattr(subject, name)]
    if not splits:
        raise BenchError(f"{subject.name} has no frames.", help="name a subject that has some")
    poses = []
    for shown in avatars:
        same = trained_on(shown, subject)
        found = [poses_of(shown.session.loaded, name, lambda: subject, same).members for name in splits]
        poses.append(tuple(pose for some in found for pose in some))
    frames = (*subject.train, *subject.test)
    named = (*["train"] * len(subject.train), *["test"] * len(subject.test))
    return Timeline(tuple(frame.id for frame in frames), named, _on_host(poses), frames)


def trained_on(shown: Shown, subject: Subject) -> bool:
    """Whether an avatar was trained on a subject, so that its refined parameters are of the subject's frames.

    Names alone do not tell: two folders may hold subjects of one name.
    """
    about, identity = shown.session.loaded.about, shown.session.loaded.identity
    if (about.get("dataset"), about.get("subject")) != (subject.dataset, subject.name) or not subject.train:
        return False
    pairs = [(subject.shape, identity.shape), (subject.train[0].params.expression, identity.first.expression)]
    return all(torch.equal(one.cpu(), other.cpu()) for one, other in pairs)


def _none() -> Subject:
    raise BenchError("there is no subject.")


def _on_host(poses: Sequence[Sequence[Pose]]) -> tuple[tuple[Pose, ...], ...]:
    return tuple(tuple(Pose(p.name, p.params.to("cpu"), p.camera.to("cpu")) for p in some) for some in poses)


def _labels(sessions: Sequence[Session]) -> list[str]:
    """Names of avatars: method and way of the stage instance, and a number where two would be the same."""
    names = []
    for session in sessions:
        about, stage = session.loaded.about, stage_at(session.path.parent)
        way = "" if stage is None else str(stage.way).removeprefix("train").removeprefix("/")
        names.append(" ".join(part for part in (about.get("method", "avatar"), way) if part))
    counts, seen = Counter(names), Counter[str]()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(f"{name} ({seen[name]})" if counts[name] > 1 else name)
    return labels
