"""The dataset and the stage of docs/plugins.md, written to files and used; no example stands there that is not run."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from headbench.harness.errors import DataError
from headbench.harness.layout import CellFolder
from headbench.harness.plugins import Registry, Source
from headbench.harness.way import Way

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
RUN = {
    "headbench_beads": "packaging/test_docs.py",
    "headbench_edges": "packaging/test_docs.py",
    "headbench_mine": "run/test_documented_plugins.py",
    "headbench_reverse": "run/test_executors.py",
    "headbench_tint": "run/test_documented_plugins.py",
}
"""Package -> the tests that run its code as the page has it."""


def written(package: str, site: Path) -> Path:
    """The files of an example of the page, installed in a site folder."""
    info = site / f"{package}-1.0.dist-info"
    for folder in (site / package, info):
        folder.mkdir(parents=True)
    found = re.findall(rf"^`{package}/(\w+)\.py`[^\n]*\n\n```python\n(.*?)^```", PAGE, re.M | re.S)
    assert found and found[0][0] == "__init__", f"docs/plugins.md has no example {package}"
    for name, code in found:
        (site / package / f"{name}.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[headbench]\nown = {package}\n")
    return site


def test_every_example_of_the_page_is_a_file_that_some_test_runs() -> None:
    files = re.findall(r"^`(\w+)/\w+\.py`(?:(?!\n\n).)*\n\n```python\n", PAGE, re.M | re.S)
    assert len(files) == PAGE.count("\n```python\n"), "an example of docs/plugins.md has no file name before it"
    assert set(files) == set(RUN)
    for package, test in RUN.items():
        assert package in (Path(__file__).parents[1] / test).read_text(encoding="utf-8")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.syspath_prepend(str(written("headbench_mine", tmp_path / "site")))
    return Registry([Source("mine", lambda: importlib.import_module("headbench_mine"))])


@pytest.fixture
def someone(tmp_path: Path) -> Path:
    """A subject of the layout: five images of 16 x 16."""
    folder = tmp_path / "data" / "mine" / "someone"
    folder.mkdir(parents=True)
    rows = [[0.1 * k, 0.0, 0.2] for k in range(5)]
    (folder / "track.json").write_text(json.dumps({"camera": [16, 32.0], "expression": rows}))
    for k in range(5):
        image = np.full((16, 16, 4), 40 * k, np.uint8)
        image[:, 8:, 3] = 255
        Image.fromarray(image).save(folder / f"{k:05d}.png")
    return folder


def test_the_dataset_is_read_as_the_page_says(mine: Registry, someone: Path) -> None:
    assert mine.check() == []
    reader = mine.load_dataset("mine")
    assert reader.subjects(someone.parents[1]) == reader.subjects(someone.parent) == {"someone": someone}
    assert reader.check(someone, {}) == []
    subject = reader.read(someone, {})
    assert [frame.id for frame in subject.train] == [f"{k:05d}" for k in range(4)]
    (last,) = subject.test
    assert last.params.expression.tolist() == [[pytest.approx(0.4), 0.0, pytest.approx(0.2)]]
    assert last.pixels().colour[0, 0, 0] == 160 and last.camera.K[0, 0].tolist() == [32.0, 0.0, 8.0]
    assert {"images", "tracking", "split"} < set(subject.fingerprint)


def test_what_is_wrong_with_its_data_is_told_by_the_pieces_that_it_is_made_of(mine: Registry, someone: Path) -> None:
    reader = mine.load_dataset("mine")
    (someone / "00002.png").unlink()
    (problem,) = reader.check(someone, {})
    assert problem.frame == "00002" and "found no such file" in problem.message
    with pytest.raises(DataError, match="00002"):
        reader.read(someone, {})
    (someone / "track.json").write_text('{"camera": [16, 32.0]}')
    with pytest.raises(DataError, match="`expression`: expected"):
        reader.read(someone, {})


def test_the_stage_changes_colours_as_far_as_its_options_say(
    bench: Callable[..., Any], blobs: Path, faces: Path, tmp_path: Path
) -> None:
    site = written("headbench_tint", Path(shutil.copytree(blobs, tmp_path / "site")))
    checked = bench("plugins", "--check", site=site)
    assert checked.code == 0 and "own (headbench_tint 1.0)\n  stages: tint\n" in checked.out, checked
    asked = (
        "run", "--methods", "blobs", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--out", "out", "--device", "cpu", "--rasterizer", "torch", "--stages", "train,train/tint:red",
        "--set", "tint.share=0.5",
    )  # fmt: skip
    done = bench(*asked, site=site)
    assert done.code == 0 and "train/tint:red" in done.out, done
    (cell,) = (tmp_path / "out" / "cells").glob("blobs-demo*/discs/anna/seed0")
    stages = [CellFolder(cell).stage(Way.parse(way)).folder for way in ("train", "train/tint:red")]
    ends = [max(stage.glob("checkpoint-*"), key=lambda path: int(path.name[11:])) for stage in stages]
    before, after = (load_file(path / "model.safetensors")["portrait/table.colour"] for path in ends)
    left = 0.5**4
    assert after[:, 0].numpy() == pytest.approx(1 - left * (1 - before[:, 0].numpy()), abs=1e-5)
    assert after[:, 1].numpy() == pytest.approx(left * before[:, 1].numpy(), abs=1e-5)
