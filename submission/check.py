"""Checks a submission: opens a finished zip as the organisers would, and says what is wrong before they do."""

from __future__ import annotations

import hashlib
import os
import shlex
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headbench.harness.archives import open_zip
from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import sha256_of
from headbench.harness.plugins import Problem
from headbench.harness.plugins.submissions import HiddenView, SubmissionTask, TakesSubmissions, VideoSlot
from headbench.harness.reading import Unreadable
from headbench.submission.archive import Limits, member_bytes, outer_folder, unsafe_members
from headbench.submission.checks import Reference, check_record, check_video
from headbench.submission.colours import colours_of_frames, warmth
from headbench.submission.findings import finding
from headbench.submission.video_probe import SMALL, Look, look_at

__all__ = ["check_zip", "reference_of", "views_of"]

_LONGEST = 10_000
"""Largest number of images of a video whose length the data do not tell."""
_WORKERS = 8

Tell = Callable[[int, int], None]
"""Function that receives the number of videos checked so far and the number of all."""


@dataclass(frozen=True)
class _Seen:
    """Findings about one video of a submission, with its length and SHA-256 where it could be opened."""

    findings: list[Problem]
    frames: int | None = None
    digest: str = ""


def views_of(
    reader: TakesSubmissions,
    folders: Mapping[str, Path],
    options: Mapping[str, Mapping[str, object]],
    task: SubmissionTask,
) -> dict[str, HiddenView]:
    """Hidden view that each video of a submission must show, by member of the zip.

    Args:
        reader: of the dataset.
        folders: person -> folder of the person's data.
        options: person -> options with which the data are read; a person that is missing has none.
        task: what the organisers ask for.

    Raises:
        DataError: the data lacks a view, or its tracking is not the version of the task.
    """
    views: dict[str, HiddenView] = {}
    for subject, folder in folders.items():
        found = {(view.sequence, view.camera_id): view for view in reader.hidden(folder, options.get(subject, {}))}
        for slot in (slot for slot in task.videos if slot.subject == subject):
            view = found.get((slot.sequence, slot.camera_id))
            if view is None:
                raise DataError(f"{folder} has no hidden view of {slot.sequence} by camera {slot.camera_id}.")
            if view.tracking != task.tracking:
                raise DataError(f"{folder}: {task.title} wants {task.tracking}, {slot.sequence} has {view.tracking}.")
            views[slot.member] = view
    return views


def reference_of(
    reader: TakesSubmissions,
    folders: Mapping[str, Path],
    options: Mapping[str, Mapping[str, object]],
    task: SubmissionTask,
) -> Reference:
    """Read what a submission is compared with: the hidden views, and the colours of each person's own images.

    Args:
        reader: of the dataset.
        folders: person -> folder of the person's data.
        options: person -> options with which the data are read; a person that is missing has none.
        task: what the organisers ask for.

    Raises:
        DataError: the data lack a view, their tracking is not the version of the task, or a person cannot be read.
    """
    tints = {}
    for subject, folder in folders.items():
        frames = reader.read(folder, options.get(subject, {})).train
        tint = warmth(colours_of_frames(frames, SMALL, task.background), task.background)
        if tint is not None:
            tints[subject] = tint
    return Reference(views_of(reader, folders, options, task), tints)


def check_zip(
    path: Path,
    task: SubmissionTask,
    reference: Reference | None = None,
    record: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    tell: Tell | None = None,
) -> list[Problem]:
    """Find all that is wrong with the zip of a submission, and what could not be checked.

    Args:
        path: the zip.
        task: what the organisers ask for.
        reference: what the dataset says of the videos; None without data.
        record: contents of the zip's ``submission.json``; None without one.
        limits: of the zip's size; None takes the defaults.
        tell: called after each video with the numbers of videos checked and of all; None: not called.

    Raises:
        BenchError: there is no such file.
    """
    limits, known = limits or Limits(), reference or Reference()
    if not path.is_file():
        raise BenchError(f"{path} is no file.", help="bench submit --help")
    found = _whole(path, task, known, record)
    try:
        with open_zip(path) as archive:
            unsafe = unsafe_members(archive, limits)
            found += [finding("archive", text, name) for name, text in unsafe.items()]
            if "" in unsafe:
                return found
            names = {info.filename for info in archive.infolist() if not info.is_dir()}
            outer = outer_folder(names, [slot.member for slot in task.videos])
            found += _misplaced(outer)
            inside = [{name.removeprefix(outer) for name in group} for group in (names, unsafe)]
            found += _membership(inside[0], inside[1], task)
            slots = [slot for slot in task.videos if outer + slot.member in names - set(unsafe)]
            videos = (record or {}).get("videos")
            seen = _look_at_all(archive, outer, slots, task, known, limits, videos, tell)
    except Unreadable as error:
        return [*found, finding("archive", f"expected a zip, {error.found}", help=error.help)]
    for each in seen.values():
        found += each.findings
    found += _alike(seen)
    if reference is None:
        found += _uneven(slots, seen)
    return found


def _whole(path: Path, task: SubmissionTask, reference: Reference, record: Mapping[str, Any] | None) -> list[Problem]:
    """Findings about a submission as a whole, before its zip is opened.

    Args:
        path: the zip.
        task: what the organisers ask for.
        reference: what the dataset says of the videos; empty without data.
        record: contents of the zip's ``submission.json``; None without one.
    """
    found = []
    if not reference.views:
        text = "frame counts against the tracking, frame order and colours: no data was given (--data-root)"
        found.append(finding("unchecked", text, severity="note"))
    elif not reference.warmth:
        text = "red and blue: no person's images were found"
        found.append(finding("unchecked", text, severity="note"))
    if record is None:
        text = "version of the tracking and loss of encoding: no submission.json belongs to this zip"
        return [*found, finding("unchecked", text, severity="note")]
    digest = record.get("zip", {}).get("sha256")
    if digest != sha256_of(path):
        found.append(finding("record", f"expected the zip of SHA-256 {digest}, found one that was changed since"))
    if record.get("tracking") != task.tracking:
        found.append(finding("tracking", f"expected {task.tracking}, found {record.get('tracking')} in the record"))
    return found


def _misplaced(outer: str) -> list[Problem]:
    if not outer:
        return []
    text = f"expected the people's folders at the top of the zip, found all below {outer}"
    return [finding("folder", text, help=f"zip the content of the folder: cd {shlex.quote(outer)} && zip -r NEW.zip .")]


def _membership(names: set[str], unsafe: set[str], task: SubmissionTask) -> list[Problem]:
    wanted = [slot.member for slot in task.videos]
    missing = [name for name in wanted if name not in names]
    found = [finding("missing", f"expected {len(wanted)} videos, found none here", name) for name in missing]
    more = sorted(names - set(wanted) - unsafe)
    return found + [finding("unexpected", "expected the videos of the task alone, found this", name) for name in more]


def _look_at_all(
    archive: zipfile.ZipFile,
    outer: str,
    slots: list[VideoSlot],
    task: SubmissionTask,
    reference: Reference,
    limits: Limits,
    records: Any,
    tell: Tell | None,
) -> dict[str, _Seen]:
    """Decode and check videos of a zip, several at a time.

    Args:
        archive: the zip.
        outer: folder in the zip below which the videos lie; empty or with a slash at its end.
        slots: the videos.
        task: what the organisers ask for.
        reference: what the dataset says of the videos.
        limits: of the size of members.
        records: member -> what ``submission.json`` says of the video; None where there is no such file.
        tell: called after each video with the numbers of videos checked and of all; None: not called.

    Returns:
        member -> findings, in the order of `slots`.
    """

    def work(slot: VideoSlot) -> _Seen:
        try:
            content = member_bytes(archive, outer + slot.member, limits)
            view = reference.views.get(slot.member)
            look: Look = look_at(content, _LONGEST if view is None else 2 * len(view.frame_ids) + 100)
        except BenchError as error:
            return _Seen([finding("broken", str(error.args[0]), slot.member, help=error.help)])
        digest = hashlib.sha256(content).hexdigest()
        found = check_video(slot, look, task, reference)
        if records is not None:
            entry = records.get(slot.member) if isinstance(records, Mapping) else None
            found += check_record(slot, digest, task, reference, entry)
        return _Seen(found, len(look), digest)

    seen: dict[str, _Seen] = {}
    # Decoding leaves Python's lock to others, so threads are enough.
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as pool:
        for number, (slot, each) in enumerate(zip(slots, pool.map(work, slots), strict=True), start=1):
            seen[slot.member] = each
            if tell is not None:
                tell(number, len(slots))
    return seen


def _alike(seen: Mapping[str, _Seen]) -> list[Problem]:
    """Findings of videos that have the same bytes as another one of the submission."""
    first: dict[str, str] = {}
    found = []
    for member, each in seen.items():
        if each.digest and first.setdefault(each.digest, member) != member:
            text = f"expected a video of its own, found the same bytes as {first[each.digest]}"
            found.append(finding("duplicate", text, member))
    return found


def _uneven(slots: list[VideoSlot], seen: Mapping[str, _Seen]) -> list[Problem]:
    """Findings of sequences whose cameras have different numbers of frames, which needs no tracking data."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for slot in slots:
        frames = seen[slot.member].frames
        if frames is not None:
            counts.setdefault((slot.subject, slot.sequence), {})[slot.camera_id] = frames
    return [
        finding("frames", f"expected as many frames from every camera of {person}/{sequence}, found {_listed(each)}")
        for (person, sequence), each in counts.items()
        if len(set(each.values())) > 1
    ]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} from {camera}" for camera, count in counts.items())
