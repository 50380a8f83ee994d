"""Execution: who does the cells of a run, where, and how one knows that somebody is at work on one."""

from headbench.harness.execution.claim import Claim, Claimed, claimed, holder

__all__ = ["Claim", "Claimed", "claimed", "holder"]
