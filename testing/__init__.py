"""Conformance suites for methods and datasets: what the harness relies on, checked in seconds on a CPU."""

from __future__ import annotations

from headbench.testing.dataset_checks import CHECKS as DATASET_CHECKS
from headbench.testing.datasets import check_dataset, try_dataset
from headbench.testing.failure import NonConforming, Outcome
from headbench.testing.method_checks import CHECKS as METHOD_CHECKS
from headbench.testing.methods import check_method, try_method

__all__ = [
    "DATASET_CHECKS",
    "METHOD_CHECKS",
    "NonConforming",
    "Outcome",
    "check_dataset",
    "check_method",
    "try_dataset",
    "try_method",
]
