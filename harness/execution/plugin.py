"""Plugin of the built-in executor, registered like a stranger's."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import ExecutorSpec

__all__ = ["LOCAL", "register_executors"]

LOCAL = ExecutorSpec(
    "local",
    "headbench.harness.execution.local:Local",
    "on this machine, beside each other with --workers N or --gpus 0,1; they end when `bench run` does",
)


@hookimpl
def register_executors(register: Callable[[ExecutorSpec], None]) -> None:
    """Register the local executor."""
    register(LOCAL)
