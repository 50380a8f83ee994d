"""Hooks that a plugin may implement, one per kind of thing that plugins bring."""

from __future__ import annotations

from collections.abc import Callable

import pluggy

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

hookspec = pluggy.HookspecMarker("headbench")
hookimpl = pluggy.HookimplMarker("headbench")


@hookspec
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Register methods by calling ``register(MethodSpec(...))`` for each."""


@hookspec
def register_datasets(register: Callable[[DatasetSpec], None]) -> None:
    """Register datasets by calling ``register(DatasetSpec(...))`` for each."""


@hookspec
def register_metrics(register: Callable[[MetricSpec], None]) -> None:
    """Register metrics by calling ``register(MetricSpec(...))`` for each."""


@hookspec
def register_executors(register: Callable[[ExecutorSpec], None]) -> None:
    """Register executors by calling ``register(ExecutorSpec(...))`` for each."""


@hookspec
def register_stages(register: Callable[[StageSpec], None]) -> None:
    """Register stages by calling ``register(StageSpec(...))`` for each."""


@hookspec
def register_protocols(register: Callable[[ProtocolSpec], None]) -> None:
    """Register scoring protocols by calling ``register(ProtocolSpec(...))`` for each."""


@hookspec
def register_table_formats(register: Callable[[TableFormatSpec], None]) -> None:
    """Register formats of tables by calling ``register(TableFormatSpec(...))`` for each."""


@hookspec
def register_view_priors(register: Callable[[ViewPriorSpec], None]) -> None:
    """Register view priors by calling ``register(ViewPriorSpec(...))`` for each."""
