"""Synthetic subjects that the datasets' plugins write, read through the datasets' layouts."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from headbench.harness.plugins import registry
from headbench.harness.plugins.loading import load_target
from headbench.harness.plugins.specs import DatasetSpec
from headbench.harness.types import Subject

__all__ = ["sampled_subjects", "write_sample"]


def write_sample(spec: DatasetSpec, root: Path) -> None:
    """Write the sample of the dataset `spec` below `root`; whatever its plugin raises passes through."""
    cast(Callable[[Path], None], load_target(spec.sample))(root)


@functools.cache
def sampled_subjects() -> Mapping[str, Subject]:
    """Samples of the built-in datasets, as their readers return them, by dataset; written once per process."""
    known, root, found = registry(), Path(_store().name), {}
    for name, spec in known.datasets().items():
        if spec.sample and known.origin(spec) == "built in":
            write_sample(spec, root)
            reader = known.load_dataset(name)
            folder = next(iter(reader.subjects(root / name).values()))
            found[name] = reader.read(folder, {})
    return found


@functools.cache
def _store() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="headbench-samples-")
