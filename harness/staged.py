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
    """Record of what a stage instance was made with, and of which class loads it: the content of ``stage.json``."""

    way: str
    """Name of the instance, such as train/bake."""
    loader: str
    """``method:NAME`` or ``stage:NAME``: where the registry finds the class that loads it."""
    config: Mapping[str, Any]
    """Configuration of the stage."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each input by its name; plugins by name and version."""
    format: int = FORMAT


def write_stage(folder: Path, record: StageRecord) -> None:
    """Write `record` as ``stage.json`` into an instance's folder."""
    write_sealed(folder / NAME, asdict(record))


def read_stage(folder: Path) -> StageRecord | None:
    """Read ``stage.json`` of an instance's folder; None where it is damaged or missing, as older versions wrote none.

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
    """Why ``stage.json`` of an instance cannot be read; empty where it can, or where an older version wrote none.

    Args:
        folder: of the instance.
        loader: class that its checkpoint names; empty in checkpoints of older versions.
    """
    return f"{NAME} is missing or damaged" if loader and read_stage(folder) is None else ""


def stale(saved: StageRecord, config: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """Names of what has changed since an instance was made, for messages; empty where it is up to date.

    Args:
        saved: what the instance was made with.
        config: configuration of the stage now.
        inputs: SHA-256 of each input now, by name.
    """
    found = [] if dict(saved.config) == dict(config) else ["its configuration"]
    names = dict.fromkeys([*saved.inputs, *inputs])
    return found + [name for name in names if saved.inputs.get(name) != inputs.get(name)]
