"""One pass over a subject's folder in IMAvatar's layout that reads what a `Subject` needs and finds what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.head_tag import HEAD_FILE, head_tag
from headbench.datasets.common.masks import all_classed
from headbench.datasets.common.sources import Source
from headbench.datasets.common.splits import check_disjoint
from headbench.datasets.common.survey import Floats, Survey
from headbench.datasets.imavatar.cameras import Lens, is_upright
from headbench.datasets.imavatar.images import classes_file, find_images, parsed_frames, source_of, with_classes
from headbench.datasets.imavatar.layout import REAL_HEAD, divide, videos
from headbench.datasets.imavatar.options import ImavatarOptions
from headbench.datasets.imavatar.synthetic_head import SyntheticHead, read_synthetic_head
from headbench.datasets.imavatar.tracking import Entry, Tracking, lens_of, read_tracking
from headbench.harness.types import Frame

__all__ = ["Clip", "ImavatarSurvey", "survey"]

_SAME_SHAPE = 1e-6
"""Largest difference between the shape coefficients of a subject's videos."""
USUAL_SIZE = 512
"""Side of the published images in pixels."""


@dataclass(frozen=True)
class Clip:
    """One video with its tracking, intrinsics and images."""

    tracking: Tracking
    lens: Lens
    images: dict[str, Source]
    """Frame id -> its image files."""
    matte: str
    """Source of the alpha: matted, mask or image."""
    parsed: bool
    """Whether a face parser's mouth masks are there for all frames."""
    classed: bool = False
    """True where all frames have an image of class numbers from a face parser."""


@dataclass(frozen=True)
class ImavatarSurvey(Survey):
    """Content and faults of a subject in IMAvatar's layout; without clips where too little could be read."""

    options: ImavatarOptions
    synthetic: SyntheticHead
    clips: tuple[Clip, ...] = ()
    """Videos for training, then those for testing."""
    train: tuple[str, ...] = ()
    """Ids of the training frames."""
    test: tuple[str, ...] = ()
    """Ids of the test frames."""

    @property
    def whole(self) -> bool:
        return bool(self.head and self.clips)

    @property
    def shape(self) -> Floats:
        """Identity coefficients (100,) of the first video."""
        return self.clips[0].tracking.shape

    def rows(self) -> list[tuple[Clip, Entry]]:
        """All frames with their videos, video by video."""
        return [(clip, entry) for clip in self.clips for entry in clip.tracking.entries]

    def split(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.train, self.test

    def variant(self) -> str:
        """Preparation of the data: ``fate``, ``rgba`` or ``original``.

        ``fate`` where clothing is removed, ``rgba`` where images have an alpha of their own, otherwise ``original``:
        clothing kept. ``-unclothed`` behind it where the option `clothing` removes it.
        """
        mattes = {clip.matte for clip in self.clips}
        name = "fate" if mattes == {"matted"} else "rgba" if mattes == {"image"} else "original"
        return f"{name}-unclothed" if self.options.clothing == "remove" else name

    def digests(self) -> dict[str, str]:
        return {name: source.digest for clip in self.clips for name, source in clip.images.items()}

    def numbers(self) -> dict[str, list[Floats]]:
        return {
            entry.id: [entry.world_mat, entry.expression, entry.pose, clip.tracking.intrinsics]
            for clip, entry in self.rows()
        }

    def where(self, frame: Frame, what: str) -> Path:
        return next(clip.tracking.path for clip in self.clips if clip.tracking.video.name == frame.sequence)


def survey(subject: Path, options: ImavatarOptions, findings: Findings) -> ImavatarSurvey:
    """Read all that can be read of a subject in IMAvatar's layout without decoding images.

    Args:
        subject: the subject's folder.
        options: the reader's.
        findings: receives what is wrong.
    """
    head = head_tag(subject, REAL_HEAD, findings)
    synthetic = read_synthetic_head(subject / HEAD_FILE, head, findings)
    nothing = ImavatarSurvey(subject, findings, head or "", options, synthetic)
    found = videos(subject)
    parts = divide(subject, found, options.test, findings)
    clips: list[Clip] = []
    for video in found:
        tracking = read_tracking(video, findings)
        clip = _clip(tracking, options, findings) if tracking is not None else None
        if clip is not None:
            clips.append(clip)
    if not clips or parts is None or head is None:
        return nothing
    clips.sort(key=lambda clip: parts[clip.tracking.video.path.name] == "test")
    _check_shapes(clips, findings)
    _check_sizes(clips, findings)
    train, test = _split(subject, clips, parts, options, findings)
    if head == REAL_HEAD:
        findings.note("no eyelids: blinks cannot be driven")
        _note_size(clips[0], findings)
    if not all(clip.parsed for clip in clips):
        findings.note("mouth masks projected from the head mesh (parsing/ has not all of them)")
    if options.clothing == "remove":
        findings.note("clothing removed: alpha is 0 where semantic/ has a necklace or cloth")
    elif any(clip.matte == "mask" for clip in clips):
        findings.note("clothing kept: alpha read from mask/")
    if any(clip.matte == "image" for clip in clips):
        findings.note("alpha of the images themselves: RGBA in image/, as in SplattingAvatar's data")
    return replace(nothing, clips=tuple(clips), train=train, test=test)


def _clip(tracking: Tracking, options: ImavatarOptions, findings: Findings) -> Clip | None:
    """Find the images and the intrinsics of a tracked video; None where there are none, which has been reported."""
    video = tracking.video
    # Files of frames without usable numbers are looked at, too, so that all faults are reported at once.
    entries = sorted(tracking.entries + tracking.astray, key=Entry.order)
    matte = source_of(video, entries, options.matte)
    images = find_images(video, entries, matte, findings)
    _check_rotation(tracking, options, findings)
    _check_holes(tracking, findings)
    if not images:
        return None
    size = next(iter(images.values())).size
    lens = lens_of(tracking, size, options.positive_fx, findings)
    if lens is None:
        return None
    classes = {entry.id: classes_file(video, entry) for entry in entries}
    classed = all_classed(classes, findings)
    if options.clothing == "remove":
        if not classed:
            findings.error(
                video.path / "semantic",
                "expected a face parser's classes for each frame, since clothing is to be removed, found some missing",
                help="run BiSeNet on the images; or --set DATASET.clothing=keep",
                kind="no-classes",
            )
            return None
        images = with_classes(images, classes, findings)
    return Clip(tracking, lens, images, matte, parsed_frames(video, entries, findings), classed)


def _check_rotation(tracking: Tracking, options: ImavatarOptions, findings: Findings) -> None:
    """Report cameras that turn: an error where the option `camera` can only read upright ones, else a note."""
    turned = [entry.id for entry in tracking.entries if not is_upright(entry.world_mat)]
    if turned and options.camera == "fateavatar":
        findings.error(
            tracking.path,
            f"world_mat: expected the identity as rotation, found another in {len(turned)} frames ({ranges(turned)}): "
            "FateAvatar's conversion is right for the identity only",
            turned[0],
            "--set DATASET.camera=exact",
        )
    elif turned:
        findings.note(f"cameras turn in {len(turned)} frames of {tracking.video.name}")


def _check_holes(tracking: Tracking, findings: Findings) -> None:
    """Warn of numbers without a tracked image between the first and the last."""
    numbers = sorted(int(image.name) for image in tracking.listed)
    lost = numbers[-1] - numbers[0] + 1 - len(set(numbers))
    if lost > 0 and tracking.whole and all(len(image.parts) == 1 for image in tracking.listed):
        findings.warning(
            tracking.path,
            f"expected images {numbers[0]} to {numbers[-1]}, found {lost} of them missing: no face was found in them",
            help="frames are joined by number, so nothing is shifted; loaders that count rows would be",
        )


def _check_shapes(clips: Sequence[Clip], findings: Findings) -> None:
    """Report an error for each video whose shape is not that of the first one."""
    first = clips[0].tracking
    for clip in clips[1:]:
        off = float(np.abs(clip.tracking.shape - first.shape).max())
        if off >= _SAME_SHAPE:
            findings.error(
                clip.tracking.path,
                f"`shape_params`: expected those of {first.path}, found others (largest difference {off:.3g})",
                help="a subject has one shape: fit one video, then give --shape_from for the others",
            )


def _note_size(clip: Clip, findings: Findings) -> None:
    """Note images whose size is not that of the published ones."""
    width, height = next(iter(clip.images.values())).size
    if (width, height) != (USUAL_SIZE, USUAL_SIZE):
        findings.note(f"images of {width} x {height} instead of the usual {USUAL_SIZE} x {USUAL_SIZE}")


def _check_sizes(clips: Sequence[Clip], findings: Findings) -> None:
    """Report an error where videos have images of different sizes."""
    sizes = {next(iter(clip.images.values())).size: clip for clip in clips}
    if len(sizes) > 1:
        first, other = list(sizes)[:2]
        findings.error(
            sizes[other].tracking.video.path,
            f"expected images of {first[0]} x {first[1]} pixels as in {sizes[first].tracking.video.path.name}, found "
            f"{other[0]} x {other[1]}",
            help="crop and resize all videos of a subject alike",
        )


def _split(
    subject: Path, clips: Sequence[Clip], parts: dict[str, str], options: ImavatarOptions, findings: Findings
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide the frames of all videos into training and test ids; an empty part, or one frame in both, is an error.

    Args:
        subject: the subject's folder.
        clips: its videos, those for training first.
        parts: folder name of each video -> train or test.
        options: the reader's; a number as `test` takes that many last frames of the only video for testing.
        findings: receives the errors.
    """
    ids: dict[str, list[str]] = {"train": [], "test": []}
    for clip in clips:
        names = [entry.id for entry in clip.tracking.entries]
        ids[parts[clip.tracking.video.path.name]] += names
    if options.test.isdecimal():
        last = int(options.test)
        ids["train"], ids["test"] = (
            ids["train"][: max(0, len(ids["train"]) - last)],
            ids["train"][-last:] if last else [],
        )
    for part, wanted in (("train", "training"), ("test", "test")):
        if not ids[part] and not findings.errors():
            other = "test" if part == "train" else "train"
            findings.error(subject, f"expected {wanted} frames, found none ({len(ids[other])} in the other part)")
    check_disjoint(subject, ids["train"], ids["test"], findings)
    return tuple(ids["train"]), tuple(ids["test"])
