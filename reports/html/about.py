"""Cells of a run with their states, links to what lies beside them, and where their numbers come from."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from headbench.harness.layout import paths_in
from headbench.harness.run.provenance import Provenance
from headbench.reports.columns import COST_COLUMNS
from headbench.reports.table import named
from headbench.reports.values import SHARED
from headbench.results import Result, Run

__all__ = ["CellLine", "Origin", "avatar_pages", "cells_of", "origins_of"]

AVATARS = 3
"""Limit of the pages of avatars that a cell links."""


@dataclass(frozen=True)
class CellLine:
    """A cell, or a stage instance of one, as the page lists it."""

    where: str
    method: str
    seed: int
    state: str
    reason: str
    costs: tuple[str, ...]
    """Training time, frames per second and Gaussians, as tables show them."""
    links: tuple[tuple[str, str], ...] = ()
    """Names and addresses relative to the report's folder."""


@dataclass(frozen=True)
class Origin:
    """What a group of cells was computed with."""

    cells: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    """Names and values, such as code and commit."""


def cells_of(run: Run, home: Path) -> list[CellLine]:
    """Cells of a run in the order of its plan.

    Args:
        run: the run.
        home: folder of the report, from which links lead.
    """
    found = []
    for result in run.results:
        values = {"train_seconds": result.train_seconds, "fps": result.fps, "gaussians": result.gaussians}
        lacks = {"fps": SHARED} if result.shared else {}
        costs = tuple(
            lacks.get(column.key, "–") if (value := values[column.key]) is None else column.format(value)
            for column in COST_COLUMNS[:3]
        )
        where, name, state = " / ".join(result.place), named(*result.entry), str(result.state)
        links = tuple((path.name, _address(path, home)) for path in avatar_pages(result))
        found.append(CellLine(where, name, result.cell.seed, state, result.reason, costs, links))
    return found


def avatar_pages(result: Result) -> list[Path]:
    """HTML files that `bench export --format html` wrote beside a stage instance, or beside its only cell."""
    folders = [result.files.folder, *([result.folder] if str(result.way) == "train" else [])]
    return sorted(path for folder in folders for path in paths_in(folder, end=".html") if path.is_file())[:AVATARS]


def _address(path: Path, home: Path) -> str:
    relative = os.path.relpath(path.resolve(), home.resolve())
    return "/".join(quote(os.fsencode(part)) for part in Path(relative).parts)


def origins_of(run: Run) -> list[Origin]:
    """What cells were computed with: one entry per group of cells that agree in all of it."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    seen = set()
    for result in run.results:
        if result.folder in seen:
            continue
        seen.add(result.folder)
        if result.provenance is not None:
            groups.setdefault(_facts(result.provenance, result), []).append(result.cell.path)
    return [Origin(tuple(cells), facts) for facts, cells in groups.items()]


def _facts(record: Provenance, result: Result) -> tuple[tuple[str, str], ...]:
    commit = record.code.get("commit")
    code = f"{commit}{' with changes that are not committed' if record.code.get('dirty') else ''}" if commit else ""
    gpus = record.machine.get("gpus")
    machine = [str(record.machine[name]) for name in ("processor", "platform") if record.machine.get(name)]
    machine += [str(gpu) for gpu in gpus] if isinstance(gpus, list) else []
    facts = {
        "Code": code,
        "Versions": ", ".join(_pairs(record.versions)),
        "Machine": "; ".join(machine),
        "Trained on": result.device,
        "Command": shlex.join(map(str, record.argv)),
        "Resumed": f"{len(record.resumed_with)} times" if record.resumed_with else "",
    }
    return tuple((name, text) for name, text in facts.items() if text)


def _pairs(versions: Mapping[str, object]) -> Iterable[str]:
    return (f"{name} {version}" for name, version in versions.items() if version)
