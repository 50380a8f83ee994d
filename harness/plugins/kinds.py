"""Kinds of things that plugins bring (methods, datasets, …). A further kind is a spec, a hook and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from headbench.harness.plugins.checks import Spec, dataset_reader, method_faults, portrait_class
from headbench.harness.plugins.executor_checks import executor_class, executor_faults
from headbench.harness.plugins.metric_checks import metric_class, metric_faults
from headbench.harness.plugins.protocol_checks import protocol_faults, protocols_of
from headbench.harness.plugins.specs import (
    DatasetSpec,
    ExecutorSpec,
    MethodSpec,
    MetricSpec,
    ProtocolSpec,
    StageSpec,
    TableFormatSpec,
    ViewPriorSpec,
)
from headbench.harness.plugins.stage_checks import stage_class, stage_faults
from headbench.harness.plugins.table_format_checks import table_format_class, table_format_faults
from headbench.harness.plugins.view_prior_checks import view_prior_class, view_prior_faults

__all__ = [
    "DATASETS",
    "EXECUTORS",
    "KINDS",
    "METHODS",
    "METRICS",
    "PROTOCOLS",
    "STAGES",
    "TABLE_FORMATS",
    "VIEW_PRIORS",
    "Kind",
]

_Spec = TypeVar("_Spec", bound=Spec)


def _nothing(spec: Any) -> list[str]:
    return []


@dataclass(frozen=True)
class Kind(Generic[_Spec]):
    """Kind of thing that plugins bring, such as methods: its spec, and how it is checked and loaded."""

    name: str
    """Name of the kind in messages, such as method."""
    spec: type[_Spec]
    load: Callable[[_Spec, str], Any]
    """Loads what a spec's target names, from the spec and the plugin's name, and checks it against the interface.

    Raises PluginError where it does not fit."""
    faults: Callable[[_Spec], list[str]] = _nothing
    """Finds faults of a spec besides its name and target, without importing anything."""

    @property
    def plural(self) -> str:
        """Name of the kind in lists and names of verbs, such as methods."""
        return f"{self.name}s"

    @property
    def hook(self) -> str:
        """Name of the hook that registers things of the kind, such as register_methods."""
        return f"register_{self.plural.replace('-', '_')}"


METHODS = Kind("method", MethodSpec, portrait_class, method_faults)
DATASETS = Kind("dataset", DatasetSpec, dataset_reader)
METRICS = Kind("metric", MetricSpec, metric_class, metric_faults)
EXECUTORS = Kind("executor", ExecutorSpec, executor_class, executor_faults)
STAGES = Kind("stage", StageSpec, stage_class, stage_faults)
VIEW_PRIORS = Kind("view-prior", ViewPriorSpec, view_prior_class, view_prior_faults)
PROTOCOLS = Kind("protocol", ProtocolSpec, protocols_of, protocol_faults)
TABLE_FORMATS = Kind("table-format", TableFormatSpec, table_format_class, table_format_faults)
KINDS: tuple[Kind[Any], ...] = (
    METHODS,
    DATASETS,
    METRICS,
    PROTOCOLS,
    STAGES,
    VIEW_PRIORS,
    EXECUTORS,
    TABLE_FORMATS,
)
"""All kinds, in the order of registration and of `bench plugins`."""
