"""Record which data a cell was trained on (one file per subject and run), and say what differs between two records."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.files import write_json
from headbench.harness.names import is_inside
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record

if TYPE_CHECKING:
    from headbench.harness.types import Subject

__all__ = ["Manifest", "Trained", "differences", "mixed", "whole"]

_SHOWN = 4
"""Maximum number of frame IDs that a message spells out."""
_SPLIT = "split"


@dataclass(frozen=True)
class Manifest:
    """Frame IDs, split and digests of a subject, as the dataset's reader gave them."""

    dataset: str
    subject: str
    variant: str
    train: tuple[str, ...]
    """IDs of the training frames."""
    test: tuple[str, ...]
    fingerprint: Mapping[str, str]
    """Kind of data -> SHA-256 over all frames."""
    frames: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kind of data -> frame ID -> first digits of the frame's own digest; empty where a reader gives none."""
    views: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Set of further views, such as all-around -> IDs of its frames."""
    viewed: Mapping[str, str] = field(default_factory=dict)
    """Set of further views -> digest of its parameters, cameras and pictures."""

    @classmethod
    def of(cls, subject: Subject) -> Manifest:
        """Manifest of a subject as it was read; keys ``what:ID`` of its fingerprint are digests of single frames."""
        frames: dict[str, dict[str, str]] = {}
        for key, digest in subject.fingerprint.items():
            what, colon, name = key.partition(":")
            if colon:
                frames.setdefault(what, {})[name] = digest
        return cls(
            subject.dataset,
            subject.name,
            subject.variant,
            tuple(frame.id for frame in subject.train),
            tuple(frame.id for frame in subject.test),
            whole(subject.fingerprint),
            frames,
            {name: tuple(frame.id for frame in found.frames) for name, found in subject.views.items()},
            {name: found.digest for name, found in subject.views.items()},
        )

    def ids(self, views: str) -> tuple[str, ...]:
        """IDs of the frames in a set of views; empty where the data lack the set."""
        return self.test if views == "test" else tuple(self.views.get(views, ()))

    @property
    def file(self) -> str:
        """Path of the manifest below the run's folder; different data have different paths."""
        about = json.dumps([self.dataset, self.subject, self.train, self.test, sorted(self.fingerprint.items())])
        return f"data/{self.dataset}/{self.subject}-{hashlib.sha256(about.encode()).hexdigest()[:12]}.json"

    def write(self, run: Path) -> None:
        """Write the manifest into a run's folder, unless it is there already."""
        if Manifest.read(run, self.file) != self:
            # Not `asdict`, which copies thousands of entries one by one.
            write_json(run / self.file, {"format": 1, **self.__dict__}, durable=False)

    @classmethod
    def read(cls, run: Path, file: str) -> Manifest | None:
        """Read a manifest; None where it is missing or damaged, and messages can then name no frames."""
        if not file.startswith("data/") or not is_inside(file):
            return None
        try:
            path = f"{run}/{file}"
            about = os.stat(path)  # noqa: PTH116, thousands of paths are slow to put together
            return _read_manifest(path, about.st_mtime_ns, about.st_size)
        except (Unreadable, OSError):
            return None


@functools.lru_cache(maxsize=128)
def _read_manifest(path: str, changed: int, size: int) -> Manifest:
    """Read a manifest that many cells of a run share; time of change and size tell when it must be read again."""
    return read_record(Manifest, Path(path))


@dataclass(frozen=True)
class Trained:
    """Data that a cell was trained on."""

    folder: Path
    """Folder of the cell."""
    data: Manifest
    options: Mapping[str, Any]
    """Options of the dataset's reader."""


def mixed(one: Trained, other: Trained) -> list[str]:
    """Differences between the data of two cells that a table would show side by side; empty where it may show both.

    Options of a reader are part of a variant's name: cells that differ in them are meant to differ.

    Args:
        one: data of one cell.
        other: data of the other cell.
    """
    first, second = one.data, other.data
    if (first.dataset, first.subject) != (second.dataset, second.subject) or one.options != other.options:
        return []
    if not first.fingerprint or not second.fingerprint:
        return []
    known = bool(first.train and second.train)
    return differences(first.fingerprint, second.fingerprint, first if known else None, second if known else None)


def whole(fingerprint: Mapping[str, str]) -> dict[str, str]:
    """Digests of a fingerprint over all frames, without those of single frames."""
    return {what: digest for what, digest in fingerprint.items() if ":" not in what}


def differences(
    before: Mapping[str, str], now: Mapping[str, str], old: Manifest | None = None, new: Manifest | None = None
) -> list[str]:
    """Changes between two fingerprints of a subject, in words, one text per kind of data.

    Args:
        before: kind of data -> earlier SHA-256 over all frames.
        now: kind of data -> present SHA-256 over all frames.
        old: earlier manifest, where it is known; with `new` it tells which frames changed.
        new: present manifest, where it is known.
    """
    changed = [what for what in sorted({*before, *now}) if before.get(what) != now.get(what)]
    if old is None or new is None:
        return [f"data {what} was {_short(before.get(what))}, is {_short(now.get(what))}" for what in changed]
    lines = []
    for what in changed:
        if what == _SPLIT:
            lines.append(f"data split: {_split(old, new)}")
        elif what in old.frames and what in new.frames:
            lines.append(f"data {what}: {_frames(old.frames[what], new.frames[what])}")
        else:
            lines.append(f"data {what} was {_short(before.get(what))}, is {_short(now.get(what))}")
    return lines


def _frames(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    both = [name for name in old if name in new]
    other = [name for name in both if old[name] != new[name]]
    parts = []
    if other:
        parts.append(f"{len(other)} of {len(both)} frames differ ({_names(other)})")
    parts += _added_removed(list(old), list(new))
    return ", ".join(parts) or "what all frames share differs (identity, head, lens)"


def _split(old: Manifest, new: Manifest) -> str:
    parts = _added_removed([*old.train, *old.test], [*new.train, *new.test])
    for text, before, after in (
        ("from training to testing", old.train, new.test),
        ("from testing to training", old.test, new.train),
    ):
        moved = [name for name in before if name in {*after}]
        if moved:
            parts.append(f"{len(moved)} moved {text} ({_names(moved)})")
    return ", ".join(parts) or "another order of frames"


def _added_removed(old: Sequence[str], new: Sequence[str]) -> list[str]:
    known, found = {*old}, {*new}
    parts = []
    for text, names in (
        ("gone", [name for name in old if name not in found]),
        ("new", [name for name in new if name not in known]),
    ):
        if names:
            parts.append(f"{len(names)} {text} ({_names(names)})")
    return parts


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] + "…" if len(text) > 40 else text
