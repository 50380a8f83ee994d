"""What a cell of a run has to show: its renders, and its dataset's images on the background of these.

Importing this module imports torch, because dataset readers do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.image import on_background
from headbench.harness.names import quoted
from headbench.harness.pictures import read_picture
from headbench.harness.plugins import Registry
from headbench.harness.reading import Unreadable, read_bytes
from headbench.harness.run import Cell, Job, State
from headbench.harness.run.cell import run_of
from headbench.harness.run.listing import LISTING
from headbench.harness.run.render import read_note
from headbench.harness.run.subject import read_subject
from headbench.harness.train.frames import BACKGROUNDS
from headbench.harness.types import TEST, Frame, Subject
from headbench.metrics.protocol import VIEW_SETS
from headbench.reports.draw import Rgb8
from headbench.results import Result, Run, rerun

__all__ = [
    "Subjects",
    "background_of",
    "first_seeds",
    "is_whole",
    "job_of",
    "ranked",
    "renders_of",
    "view_sets",
    "workers",
]

KEPT_BYTES = 1_000_000_000
"""Limit of the decoded pictures that are kept: the test frames of a usual subject, several times."""
MOST_WORKERS = 8
"""Limit of the threads that draw, each of which holds a video encoder."""


def ranked(run: Run) -> list[tuple[Result, int]]:
    """Finished cells of a run, each with its number among the seeds of its method and subject: 0 is the first."""
    count: Counter[object] = Counter()
    found = []
    for result in run.results:
        if result.state is State.DONE:
            group = (result.entry, result.place)
            found.append((result, count[group]))
            count[group] += 1
    return found


def first_seeds(run: Run) -> list[Result]:
    """First finished seed of every method and subject."""
    return [result for result, rank in ranked(run) if rank == 0]


def workers() -> int:
    """Number of threads that draw at once: reading, encoding and hashing let others run meanwhile."""
    return min(os.cpu_count() or 1, MOST_WORKERS)


class Subjects:
    """Reads subjects from their datasets, each once, however many cells show it, and decodes pictures; for threads."""

    def __init__(self, known: Registry) -> None:
        self._known = known
        self._reading = threading.RLock()
        """Held while a subject is read: one after the other, as readers are plugins' code."""
        self._read: dict[str, Subject] = {}
        self._keeping = threading.Lock()
        self._decoded: dict[tuple[object, ...], Rgb8] = {}
        self._bytes = 0

    def __call__(self, job: Job) -> Subject:
        key = json.dumps([job.data, dict(job.data_options), job.limit, job.cell.dataset], sort_keys=True, default=str)
        found = self._read.get(key)
        if found is not None:
            return found
        with self._reading:
            if key not in self._read:
                self._read[key] = read_subject(job, self._known)
            return self._read[key]

    def truth(self, frame: Frame, background: tuple[float, float, float]) -> Rgb8:
        """A frame of one of these subjects on a background, decoded once for all methods that show it.

        Args:
            frame: the frame; subjects, and with them their frames, live as long as this object.
            background: RGB in [0, 1].
        """
        key = (id(frame), frame.id, background)
        found = self._decoded.get(key)
        return self._kept(key, on_background(frame.pixels(), background)) if found is None else found

    def render(self, path: Path, hashes: Mapping[str, str]) -> Rgb8 | None:
        """A render, decoded once for all that show it; None where it is missing, or not as it was rendered.

        Args:
            path: the file.
            hashes: names of the folder's files, each with the SHA-256 that was recorded when it was written.
        """
        digest = hashes.get(path.name)
        key = (path, digest)
        found = self._decoded.get(key)
        if found is not None or digest is None:
            return found
        try:
            content = read_bytes(path)
        except Unreadable:
            return None
        if hashlib.sha256(content).hexdigest() != digest:
            return None
        return self._kept(key, np.asarray(read_picture(path, content).convert("RGB")))

    def _kept(self, key: tuple[object, ...], picture: Rgb8) -> Rgb8:
        """Keep a picture, and drop those that were kept first where all of them take too much memory."""
        with self._keeping:
            if key not in self._decoded:
                self._decoded[key] = picture
                self._bytes += picture.nbytes
            while self._bytes > KEPT_BYTES and len(self._decoded) > 1:
                self._bytes -= self._decoded.pop(next(iter(self._decoded))).nbytes
        return picture


def is_whole(path: Path, hashes: Mapping[str, str]) -> bool:
    """Whether a render still has the SHA-256 that was recorded when it was written."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest() == hashes[path.name]
    except Unreadable:
        return False


def background_of(renders: Path) -> tuple[float, float, float]:
    """Background, RGB in [0, 1], on which a folder of renders was drawn."""
    name = read_json(renders / "render.json").get("background")
    if not isinstance(name, str) or name not in BACKGROUNDS:
        raise BenchError(f"{renders / 'render.json'}: background {quoted(name)}, expected {', '.join(BACKGROUNDS)}.")
    return BACKGROUNDS[name]


def job_of(folder: Path) -> Job:
    """Job of a cell, read from its folder; fields that figures do not need may be missing."""
    path = folder / "job.json"
    values = read_json(path)
    known: dict[str, Any] = {field.name: values.get(field.name) for field in dataclasses.fields(Job)}
    try:
        job = Job(**{**known, "cell": Cell(**values["cell"])})
    except (KeyError, TypeError) as error:
        raise BenchError(f"{path} names no cell.") from error
    if not isinstance(job.data, str) or not isinstance(job.data_options, dict) or not isinstance(job.fingerprint, dict):
        raise BenchError(f"{path} does not say where its data lie, or with which options they are read.")
    return job


def view_sets(result: Result) -> list[str]:
    """Sets of views that a cell has complete renders of, the test frames first; these alone where it has none."""
    notes = [read_note(path) for path in result.files.render_folders() if (path / LISTING).exists()]
    found = {TEST if note is None or note.views is None else note.views for note in notes}
    return [views for views in VIEW_SETS if views in found] or [TEST]


def renders_of(result: Result, views: str) -> Path:
    """Folder of a cell's complete renders of a set of views.

    Of several, one without test-time tracking and on white is preferred.
    """
    there = [path for path in result.files.render_folders() if (path / LISTING).exists()]
    about = {folder: read_json(folder / "render.json") for folder in there}
    complete = [folder for folder in there if about[folder].get("views", TEST) == views]
    if not complete:
        raise BenchError(f"{result.folder} has no complete renders.", help=rerun(run_of(result.folder)))
    return min(complete, key=lambda folder: ("tracked" in about[folder], about[folder].get("background") != "white"))
