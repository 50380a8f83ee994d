"""A request becomes cells; what cannot run is known, with its reason, before anything trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.plugins import Registry
from headbench.harness.run import CellRecord, State, cell_folder, read_cells
from headbench.harness.run.plan import Plan, make_plan, write_plan
from headbench.harness.run.provenance import record_provenance
from headbench.harness.run.request import RunRequest

PROTOCOLS = {"headbench@1": "hash"}


@pytest.fixture(autouse=True)
def empty_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(home))


def planned(registry: Registry, root: Path, **more: object) -> Plan:
    values = {"methods": "average", "datasets": "discs", "preset": "demo", "out": root.parent / "run"} | more
    return make_plan(RunRequest.model_validate({"data_root": root, **values}), registry, PROTOCOLS)


def paths(plan: Plan) -> list[str]:
    return [cell.cell.path for cell in plan.cells]


def test_cells_are_methods_by_presets_by_subjects_by_seeds(registry: Registry, faces: Path) -> None:
    plan = planned(registry, faces, methods="average,raises", preset="demo,wide", seeds="0,7")
    assert len(plan.cells) == 2 * 2 * 2 * 2
    assert paths(plan)[:3] == [
        "average-demo/discs/anna/seed0",
        "average-demo/discs/anna/seed7",
        "average-wide/discs/anna/seed0",
    ]
    cell = plan.cells[0]
    assert cell.job is not None and cell.job.protocols == ("headbench@1",)
    assert cell.frames == (6, 3) and cell.size == (24, 24) and cell.record.baseline


def test_all_means_all_registered(registry: Registry, faces: Path) -> None:
    plan = planned(registry, faces, methods="all", datasets="all")
    assert {cell.cell.method for cell in plan.cells} == set(registry.methods())


def test_subjects_are_chosen_by_name_or_pattern(registry: Registry, faces: Path) -> None:
    assert [c.cell.subject for c in planned(registry, faces, datasets="discs[ben]").cells] == ["ben"]
    assert [c.cell.subject for c in planned(registry, faces, datasets="DISCS[a*]").cells] == ["anna"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"methods": "avarage"}, "Unknown method 'avarage'. Did you mean 'Average'"),
        ({"datasets": "disks"}, "Unknown dataset 'disks'. Did you mean 'discs'"),
        ({"datasets": "discs[bne]"}, "Unknown subject of discs 'bne'. Did you mean 'ben'"),
        ({"settings": ["avarage.gain=2"]}, "Unknown method, dataset or stage 'avarage'. Did you mean 'Average'"),
        ({"settings": ["raises.gain=2"]}, "raises is not part of this run"),
        ({"settings": ["average.gian=2"]}, "Unknown option of average 'gian'. Did you mean 'gain'"),
        ({"settings": ["discs.radios=2"]}, "Unknown option of discs 'radios'. Did you mean 'radius'"),
    ],
)
def test_an_unknown_name_stops_the_plan_with_a_suggestion(
    registry: Registry, faces: Path, more: dict[str, object], words: str
) -> None:
    with pytest.raises(BenchError) as caught:
        planned(registry, faces, **more)
    assert words in str(caught.value)


def test_data_that_is_not_there_is_an_error(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is no folder"):
        planned(registry, tmp_path / "nowhere")
    with pytest.raises(BenchError, match="holds no discs"):
        planned(registry, tmp_path)
    with pytest.raises(BenchError, match="No dataset found below"):
        planned(registry, tmp_path, datasets="all")


def test_a_method_without_the_preset_uses_its_default_and_says_so(registry: Registry, faces: Path) -> None:
    plan = planned(registry, faces, preset="official")
    assert paths(plan)[0] == "average-demo/discs/anna/seed0"
    record = plan.cells[0].record
    assert record.preset_note == "Average has no preset 'official'; its default 'demo' was used"
    assert record.preset_note in record.notes


def test_a_preset_that_no_method_has_is_an_error(registry: Registry, faces: Path) -> None:
    with pytest.raises(BenchError, match=r"Unknown preset 'demmo'\. Did you mean 'demo'"):
        planned(registry, faces, preset="demmo")


def test_settings_make_a_variant_named_by_hash_or_label(registry: Registry, faces: Path) -> None:
    plan = planned(registry, faces, methods="average,raises", settings=["AVERAGE.gain=2"])
    first, other = plan.cells[0], plan.cells[1]
    assert len(first.cell.variant) == 8 and other.cell.variant == ""
    assert first.job is not None and first.job.config["gain"] == 2.0
    assert any("AVERAGE.gain=2" in note for note in first.record.notes)
    labelled = planned(registry, faces, methods="average,raises", settings=["average.gain=2"], label="twice")
    assert [c.cell.variant for c in labelled.cells[:2]] == ["twice", ""]
    assert planned(registry, faces, label="again").cells[0].cell.path == "average-demo-again/discs/anna/seed0"


def test_options_of_a_dataset_make_a_variant_of_all_methods(registry: Registry, faces: Path) -> None:
    plan = planned(registry, faces, methods="average,raises", settings=["discs.radius=4"], label="small")
    assert [c.cell.variant for c in plan.cells] == ["small"] * 4
    assert plan.cells[0].job is not None and plan.cells[0].job.data_options == {"radius": 4}


def test_a_limit_is_a_variant_and_a_note(registry: Registry, faces: Path) -> None:
    cell = planned(registry, faces, limit=2).cells[0]
    assert cell.frames == (2, 2) and cell.cell.variant == "limit2"
    assert "a quick look: at most 2 training and 2 test frames per subject" in cell.record.notes


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("needsbrows", "NeedsBrows needs masks that discs has not: brows (it has: mouth)"),
        ("needsvgg", "bench assets fetch lpips"),
    ],
)
def test_unmet_needs_skip_the_cell_with_reason_and_command(
    registry: Registry, faces: Path, method: str, words: str
) -> None:
    record = planned(registry, faces, methods=method).cells[0].record
    assert record.state is State.SKIPPED and words in record.reason


def test_a_head_model_that_is_not_registered_skips_that_subject_alone(registry: Registry, faces: Path) -> None:
    path = faces / "discs" / "ben" / "subject.json"
    path.write_text(json.dumps({"frames": 9, "size": 24, "head": "flame2020"}))
    anna, ben = (cell.record for cell in planned(registry, faces).cells)
    assert anna.state is State.QUEUED
    assert ben.state is State.SKIPPED and "bench assets add flame2020" in ben.reason


def test_a_subject_that_cannot_be_read_fails_alone(registry: Registry, faces: Path) -> None:
    (faces / "discs" / "anna" / "subject.json").write_text('{"broken": true}')
    (faces / "discs" / "ben" / "subject.json").write_text("{")
    (faces / "discs" / "carl").mkdir()
    (faces / "discs" / "carl" / "subject.json").write_text('{"frames": 9, "size": 24, "head": "openhead"}')
    anna, ben, carl = (cell.record for cell in planned(registry, faces).cells)
    assert anna.state is State.FAILED and "frame 3: the image is missing" in anna.reason
    assert ben.state is State.FAILED and "JSONDecodeError" in ben.reason
    assert carl.state is State.QUEUED


def test_plan_json_keeps_the_cells_of_earlier_requests(registry: Registry, faces: Path) -> None:
    first, second = planned(registry, faces, datasets="discs[ben]"), planned(registry, faces, methods="raises")
    for plan in (first, second):
        write_plan(plan)
        for cell in plan.cells:
            cell.record.write(cell_folder(plan.run, cell.cell))
    assert [e["path"] for e in read_json(first.run / "plan.json")["cells"]] == paths(first) + paths(second)
    assert [r.cell.path for r in read_cells(first.run)] == paths(first) + paths(second)


def begin(plan: Plan) -> None:
    """As a worker does that was killed after its first checkpoint."""
    cell = plan.cells[0]
    assert cell.job is not None
    folder = cell_folder(plan.run, cell.cell)
    (folder / "stages" / "train").mkdir(parents=True)
    record_provenance(folder, cell.job)
    (folder / "stages" / "train" / "checkpoint-1").mkdir()
    CellRecord(cell.cell, State.INTERRUPTED).write(folder)


def test_a_begun_cell_keeps_its_configuration_and_the_difference_is_named(registry: Registry, faces: Path) -> None:
    begin(planned(registry, faces, settings=["average.gain=2"], label="mine"))
    planned(registry, faces, settings=["average.gain=2.0"], label="mine")
    with pytest.raises(BenchError, match=r"config gain was 2.0, is 3.0") as caught:
        planned(registry, faces, settings=["average.gain=3"], label="mine")
    assert "--label" in caught.value.help


def test_a_begun_cell_keeps_its_data_and_the_difference_is_named(registry: Registry, faces: Path) -> None:
    begin(planned(registry, faces))
    (faces / "discs" / "anna" / "subject.json").write_text('{"frames": 12, "size": 24, "head": "openhead"}')
    with pytest.raises(BenchError, match=r"average-demo/discs/anna/seed0 was begun .* data subject was \w+…, is"):
        planned(registry, faces)


def test_provenance_names_code_machine_configuration_and_data(registry: Registry, faces: Path) -> None:
    plan = planned(registry, faces)
    begin(plan)
    values = read_json(cell_folder(plan.run, plan.cells[0].cell) / "provenance.json")
    assert values["versions"]["torch"] and values["versions"]["python"]
    assert set(values["code"]) == {"commit", "dirty"} and values["machine"]["threads"] >= 1
    assert values["config"]["gain"] == 1.0 and len(values["config_hash"]) == 64
    assert len(values["data"]["fingerprint"]["subject"]) == 64 and values["seed"] == 0
