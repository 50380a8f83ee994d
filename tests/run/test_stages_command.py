"""`bench run --stages`: instances of another distribution's stages from the command line to the table."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headbench.harness.layout import CellFolder
from headbench.harness.run import read_cells
from headbench.harness.way import Way
from headbench.metrics import load_protocol
from headbench.reports import build_table
from headbench.reports.text import to_csv

TREE = ("train", "train/tint:red", "train/tint:red/invert", "train/invert")
COMMON = ("--preset", "demo", "--device", "cpu", "--rasterizer", "torch")


@pytest.fixture
def run(bench: Callable[..., Any], faces: Path, installed_tints: Path) -> Callable[..., Any]:
    def call(*arguments: str, subject: str = "anna", out: str = "out", report: bool = False) -> Any:
        place = ("--data-root", faces, "--out", out, "--datasets", f"discs[{subject}]", "--methods", "average")
        more = () if report else ("--no-report",)
        return bench("run", *place, *COMMON, *more, *arguments, site=installed_tints)

    return call


def renders(run: Path) -> dict[str, str]:
    return {str(path.parent.relative_to(run)): path.read_text() for path in sorted(run.rglob("renders/**/sha256.txt"))}


def rows(run: Path, protocol: str | None = None) -> dict[tuple[str, str], dict[str, str]]:
    table = csv.DictReader(to_csv(build_table(run, protocol)).splitlines())
    return {(row["subject"], row["stage"]): row for row in table}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A protocol that asks for the distribution's metric."""
    values = load_protocol("headbench@1").model_dump(mode="json") | {"name": "own", "metrics": {"redness": {}}}
    path = tmp_path / "own@1.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_distribution_brings_stages_a_metric_and_an_executor(
    run: Callable[..., Any], own: Path, tmp_path: Path
) -> None:
    asked = "train,train/tint:red/invert,train/invert"
    done = run("--stages", asked, "--protocol", str(own), "--executor", "backwards", subject="*", report=True)
    assert done.code == 0, done
    order = re.findall(r"\[\d/2\] average-demo/discs/(\w+)/seed0: done", done.out)
    assert order == ["ben", "anna"]
    for record in read_cells(tmp_path / "out"):
        assert {way: each.asked for way, each in record.stages.items()} == {w: w != "train/tint:red" for w in TREE}
    found = rows(tmp_path / "out")
    assert [(s, way) for s, way in found if s == "anna"] == [("anna", way) for way in asked.split(",")]
    assert ("", "train/invert") in found, "means are per instance"
    red = {way: float(found["anna", way]["redness"]) for way in asked.split(",")}
    assert len(set(red.values())) == 3 and float(found["anna", "train"]["psnr"]) > float(
        found["anna", "train/invert"]["psnr"]
    )
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "Average (demo, train/tint:red/invert)" in page and "average-demo_discs_anna_seed0_train_invert.png" in page
    assert "Average (demo, train/invert)" in done.out


@pytest.mark.slow
def test_a_killed_stage_goes_on_and_ends_with_equal_renders(
    run: Callable[..., Any], bench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--stages", ",".join(TREE[1:3]))
    assert run(*asked, out="calm").code == 0
    monkeypatch.setenv("TINTS_DIE_AT", "2")
    killed = run(*asked)
    assert killed.code == 2 and "killed by SIGKILL in stage train/tint:red" in killed.out
    monkeypatch.delenv("TINTS_DIE_AT")
    assert run(*asked).code == 0
    assert renders(tmp_path / "out") == renders(tmp_path / "calm") != {}
    assert not (tmp_path / "out" / "cells/average-demo/discs/anna/seed0/renders/train-white").exists()
    assert "all is as it was written" in bench("verify", "out").out


@pytest.mark.slow
def test_what_became_stale_is_said_and_only_that_is_made_again(
    run: Callable[..., Any], bench: Callable[..., Any], tmp_path: Path, installed_tints: Path
) -> None:
    asked = ("--stages", ",".join(TREE), "--protocol", "none")
    assert run(*asked).code == 0
    cell = CellFolder(tmp_path / "out" / "cells" / "average-demo" / "discs" / "anna" / "seed0")
    before = {way: cell.stage(Way.parse(way)).summary.stat().st_mtime_ns for way in TREE}
    assert "stale" not in run(*asked).out
    fewer = (*asked, "--set", "tint.steps=2")
    assert "1 cells, 1 to do" in run(*fewer, "--dry-run").out
    again = run(*fewer)
    assert again.code == 0
    assert "stage train/tint:red is stale: its configuration changed; done again" in again.out
    assert "stage train/tint:red/invert is stale, as train/tint:red is; done again" in again.out
    after = {way: cell.stage(Way.parse(way)).summary.stat().st_mtime_ns for way in TREE}
    assert {way for way in TREE if before[way] != after[way]} == {"train/tint:red", "train/tint:red/invert"}
    metadata = installed_tints / "headbench_tints-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    assert "stage train/invert is stale: the plugin of stage invert changed; done again" in run(*fewer).out


@pytest.mark.slow
def test_a_later_request_adds_instances_and_keeps_the_rows_of_earlier_ones(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    assert run("--stages", "train/tint/invert").code == 0
    out = tmp_path / "out"
    assert [way for subject, way in rows(out) if subject] == ["train/tint/invert"]
    assert run().code == 0
    assert {way for subject, way in rows(out) if subject} == {"train", "train/tint/invert"}
    # What was made from weights that are gone is no result any more.
    fewer = run("--stages", "train/tint", "--set", "tint.steps=2")
    found = rows(out)["anna", "train/tint/invert"]
    assert (found["kind"], found["state"]) == ("state", "queued") and fewer.code == 2
    assert found["reason"].startswith("stale: train/tint was made again; add train/tint/invert to --stages")
    assert run("--stages", "train/tint/invert", "--set", "tint.steps=2").code == 0
    assert {row["state"] for row in rows(out).values()} == {"done"}


def test_a_method_that_lacks_a_stage_is_skipped_with_that_reason(
    run: Callable[..., Any], bench: Callable[..., Any], tmp_path: Path
) -> None:
    done = run("--stages", "train,train/carve")
    assert done.code == 2
    assert "done: train/carve skipped: stage carve needs carrier, which Average does not have" in done.out
    assert "train/carve skipped: stage carve needs" in " ".join(bench("status", "out").out.split())
    only = run("--stages", "train/carve", out="only")
    assert only.code == 2 and "skipped: stage carve needs carrier" in only.out
    assert not (tmp_path / "only" / "cells/average-demo/discs/anna/seed0/stages").exists(), "no parent for nobody"


@pytest.mark.tried("wrong command lines", "stages that are unknown, do not fit or are asked for wrongly")
@pytest.mark.parametrize(
    ("stages", "words", "help"),
    [
        ("train/bakke", "Unknown stage 'bakke'", ""),
        ("tint", "stage tint is made from train, so tint cannot come first", "--stages train/tint"),
        ("train/invert/tint", "train/invert/tint: expected train before tint, found invert", "bench list stages"),
        ("train/tint:blue", "train/tint:blue: Unknown preset of stage tint 'blue'", ""),
        ("train/../x", "stage '..' in 'train/../x': expected a name that does not start", "name it as train"),
        ("train,", "", ""),
        ("", "expected", ""),
    ],
)
def test_ways_that_do_not_fit_are_one_sentence(
    run: Callable[..., Any], tmp_path: Path, stages: str, words: str, help: str
) -> None:
    done = run("--stages", stages)
    if not words:
        assert done.code == 0
        return
    assert done.code == 1 and words in done.err and help in done.err and "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_file_that_a_stage_reads_counts_by_what_it_holds(run: Callable[..., Any], tmp_path: Path) -> None:
    swatch = tmp_path / "green.txt"
    swatch.write_text("0 1 0")
    asked = ("--stages", "train/tint", "--protocol", "none", "--set")
    assert run(*asked, "tint.swatch=green.txt").code == 0
    moved = swatch.rename(tmp_path / "leaf.txt")
    assert "stale" not in run(*asked, f"tint.swatch={moved}").out
    moved.write_text("1 1 0")
    again = run(*asked, "tint.swatch=leaf.txt")
    assert "train/tint is stale: the file of option swatch changed; done again" in again.out and again.code == 0
    gone = run(*asked, "tint.swatch=nowhere.txt")
    assert gone.code == 1 and "nowhere.txt" in gone.err and "--set tint.swatch=FILE" in gone.err


def test_options_of_stages_are_checked(run: Callable[..., Any], tmp_path: Path) -> None:
    for settings, words in (
        ("tint.stepps=2", "Unknown option of tint 'stepps'"),
        ("tint.steps=many", "steps"),
        ("tnt.steps=2", "Unknown method, dataset or stage 'tnt'"),
        ("invert.x=2", "invert is not part of this run"),
    ):
        done = run("--stages", "train/tint", "--set", settings)
        assert done.code == 1 and words in done.err, done
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_stage_changes_no_row_of_its_parent(run: Callable[..., Any], tmp_path: Path) -> None:
    """The parent's files are those of a run that never heard of stages."""
    assert run(out="plain").code == 0 and run("--stages", ",".join(TREE)).code == 0
    (plain,), both = renders(tmp_path / "plain").values(), renders(tmp_path / "out")
    assert both["cells/average-demo/discs/anna/seed0/renders/train-white"] == plain and len(both) == len(TREE)
    psnr = [rows(tmp_path / name)["anna", "train"]["psnr"] for name in ("plain", "out")]
    assert psnr[0] == psnr[1] != ""
