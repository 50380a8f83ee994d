"""Execution of cells (one training each): executors start workers, and claims say which process works on one.

What executors are is imported on use, so that whoever only asks for claims needs no pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from headbench.harness.execution.claim import Claim, Claimed, claimed, holder

if TYPE_CHECKING:
    from headbench.harness.execution.executor import Executor, ExecutorOptions, Handle, worker_command

__all__ = ["Claim", "Claimed", "Executor", "ExecutorOptions", "Handle", "claimed", "holder", "worker_command"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("headbench.harness.execution.executor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
