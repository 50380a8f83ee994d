"""Results of a run as pandas frames: their columns, values and dtypes, and the files that they become."""

from __future__ import annotations

import importlib.machinery
import json
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import many

from headbench.harness.errors import BenchError
from headbench.reports import build_table
from headbench.results import SCHEMA, load
from headbench.results.schema import CELLS, CURVES, DTYPES, FRAMES

DOCS = Path(__file__).parents[2] / "docs" / "results.md"
STABLE = {
    "frames": "run method preset variant stage dataset subject seed baseline protocol protocol_hash metric scope frame "
    "position value absent better",
    "cells": "run method preset variant stage dataset subject seed baseline cell state reason protocols notes steps "
    "train_seconds train_rate fps drive_ms raster_ms gaussians peak_memory_bytes peak_host_memory_bytes width height "
    "device rasterizer attempts queued started finished config_hash data_hash data_options commit dirty headbench "
    "torch processor gpus",
    "curves": "run method preset variant stage dataset subject seed baseline step images seconds what value protocol "
    "mark",
}
"""Columns of schema version 1: whoever changes one of them raises the version."""


def test_the_columns_of_schema_1_stay_and_are_documented() -> None:
    assert SCHEMA == 1
    pages = DOCS.read_text(encoding="utf-8")
    for name, fields in (("frames", FRAMES), ("cells", CELLS), ("curves", CURVES)):
        assert [field.name for field in fields][: len(STABLE[name].split())] == STABLE[name].split()
        for field in fields:
            unit = f", {field.unit}" if field.unit else ""
            assert f"| `{field.name}` | {field.kind}{unit} | {field.meaning} |" in pages, field.name
    assert all(kind in pages and f"`{dtype}`" in pages for kind, dtype in DTYPES.items())


def test_frames_hold_every_value_and_cells_every_state(run: Any) -> None:
    run.cell("Flash", "anna", state="failed", reason="loss is NaN at step 7")
    results = load(run.path)
    assert results.schema == results.frames.attrs["headbench_schema"] == 1
    assert [str(dtype) for dtype in results.frames.dtypes] == [DTYPES[field.kind] for field in FRAMES]
    assert [str(dtype) for dtype in results.cells.dtypes] == [DTYPES[field.kind] for field in CELLS]
    assert len(results.frames) == 2 * 3 * 3 * 24
    means = results.frames.groupby(["subject", "method", "metric"])["value"].mean()
    table = build_table(run.path)
    for row in (row for row in table.rows if row.kind == "subject"):
        for column, value in zip(table.columns[:3], row.values, strict=False):
            assert means[row.subject, row.method, column.key] == pytest.approx(value.mean)
    assert set(results.frames["better"][results.frames["metric"] == "lpips/alex"]) == {"lower"}
    cells = results.cells.set_index(["method", "subject"])
    assert cells.loc[("Flash", "anna"), "state"] == "failed"
    assert cells.loc[("Flash", "anna"), "reason"] == "loss is NaN at step 7"
    assert cells.loc[("FateAvatar", "anna"), "train_seconds"] == 90.0
    assert cells.loc[("FateAvatar", "anna"), "gaussians"] == 12345
    assert cells.loc[("nearest-frame", "anna"), "baseline"]


def test_missing_and_infinite_values_say_what_they_are(new_run: Any) -> None:
    folder = new_run()
    cell = folder.result("A", psnr=[30.0, math.nan], lpips=[None, None], lpips_reason="n/a (weights missing)")
    folder.scores(cell, ["a", "b"], {"psnr": ["inf", 30.0], "lpips/alex": [None, None]}, reasons={"lpips/alex": "n/a"})
    log = cell / "stages" / "train" / "metrics.jsonl"
    lines = [{"step": 100, "epoch": 1, "loss": 0.5, "rgb": 0.5, "gaussians": 7, "rate": 2.0, "images": 10}]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step"', encoding="utf-8")
    results = load(folder.path)
    psnr = results.frames[results.frames["metric"] == "psnr"].set_index("frame")
    assert np.isinf(psnr.loc["a", "value"]) and psnr.loc["a", "absent"] == ""
    lpips = results.frames[results.frames["metric"] == "lpips/alex"]
    assert lpips["value"].isna().all() and set(lpips["absent"]) == {"n/a"}
    curves = results.curves.set_index("what")
    assert curves.loc["rgb", ["step", "images", "seconds", "value"]].tolist() == [100, 10.0, 90.0, 0.5]
    assert set(curves.index) == {"loss", "rgb", "gaussians"}


@pytest.mark.tried(
    "faults in runs", "a run with failed, damaged and old cells, loaded as data", "all others", "that cell"
)
def test_cells_in_any_state_stages_protocols_and_old_layouts_are_one_set_of_frames(new_run: Callable[..., Any]) -> None:
    folder = new_run(layout=1)
    folder.result("Old", psnr=[30.0, 31.0])
    folder.layout = 2
    cell = folder.result("New", psnr=[32.0, 33.0])
    folder.scores(cell, ["00000"], {"psnr": [34.0]}, protocol="fateavatar@1", digest="c" * 64)
    (cell / "scores" / "train").mkdir()
    folder.scores(cell / "scores" / "train", ["00000"], {"psnr": [35.0]})
    (cell / "scores" / "train" / "scores").rename(cell / "scores" / "train" / "bake")
    record = json.loads((cell / "cell.json").read_text(encoding="utf-8"))
    record["stages"] = {way: {"state": "done", "reason": "", "asked": True} for way in ("train", "train/bake")}
    (cell / "cell.json").write_text(json.dumps(record), encoding="utf-8")
    folder.cell("Failed", state="failed", reason="loss is NaN at step 7")
    damaged = folder.result("Damaged", psnr=[30.0]) / "scores" / "headbench@1.jsonl"
    damaged.write_text("{", encoding="utf-8")
    results = load(folder.path)
    found = results.frames[results.frames["metric"] == "psnr"].groupby(["method", "stage", "protocol"])["value"].mean()
    assert found.to_dict() == {
        ("Old", "train", "headbench@1"): 30.5, ("New", "train", "headbench@1"): 32.5,
        ("New", "train", "fateavatar@1"): 34.0, ("New", "train/bake", "headbench@1"): 35.0,
    }  # fmt: skip
    cells = results.cells.set_index(["method", "stage"])
    assert cells["state"].to_dict() == {
        ("Old", "train"): "done", ("New", "train"): "done", ("New", "train/bake"): "done",
        ("Failed", "train"): "failed", ("Damaged", "train"): "done",
    }  # fmt: skip
    assert cells.loc[("New", "train"), "protocols"] == "fateavatar@1 headbench@1"
    assert cells.loc[("Damaged", "train"), "protocols"] == "" and cells.loc[("Old", "train"), "steps"] == 100
    (note,) = results.notes
    assert note.startswith("damaged-demo/insta/anna/seed0: scores/headbench@1.jsonl was changed after it was written; ")


def test_an_empty_run_has_empty_frames_of_the_same_columns(new_run: Any) -> None:
    results = load(new_run().path)
    assert [len(frame) for frame in (results.frames, results.cells, results.curves)] == [0, 0, 0]
    assert list(results.frames.columns) == [field.name for field in FRAMES]
    with pytest.raises(BenchError, match="no run folder"):
        load(DOCS.parent)


def test_frames_come_back_from_csv(run: Any, tmp_path: Path) -> None:
    results = load(run.path)
    written = results.write(tmp_path / "data")
    assert [path.name for path in written] == ["frames.csv", "cells.csv", "curves.csv"]
    back = pd.read_csv(written[0], dtype={"frame": str}, keep_default_na=False)
    assert back["value"].tolist() == results.frames["value"].tolist()
    assert back["frame"].tolist() == results.frames["frame"].tolist()


def test_frames_come_back_from_parquet(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    results = load(run.path)
    written = results.write(tmp_path / "data", "parquet")
    assert [path.name for path in written] == ["frames.parquet", "cells.parquet", "curves.parquet"]
    for path in written:
        frame = getattr(results, path.stem)
        # Texts lie in memory as Arrow has them; all else is the same.
        back = pd.read_parquet(path).astype(frame.dtypes.to_dict())
        pd.testing.assert_frame_equal(back, frame)


def test_parquet_without_a_pyarrow_that_works_is_refused(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = load(run.path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BenchError, match=r"pyarrow, which is not installed") as caught:
        results.write(tmp_path / "data", "parquet")
    assert caught.value.help == "pip install 'headbench[parquet]'"

    def broken(*_: object, **__: object) -> None:
        raise ImportError("libarrow.so: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))
    sys.modules["pyarrow"].__spec__ = importlib.machinery.ModuleSpec("pyarrow", None)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", broken)
    with pytest.raises(BenchError, match=r"pyarrow, and the installed one is unusable"):
        results.write(tmp_path / "data", "parquet")
    assert not list(tmp_path.glob("data/*")), "nothing half-written"


@pytest.mark.slow
def test_the_report_in_long_form_goes_to_a_folder_or_the_screen(run: Any, tmp_path: Path) -> None:
    line = ("report", run.path, "--format")
    screen, folder, refused = many(
        [(*line, "long"), (*line, "long", "--out", tmp_path / "long"), (*line, "parquet")], HEADBENCH_PLUGINS="0"
    )
    assert screen.code == folder.code == 0 and screen.out.count(b"\n") > 2 * 3 * 3 * 24, screen.text
    assert {path.name for path in (tmp_path / "long").iterdir()} == {"frames.csv", "cells.csv", "curves.csv"}
    assert refused.code == 1 and "help: name one: --out FOLDER" in refused.text
