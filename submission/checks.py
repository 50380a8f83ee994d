"""Checks of one video of a submission: format, size, length, content, background, colours and order of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.plugins import Problem, Where
from headbench.harness.plugins.submissions import HiddenView, SubmissionTask, VideoSlot
from headbench.harness.problems import Severity
from headbench.submission.colours import background_fault, swapped, warmth
from headbench.submission.findings import finding
from headbench.submission.motion import compare_order, driver_motion
from headbench.submission.video_probe import Look

__all__ = ["Reference", "check_record", "check_video"]

_DARK = 12.0
"""Mean level (of 255) below which an image counts as black."""
_FLAT = 1.5
"""Standard deviation in levels of 255 below which an image counts as one flat colour."""
_STILL = 0.4
"""Difference in levels of 255 below which all images of a video count as one. Encoding alone makes about 0.2."""
_SEVERAL = 8
"""Number of images below which a video is not called still."""
_MANY = 0.05
"""Share of images with a wrong background above which it is an error and no accident."""
_LOSS = 32.0
"""PSNR in dB of a video against its renders below which encoding cost more than two methods differ by."""


@dataclass(frozen=True)
class Reference:
    """What the dataset says of a submission's videos; empty where no data are at hand."""

    views: Mapping[str, HiddenView] = field(default_factory=dict)
    """Member of the zip -> hidden view that its video must show."""
    warmth: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Subject -> `colours.warmth` of the person's own images, which tells red from blue."""


def check_video(slot: VideoSlot, look: Look, task: SubmissionTask, reference: Reference) -> list[Problem]:
    """All findings about one video that was decoded.

    Args:
        slot: place of the video in the submission.
        look: the decoded video.
        task: what the organisers ask for.
        reference: what the dataset says of the videos.
    """
    found = [*_format(look, task), *_sizes(look, task), *_frames(slot, look, reference)]
    if len(look):
        found += [*_content(look), *_background(look, task), *_colours(slot, look, task, reference)]
        found += _order(slot, look, reference)
    return [replace(each, where=Where(slot.member)) for each in found]


def check_record(
    slot: VideoSlot, digest: str, task: SubmissionTask, reference: Reference, record: Any
) -> list[Problem]:
    """Findings from what `submission.json` says of a video: its loss of encoding and its tracking.

    Args:
        slot: place of the video in the submission.
        digest: SHA-256 of the video in the zip.
        task: what the organisers ask for.
        reference: what the dataset says of the videos.
        record: the video's entry in the file; anything but a mapping is a finding.
    """
    if not isinstance(record, Mapping):
        return [finding("record", "expected an entry in the submission's record, found none", slot.member)]
    if record.get("sha256") != digest:
        return [
            finding("record", "expected the video that was rendered, found another one under its name", slot.member)
        ]
    found = []
    encoding = record.get("encoding", {})
    if encoding.get("mean", _LOSS) < _LOSS:
        text = f"expected at least {_LOSS:g} dB between renders and video, found {encoding['mean']:g} dB"
        found.append(finding("encoding", text, slot.member))
    origin = record.get("origin", {})
    if origin.get("tracking") != task.tracking:
        text = f"expected {task.tracking}, found that it was rendered from {origin.get('tracking')}"
        found.append(finding("tracking", text, slot.member))
    view = reference.views.get(slot.member)
    if view is not None and origin.get("fingerprint") != view.fingerprint:
        text = "expected that it was rendered from the tracking and cameras at hand, found that it was from others"
        found.append(finding("tracking", text, slot.member))
    return found


def _format(look: Look, task: SubmissionTask) -> Iterator[Problem]:
    if look.fault:
        yield finding("broken", f"expected a video that can be read to its end, found {look.fault}")
    if look.codec != "h264":
        yield finding("format", f"expected H.264, found {look.codec}")
    if look.pixel_format != "yuv420p":
        yield finding("format", f"expected pixels as yuv420p, found {look.pixel_format}")
    wanted = Fraction(str(task.fps))
    if look.rate is None or abs(look.rate - wanted) > wanted / 1000:
        yield finding("format", f"expected {task.fps:g} frames per second, found {float(look.rate or 0):g}")
    if look.crf is not None and look.crf > task.crf:
        # A little more is a habit, far more costs decibels.
        severity: Severity = "error" if look.crf > task.crf + 4 else "warning"
        text = f"expected a constant rate factor of {task.crf}, found {look.crf:g}: compressed too much"
        yield finding("encoding", text, severity=severity)


def _sizes(look: Look, task: SubmissionTask) -> Iterator[Problem]:
    wrong = [number for number, size in enumerate(look.sizes) if size != (task.width, task.height)]
    if wrong:
        width, height = look.sizes[wrong[0]]
        text = f"expected {task.width} x {task.height} pixels, found {width} x {height} in frame {wrong[0]}"
        yield finding("size", text + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""))


def _frames(slot: VideoSlot, look: Look, reference: Reference) -> Iterator[Problem]:
    view = reference.views.get(slot.member)
    if view is not None and len(look) != len(view.frame_ids) and not look.fault:
        yield finding("frames", f"expected {len(view.frame_ids)} as the tracking has, found {len(look)}")
    elif not len(look) and not look.fault:
        yield finding("frames", "expected images, found none")


def _content(look: Look) -> Iterator[Problem]:
    pictures = look.small.astype(np.float32)
    black = pictures.mean(axis=(1, 2, 3)) < _DARK
    if black.any():
        yield finding("black", f"expected a head in every frame, found black {_which(black)}")
    flat = (pictures.std(axis=(1, 2)).max(axis=-1) < _FLAT) & ~black
    if flat.any():
        yield finding("constant", f"expected a head in every frame, found one flat colour {_which(flat)}")
    still = len(look) >= _SEVERAL and float(np.abs(pictures - pictures[0]).mean(axis=(1, 2, 3)).max()) < _STILL
    if still and not black.all() and not flat.all():
        yield finding("constant", f"expected a head that moves, found the same image in all {len(look)} frames")


def _background(look: Look, task: SubmissionTask) -> Iterator[Problem]:
    fault = background_fault(look.small, task.background)
    if fault is None:
        return
    count, first, colour = fault
    severity: Severity = "error" if count > _MANY * len(look) else "warning"
    text = f"expected {task.background} in the upper corners, found {colour} in frame {first}"
    yield finding("background", f"{text}; {count} of {len(look)} frames", severity=severity)


def _colours(slot: VideoSlot, look: Look, task: SubmissionTask, reference: Reference) -> Iterator[Problem]:
    """Finding of a video whose red and blue are exchanged.

    Args:
        slot: place of the video in the submission.
        look: the decoded video.
        task: names the background.
        reference: has the colours of the person's own images.
    """
    own = reference.warmth.get(slot.subject)
    if own is None:
        return
    step = max(1, len(look) // 8)
    seen = warmth(look.small[::step], task.background)
    if seen is not None and swapped(seen, own):
        text = f"expected the colours of {slot.subject}'s own images, found them with red and blue exchanged (BGR?)"
        yield finding("colours", text)


def _order(slot: VideoSlot, look: Look, reference: Reference) -> Iterator[Problem]:
    view = reference.views.get(slot.member)
    if view is None or len(view.frame_ids) != len(look):
        return
    order = compare_order(look.small, driver_motion(view))
    if order is not None and order.fault:
        yield finding("order", f"expected frames in the order of the tracking, found that {order.fault}")


def _which(mask: NDArray[np.bool_]) -> str:
    numbers = np.flatnonzero(mask)
    return (
        f"in all {len(mask)} frames" if mask.all() else f"in {len(numbers)} of {len(mask)} frames, first {numbers[0]}"
    )
