"""Results of a run as tidy pandas frames."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path
from headbench.results.read import read_run
from headbench.results.schema import SCHEMA

if TYPE_CHECKING:
    import pandas

    from headbench.results.changes import Change, Comparison

__all__ = ["WRITTEN_AS", "Results", "changes_frame", "load"]

_PYARROW = "pip install 'headbench[parquet]'"
WRITTEN_AS = ("csv", "parquet")
"""Formats in which `Results.write` writes frames."""


_CHANGES = (
    *("method", "preset", "variant", "stage", "dataset", "subject", "protocol", "metric", "better", "difference"),
    *("ci95_low", "ci95_high", "of", "count", "effect", "share_higher", "resolved", "decides", "regression", "reason"),
    "p",
)
"""Columns of the changes from one run to another, which docs/statistics.md describes."""


@dataclass(frozen=True)
class Results:
    """Results of one run; docs/results.md describes the columns."""

    path: Path
    """Folder of the run."""
    frames: pandas.DataFrame
    """A row per cell, stage instance, protocol, metric and frame."""
    cells: pandas.DataFrame
    """A row per cell and stage instance: state, times, counts, device, provenance."""
    curves: pandas.DataFrame
    """A row per cell, stage instance, logged step or scored checkpoint, and value."""
    notes: tuple[str, ...] = ()
    """What could not be read, one sentence each."""
    schema: int = SCHEMA
    """Version of the columns."""

    def write(self, folder: Path, format: str = "csv") -> list[Path]:
        """Write the three frames as ``frames``, ``cells`` and ``curves`` into a folder, which is made.

        Args:
            folder: where.
            format: csv or parquet.

        Raises:
            BenchError: parquet, and the package pyarrow is not installed, or cannot be used.
        """
        if format == "parquet" and importlib.util.find_spec("pyarrow") is None:
            raise BenchError("parquet needs the package pyarrow, which is not installed.", help=_PYARROW)
        written = []
        for name in ("frames", "cells", "curves"):
            frame: pandas.DataFrame = getattr(self, name)
            path = folder / f"{name}.{format}"
            with atomic_path(path) as part:
                if format == "parquet":
                    _write_parquet(frame, part)
                else:
                    frame.to_csv(part, index=False, lineterminator="\n")
            written.append(path)
        return written


def _write_parquet(frame: pandas.DataFrame, path: Path) -> None:
    try:
        frame.to_parquet(path, engine="pyarrow", index=False)
    except ImportError as error:
        # One that is too old for pandas, or whose libraries are missing.
        raise BenchError(
            "parquet needs the package pyarrow, and the installed one is unusable.", help=_PYARROW
        ) from error


def load(run: str | Path) -> Results:
    """Read the results of a run as pandas frames: no parsing in notebooks.

    Damage in one cell is a note, and the others are read.

    Args:
        run: the run's folder.

    Raises:
        BenchError: `run` is no run folder, or its plan cannot be read.

    Example:
        >>> results = load(run)
        >>> results.frames.groupby(["method", "metric"])["value"].mean()  # doctest: +SKIP
    """
    from headbench.results.frames import cells_frame, curves_frame, frames_frame

    found = read_run(Path(run))
    name = found.path.name
    return Results(
        found.path,
        frames_frame(name, found.results),
        cells_frame(name, found.results),
        curves_frame(name, found.results),
        (*found.notes, *found.unread()),
    )


def changes_frame(found: Comparison, worse: Sequence[Change] = ()) -> pandas.DataFrame:
    """Frame with a row per method, subject (empty: the mean over subjects) and metric of a comparison of two runs.

    Args:
        found: the comparison.
        worse: changes that count as regressions.
    """
    import pandas

    rows = []
    for change in found.changes:
        difference, interval = change.difference, change.difference.shown
        names = dict(zip(("method", "preset", "variant", "stage"), change.entry, strict=True))
        rows.append(
            names
            | {"dataset": change.dataset, "subject": change.subject, "protocol": found.protocol}
            | {"metric": change.metric, "better": change.better, "difference": interval.mean}
            | {"ci95_low": interval.low, "ci95_high": interval.high, "of": interval.scope, "count": interval.count}
            | {"effect": interval.effect, "share_higher": difference.share, "resolved": difference.resolved}
            | {"decides": change.decides, "regression": change in worse, "reason": interval.reason, "p": difference.p}
        )
    return pandas.DataFrame(rows, columns=list(_CHANGES))
