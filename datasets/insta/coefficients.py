"""FLAME coefficients of all frames, from text files or, where those are missing, from `.frame` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.documents import read_numbers
from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.roots import there
from headbench.datasets.insta.frame_files import Tracked, read_frame_file
from headbench.datasets.insta.layout import KINDS, Folder
from headbench.datasets.insta.rotations import degenerate
from headbench.datasets.insta.transforms import Entry
from headbench.harness.errors import DataError
from headbench.harness.reading import Unreadable

__all__ = ["Coefficients", "read_coefficients"]

_Floats = NDArray[np.float64]
_DUMP = (
    "dump exp, shape, eyes, jaw and eyelids in INSTA's scripts/transforms.py, or copy the tracker's checkpoint/ here"
)
_EXPECTED = "one number per line"
_SIXES = {"jaw": ("jaw",), "eyes": ("left eye", "right eye")}
"""Kind -> the joints whose rotations a file of that kind holds, six numbers per joint."""


@dataclass(frozen=True)
class Coefficients:
    """FLAME coefficients of many frames, in the order of the JSON's entries; rotations still as six numbers."""

    exp: _Floats
    """(T, 100) FLAME expression coefficients."""
    jaw: _Floats
    """(T, 6) rotation of the jaw."""
    eyes: _Floats
    """(T, 12) rotations of the eyes in the tracker's order: joint 3, then joint 4."""
    eyelids: _Floats | None
    """(T, 2) eyelids, left and right; None where the subject has none."""
    shape: _Floats
    """(300,) FLAME identity coefficients of the first entry."""
    sources: Mapping[str, str]
    """Kind of coefficients -> ``text``, or ``frame`` where some or all rows are from `.frame` files."""


class _Source:
    """Reads coefficients of single frames, keeps the `.frame` files that were opened, and counts what came from them.

    Args:
        folder: the subject's.
        findings: receives what is wrong.
    """

    def __init__(self, folder: Folder, findings: Findings) -> None:
        self._folder = folder
        self._findings = findings
        self._tracked: dict[str, Tracked | None] = {}
        self._damaged: set[str] = set()
        self.taken: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self.missing: dict[str, list[Entry]] = {kind: [] for kind in KINDS}

    def tracked(self, frame: str) -> Tracked | None:
        """Read a frame's `.frame` file; None where it is missing or damaged, which is reported once."""
        if frame not in self._tracked:
            path = self._folder.tracked(frame)
            try:
                self._tracked[frame] = read_frame_file(path)
            except FileNotFoundError:
                self._tracked[frame] = None
            except DataError as error:
                self._tracked[frame] = None
                self._damaged.add(frame)
                self._findings.error(
                    path, str(error.args[0]).removeprefix(f"{path}: "), frame, error.help or "track the frame again"
                )
        return self._tracked[frame]

    def value(self, kind: str, entry: Entry) -> _Floats | None:
        """Read and check the numbers of a kind for one frame; None where that fails, reported or counted as missing.

        Args:
            kind: a key of `KINDS`.
            entry: the frame.
        """
        path = self._folder.path / entry.coefficients(kind)
        try:
            numbers = read_numbers(path, _EXPECTED, self._findings, entry.id)
        except Unreadable:  # there is none
            tracked = self.tracked(entry.id)
            found = tracked.coefficients.get(kind) if tracked is not None else None
            if entry.id in self._damaged:
                return None
            if found is None:
                self.missing[kind].append(entry)
                return None
            path, numbers = self._folder.tracked(entry.id), found
            self.taken[kind].append(entry.id)
        if numbers is None or not _check(path, kind, entry.id, numbers, self._findings):
            return None
        return numbers


def read_coefficients(folder: Folder, entries: Sequence[Entry], findings: Findings) -> Coefficients | None:
    """Read the coefficients of all frames, and the shape of the first one.

    Args:
        folder: the subject's.
        entries: the frames.
        findings: receives what is wrong.

    Returns:
        None where something is missing or wrong; `findings` then has it.
    """
    source = _Source(folder, findings)
    before = len(findings.errors())
    rows = {kind: [source.value(kind, entry) for entry in entries] for kind in ("exp", "jaw", "eyes", "eyelids")}
    shape = source.value("shape", entries[0])
    for kind in ("exp", "shape", "eyes", "jaw"):
        _report_missing(folder, kind, source.missing[kind], 1 if kind == "shape" else len(entries), findings)
    _report_taken(folder, source, len(entries), findings)
    if shape is not None:
        _check_one_identity(folder, entries[-1], shape, findings)
    eyelids = _eyelids(folder, rows.pop("eyelids"), source.missing["eyelids"], findings)
    if len(findings.errors()) > before or shape is None:
        return None
    stacked = {kind: np.stack([row for row in values if row is not None]) for kind, values in rows.items()}
    sources = {kind: "frame" if ids else "text" for kind, ids in source.taken.items()}
    return Coefficients(**stacked, eyelids=eyelids, shape=shape, sources=sources)


def _check(path: Path, kind: str, frame: str, numbers: _Floats, findings: Findings) -> bool:
    """Tell whether numbers fit their kind: how many, finite, and rotations; what is wrong is an error.

    Args:
        path: the file that they were read from.
        kind: a key of `KINDS`.
        frame: id of their frame.
        numbers: (n,).
        findings: receives the error.
    """
    where = f"`{kind}`: " if path.suffix == ".frame" else ""
    if numbers.size != KINDS[kind]:
        hint = ": DECA/IMAvatar coefficients?" if numbers.size == 50 else ""
        findings.error(
            path,
            f"{where}expected {KINDS[kind]} numbers, found {numbers.size}{hint}",
            frame,
            "coefficients of another tracker or FLAME version are not interchangeable; track with metrical-tracker",
        )
        return False
    if not np.isfinite(numbers).all():
        line = int(np.flatnonzero(~np.isfinite(numbers))[0])
        found = f"{numbers[line]} at number {line + 1}"
        findings.error(path, f"{where}expected finite numbers, found {found}", frame, "tracking failed in this frame")
        return False
    if kind in _SIXES:
        sixes = numbers.reshape(-1, 6)
        for part, six, bad in zip(_SIXES[kind], sixes, degenerate(sixes), strict=True):
            if bad:
                findings.error(
                    path,
                    f"{where}expected two independent rows of a rotation ({part}), found "
                    f"{' '.join(f'{x:g}' for x in six)}",
                    frame,
                    "no rotation is 1 0 0 0 1 0, not zeros",
                )
                return False
    return True


def _check_one_identity(folder: Folder, last: Entry, shape: _Floats, findings: Findings) -> None:
    """Warn where the last frame's shape is another than the first one's.

    Args:
        folder: the subject's.
        last: the last frame.
        shape: (300,) of the first frame.
        findings: receives the warning.
    """
    path = folder.path / last.coefficients("shape")
    other = read_numbers(path, _EXPECTED, findings, last.id) if there(path) else None
    if other is not None and (other.size != shape.size or not np.allclose(other, shape, atol=1e-5)):
        findings.warning(
            path,
            "expected the shape of the first training frame, found another: a subject has one identity; the first is "
            "used for all frames",
            last.id,
        )


def _report_missing(folder: Folder, kind: str, missing: list[Entry], total: int, findings: Findings) -> None:
    """Report coefficients that are in no file: one error for a kind that is missing altogether, else one per frame.

    Args:
        folder: the subject's.
        kind: a key of `KINDS`.
        missing: frames without these coefficients.
        total: number of frames that need them.
        findings: receives the errors.
    """
    if not missing:
        return
    place = (folder.path / missing[0].coefficients(kind)).parent
    if len(missing) == total and not place.is_dir():
        ids = ranges([entry.id for entry in missing])
        stock = ": stock INSTA dumps exp only" if kind != "exp" else ""
        checkpoint = "no checkpoint/*.frame to take them from" if kind != "exp" else "no checkpoint/*.frame either"
        first = folder.tracked(missing[0].id).relative_to(folder.path)
        findings.error(
            place,
            f"expected a text file of `{kind}` for {total} frame(s) ({ids}), found no such folder{stock}; "
            f"{checkpoint} ({first} is the first that is missing)",
            missing[0].id,
            _DUMP,
        )
        return
    for entry in missing:
        findings.error(
            folder.path / entry.coefficients(kind),
            f"expected {KINDS[kind]} numbers, found no such file and no `{kind}` in "
            f"{folder.tracked(entry.id).relative_to(folder.path)}",
            entry.id,
            _DUMP,
        )


def _report_taken(folder: Folder, source: _Source, total: int, findings: Findings) -> None:
    """Note which coefficients came from `.frame` files, and warn where text files of a kind are missing in part.

    Args:
        folder: the subject's.
        source: what was read.
        total: number of frames.
        findings: receives notes and warnings.
    """
    whole = [kind for kind, ids in source.taken.items() if ids and (kind == "shape" or len(ids) == total)]
    if whole:
        findings.note(f"{', '.join(whole)} read from checkpoint/*.frame (no text files)")
    for kind, ids in source.taken.items():
        if ids and kind not in whole:
            sentence = f"{kind} of {len(ids)} of {total} frames read from checkpoint/*.frame"
            findings.note(sentence)
            findings.warning(folder.path / "flame" / kind, f"{sentence} ({ranges(ids)}): text files missing", ids[0])


def _eyelids(folder: Folder, rows: list[_Floats | None], missing: list[Entry], findings: Findings) -> _Floats | None:
    """Stack eyelids to (T, 2); None where some are missing, which is a warning and a note.

    Args:
        folder: the subject's.
        rows: (2,) per frame, None where there are none.
        missing: frames without eyelids in any file.
        findings: receives the warning and the note.
    """
    if not missing and rows:
        return np.stack([row for row in rows if row is not None]) if all(r is not None for r in rows) else None
    place = folder.path / "flame" / "eyelids"
    if len(missing) == len(rows):
        findings.warning(place, "expected eyelids, found none in text or .frame files: blinks cannot be driven")
        findings.note("no eyelids: blinks cannot be driven")
    else:
        ids = ranges([entry.id for entry in missing])
        findings.warning(place, f"eyelids missing in {len(missing)} frames ({ids}): none are used", missing[0].id)
        findings.note(f"eyelids missing in {len(missing)} of {len(rows)} frames: none are used")
    return None
