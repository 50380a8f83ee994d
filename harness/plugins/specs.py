"""What a plugin registers: data only, so that lists need no torch. Classes are loaded on use."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = [
    "BETTER",
    "CHECKED",
    "SCOPES",
    "Better",
    "Checked",
    "DatasetSpec",
    "ExecutorSpec",
    "MethodSpec",
    "MetricSpec",
    "StageSpec",
    "Scope",
    "Typical",
    "Variant",
]

Checked = Literal["synthetic data", "real data"]
"""What a method ran on in a dataset's layout."""

CHECKED: tuple[str, ...] = get_args(Checked)

Scope = Literal["frame", "pair", "sequence"]
"""What one value of a metric belongs to: a frame; a frame and the one before it; all frames of a sequence."""

SCOPES: tuple[str, ...] = get_args(Scope)

Better = Literal["higher", "lower", ""]
"""Which values are better; empty where none is, and tables do not rank."""

BETTER: tuple[str, ...] = get_args(Better)


@dataclass(frozen=True)
class Typical:
    """What a cell cost where it was measured: a first guess for `bench run --dry-run` until cells have finished."""

    rate: float
    """Training steps per second; 0 where nothing is trained."""
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
    sample: str = ""
    """``package.module:function`` that takes a folder and writes a small synthetic subject below it, as the layout has
    it: ``root/<dataset>/<subject>``. `bench plugins --check --train` reads and damages it; empty: nothing is tried."""


@dataclass(frozen=True)
class Variant:
    """One of the columns that a metric can fill, such as LPIPS with one network."""

    label: str
    """As in a heading."""
    latex: str = ""
    """The heading in LaTeX, raw; empty takes that of the other formats."""
    meaning: str = ""
    needs: frozenset[str] = frozenset()
    """Besides what the metric needs in every variant."""


@dataclass(frozen=True)
class MetricSpec:
    """A metric, before its code is loaded."""

    name: str
    """As in protocols and files of scores: psnr. Unique without regard to case."""
    target: str
    """``package.module:Class`` of a metric (metrics.Metric)."""
    unit: str = ""
    digits: int = 4
    """After the decimal point, in tables."""
    better: Better = ""
    label: str = ""
    """As in a heading; empty takes the name."""
    latex: str = ""
    """The heading in LaTeX, raw; empty takes that of the other formats."""
    meaning: str = ""
    """One phrase: what a value is, and over what it is a mean."""
    needs: frozenset[str] = frozenset()
    """Registered networks (lpips-alex) and assets (flame/masks), masks of the data (mouth), or projection: the tracked
    head's mesh in the image."""
    scope: Scope = "frame"
    summary: str = ""
    variants: Mapping[str, Variant] = field(default_factory=dict)
    """Where a metric has some, a protocol must name one: lpips/alex. Where it has none, a protocol may ask for it
    several times under labels of its own: flicker, flicker/mouth."""
    unlimited: bool = False
    """Whether equal images give infinity, as PSNR does."""

    def asked_as(self) -> list[str]:
        """What a protocol can ask for: the name, or the name with each variant."""
        return [f"{self.name}/{variant}" for variant in self.variants] or [self.name]


@dataclass(frozen=True)
class ExecutorSpec:
    """What runs the cells of a run, before its code is loaded."""

    name: str
    """As in ``bench run --executor``: local. Unique without regard to case."""
    target: str
    """``package.module:Class`` of an executor (harness.execution.Executor)."""
    summary: str = ""
    needs: frozenset[str] = frozenset()
    """Programs that it calls, such as sbatch."""

    def lacks(self) -> list[str]:
        """The programs among `needs` that this machine has not."""
        return sorted(name for name in self.needs if shutil.which(name) is None)


@dataclass(frozen=True)
class StageSpec:
    """A stage, before its code is loaded: it makes a portrait from a parent portrait, or from nothing."""

    name: str
    """As in ways: bake. Lower-case letters, digits, - and _."""
    target: str
    """``package.module:Class`` of a stage (harness.stage.Stage)."""
    parents: tuple[str, ...] = ()
    """Stages that may stand before it; none for a root."""
    summary: str = ""
    needs: frozenset[str] = frozenset()
    """Attributes that the parent's class must have, such as gaussians, and registered networks (lpips-alex)."""
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Label of a way -> options; an option that a preset leaves out has its default."""
    default_preset: str = ""
    """The preset where a way names none; empty takes the options' defaults."""
    portrait: str = ""
    """``package.module:Class`` of a Portrait that loads the result; empty where it is the parent's class."""
