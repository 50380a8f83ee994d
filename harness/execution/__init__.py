"""Execution of a run's cells: executors that start workers, and claims that say which process works on a cell."""

from headbench.harness.execution.claim import Claim, Claimed, claimed, holder
from headbench.harness.execution.executor import Executor, ExecutorOptions, Handle, worker_command

__all__ = ["Claim", "Claimed", "Executor", "ExecutorOptions", "Handle", "claimed", "holder", "worker_command"]
