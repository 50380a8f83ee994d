"""`bench list methods` says what the registry holds, without torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headbench.datasets.plugin import register_datasets
from headbench.harness.cli.list import by_status
from headbench.harness.plugins import DatasetSpec, MethodSpec
from headbench.methods.plugin import register_methods

CODE = """
import atexit, os, sys
from headbench.harness.cli.main import main
atexit.register(lambda: os._exit(99) if "torch" in sys.modules else None)
main()
"""


@pytest.fixture(scope="module")
def blocks() -> dict[str, list[str]]:
    """Method -> the lines below its name."""
    env = os.environ | {"HEADBENCH_PLUGINS": "0"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, "list", "methods"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for line in filter(None, done.stdout.splitlines()):
        if line.startswith(" "):
            found[list(found)[-1]].append(line.strip())
        else:
            found[line.split(" ")[0]] = []
    return found


def test_each_method_has_its_presets_citation_licence_and_every_dataset_once(blocks: dict[str, list[str]]) -> None:
    methods: list[MethodSpec] = []
    datasets: list[DatasetSpec] = []
    register_methods(methods.append)
    register_datasets(datasets.append)
    assert list(blocks) == [spec.name for spec in methods]
    for spec in methods:
        lines = blocks[spec.name]
        taken = "published checkpoints: bench import FILE"
        assert (taken in lines) == bool(spec.importers)
        presets, citation, licence, *states = (line for line in lines if line != taken)
        listed = presets.removeprefix("presets: ").split(", ")
        assert listed[0] == spec.default_preset and sorted(listed) == sorted(spec.presets)
        assert citation == f"citation: {spec.citation or 'none given'}"
        assert licence == f"licence of the original: {spec.licence}"
        named = [name for state in states for name in state.partition(": ")[2].split(", ")]
        assert sorted(named) == sorted(dataset.name for dataset in datasets)


def test_a_dataset_is_run_on_untried_or_out_of_reach() -> None:
    known = [
        DatasetSpec("real", "x:R", provides=frozenset({"mouth"})),
        DatasetSpec("made", "x:M", provides=frozenset({"mouth", "head"})),
        DatasetSpec("bare", "x:B"),
        DatasetSpec("new", "x:N", provides=frozenset({"mouth"})),
    ]
    method = MethodSpec(
        "Mine", "x:Mine", {"demo": "x:demo.yaml"}, "demo",
        needs=frozenset({"mouth", "vgg16"}),
        checked={"made": "synthetic data", "bare": "real data", "real": "real data"},
    )  # fmt: skip
    assert by_status(method, known) == {
        "ran on real data": ["real"],
        "ran on synthetic data": ["made"],
        "cannot run, no mouth masks": ["bare"],
        "not tried": ["new"],
    }
