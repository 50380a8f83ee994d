"""Speed beside other work: who else computes on a cell's device, and what tables say then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_cells import planned

from headbench.harness.execution.neighbours import cells_on, gpu_processes, other_cells, sharing
from headbench.harness.files import read_json
from headbench.harness.layout import CellFolder
from headbench.harness.run import cell_folder
from headbench.harness.run.speed import read_speed
from headbench.harness.way import TRAIN
from headbench.reports import FORMATS, build_table, format_table

HOLDS = """
import sys, time
from pathlib import Path
from headbench.harness.execution import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[Any]:
    """A worker of another run, which sees the GPU 1, and the folder of its cell."""
    script = tmp_path / "harness" / "cli" / "worker.py"
    script.parent.mkdir(parents=True)
    script.write_text(HOLDS)
    each = planned("good")
    assert each.job is not None
    folder = cell_folder(tmp_path / "other", each.cell)
    each.job.write(folder)
    process = subprocess.Popen(
        [sys.executable, "-P", str(script), str(folder)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "1"}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield process, folder
    process.kill()
    process.wait()


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets NVIDIA's driver say that processes compute on the GPU GPU-a; another one is on GPU-b."""

    def say(*processes: int) -> None:
        rows = "".join(f"GPU-a, {process}\\n" for process in processes) + "GPU-b, 7\\n"
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\nprintf '{rows}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return say


def test_a_cell_on_a_cpu_is_alone_while_no_other_is_at_work(neighbour: Any, tmp_path: Path) -> None:
    process, folder = neighbour
    own = tmp_path / "own"
    assert other_cells(own)[folder] == process.pid
    assert folder not in other_cells(folder), "its own processes do not count"
    assert "at work on the machine" in sharing(own)
    process.kill()
    process.wait()
    assert folder not in other_cells(own)


def test_a_gpu_is_shared_with_whom_the_driver_or_the_cells_name(
    neighbour: Any, driver: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = neighbour
    own = tmp_path / "own"
    driver(os.getpid())
    assert gpu_processes("GPU-a") == {os.getpid()} and sharing(own, "GPU-a") == "", "the driver sees this process alone"
    driver(os.getpid(), 1, 2)
    assert sharing(own, "GPU-a") == "2 other processes on the GPU"
    # In a container the driver has other numbers, or none.
    driver(1, 2)
    assert sharing(own, "GPU-a") == "1 other process on the GPU, perhaps"
    driver()
    assert sharing(own, "GPU-a") == "", "the cell of the other worker is computed on a CPU"
    job = planned("good").job
    assert job is not None
    from dataclasses import replace

    replace(job, execution=replace(job.execution, device="cuda")).write(folder)
    assert sharing(own, "GPU-a") == "1 other process on the GPU, perhaps"
    assert cells_on(["0", "1"])["1"] == 1 and cells_on(["1"], [folder]) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert sharing(own, "GPU-a") == "", "it sees another GPU"


def test_a_speed_that_was_measured_beside_another_cell_is_shared_in_every_format(
    neighbour: Any, bench: Callable[..., Any], faces: Path, tmp_path: Path
) -> None:
    asked = (
        "run", "--methods", "average", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--out", "out", "--no-report",
    )  # fmt: skip
    assert bench(*asked).code == 0
    folder = tmp_path / "out" / "cells" / "average-demo" / "discs" / "anna" / "seed0"
    known = read_json(folder / "speed.json")
    assert known["fps"] > 0 and "at work on the machine" in known["shared"]
    table = build_table(tmp_path / "out")
    for name in FORMATS:
        assert "shared" in format_table(table, name), name
    (place,) = (k for k, column in enumerate(table.columns) if column.key == "fps")
    assert {row.values[place].shown(table.columns[place]) for row in table.rows} == {"shared"}
    assert any(note.startswith("shared: other cells") for note in table.notes)
    # As the docs say it is measured again.
    process, _ = neighbour
    process.kill()
    process.wait()
    (folder / "speed.json").unlink()
    assert bench(*asked).code == 0
    measured = read_speed(CellFolder(folder).stage(TRAIN))
    assert measured is not None and (not measured.shared or other_cells(folder))
