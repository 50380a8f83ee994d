"""Summary of a subject that can be read, in a few lines: which preparation, which split, which bytes."""

from __future__ import annotations

from collections.abc import Sequence

from headbench.datasets.common.findings import ranges
from headbench.harness.types import Frame, Subject

__all__ = ["summary_lines"]

_DIGITS = 12
"""Digits of a fingerprint that are printed; two people who compare copies need no more."""


def summary_lines(subject: Subject) -> list[str]:
    """Describe a subject in lines: variant, head, size and split; notes of the reader; fingerprint."""
    camera = (subject.train or subject.test)[0].camera
    lines = [
        f"{subject.variant or subject.dataset}, {subject.head}, {camera.width} x {camera.height}, "
        f"{_frames(subject.train)} for training, {_frames(subject.test)} for testing"
    ]
    lines += [f"note: {sentence}" for sentence in subject.notes]
    whole = {what: digest for what, digest in subject.fingerprint.items() if ":" not in what}
    if whole:
        lines.append("fingerprint: " + ", ".join(f"{what} {digest[:_DIGITS]}" for what, digest in whole.items()))
    return lines


def _frames(frames: Sequence[Frame]) -> str:
    """Number and ids of frames in words, with their sequences and cameras where there are several."""
    if not frames:
        return "no frames"
    parts = [ranges([frame.id for frame in frames])]
    for kind, names in (("sequence", {f.sequence for f in frames}), ("camera", {f.camera_id for f in frames})):
        if len(names) > 1:
            parts.append(f"{len(names)} {kind}s")
    return f"{len(frames)} frame{'' if len(frames) == 1 else 's'} ({'; '.join(parts)})"
