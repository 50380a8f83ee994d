"""What a plugin registers: data only, so that lists need no torch. Classes are loaded on use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["CHECKED", "Checked", "DatasetSpec", "MethodSpec", "Typical"]

Checked = Literal["made-up data", "real data"]
"""What a method ran on in a dataset's layout."""

CHECKED: tuple[str, ...] = get_args(Checked)


@dataclass(frozen=True)
class Typical:
    """What a cell cost where it was measured: a first guess for `bench run --dry-run` until cells have finished."""

    rate: float
    """Training steps a second; 0 where nothing is trained."""
    where: str
    """Machine, preset and image size."""
    bytes: float | None = None
    """Of the cell's folder; None where it was not looked at."""


@dataclass(frozen=True)
class MethodSpec:
    """A method, before its code is loaded."""

    name: str
    """As in tables: FateAvatar. Unique without regard to case; `--set` and folders use it in lower case."""
    target: str
    """``package.module:Class`` of a Portrait or Avatar."""
    presets: Mapping[str, str]
    """preset -> ``package:path/to/preset.yaml`` inside an importable package."""
    default_preset: str
    summary: str = ""
    licence: str = ""
    """Of the original publication's code; ours is MIT."""
    citation: str = ""
    needs: frozenset[str] = frozenset()
    """What every preset needs, such as mouth; what a preset needs besides is in its configuration."""
    checked: Mapping[str, Checked] = field(default_factory=dict)
    """Dataset -> what the method was trained and drawn on there; a dataset that is not named has not been tried."""
    typical: Mapping[str, Typical] = field(default_factory=dict)
    """Device type (cuda, cpu) -> what a cell cost on one."""
    baseline: bool = False
    """A reference line of the table, not a reconstruction method."""


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset layout, before its code is loaded."""

    name: str
    target: str
    """``package.module:Class`` of a dataset reader (harness.plugins.datasets.DatasetReader)."""
    summary: str = ""
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    provides: frozenset[str] = field(default_factory=frozenset)
    """Masks that its frames may have, such as mouth."""
    layouts: tuple[str, ...] = ()
    """Variants that the reader tells apart."""
