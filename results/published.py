"""Numbers that papers print, as data: value, table, protocol and note (configs/published/*.yaml)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headbench.harness.errors import DataError
from headbench.harness.reading import parse_yaml, read_text
from headbench.harness.validation import validate

__all__ = ["Published", "published"]


class _Set(BaseModel):
    """A set of subjects over which a table averages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    """Our dataset with these subjects; empty where none is."""
    name: str
    """The table's name of it."""
    subjects: int = Field(ge=0)
    """Number of subjects; 0: not known."""
    protocol: str
    """Our protocol that scores as they did; empty where that is not known."""
    note: str = ""


class _File(BaseModel):
    """Content of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    table: str
    kind: Literal["primary", "secondary"]
    """primary: read in the paper itself; secondary: what others report of it."""
    note: str
    sets: list[_Set]
    metrics: list[str]
    rows: list[dict[str, str | list[float]]]


@dataclass(frozen=True)
class Published:
    """One row of a published table, on one set of subjects."""

    method: str
    """Name of the method as the paper has it."""
    dataset: str
    """Our dataset; empty where we have none, or the number is over several."""
    subjects: int
    """Number of subjects that it is the mean of; 0: not known."""
    values: Mapping[str, float]
    """Metric key -> value."""
    protocol: str
    """Our protocol that scores as they did; empty where that is not known."""
    source: str
    table: str
    kind: str
    """primary, or secondary: from others' reports."""
    note: str

    def citation(self) -> str:
        """Source, table and set in one line, ``secondary:`` before what others report."""
        first = "secondary: " if self.kind == "secondary" else ""
        return f"{first}{self.source}, {self.table} ({self.note})"


@functools.cache
def published() -> tuple[Published, ...]:
    """All published numbers that come with this package, in the order of their files.

    Raises:
        DataError: a file does not hold what it should.
    """
    folder = resources.files("headbench.configs").joinpath("published")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    found: list[Published] = []
    for name in names:
        with resources.as_file(folder.joinpath(name)) as path:
            found += read_published(path)
    return tuple(found)


def read_published(path: Path) -> list[Published]:
    """Read one file of published numbers.

    Raises:
        DataError: it names a set that it does not describe, or has more values than metrics.
        BenchError: a key is unknown or a value does not fit.
    """
    file: _File = validate(_File, parse_yaml(read_text(path), path), str(path))
    sets = {each.name: each for each in file.sets}
    found = []
    for row in file.rows:
        for name, values in row.items():
            if name == "method" or isinstance(values, str):
                continue
            if name not in sets:
                raise DataError(f"{path}: {row.get('method')} has a value for {name!r}, which is none of its sets.")
            if len(values) > len(file.metrics):
                raise DataError(
                    f"{path}: {row.get('method')}, {name}: {len(values)} values of {len(file.metrics)} metrics."
                )
            own = sets[name]
            note = "; ".join(part for part in (name, own.note, file.note) if part)
            numbers = dict(zip(file.metrics, values, strict=False))
            about = (file.source, file.table, file.kind, note)
            found.append(Published(str(row["method"]), own.dataset, own.subjects, numbers, own.protocol, *about))
    return found
