"""Conformance suite of a dataset's reader: `check_dataset` and `try_dataset`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.plugins.checks import dataset_reader
from headbench.harness.plugins.specs import DatasetSpec
from headbench.testing.dataset_checks import CHECKS, Sample
from headbench.testing.failure import Outcome, attempt, require

__all__ = ["check_dataset", "try_dataset"]


def check_dataset(spec: DatasetSpec, only: Sequence[str] = ()) -> list[Outcome]:
    """Check that a dataset's reader does what the harness relies on, with the sample that its plugin writes.

    Args:
        spec: as it is registered, with a `sample`; it need not be registered.
        only: names of checks (`headbench.testing.DATASET_CHECKS`); empty runs all.

    Returns:
        one outcome per check, none of them a failure.

    Raises:
        NonConforming: the first check that fails; it names dataset, check, what was expected and what was found.

    Example:
        >>> from headbench.testing import check_dataset
        >>> from headbench_mine import MINE  # doctest: +SKIP
        >>> outcomes = check_dataset(MINE)  # doctest: +SKIP
    """
    found = []
    for outcome in try_dataset(spec, only):
        if outcome.failure is not None:
            raise outcome.failure
        found.append(outcome)
    return found


def try_dataset(spec: DatasetSpec, only: Sequence[str] = ()) -> Iterator[Outcome]:
    """Yield the outcomes of a dataset's checks one by one, going on after failures.

    Args:
        spec: as it is registered, with a `sample`; it need not be registered.
        only: names of checks (`headbench.testing.DATASET_CHECKS`); empty runs all.

    Raises:
        BenchError: there is no such check.
    """
    for name in only:
        if name not in CHECKS:
            raise BenchError(did_you_mean("check", name, CHECKS))
    subject = f"dataset {spec.name}"
    with tempfile.TemporaryDirectory(prefix="headbench-check-") as folder:
        samples: list[Sample] = []

        def load() -> str:
            require(bool(spec.sample), "a sample in its DatasetSpec, which writes a small synthetic subject", "none")
            samples.append(Sample(spec, dataset_reader(spec, spec.name), Path(folder)))
            return ""

        loaded = attempt(subject, "loading", load)
        if loaded.failure is not None:
            yield loaded
            return
        for name in only or CHECKS:
            yield attempt(subject, name, lambda name=name: CHECKS[name](samples[0]))  # type: ignore[misc]
