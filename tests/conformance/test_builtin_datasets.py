"""Every built-in dataset passes the conformance suite of strangers."""

from __future__ import annotations

import pytest

from headbench.datasets.plugin import register_datasets
from headbench.harness.plugins import DatasetSpec
from headbench.testing import DATASET_CHECKS, check_dataset

SPECS: list[DatasetSpec] = []
register_datasets(SPECS.append)
SAME_READER = ("pointavatar", "4dface", "emotalk3d")
"""IMAvatar's reader under other names: they are found, read and refuse what it refuses."""


@pytest.mark.tried(
    "damaged inputs",
    "one file of each kind of each dataset, damaged in two of five ways",
    "read all the same, or refused in one sentence that the check tells, too",
)
@pytest.mark.parametrize("spec", SPECS, ids=[spec.name for spec in SPECS])
def test_a_built_in_dataset_conforms(spec: DatasetSpec) -> None:
    only = ("subjects", "read", "pixels") if spec.name in SAME_READER else tuple(DATASET_CHECKS)
    assert [outcome.check for outcome in check_dataset(spec, only)] == list(only)
