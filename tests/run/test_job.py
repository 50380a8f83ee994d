"""What a worker is told: ``job.json``, also as an older version wrote it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.options import Execution
from headbench.harness.run import Cell, Job

CELL = Cell("Blob", "demo", "", "discs", "anna", 3)
HOW = Execution("cpu", "torch", seed=3, threads=1, deterministic=True, checkpoint_every=7)


def made(run: Path) -> tuple[Path, Job]:
    folder = run / "cells" / CELL.path
    job = Job(CELL, {"steps": 3}, "hash", "/data", {}, None, ("headbench@1",), HOW, {"all": "0"})
    job.write(folder)
    return folder, job


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder, job = made(tmp_path)
    assert Job.read(folder) == job


def test_the_job_of_a_version_that_kept_its_options_flat_is_read(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    values = json.loads((folder / "job.json").read_text())
    how = values.pop("execution")
    del values["seal"]
    for name in ("device", "rasterizer", "checkpoint_every", "deterministic", "tensorboard"):
        values[name] = how[name]
    (folder / "job.json").write_text(json.dumps(values))
    found = Job.read(folder).execution
    assert (found.device, found.seed, found.checkpoint_every, found.deterministic) == ("cpu", 3, 7, True)
    assert found.threads is None  # nobody had fixed it


def test_a_job_that_lacks_more_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    (folder / "job.json").write_text(json.dumps({"method": "Blob"}))
    with pytest.raises(BenchError, match=r"lacks .*execution.*an older version wrote it") as refused:
        Job.read(folder)
    assert "bench run" in str(refused.value.help)


@pytest.mark.slow
def test_the_number_of_threads_is_that_of_the_job() -> None:
    """In a process of its own, since numba and torch keep it for all that comes later."""
    script = (
        "import numba, torch; from headbench.harness.device import use_threads; "
        "use_threads(1, torch.device('cpu')); print(torch.get_num_threads(), numba.get_num_threads())"
    )
    several = os.environ | {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=several)
    assert found.stdout.split() == ["1", "1"]
