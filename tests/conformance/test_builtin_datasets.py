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
QUICK = ("insta", "vhap", *SAME_READER)
"""Datasets whose suite takes a second or two; IMAvatar's and NeRSemble's take more."""
EACH = [pytest.param(s, id=s.name, marks=() if s.name in QUICK else pytest.mark.slow) for s in SPECS]


@pytest.mark.tried(
    "damaged inputs",
    "one file of each kind of each dataset, damaged in two of five ways",
    "read all the same, or refused in one sentence that the check tells, too",
)
@pytest.mark.parametrize("spec", EACH)
def test_a_built_in_dataset_conforms(spec: DatasetSpec) -> None:
    only = ("subjects", "read", "pixels") if spec.name in SAME_READER else tuple(DATASET_CHECKS)
    assert [outcome.check for outcome in check_dataset(spec, only)] == list(only)
