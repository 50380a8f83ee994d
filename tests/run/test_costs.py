"""Costs of finished cells nearby: what a plan takes, what a job asks for, and how thousands of cells are shown."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.execution.choose import with_resources
from headbench.harness.execution.slurm.executor import Slurm
from headbench.harness.execution.slurm.options import SlurmOptions
from headbench.harness.options import Execution, Resources
from headbench.harness.plugins import registry as find_registry
from headbench.harness.run import Cell, CellRecord, Job, State, cell_folder
from headbench.harness.run.cell import StageJob, StageState
from headbench.harness.run.costs import Record, cost_of, recorded, reserved
from headbench.harness.run.estimate import estimate
from headbench.harness.run.plan import Plan
from headbench.harness.run.planned import PlannedCell
from headbench.harness.run.request import read_request

COMMON = ("--preset", "demo", "--device", "cpu", "--rasterizer", "torch")
TRAINED = {"seconds": 100.0, "rate": 50.0, "steps": 5000, "device": "a card"}


@pytest.fixture
def near(tmp_path: Path) -> Callable[..., Path]:
    """(seed, device_type, memory, minutes) -> a run in tmp_path with one more finished cell, baked after 100 s."""
    cells: list[Cell] = []

    def add(seed: int, device: str = "cuda", memory: float = 2e9, minutes: int = 5, preset: str = "demo") -> Path:
        cells.append(Cell("Slow", preset, "", "d", "anna", seed))
        run = tmp_path / "runs" / "before"
        folder = cell_folder(run, cells[-1])
        begin, end = "2026-11-30T10:00:00+00:00", f"2026-11-30T10:{minutes:02}:00+00:00"
        done = {way: StageState(State.DONE) for way in ("train", "train/bake")}
        record = CellRecord(cells[-1], State.DONE, attempts=1, started=begin, finished=end, stages=done)
        folder.mkdir(parents=True)
        record.write(folder)
        speed = {"checkpoint": "0" * 64, "fps": 1.0, "device_type": device, "peak_memory_bytes": 3e9}
        (folder / "speed" / "train").mkdir(parents=True)
        for place, seconds in (("speed.json", 100.0), ("speed/train/bake.json", 40.0)):
            values = speed | {"train": TRAINED | {"seconds": seconds}, "peak_host_memory_bytes": memory}
            (folder / place).write_text(json.dumps(values))
        entries = [{"path": cell.path, **cell.about(), "seed": cell.seed} for cell in cells]
        (run / "plan.json").write_text(json.dumps({"cells": entries, "format": 1}))
        return run

    return add


def planned_cell(method: str, steps: int, *stages: StageJob) -> PlannedCell:
    cell = Cell(method, "demo", "", "d", "anna", 0)
    execution = Execution("cpu", "torch")
    job = Job(cell, {}, "hash", "/data", {}, None, (), execution, {}, stages=stages or (StageJob("train"),))
    return PlannedCell(CellRecord(cell), job, steps, (9, 4), (8, 8))


def test_costs_are_medians_of_cells_of_the_same_type_of_device(near: Callable[..., Path], tmp_path: Path) -> None:
    for seed, minutes in enumerate((4, 5, 30)):
        near(seed, memory=1e9 * minutes, minutes=minutes)
    near(3, device="cpu", memory=64e9, minutes=59)
    near(4, memory=5e9, minutes=3, preset="wide")
    (tmp_path / "runs" / "strange").mkdir()
    (tmp_path / "runs" / "strange" / "plan.json").write_text("[]")
    known = recorded(tmp_path / "runs", "cuda")
    found = known["slow/demo"]
    assert (found.cells, found.rate, found.device) == (3, 50.0, "a card")
    assert (found.memory, found.gpu_memory, found.rest) == (30e9, 3e9, 5 * 60 - 140.0)
    assert found.stages == {"train/bake": 40.0} and found.bytes is not None and found.bytes > 500
    assert known["slow"].cells == 4 and cost_of(known, Cell("Slow", "other", "", "d", "a", 0)) is known["slow"]
    assert recorded(tmp_path / "runs", "cpu")["slow"].memory == 64e9
    assert recorded(tmp_path / "nothing") == {}


def test_no_more_cells_are_read_than_tell_something(near: Callable[..., Path], tmp_path: Path) -> None:
    for seed in range(20):
        near(seed)
    assert recorded(tmp_path / "runs", "cuda")["slow"].cells == 12


def test_a_job_asks_for_a_margin_over_what_cells_took() -> None:
    record = Record(50.0, None, 3, "a card", memory=2.2e9)
    assert reserved(record, 20.0) == (5 * 10**9, 3600.0)
    assert reserved(record, 3000.0) == (5 * 10**9, 4 * 3000.0 + 600.0), "whole half hours"
    assert reserved(dataclasses.replace(record, memory=None), 0.0)[0] is None


class Queue(Slurm):
    """Slurm without its programs: no node has more than 6 GB."""

    def admit(self, resources: Resources) -> None:
        memory = resources.memory or resources.likely_memory or 0
        if memory > 6e9:
            raise BenchError("no node has so much")


def test_jobs_ask_for_what_cells_took_unless_the_user_names_it(tmp_path: Path) -> None:
    plan = Plan(tmp_path, (planned_cell("Slow", 60_000), planned_cell("New", 10)), ())
    known = {"slow": Record(5.0, None, 3, "a card", memory=2.2e9, rest=60.0)}

    def asked(known: dict[str, Record], options: dict[str, Any], **more: Any) -> list[str]:
        request = read_request(None, {"data_root": str(tmp_path), "device": "cpu", "threads": 1, **more})
        queue = Queue(SlurmOptions(**options))
        queue._limits = {"": "2-00:00:00"}
        return [queue.asks(cell.job.resources) for cell in with_resources(plan, request, queue, known).cells]

    # 12,060 s times four are 13.4 h.
    assert asked(known, {}) == [
        "1 cores, 5.0 GB, 810 minutes in the default partition",
        "1 cores, 720 minutes in the default partition",
    ]
    assert asked(known, {"time": 90}, memory="3GB") == ["1 cores, 3.0 GB, 90 minutes in the default partition"] * 2
    much = {"slow": dataclasses.replace(known["slow"], memory=5e9)}
    assert asked(much, {})[0] == "1 cores, 720 minutes in the default partition", "a guess that no node has is dropped"
    with pytest.raises(BenchError, match="no node has so much"):
        asked(known, {}, memory="7GB")


def test_stages_and_all_else_are_in_the_sums(tmp_path: Path) -> None:
    cell = planned_cell("Slow", 100, StageJob("train"), StageJob("train/bake:texture"))
    known = {"slow": Record(10.0, 1.0, 0, "", rest=7.0, stages={"bake": 40.0})}
    (found,) = estimate(Plan(tmp_path, (cell,), ()), known)
    assert (found.seconds, found.rest, found.stages, found.total) == (10.0, 7.0, {"train/bake:texture": 40.0}, 57.0)


@pytest.mark.slow
def test_a_plan_of_five_thousand_cells_is_shown_in_short(
    bench: Callable[..., Any], faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(48):
        shutil.copytree(faces / "discs" / "anna", faces / "discs" / f"s{number:02}")
    seeds = ",".join(map(str, range(50)))
    asked = (
        "run",
        "--methods",
        "average,needsbrows",
        "--datasets",
        "discs",
        "--data-root",
        faces,
        *COMMON,
        "--dry-run",
    )
    done = bench(*asked, "--seeds", seeds, "--out", "runs/new")
    assert done.code == 0 and len(done.out.splitlines()) < 20, done
    text = " ".join(done.out.split())
    assert "average-demo/discs/… 2,500 queued 0.00 h" in text
    assert re.search(r"needsbrows-demo/discs/… 2,500 skipped: NeedsBrows needs masks", text)
    assert "5000 cells, 2500 to do: 0.00 h training" in text and not Path("runs").exists()


def test_a_few_cells_get_a_line_each_and_each_method_its_costs(bench: Callable[..., Any], faces: Path) -> None:
    asked = ("run", "--methods", "average", "--data-root", faces, *COMMON, "--out", "out", "--threads", 1)
    assert bench(*asked, "--no-report").code == 0
    text = " ".join(bench(*asked, "--seeds", "0,1", "--dry-run").out.split())
    assert "average-demo/discs/ben/seed1 queued" in text and "one cell of stage time all else memory" in text
    assert re.search(r"average-demo train 0 s \d+ s \d+(\.\d+)? [MG]B \? \d+(\.\d+)? kB 1", text), text
    assert find_registry().method("FateAvatar").typical["cuda"].gpu_memory == 928 * 2**20
