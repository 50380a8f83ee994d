"""Specs that plugins register: data only, so that lists need no torch. Classes are loaded on use."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = [
    "BETTER",
    "Better",
    "CHECKED",
    "Checked",
    "DatasetSpec",
    "ExecutorSpec",
    "MethodSpec",
    "MetricSpec",
    "ProtocolSpec",
    "SCOPES",
    "SOURCES",
    "Scope",
    "StageSpec",
    "TableFormatSpec",
    "Typical",
    "Variant",
    "ViewPriorSpec",
]

Checked = Literal["synthetic data", "real data"]
"""Kind of data in a dataset's layout on which a method was tried."""

CHECKED: tuple[str, ...] = get_args(Checked)

Scope = Literal["frame", "pair", "sequence"]
"""Scope of one value of a metric: a frame; a frame and the one before it; all frames of a sequence."""

SCOPES: tuple[str, ...] = get_args(Scope)

Better = Literal["higher", "lower", ""]
"""Direction in which a metric's values are better; empty where none is, and tables do not rank."""

BETTER: tuple[str, ...] = get_args(Better)

Source = Literal["", "file", "folder"]
"""Kind of what a view prior reads of the user's: nothing, a file or a folder."""

SOURCES: tuple[str, ...] = get_args(Source)


@dataclass(frozen=True)
class Typical:
    """Measured cost of training one subject, or of one stage: a first guess until cells have finished nearby.

    `bench run --dry-run` adds it up, and executors ask for time and memory by it where the user names none.
    """

    rate: float
    """Training steps per second; 0 where nothing is trained."""
    where: str
    """Machine, preset and image size of the measurement."""
    bytes: float | None = None
    """Size of the cell's folder; None where it was not measured."""
    memory: float | None = None
    """Peak of host memory in bytes; None where it was not measured."""
    gpu_memory: float | None = None
    """Peak of GPU memory in training in bytes; None where it was not measured."""
    seconds: float | None = None
    """Of a method: seconds of a cell besides training, for start, reading, rendering and scores; of a stage: all of
    its seconds. None where they were not measured."""
    source: str = ""
    """Page on the measurement, such as docs/benchmarks/2026-11-h200-five.md."""


@dataclass(frozen=True)
class MethodSpec:
    """Description of a method, before its code is loaded."""

    name: str
    """Name in tables, such as FateAvatar. Unique without regard to case; `--set` and folders use it in lower case."""
    target: str
    """``package.module:Class`` of a Portrait or Avatar."""
    presets: Mapping[str, str]
    """Preset -> ``package:path/to/preset.yaml`` inside an importable package."""
    default_preset: str
    summary: str = ""
    licence: str = ""
    """Licence of the original publication's code; ours is MIT."""
    citation: str = ""
    needs: frozenset[str] = frozenset()
    """Masks and networks that every preset needs, such as mouth; further needs of a preset are in its configuration."""
    checked: Mapping[str, Checked] = field(default_factory=dict)
    """Dataset -> kind of data that the method was trained and rendered on there; others have not been tried."""
    typical: Mapping[str, Typical] = field(default_factory=dict)
    """Device type (cuda, cpu) -> measured cost of a cell on one."""
    baseline: bool = False
    """Whether this is a reference line of the table, not a reconstruction method."""
    importers: tuple[str, ...] = ()
    """``package.module:Class`` of each importer (harness.importing.Importer) of checkpoints that published code wrote;
    their files have different endings."""


@dataclass(frozen=True)
class DatasetSpec:
    """Description of a dataset layout, before its code is loaded."""

    name: str
    target: str
    """``package.module:Class`` of a dataset reader (harness.plugins.datasets.DatasetReader)."""
    summary: str = ""
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    provides: frozenset[str] = field(default_factory=frozenset)
    """Masks that frames of the dataset may have, such as mouth."""
    layouts: tuple[str, ...] = ()
    """Variants of the layout that the reader tells apart."""
    sample: str = ""
    """``package.module:function`` that takes a folder `root` and writes a small synthetic subject of the layout into
    ``root/<dataset>/<subject>``. `bench plugins --check --train` reads and damages it; empty: nothing is tried."""


@dataclass(frozen=True)
class Variant:
    """Variant of a metric, which fills a column of its own, such as LPIPS with one network."""

    label: str
    """Heading of the column."""
    latex: str = ""
    """The heading in LaTeX, raw; empty takes that of the other formats."""
    meaning: str = ""
    needs: frozenset[str] = frozenset()
    """Networks, assets and masks of this variant, besides what the metric needs in every variant."""


@dataclass(frozen=True)
class MetricSpec:
    """Description of a metric, before its code is loaded."""

    name: str
    """Name in protocols and files of scores, such as psnr. Unique without regard to case."""
    target: str
    """``package.module:Class`` of a metric (metrics.Metric)."""
    unit: str = ""
    digits: int = 4
    """Digits after the decimal point in tables."""
    better: Better = ""
    label: str = ""
    """Heading of the metric's column; empty takes the name."""
    latex: str = ""
    """The heading in LaTeX, raw; empty takes that of the other formats."""
    meaning: str = ""
    """One phrase that says what a value is, and over what it is a mean."""
    needs: frozenset[str] = frozenset()
    """Registered networks (lpips-alex) and assets (flame/masks), masks of the data (mouth), or projection: the tracked
    head's mesh in the image."""
    scope: Scope = "frame"
    summary: str = ""
    variants: Mapping[str, Variant] = field(default_factory=dict)
    """Variants by name. Where a metric has some, a protocol must name one: lpips/alex. Where it has none, a protocol
    may ask for it several times under labels of its own: flicker, flicker/mouth."""
    unlimited: bool = False
    """Whether equal images give infinity, as PSNR does."""

    def asked_as(self) -> list[str]:
        """Names by which a protocol can ask for the metric: its name, or its name with each variant."""
        return [f"{self.name}/{variant}" for variant in self.variants] or [self.name]


@dataclass(frozen=True)
class ExecutorSpec:
    """Description of an executor, which runs the cells of a run, before its code is loaded."""

    name: str
    """Name for ``bench run --executor``, such as local. Unique without regard to case."""
    target: str
    """``package.module:Class`` of an executor (harness.execution.Executor)."""
    summary: str = ""
    needs: frozenset[str] = frozenset()
    """Programs that the executor calls, such as sbatch."""
    elsewhere: bool = False
    """Whether cells are computed on other machines, so that the devices of this one say nothing about them."""

    def lacks(self) -> list[str]:
        """Programs among `needs` that this machine does not have."""
        return sorted(name for name in self.needs if shutil.which(name) is None)


@dataclass(frozen=True)
class StageSpec:
    """Description of a stage, which makes a portrait from a parent or from nothing, before its code is loaded."""

    name: str
    """Name in ways such as train/bake: lower-case letters, digits, - and _."""
    target: str
    """``package.module:Class`` of a stage (harness.stage.Stage)."""
    parents: tuple[str, ...] = ()
    """Stages whose portraits it can be made from; empty for one that is made from nothing."""
    summary: str = ""
    needs: frozenset[str] = frozenset()
    """Attributes that the parent's class must have, such as gaussians, and registered networks (lpips-alex)."""
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Preset, the label of a way (train/bake:decoder) -> options; an option that it leaves out has its default."""
    default_preset: str = ""
    """Preset that is taken where a way names none; empty takes the options' defaults."""
    portrait: str = ""
    """``package.module:Class`` of a Portrait that loads the result; empty where it is the parent's class."""
    labels: str = ""
    """Option (`harness.stage.input_file`) of the file that an instance is made from, where its label is for the user to
    choose: train/bake/edit:logo. Where ``--set`` names none, the file that the cell keeps for the instance is taken.
    Empty: labels are presets."""
    typical: Mapping[str, Typical] = field(default_factory=dict)
    """Device type (cuda, cpu) -> measured seconds of one instance."""
    kept: str = ""
    """Name of that file in a cell, such as edits.json."""
    checked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Method -> datasets on whose synthetic data an instance was made from it, rendered and scored; others have not
    been tried, or are refused."""


@dataclass(frozen=True)
class ViewPriorSpec:
    """Description of a view prior, which shows a head from where no camera stood, before its code is loaded."""

    name: str
    """Name for ``--set complete.prior=NAME``, such as mirror. Unique without regard to case."""
    target: str
    """``package.module:Class`` of a view prior (harness.view_prior.ViewPrior)."""
    summary: str = ""
    source: Source = ""
    """What the prior reads of the user's by ``--set complete.source=PATH``: a file, a folder, or nothing."""
    licence: str = ""
    """Licence of what the prior needs and does not bring, such as a network's weights."""


@dataclass(frozen=True)
class ProtocolSpec:
    """Description of a scoring protocol: its name, and a YAML file for each of its versions."""

    name: str
    """Name without version, such as headbench: lower-case letters, digits and -. Unique without regard to case."""
    files: tuple[str, ...]
    """``package:NAME@VERSION.yaml`` of each version, in the order of versions; a released one is never changed."""
    target: str = "headbench.metrics.protocol:Protocol"
    """Class of the protocols; there is no other."""


@dataclass(frozen=True)
class TableFormatSpec:
    """Description of a format in which `bench report` writes tables, before its code is loaded."""

    name: str
    """Name for ``bench report --format NAME``. Unique without regard to case."""
    target: str
    """``package.module:Class`` of a table format (reports.TableFormat)."""
    suffix: str = "txt"
    """Suffix of files in the format, without a dot."""
    summary: str = ""
