"""``stage.json``: what a stage instance was made with, and which class loads it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record, write_sealed

__all__ = ["FORMAT", "NAME", "StageRecord", "read_stage", "record_fault", "stale", "write_stage"]

FORMAT = 1
NAME = "stage.json"


@dataclass(frozen=True)
class StageRecord:
    """What an instance was made with."""

    way: str
    """Its name, such as train/bake."""
    loader: str
    """``method:NAME`` or ``stage:NAME``: where the registry finds the class that loads it."""
    config: Mapping[str, Any]
    """Of the stage."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What was read -> its SHA-256; plugins by name and version."""
    format: int = FORMAT


def write_stage(folder: Path, record: StageRecord) -> None:
    """Write stage.json into an instance's folder."""
    write_sealed(folder / NAME, asdict(record))


def read_stage(folder: Path) -> StageRecord | None:
    """stage.json of an instance's folder, None where there is none, as older versions wrote none, or it is damaged.

    Raises:
        BenchError: a newer version wrote it.
    """
    path = folder / NAME
    try:
        version = read_json(path).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise BenchError(
                f"{path}: found stage format {version}, this version reads up to {FORMAT}.",
                help="update headbench: a newer version wrote this",
            )
        return read_record(StageRecord, path)
    except Unreadable:
        return None


def record_fault(folder: Path, loader: str) -> str:
    """Why stage.json of an instance cannot be read; empty where it can, or where an older version wrote none.

    Args:
        loader: of its checkpoint; empty in those of older versions.
    """
    return f"{NAME} is missing or damaged" if loader and read_stage(folder) is None else ""


def stale(saved: StageRecord, config: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """What differs between what an instance was made with and what it would be made with now, in words."""
    found = [] if dict(saved.config) == dict(config) else ["its configuration"]
    names = dict.fromkeys([*saved.inputs, *inputs])
    return found + [name for name in names if saved.inputs.get(name) != inputs.get(name)]
