"""Shots: frames of one sequence, seen by one camera, in the order of time."""

from __future__ import annotations

from headbench.harness.types import Frame, Subject

__all__ = ["all_frames", "neighbour", "shots"]


def all_frames(subject: Subject) -> list[Frame]:
    """All frames of a subject, training frames first; each once, also where a split has some in both parts."""
    return list({frame.id: frame for frame in subject.train + subject.test}.values())


def shots(subject: Subject) -> list[list[Frame]]:
    """Group a subject's training and test frames by sequence and camera, each by timestep; the longest first."""
    found: dict[tuple[str, str], list[Frame]] = {}
    for frame in all_frames(subject):
        found.setdefault((frame.sequence, frame.camera_id), []).append(frame)
    ordered = [sorted(frames, key=lambda frame: frame.timestep) for frames in found.values()]
    return sorted(ordered, key=len, reverse=True)


def neighbour(subject: Subject, frame: Frame, shift: int) -> Frame | None:
    """Find the frame some steps later in the same sequence and camera; None where there is none.

    Args:
        subject: the subject.
        frame: one of its frames.
        shift: steps in the order of time; negative looks back.
    """
    for shot in shots(subject):
        places = [k for k, other in enumerate(shot) if other.id == frame.id]
        if places:
            place = places[0] + shift
            return shot[place] if 0 <= place < len(shot) else None
    return None
