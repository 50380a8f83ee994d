"""A run keeps to its data: what changed is named, frame by frame where the reader knows, and nothing is mixed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isolation import Plug
from PIL import Image

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json, sha256_of, write_json
from headbench.harness.plugins import Registry, Source
from headbench.harness.run import State, cell_folder
from headbench.harness.run.cell import CellRecord
from headbench.harness.run.data import Manifest, differences
from headbench.harness.run.plan import Plan, make_plan, write_plan
from headbench.harness.run.provenance import record_provenance
from headbench.harness.run.request import RunRequest
from headbench.harness.run.subject import read_subject
from headbench.reports import build_table

PROTOCOLS = {"headbench@1": "ab" * 32}


@pytest.fixture
def author(insta_format: Any, tmp_path: Path) -> Any:
    """A subject in INSTA layout, whose reader gives digests of single frames."""
    made = insta_format.Author(tmp_path / "data" / "insta" / "someone")
    made.write()
    return made


@pytest.fixture
def both(toys: Path, plug: Plug) -> Registry:
    """The toys and the built-in datasets."""
    plug(toys)
    modules = ("headbench_toys", "headbench.datasets.plugin")
    return Registry([Source(name, lambda name=name: importlib.import_module(name)) for name in modules])


@pytest.fixture
def plan(both: Registry, tmp_path: Path) -> Callable[..., Plan]:
    """Plans a run on the subject; `methods` and others can be named."""

    def make(**more: object) -> Plan:
        values = {"methods": "average", "datasets": "insta", "preset": "demo", "out": tmp_path / "run"} | more
        request = RunRequest.model_validate({"data_root": tmp_path / "data", **values})
        return make_plan(request, both, PROTOCOLS)

    return make


def begin(plan: Plan, psnr: float = 30.0) -> Path:
    """What a cell that was trained and scored leaves: the folder of the plan's first."""
    write_plan(plan)
    cell = plan.cells[0]
    assert cell.job is not None
    folder = cell_folder(plan.run, cell.cell)
    (folder / "stages" / "train").mkdir(parents=True)
    cell.job.write(folder)
    record_provenance(folder, cell.job)
    (folder / "stages" / "train" / "checkpoint-1").mkdir()
    CellRecord(cell.cell, State.DONE, protocols=PROTOCOLS).write(folder)
    header = {"protocol": "headbench", "version": 1, "hash": "ab" * 32, "render_key": "train-white"}
    header |= {"weights": {}, "versions": {}, "device": "cpu", "frames": 1, "reasons": {}}
    (folder / "scores").mkdir()
    lines = [header, {"id": "00006", "psnr": psnr, "ssim": 0.9, "lpips_alex": 0.1, "lpips_vgg": 0.1}]
    scores = folder / "scores" / "headbench@1.jsonl"
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(scores.with_suffix(".json"), {"scores": sha256_of(scores)})
    return folder


def _repaint(author: Any, *frames: int) -> None:
    for frame in frames:
        image = author.image(frame).copy()
        image[..., :3] = 255 - image[..., :3]
        Image.fromarray(image).save(author.folder / f"images/{frame:05d}.png")


def test_provenance_holds_digests_and_the_runs_folder_the_split_and_every_frame(plan, author) -> None:
    folder = begin(plan())
    data = read_json(folder / "provenance.json")["data"]
    assert set(data["fingerprint"]) == {"images", "tracking", "split"}
    assert all(len(digest) == 64 for digest in data["fingerprint"].values())
    known = Manifest.read(folder.parents[4], data["file"])
    assert known is not None and (known.dataset, known.subject, known.variant) == ("insta", "someone", "insta/fate")
    assert known.train == tuple(f"{k:05d}" for k in range(6)) and known.test == ("00006", "00007", "00008")
    assert {what: len(ids) for what, ids in known.frames.items()} == {"images": 9, "tracking": 9}
    assert known.fingerprint == data["fingerprint"]
    assert read_json(folder / "job.json")["fingerprint"] == data["fingerprint"]


def test_going_on_with_the_same_data_is_right(plan, author) -> None:
    begin(plan())
    plan()
    plan(methods="raises")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda a: _repaint(a, 3), "data images: 1 of 9 frames differ (00003)"),
        (lambda a: _repaint(a, *range(9)), "data images: 9 of 9 frames differ (00000, 00001, 00002, 00003 and 5 more)"),
        (lambda a: a.text("jaw", 5, [1, 0, 0, 0, 0.6, 0.8]), "data tracking: 1 of 9 frames differ (00005)"),
        (
            lambda a: a.text("shape", 0, [0.25] * 300),
            "data tracking: what all frames share differs (identity, head, lens)",
        ),
        (
            lambda a: a.edit("test", lambda c: c["frames"].pop()),
            "data images: 1 gone (00008); data split: 1 gone (00008); data tracking: 1 gone (00008)",
        ),
    ],
    ids=["an image", "all images", "a pose", "the identity", "the split"],
)
def test_a_run_refuses_to_go_on_with_other_data_and_names_what_changed(plan, author, damage, words) -> None:
    folder = begin(plan())
    damage(author)
    with pytest.raises(BenchError) as caught:
        plan()
    assert f"{folder} was begun with something else: {words}." in str(caught.value)
    assert f"remove {folder}" in caught.value.help


def test_a_frame_that_moved_to_the_other_part_is_named(plan, author) -> None:
    begin(plan())
    taken: list[Any] = []
    author.edit("train", lambda content: taken.append(content["frames"].pop()))
    author.edit("test", lambda content: content["frames"].insert(0, taken[0]))
    with pytest.raises(BenchError, match=r"data split: 1 moved from training to testing \(00005\)\."):
        plan()


def test_another_method_is_not_begun_on_other_data_than_the_runs_cells(plan, author) -> None:
    folder = begin(plan())
    _repaint(author, 2)
    with pytest.raises(BenchError) as caught:
        plan(methods="raises")
    text = str(caught.value)
    assert f"{folder} was trained on other data than {author.folder} holds now" in text
    assert "data images: 1 of 9 frames differ (00002)" in text and "choose another --out" in text


def test_a_cell_of_which_nothing_was_trained_does_not_hold_a_run_back(plan, author) -> None:
    folder = begin(plan())
    (folder / "stages" / "train" / "checkpoint-1").rmdir()
    _repaint(author, 2)
    plan()
    plan(methods="raises")


def test_a_table_does_not_mix_data(plan, author, tmp_path) -> None:
    one = begin(plan())
    second = plan(methods="raises")
    _repaint(author, 0, 7)
    # As two machines leave it whose run folders were put together.
    other = begin(plan(methods="raises", out=tmp_path / "elsewhere"))
    target = cell_folder(tmp_path / "run", second.cells[0].cell)
    target.parents[2].mkdir(parents=True, exist_ok=True)
    write_plan(second)
    other.parents[2].rename(target.parents[2])
    for path in (tmp_path / "elsewhere" / "data" / "insta").iterdir():
        path.rename(tmp_path / "run" / "data" / "insta" / path.name)
    with pytest.raises(BenchError) as caught:
        build_table(tmp_path / "run")
    text = str(caught.value)
    assert str(one) in text and str(target) in text and "trained on different data of insta/someone" in text
    assert "data images: 2 of 9 frames differ (00000, 00007)" in text and "; then bench run " in text


def test_a_table_of_cells_of_one_kind_of_data_is_built(plan, author) -> None:
    begin(plan())
    begin(plan(methods="raises"), psnr=20.0)
    table = build_table(plan().run)
    assert [row.method for row in table.rows if row.kind == "subject"] == ["Average", "Raises"]


def test_data_that_change_between_plan_and_training_are_named(plan, both, author) -> None:
    made = plan()
    write_plan(made)
    job = made.cells[0].job
    assert job is not None
    read_subject(job, both, made.run)
    _repaint(author, 4)
    with pytest.raises(BenchError, match=r"changed since the run was planned: data images: 1 of 9 .*\(00004\)"):
        read_subject(job, both, made.run)


def test_without_frames_digests_say_that_something_changed() -> None:
    assert differences({"subject": "a" * 64}, {"subject": "b" * 64}) == [
        "data subject was aaaaaaaaaaaa…, is bbbbbbbbbbbb…"
    ]
    assert differences({"images": "a"}, {"images": "a"}) == []


def test_a_damaged_manifest_costs_the_names_of_frames_and_nothing_else(plan, author) -> None:
    folder = begin(plan())
    (folder.parents[4] / read_json(folder / "provenance.json")["data"]["file"]).write_text("[]")
    plan()
    _repaint(author, 1)
    with pytest.raises(BenchError, match=r"data images was \w{12}…, is \w{12}…"):
        plan()


def test_reader_options_make_variants_that_stand_side_by_side(plan, author) -> None:
    begin(plan())
    begin(plan(settings=["insta.eyes=fateavatar"]))
    assert len([row for row in build_table(plan().run).rows if row.kind == "subject"]) == 2
