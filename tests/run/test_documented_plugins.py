"""The dataset and the stage of docs/plugins.md, written to files and used; no example stands there that is not run."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from isolation import Plug
from safetensors.torch import load_file

from headbench.harness.errors import DataError
from headbench.harness.layout import CellFolder
from headbench.harness.plugins import Registry, Source
from headbench.harness.types import Camera, HeadParams, Identity
from headbench.harness.way import Way
from headbench.testing import DATASET_CHECKS, check_dataset

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
RUN = {
    "headbench_beads": "packaging/test_docs.py",
    "headbench_bust": "stages/complete/test_complete_plugin.py",
    "headbench_edges": "packaging/test_docs.py",
    "headbench_hall": "run/test_documented_plugins.py",
    "headbench_mine": "run/test_documented_plugins.py",
    "headbench_onmesh": "run/test_documented_plugins.py",
    "headbench_reverse": "run/test_executors.py",
    "headbench_tint": "run/test_documented_plugins.py",
}
"""Package -> the tests that run its code as the page has it."""


def written(package: str, site: Path) -> Path:
    """The files of an example of the page, installed in a site folder."""
    info = site / f"{package}-1.0.dist-info"
    for folder in (site / package, info):
        folder.mkdir(parents=True)
    found = re.findall(rf"^`{package}/([\w@]+\.\w+)`(?:(?!\n\n).)*\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S)
    assert found and found[0][0] == "__init__.py", f"docs/plugins.md has no example {package}"
    for name, contents in found:
        (site / package / name).write_text(contents, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[headbench]\nown = {package}\n")
    return site


CHECKS = re.search(r"^```python\n(from headbench\.testing .*?)^```", PAGE, re.M | re.S)
"""The one example that is no file: how a plugin's own tests call the checks."""


def test_every_example_of_the_page_is_a_file_that_some_test_runs() -> None:
    files = re.findall(r"^`(\w+)/\w+\.py`(?:(?!\n\n).)*\n\n```python\n", PAGE, re.M | re.S)
    assert CHECKS is not None
    assert len(files) + 1 == PAGE.count("\n```python\n"), "an example of docs/plugins.md has no file name before it"
    assert set(files) == set(RUN)
    for package, test in RUN.items():
        assert package in (Path(__file__).parents[1] / test).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_checks_are_called_as_the_page_says(tmp_path: Path, plug: Plug) -> None:
    specs: list[Any] = []
    for package, hook in (("headbench_beads", "register_methods"), ("headbench_mine", "register_datasets")):
        plug(written(package, tmp_path / package))
        getattr(importlib.import_module(package), hook)(specs.append)
    assert CHECKS is not None
    exec(CHECKS[1], {"SPEC": specs[0], "DATASET": specs[1]})


def test_the_dataset_passes_the_checks_of_datasets(mine: Registry) -> None:
    assert len(check_dataset(mine.dataset("mine"))) == len(DATASET_CHECKS)


def test_a_protocol_and_a_format_of_tables_are_installed_and_used(bench, faces, tmp_path: Path, plug: Plug) -> None:
    plug(written("headbench_hall", tmp_path / "hall"))
    assert "hall@1" in bench("list", "protocols").out and "org " in bench("list", "table-formats").out
    assert bench("plugins", "--check").code == 0
    shutil.rmtree(faces / "discs" / "ben")
    run = ["run", "--methods", "Average", "--datasets", "discs", "--data-root", faces, "--no-report", "--out", "out"]
    done = bench(*run, "--device", "cpu", "--protocol", "hall@1")
    assert done.code == 0, done
    (scores,) = (tmp_path / "out").rglob("scores/hall@1.jsonl")
    assert (scores.parents[1] / "renders" / "train-black").is_dir()
    shown = bench("report", "out", "--format", "org")
    assert shown.code == 0 and shown.out.startswith("#+CAPTION: out: hall@1 ("), shown
    assert "| Subject | Method | PSNR ↑ |" in shown.out and "\n|---+---+---" in shown.out
    assert bench("report", "out", "--format", "ORG", "--out", "org").code == 0
    assert (tmp_path / "org" / "hall@1.org").read_text(encoding="utf-8") == shown.out
    # A metric of a third distribution, asked for by a protocol that is a file.
    plug(written("headbench_edges", tmp_path / "edges"))
    hall = (tmp_path / "hall" / "headbench_hall" / "hall@1.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own@1.yaml"
    own.write_text(f"{hall.replace('name: hall', 'name: own')}metrics:\n  edges: {{margin: 2}}\n", encoding="utf-8")
    assert "edges" in bench("list", "metrics").out
    done = bench("score", "out", "--device", "cpu", "--protocol", own)
    assert done.code == 0 and bench("report", "out", "--format", "org", "--protocol", "own@1", "--out", "org").code == 0
    assert "| PSNR ↑ | Edges ↓ |" in (tmp_path / "org" / "own@1.org").read_text(encoding="utf-8")
    wrong = bench("report", "out", "--format", "orgg")
    assert wrong.code == 1 and "'orgg' is not one of" in wrong.err


@pytest.fixture
def mine(tmp_path: Path, plug: Plug) -> Registry:
    plug(written("headbench_mine", tmp_path / "site"))
    return Registry([Source("mine", lambda: importlib.import_module("headbench_mine"))])


@pytest.fixture
def someone(mine: Registry, tmp_path: Path) -> Path:
    """The subject that the page's own code writes: ten images of 32 x 32."""
    write: Callable[[Path], None] = importlib.import_module("headbench_mine.sample").write
    write(tmp_path / "data")
    return tmp_path / "data" / "mine" / "someone"


def test_the_dataset_is_read_as_the_page_says(mine: Registry, someone: Path) -> None:
    assert mine.check() == []
    reader = mine.load_dataset("mine")
    assert reader.subjects(someone.parents[1]) == reader.subjects(someone.parent) == {"someone": someone}
    assert reader.check(someone, {}) == []
    subject = reader.read(someone, {})
    assert [frame.id for frame in subject.train] == [f"{k:05d}" for k in range(8)]
    last = subject.test[-1]
    assert last.params.expression.tolist() == [[pytest.approx(0.9), 0.0, pytest.approx(0.2)]]
    assert last.pixels().colour[0, 0, 0] == 180 and last.camera.K[0, 0].tolist() == [64.0, 0.0, 16.0]
    assert {"images", "tracking", "split"} < set(subject.fingerprint)


def test_what_is_wrong_with_its_data_is_told_by_the_pieces_that_it_is_made_of(mine: Registry, someone: Path) -> None:
    reader = mine.load_dataset("mine")
    (someone / "00002.png").unlink()
    (problem,) = reader.check(someone, {})
    assert problem.frame == "00002" and "found no such file" in problem.message
    with pytest.raises(DataError, match="00002"):
        reader.read(someone, {})
    (someone / "track.json").write_text('{"camera": [32, 64.0]}')
    with pytest.raises(DataError, match="`expression`: expected"):
        reader.read(someone, {})


@pytest.mark.slow
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


def test_the_avatar_on_a_surface_of_the_page_is_posed_again_as_it_was(tmp_path: Path, plug: Plug) -> None:
    from headbench.harness.blocks.surface import canonical_size, pose
    from headbench.harness.head import load_head

    for package in ("headbench_beads", "headbench_onmesh"):
        plug(written(package, tmp_path / package))
    made = importlib.import_module("headbench_onmesh").MeshBeads
    head = load_head("openhead", "open")
    params = HeadParams("openhead", torch.zeros(1, head.sizes[1]), *torch.zeros(6, 1, 3))
    camera = Camera(torch.eye(4)[None], torch.eye(3)[None], 8, 8)
    zero = torch.zeros(1, head.sizes[1])
    identity = Identity("openhead", torch.zeros(1, head.sizes[0]), zero, zero, params, camera)
    avatar = made.create(head, identity, None, made.config_type(train={"steps": 1}))
    surface, vertices = avatar.surface(), avatar.carrier(params)
    again = pose(surface, vertices, avatar.head.faces, canonical_size(surface, avatar.head.faces))
    torch.testing.assert_close(again.means, avatar.drive(params).gaussians.means, atol=1e-4, rtol=0)
