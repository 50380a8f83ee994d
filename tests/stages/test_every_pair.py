"""Every method through every stage on every layout: what works is what the specs and the docs say, the rest is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headbench.harness.plugins import registry
from headbench.harness.way import Way
from headbench.reports.read import read_run
from headbench.testing.samples import write_sample

LAYOUTS = ("insta", "nersemble", "imavatar", "vhap")
WAYS = ("train", "train/bake:texture", "train/complete", "train/complete/bake:texture")
SMALL = ("bake.size=16", "bake.steps=2")
MAIN = [sys.executable, "-P", "-c", "from headbench.harness.cli.main import main; main()"]


def tried(run: Path) -> dict[str, dict[str, list[str]]]:
    """Stage -> method -> layouts on which each instance that ends in the stage was scored."""
    found: dict[str, dict[str, set[str]]] = {}
    lost: dict[tuple[str, str], set[str]] = {}
    for result in read_run(run).results:
        stage, method = Way.parse(str(result.way)).stage, result.cell.method
        if result.scores:
            found.setdefault(stage, {}).setdefault(method, set()).add(result.cell.dataset)
        else:
            lost.setdefault((stage, method), set()).add(result.cell.dataset)
            assert result.reason, result
    return {
        stage: {name: [each for each in LAYOUTS if each in seen - lost.get((stage, name), set())] for name, seen in methods.items()}
        for stage, methods in found.items()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all methods through all stages on a small subject of each layout."""
    root = tmp_path_factory.mktemp("pairs")
    for name in LAYOUTS:
        write_sample(registry().dataset(name), root)
    options = [word for each in SMALL for word in ("--set", each)]
    asked = ["--methods", "all", "--datasets", ",".join(LAYOUTS), "--data-root", root, "--preset", "tiny", "--device", "cpu"]
    command = [*MAIN, "run", *map(str, asked), "--stages", ",".join(WAYS), *options, "--out", str(root / "run"), "--no-report"]
    environment = os.environ | {"HEADBENCH_PLUGINS": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return root / "run"


@pytest.mark.slow
def test_every_method_goes_through_every_stage_on_every_layout_or_is_refused(run: Path) -> None:
    seen = tried(run)
    for name, spec in registry().stages().items():
        if name in seen:
            assert {method: list(layouts) for method, layouts in spec.checked.items()} == seen[name], name
