"""Execution of cells (one training each): executors start workers, and claims say which process works on one."""

from headbench.harness.execution.claim import Claim, Claimed, claimed, holder
from headbench.harness.execution.executor import Executor, ExecutorOptions, Handle, worker_command

__all__ = ["Claim", "Claimed", "Executor", "ExecutorOptions", "Handle", "claimed", "holder", "worker_command"]
