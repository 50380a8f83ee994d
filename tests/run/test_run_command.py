"""`bench run` from the command line to the table, with methods and data of other distributions."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import av
import pytest

from headbench.harness.files import read_json
from headbench.harness.plugins.specs import MethodSpec, Typical
from headbench.harness.run import Cell, CellRecord, cell_folder, read_cell, read_cells
from headbench.harness.run.costs import Record, typical
from headbench.harness.run.estimate import estimate
from headbench.harness.run.plan import Plan
from headbench.harness.run.planned import PlannedCell

COMMON = ("--preset", "demo", "--device", "cpu", "--rasterizer", "torch", "--out", "out")
ANNA = ("--datasets", "discs[anna]", *COMMON)


def scores(cell: Path) -> list[dict[str, object]]:
    lines = (cell / "scores" / "headbench@1.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


@pytest.mark.slow
def test_a_third_party_method_is_found_through_its_entry_point_trained_scored_and_tabulated(
    bench, blobs: Path, faces: Path, tmp_path: Path
) -> None:
    listed = bench("plugins", "--check", site=blobs)
    assert "blobs (headbench-blobs 0.3)\n  methods: Blobs\n" in listed.out, listed
    arguments = ["run", "--methods", "blobs", "--data-root", faces, *ANNA]
    done = bench(*arguments)
    assert done.code == 0, done
    cell = tmp_path / "out" / "cells" / "blobs-demo" / "discs" / "anna" / "seed0"
    summary = read_json(cell / "stages" / "train" / "summary.json")
    assert summary["steps"] == 12 and summary["gaussians"] == 80
    saved = {path.name for path in (cell / "stages" / "train" / "checkpoint-12").iterdir()}
    assert saved == {"model.safetensors", "optimizer.safetensors", "state.json"}
    assert pictures(cell / "renders" / "train-white") == ["00006.png", "00007.png", "00008.png"]
    assert [row["id"] for row in scores(cell)] == ["00006", "00007", "00008"]
    speed = read_json(cell / "speed.json")
    assert speed["drive_ms"]["median"] > 0 and speed["raster_ms"]["p95"] >= speed["raster_ms"]["median"] > 0
    assert speed["timer"] == "host clock on a CPU" and speed["gaussians"] == 80
    assert "Blobs" in done.out and "PSNR" in done.out and "out: 1 done" in done.out
    assert (tmp_path / "out" / "report" / "index.html").is_file()
    # What the cell's time went to, in order; progress of a part within it counts as the part's.
    record = read_cell(cell)
    assert record is not None and list(record.phases) == [
        "start",
        "read",
        "train",
        "train (prepare)",
        "train (steps)",
        "train (save)",
        "render",
        "speed",
        "score headbench@1 (first frames)",
        "score headbench@1 (further frames)",
    ]
    # Phases are kept to the millisecond.
    assert min(record.phases.values()) >= 0 and record.phases["train (steps)"] >= round(summary["seconds"], 3)
    told = bench("status", "out", "--times").out
    assert all(f"{what} {seconds:.1f} s" in told for what, seconds in record.phases.items())
    assert "train" not in bench("status", "out").out
    # The same again has nothing left to do.
    again = bench("run", "out/run.yaml")
    record = read_cell(cell)
    assert again.code == 0 and record is not None and record.attempts == 1


def check_reasons(found: dict[str, tuple[str, str]]) -> None:
    assert found["Raises"] == ("failed", "ValueError in stage train: cannot fit 6 frames")
    assert found["NeedsBrows"][0] == "skipped" and "brows" in found["NeedsBrows"][1]
    assert found["Average"] == ("done", "")
    assert len({reason for _, reason in found.values()}) == len(found)


def states(run: Path) -> dict[str, tuple[str, str]]:
    return {record.cell.method: (record.state.value, record.reason) for record in read_cells(run)}


def test_methods_go_wrong_each_with_its_reason_and_the_others_finish(bench, faces: Path, tmp_path: Path) -> None:
    done = bench("run", "--methods", "raises,needsbrows,average", "--data-root", faces, *ANNA)
    assert done.code == 2, done
    found = states(tmp_path / "out")
    check_reasons(found)
    assert all(reason in done.out for _, reason in found.values())


@pytest.mark.slow
def test_every_way_to_go_wrong_has_its_reason(bench, faces: Path, tmp_path: Path) -> None:
    methods = "raises,segfaults,hangs,notanumber,exits,hungry,wrongshape,needsbrows,average"
    done = bench("run", "--methods", methods, "--data-root", faces, *ANNA, "--timeout", "20s")
    assert done.code == 2, done
    found = states(tmp_path / "out")
    check_reasons(found)
    assert found["Segfaults"][0] == "failed" and "SIGSEGV in stage train" in found["Segfaults"][1]
    assert found["NotANumber"][0] == "failed" and found["NotANumber"][1].startswith("frame 00006: the render has")
    assert found["Hangs"][0] == "timeout"
    assert found["Hangs"][1].startswith("took more than 20 s in stage train (--timeout gives more")
    assert found["Exits"] == ("failed", "SystemExit in stage train: no licence")
    assert found["Hungry"][0] == "oom" and found["Hungry"][1].startswith("out of memory in stage train: ")
    assert "the machine had no 4611686018427387904 bytes left" in found["Hungry"][1]
    assert found["WrongShape"][0] == "failed" and "(1, 3, 24, 23), expected (1, 3, 24, 24)" in found["WrongShape"][1]


def test_a_broken_plugin_is_reported_and_breaks_nothing(bench, faces: Path, tmp_path: Path) -> None:
    site = tmp_path / "broken"
    info = site / "broken-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[headbench]\ncrash = broken_code\n")
    (site / "broken_code.py").write_text("import a_module_that_is_not_there\n")
    listed = bench("plugins", site=site)
    assert listed.code == 2
    assert "error: crash: loading it failed with ModuleNotFoundError" in listed.err and "broken 2.0" in listed.err
    assert "1 plugin problem: bench plugins" in bench("list", "methods").err
    done = bench("run", "--methods", "average", "--data-root", faces, *ANNA, "--dry-run")
    assert done.code == 0 and "1 cells, 1 to do" in done.out


def test_a_dry_run_prints_cells_and_costs_and_writes_nothing(
    bench, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who plans waits for no pandas: an import of it would fail here.
    monkeypatch.setitem(sys.modules, "pandas", None)
    arguments = ["run", "--methods", "average,needsbrows", "--data-root", faces, *ANNA, "--limit", 2, "--dry-run"]
    done = bench(*arguments, "--out", "runs/new")
    assert done.code == 0, done
    assert not (tmp_path / "runs").exists()
    text = " ".join(done.out.split())
    assert "average-demo-limit2/discs/anna/seed0 queued 0 2 + 2 24×24 0 s" in text
    assert "skipped: NeedsBrows needs masks that discs has not: brows" in text
    assert "2 cells, 1 to do" in text and "not in the sums: Average: no finished cell beside" in text


def test_a_dry_run_guesses_from_what_a_plugin_measured_until_cells_have_finished() -> None:
    methods = {
        "Slow": MethodSpec("Slow", "m:C", {}, "demo", typical={"cpu": Typical(20.0, "a small machine", 5e6)}),
        "Silent": MethodSpec("Silent", "m:C", {}, "demo"),
    }
    assert typical(methods, "cuda") == {}
    known = typical(methods, "cpu")
    assert known == {"slow": Record(20.0, 5e6, 0, "a small machine")}


def test_tracking_is_estimated_from_its_own_rate_or_from_that_of_training(tmp_path: Path) -> None:
    cells = [
        PlannedCell(CellRecord(Cell(n, "demo", "", "d", "anna", 0)), None, s, (9, 4))
        for n, s in (("Slow", 60), ("Base", 0))
    ]
    plan = Plan(tmp_path, tuple(cells), ())
    slow = Record(20.0, 5e6, 0, "a small machine")
    for record, seconds in ((slow, 4 * 50 / 20), (replace(slow, tracking=40.0), 4 * 50 / 40)):
        first, baseline = estimate(plan, {"slow": record}, tracked=50)
        assert (first.seconds, first.tracking) == (60 / 20, seconds)
        assert (baseline.seconds, baseline.tracking) == (0.0, 0.0)
    assert [each.tracking for each in estimate(plan, {}, tracked=50)] == [None, 0.0]
    assert [each.tracking for each in estimate(plan, {"slow": slow})] == [0.0, 0.0]
    (stage := cell_folder(tmp_path, cells[0].cell) / "stages" / "train").mkdir(parents=True)
    (stage / "summary.json").write_text("{}")
    trained = estimate(plan, {"slow": slow}, tracked=50)[0]
    assert (trained.seconds, trained.tracking) == (0.0, 4 * 50 / 20), "only tracking is left"


@pytest.fixture
def finished(bench, faces: Path, tmp_path: Path) -> Path:
    """The cell of a run that a file asked for."""
    (tmp_path / "mine.yaml").write_text(
        f"methods: average\ndatasets: discs[anna]\ndata_root: {faces}\npreset: wide\nset: [average.gain=0.5]\n"
        "label: half\nprotocol: [headbench@1, fateavatar-8bit@1]\ndevice: cpu\nrasterizer: torch\nout: out\n"
    )
    done = bench("run", "mine.yaml", "--limit", 2)
    assert done.code == 0, done
    assert "a quick look: at most 2 training and 2 test frames" in done.out
    return tmp_path / "out" / "cells" / "average-wide-half-limit2" / "discs" / "anna" / "seed0"


@pytest.mark.slow
def test_a_run_that_a_file_asks_for_is_scored_again_and_shown(bench, finished: Path, faces: Path) -> None:
    files = sorted(path.name for path in (finished / "scores").glob("*.jsonl"))
    assert files == ["fateavatar-8bit@1.jsonl", "headbench@1.jsonl"] and len(scores(finished)) == 2
    text = " ".join(bench("run", "mine.yaml", "--limit", 2, "--out", "new", "--dry-run").out.split())
    assert "basis: average: median of 1 finished cells beside" in text and "not in the sums" not in text

    before = scores(finished)
    assert bench("score", "out").out.count("is up to date") == 2
    assert "headbench@1 scored" in bench("score", "out", "--force").out
    assert scores(finished) == before

    shown = ("--device", "cpu", "--rasterizer", "torch")
    done = bench("render", finished, "--frames", 4, "--out", "shown", *shown)
    assert done.code == 0, done
    assert len(pictures(Path("shown"))) == 4
    with av.open("shown/orbit.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == 4

    done = bench("reenact", finished, "--driver", "discs/ben", "--data-root", faces, "--out", "driven", *shown)
    assert done.code == 0, done
    (result,) = (path for path in Path("driven", "discs-ben-test").iterdir() if path.is_dir())
    assert pictures(result) == ["00006.png", "00007.png", "00008.png"]
    (faces / "discs" / "ben" / "subject.json").write_text('{"frames": 9, "size": 24, "head": "flame2020"}')
    done = bench("reenact", finished, "--driver", "discs/ben", "--data-root", faces, "--out", "not-driven", *shown)
    assert done.code == 1 and "is tracked with head model flame2020, the source is of openhead" in done.err
    assert not Path("not-driven").exists()

    (finished / "renders" / "train-white" / "sha256.txt").unlink()
    done = bench("score", "out", "--protocol", "headbench@1", "--force")
    assert done.code == 2 and "has no complete renders" in done.err
