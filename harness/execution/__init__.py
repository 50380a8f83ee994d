"""Execution: who does the cells of a run, where, and how one knows that somebody is at work on one."""

from headbench.harness.execution.claim import Claim, Claimed, claimed, holder
from headbench.harness.execution.executor import Executor, ExecutorOptions, Handle, worker_command

__all__ = ["Claim", "Claimed", "Executor", "ExecutorOptions", "Handle", "claimed", "holder", "worker_command"]
