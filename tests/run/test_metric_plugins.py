"""Metrics of another distribution, from the command line to the table: listed, scored, kept, scored again."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from headbench.harness.files import read_json, sha256_of, write_json
from headbench.harness.run import read_cells
from headbench.metrics import load_protocol

MAIN = "from headbench.harness.cli.main import main; main()"
RUN = ("--methods", "average", "--datasets", "discs[anna]", "--preset", "demo", "--device", "cpu")


def protocol(folder: Path, **metrics: Any) -> Path:
    """A file like headbench@1 that asks for these metrics besides."""
    values = load_protocol("headbench@1").model_dump(mode="json") | {"name": "own"}
    values["metrics"] = {name.replace("__", "/"): options for name, options in metrics.items()}
    path = folder / "own@1.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def done(bench: Any, faces: Path, measures: Path, tmp_path: Path) -> Path:
    """A finished cell, scored by a protocol with metrics of the three scopes and what is missing."""
    path = protocol(tmp_path, shade={"gain": 2}, flicker={}, drift={}, lips={}, brows={}, face={})
    ran = bench("run", *RUN, "--data-root", faces, "--out", "out", "--protocol", path, site=measures)
    assert ran.code == 0, ran
    return tmp_path / "out" / "cells" / "average-demo" / "discs" / "anna" / "seed0"


def lines(cell: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cell / "scores" / "own@1.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_metrics_of_every_scope_are_scored_tabulated_and_exported(bench: Any, done: Path, tmp_path: Path) -> None:
    header, *rows = lines(done)
    assert header["metrics"] == [
        *("psnr", "ssim", "lpips/alex", "lpips/vgg", "shade", "flicker", "drift", "lips", "brows", "face")
    ]
    assert header["versions"]["headbench-measures"] == "1.0"
    assert (header["frames"], header["sequences"]) == (3, 1)
    assert ["flicker" in row["scores"] for row in rows] == [False, True, True, False]
    assert rows[3] == {"sequence": "all", "scores": {"drift": rows[3]["scores"]["drift"]}}
    assert header["absent"]["brows"]["text"] == "n/a (needs masks of brows; the data have mouth)"
    # The open head is built in: its projection is there, in front of the camera or not.
    assert "face" not in header["absent"] and all("face" in row["scores"] for row in rows[:3])

    report = tmp_path / "out" / "report"
    (row,) = csv.DictReader(io.StringIO((report / "own@1.csv").read_text()))
    shades = [each["scores"]["shade"] for each in rows[:3]]
    assert float(row["shade"]) == pytest.approx(sum(shades) / 3)
    assert float(row["flicker"]) == pytest.approx(sum(each["scores"]["flicker"] for each in rows[1:3]) / 2)
    assert float(row["drift"]) == rows[3]["scores"]["drift"]
    assert row["brows"] == "" and "brows: n/a (needs masks of brows" in row["notes"]
    assert "flicker" not in row["notes"], "that a first frame has no earlier one is nothing to tell"
    columns = {each["scores"]: each for each in json.loads((report / "own@1.json").read_text())["columns"]}
    assert columns["lpips/alex"]["key"] == "lpips_alex" and columns["shade"]["unit"] == "%"
    assert (
        "Shade ↓" in (report / "own@1.md").read_text() and r"Shade $\downarrow$" in (report / "own@1.tex").read_text()
    )

    # Without the plugin the scores are shown, and not ranked.
    alone = subprocess.run(
        [sys.executable, "-P", "-c", MAIN, "report", "out", "--no-figures"],
        cwd=tmp_path, env=os.environ | {"HEADBENCH_PLUGINS": "0"}, capture_output=True, text=True,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    text = (report / "own@1.md").read_text()
    assert "| shade |" in text and "shade: no plugin here brings this metric" in text


@pytest.mark.slow
def test_scores_are_kept_until_the_plugin_changes(bench: Any, done: Path, measures: Path, tmp_path: Path) -> None:
    before, marker = lines(done), read_json(done / "scores" / "own@1.json")
    assert marker["inputs"]["plugins"]["shade"] == "headbench-measures 1.0"
    path = str(tmp_path / "own@1.yaml")
    kept = bench("score", "out", "--protocol", path, "--device", "cpu")
    assert kept.code == 0 and "own@1 is up to date" in kept.out

    (measures / "headbench_measures-1.0.dist-info").rename(measures / "headbench_measures-1.1.dist-info")
    info = measures / "headbench_measures-1.1.dist-info" / "METADATA"
    info.write_text(info.read_text().replace("1.0", "1.1"))
    again = bench("score", "out", "--protocol", path, "--device", "cpu")
    assert again.code == 0 and "own@1 scored" in again.out
    assert lines(done)[0]["versions"]["headbench-measures"] == "1.1" and lines(done)[1:] == before[1:]


@pytest.mark.slow
def test_a_metric_that_fails_costs_its_scores_and_is_named(bench: Any, done: Path, tmp_path: Path) -> None:
    failed = bench("score", "out", "--protocol", protocol(tmp_path, raises={}), "--device", "cpu")
    assert failed.code == 2 and "Traceback" not in failed.err
    assert "measures: metric raises: computing failed with KeyError: 'left eye'" in failed.err


def test_a_protocol_whose_plugin_is_not_here_is_refused_before_anything_is_done(
    bench: Any, faces: Path, tmp_path: Path
) -> None:
    path = protocol(tmp_path, shade={})
    for arguments in (
        ("run", *RUN, "--data-root", faces, "--out", "new"),
        ("run", *RUN, "--data-root", faces, "--dry-run"),
    ):
        refused = bench(*arguments, "--protocol", path)
        assert refused.code == 1 and not (tmp_path / "new").exists()
        assert "own@1.yaml: Unknown metric 'shade'." in refused.err and "help: bench list metrics" in refused.err


def cells(text: str) -> dict[str, dict[str, str]]:
    """First column -> heading -> text, of a table whose long cells go on below."""
    heading, *below = text.splitlines()
    names = heading.split()
    starts = [heading.index(name) for name in names]
    found: list[list[str]] = []
    for line in below:
        parts = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if parts[0]:
            found.append(parts)
        else:
            found[-1] = [" ".join(filter(None, pair)) for pair in zip(found[-1], parts, strict=True)]
    return {row[0]: dict(zip(names, row, strict=True)) for row in found}


def test_metrics_are_listed_with_what_they_need(bench: Any, measures: Path) -> None:
    listed = bench("list", "metrics", site=measures)
    rows = cells(listed.out)
    assert listed.code == 0
    assert rows["lpips/vgg"]["needs"] == "lpips-vgg: missing, bench assets fetch lpips --yes"
    assert rows["shade"] == {
        "name": "shade", "unit": "%", "better": "lower", "scope": "frame", "needs": "nothing",
        "from": "headbench-measures 1.0", "summary": "difference of mean brightness",
    }  # fmt: skip
    assert rows["psnr"]["from"] == "built in" and rows["psnr"]["better"] == "higher"
    assert (rows["flicker"]["scope"], rows["drift"]["scope"]) == ("pair", "sequence")
    assert rows["brows"]["needs"] == "mask brows: of the data" and rows["face"]["better"] == "neither"
    assert "metrics: shade, flicker, drift, lips, brows, face, network" in bench("plugins", site=measures).out
    checked = bench("plugins", "--check", site=measures)
    assert checked.code == 0 and " metrics, " in checked.out
    assert " loaded with all their presets; no problem found" in checked.out


@pytest.mark.tried("faults in runs", "scores of the version before", "they are read, shown and up to date")
@pytest.mark.slow
def test_scores_of_the_layout_before_are_up_to_date(bench: Any, faces: Path, tmp_path: Path) -> None:
    ran = bench("run", *RUN, "--data-root", faces, "--out", "out")
    assert ran.code == 0, ran
    (record,) = read_cells(tmp_path / "out")
    path = tmp_path / "out" / "cells" / record.cell.path / "scores" / "headbench@1.jsonl"
    table = (tmp_path / "out" / "report" / "headbench@1.csv").read_text()
    header, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    names = {"psnr": "psnr", "ssim": "ssim", "lpips/alex": "lpips_alex", "lpips/vgg": "lpips_vgg"}
    same = ("protocol", "version", "hash", "render_key", "versions", "device", "frames")
    old = {key: header[key] for key in same} | {"weights": {}}
    old["reasons"] = {names[key]: absent["text"] for key, absent in header["absent"].items()}
    before = [old, *({"id": row["id"]} | {names[key]: row["scores"].get(key) for key in names} for row in rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in before))
    marker = path.with_suffix(".json")
    write_json(marker, read_json(marker) | {"scores": sha256_of(path)})

    kept = bench("score", "out", "--device", "cpu")
    assert kept.code == 0 and "headbench@1 is up to date" in kept.out
    assert bench("report", "out", "--no-figures").code == 0
    assert (tmp_path / "out" / "report" / "headbench@1.csv").read_text() == table
    again = bench("score", "out", "--device", "cpu", "--force")
    assert again.code == 0 and [json.loads(line) for line in path.read_text().splitlines()] == [header, *rows]
