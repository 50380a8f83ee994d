"""Stages of another distribution, one on top of the other: made, resumed, found stale, loaded alone."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from isolation import Plug

from headbench.harness.cli.main import main
from headbench.harness.errors import BenchError, PluginError
from headbench.harness.layout import CellFolder, StagePaths
from headbench.harness.plugins import Registry, Source
from headbench.harness.plugins import registry as find_registry
from headbench.harness.run import Job, cell_folder, inputs, read_cells
from headbench.harness.run.cell import CellRecord, StageJob, State, run_of
from headbench.harness.run.inputs import stage_faults
from headbench.harness.run.plan import make_plan, write_plan
from headbench.harness.run.request import RunRequest
from headbench.harness.run.stages import run_stages
from headbench.harness.staged import read_stage
from headbench.harness.train import load_portrait
from headbench.harness.trained import latest_checkpoint, read_summary
from headbench.harness.way import Way

TREE = ("train", "train/tint:red", "train/tint:red/invert", "train/invert")


@pytest.fixture
def tints(toys: Path, installed_tints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plug: Plug) -> Registry:
    """The registry of this process with the distributions headbench-toys and headbench-tints."""
    plug(toys, installed_tints)
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(installed_tints), str(toys), os.environ.get("PYTHONPATH", "")])
    )
    return find_registry()


@pytest.fixture
def cell(tints: Registry, faces: Path, tmp_path: Path) -> Path:
    """The folder of a planned cell with the tree of stages."""
    request = RunRequest(
        methods=["average"],
        datasets=["discs[anna]"],
        data_root=faces,
        preset=["demo"],
        out=tmp_path / "run",
        device="cpu",
        rasterizer="torch",
    )
    plan = make_plan(request, tints, {})
    write_plan(plan)
    folder = cell_folder(plan.run, plan.cells[0].cell)
    job = plan.cells[0].job
    assert job is not None
    red = {"colour": [1.0, 0.0, 0.0], "steps": 4}
    configs = {"train": {}, "train/tint:red": red, "train/tint:red/invert": {}, "train/invert": {}}
    stages = tuple(StageJob(way, way != "train/tint:red", configs[way]) for way in TREE)
    dataclasses.replace(job, stages=stages).write(folder)
    plan.cells[0].record.write(folder)
    return folder


def at(cell: Path, way: str) -> StagePaths:
    return CellFolder(cell).stage(Way.parse(way))


def work(cell: Path, tints: Registry) -> list[str]:
    """Do the cell in this process; the notes."""
    notes: list[str] = []
    job = Job.read(cell)
    run_stages(cell, job, tints, (), lambda now: notes.append(str(now["note"])) if "note" in now else None)
    return notes


def colour(place: StagePaths) -> torch.Tensor:
    newest = latest_checkpoint(place.folder)
    assert newest is not None
    found = load_portrait(newest).portrait.colour
    assert isinstance(found, torch.Tensor)
    return found


def test_a_tree_of_stages_is_made_and_only_what_was_asked_for_is_rendered(cell: Path, tints: Registry) -> None:
    work(cell, tints)
    plain, red = colour(at(cell, "train")), colour(at(cell, "train/tint:red"))
    towards = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    torch.testing.assert_close(red, towards + (plain - towards) * 0.75**4)
    torch.testing.assert_close(colour(at(cell, "train/tint:red/invert")), 1 - red)
    torch.testing.assert_close(colour(at(cell, "train/invert")), 1 - plain)
    shown = {way: (at(cell, way).renders(f"{way}-white") / "sha256.txt").is_file() for way in TREE}
    assert shown == {way: way != "train/tint:red" for way in TREE}
    assert at(cell, "train/invert").speed.is_file()
    assert {way: each.state for way, each in CellRecord.read(cell).stages.items()} == dict.fromkeys(TREE, State.DONE)


def test_an_instance_loads_when_its_parents_are_gone(cell: Path, tints: Registry, tmp_path: Path) -> None:
    work(cell, tints)
    place, alone = at(cell, "train/tint:red/invert"), tmp_path / "alone"
    expected = colour(place)
    newest = latest_checkpoint(place.folder)
    assert newest is not None
    shutil.copytree(newest, alone)
    shutil.rmtree(cell / "stages")
    assert torch.equal(load_portrait(alone).portrait.colour, expected)


def test_what_changed_is_said_and_it_and_all_below_are_made_again(cell: Path, tints: Registry) -> None:
    work(cell, tints)
    job = Job.read(cell)
    assert stage_faults(CellFolder(cell), job, tints) == []
    before = {way: at(cell, way).summary.stat().st_mtime_ns for way in TREE}
    fewer = dataclasses.replace(job.stages[1], config={**job.stages[1].config, "steps": 2})
    job = dataclasses.replace(job, stages=(job.stages[0], fewer, *job.stages[2:]))
    assert stage_faults(CellFolder(cell), job, tints) == [
        "stage train/tint:red is stale: its configuration changed",
        "stage train/tint:red/invert is stale, as train/tint:red is",
    ]
    job.write(cell)
    notes = work(cell, tints)
    assert notes == ["stage train/tint:red and those below it are made again: its configuration changed"]
    after = {way: at(cell, way).summary.stat().st_mtime_ns for way in TREE}
    assert {way for way in TREE if before[way] != after[way]} == {"train/tint:red", "train/tint:red/invert"}
    assert work(cell, tints) == []  # and now nothing is left to do


def test_another_version_of_the_plugin_makes_an_instance_stale(cell: Path, tints: Registry, tmp_path: Path) -> None:
    work(cell, tints)
    metadata = tmp_path / "tints" / "headbench_tints-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    importlib.invalidate_caches()
    find_registry.cache_clear()
    faults = stage_faults(CellFolder(cell), Job.read(cell), find_registry())
    assert faults[0] == "stage train/tint:red is stale: the plugin of stage tint changed"


def test_a_network_that_only_the_options_need_is_an_input(
    cell: Path, tints: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = ["a" * 64]
    monkeypatch.setattr(inputs, "record", lambda name: SimpleNamespace(sha256=digest[0]))
    job = Job.read(cell)
    with_network = dataclasses.replace(job.stages[1], networks=("vgg16",))
    dataclasses.replace(job, stages=(job.stages[0], with_network, *job.stages[2:])).write(cell)
    work(cell, tints)
    saved = read_stage(at(cell, "train/tint:red").folder)
    assert saved is not None and saved.inputs["the network vgg16"] == digest[0]
    asked, folder = Job.read(cell), CellFolder(cell)
    assert stage_faults(folder, asked, tints) == []
    # Of an earlier request, the network is known by the record alone.
    way, later = Way.parse("train/tint:red"), dataclasses.replace(asked, stages=asked.stages[:1])
    assert inputs.changed_inputs(folder, way, later, tints) == ""
    digest[0] = "b" * 64
    assert stage_faults(folder, asked, tints)[0] == "stage train/tint:red is stale: the network vgg16 changed"
    assert inputs.changed_inputs(folder, way, later, tints) == "the network vgg16 changed"


def test_a_killed_stage_goes_on_from_its_own_checkpoint(cell: Path, tints: Registry, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os.environ["TINTS_DIE_AT"] = "2"
        try:
            work(cell, tints)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    red = at(cell, "train/tint:red")
    assert read_summary(red.folder) is None and latest_checkpoint(red.folder) == red.checkpoint(2)
    halfway = colour(red)
    assert work(cell, tints) == []
    towards = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    torch.testing.assert_close(colour(red), towards + (halfway - towards) * 0.75**2)


def test_a_method_that_lacks_a_stage_is_skipped_there_and_nothing_else_stops(cell: Path, tints: Registry) -> None:
    job = Job.read(cell)
    without = dataclasses.replace(job.stages[1], reason="Average has no colours")
    dataclasses.replace(job, stages=(job.stages[0], without, *job.stages[2:])).write(cell)
    work(cell, tints)
    found = CellRecord.read(cell).stages
    assert [found[way].state for way in TREE] == [State.DONE, State.SKIPPED, State.SKIPPED, State.DONE]
    assert found["train/tint:red"].reason == "Average has no colours"


def test_a_record_of_a_newer_format_and_an_unknown_loader_are_told(cell: Path, tints: Registry) -> None:
    work(cell, tints)
    path = at(cell, "train").folder / "stage.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "format": 9}))
    with pytest.raises(BenchError, match="found stage format 9, this version reads up to 1"):
        read_stage(path.parent)
    values = {name: value for name, value in values.items() if name != "seal"}
    path.write_text(json.dumps({**values, "loader": "method:Gone"}))
    newest = latest_checkpoint(path.parent)
    assert newest is not None
    with pytest.raises(BenchError, match="Unknown method 'Gone'"):
        load_portrait(newest)


def test_faulty_specs_of_stages_are_problems_of_their_plugin(tints: Registry) -> None:
    from types import ModuleType

    from headbench.harness.plugins import StageSpec, hookimpl

    wrong = [
        StageSpec("Loud", "a.b:C"),
        StageSpec("track", "a.b:C"),
        StageSpec("bake", "a.b:C", presets={"x": {}}, default_preset="y"),
        StageSpec("light", "a.b:C", labels="lamp"),
        StageSpec("light", "a.b:C", labels="lamp", kept="../lamp.json"),
        StageSpec("light", "headbench_tints.stages:Tint", labels="colour", kept="lamp.json"),
    ]
    plugin = ModuleType("mine")
    plugin.register_stages = hookimpl(lambda register: [register(each) for each in wrong])  # type: ignore[attr-defined]
    known = Registry([Source("mine", lambda: plugin)])
    said = [problem.message for problem in known.problems()]
    expected = ["lower-case", "taken by a task", "default preset", "must both be names", "kept '../lamp.json'"]
    assert len(said) == 5 and all(words in text for words, text in zip(expected, said, strict=True))
    with pytest.raises(PluginError, match=r"labels 'colour' must be an option of .* made by input_file"):
        known.load_stage("light")


def test_stages_are_listed_with_what_they_are_made_from_and_still_need(
    tints: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "list", "stages"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main()
    lines = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["train"].startswith("train nothing – nothing built in")
    assert lines["tint"].startswith("tint train dim, red a parent with trained headbench-tints 1.0")
    assert lines["invert"].startswith("invert tint, train – a parent with trained headbench-tints 1.0")


@pytest.mark.parametrize("name", ["train/../../../x", "/etc", "train/a:b:c", "\x1b[2J", ""])
@pytest.mark.tried(
    "hostile files", "a cell.json or job.json whose stages lead out of its folder", "all other cells", "that cell"
)
def test_names_of_stages_in_a_strangers_cell_lead_nowhere(cell: Path, tints: Registry, name: str) -> None:
    for file, change in (
        ("cell.json", lambda values: values["stages"].update({name: {"state": "done"}})),
        ("job.json", lambda values: values["stages"].append({"way": name})),
    ):
        values = json.loads((cell / file).read_text())
        change(values)
        values.pop("seal")
        (cell / file).write_text(json.dumps(values))
    with pytest.raises(BenchError, match=r"job.json: found "):
        Job.read(cell)
    (record,) = read_cells(run_of(cell))
    assert record.state is State.UNKNOWN and "cell.json: found " in record.reason and record.reason.isprintable()
