"""`bench edit`: from a sticker to a row of the table, in a run and outside of one."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.cli.edited import Work
from headbench.harness.errors import BenchError
from headbench.harness.layout import CellFolder
from headbench.harness.run import read_cells
from headbench.harness.tensors import read_tensors
from headbench.harness.way import Way
from headbench.reports import build_table
from headbench.reports.text import to_csv
from headbench.stages.edit import stage

CELL = Path("out/cells/splattingavatar-demo-small/discs/anna/seed0")
BAKED, LOGO = "train/bake:texture", "train/bake:texture/edit:logo"


@pytest.fixture
def run(bench: Callable[..., Any], faces: Path) -> Callable[..., Any]:
    """Runs `bench run` on anna: an avatar of a few Gaussians, trained and baked for a step."""
    values = {
        "splattingavatar": {"train.steps": 1, "train.resolution": 24, "num_points": 200, "densify_from": 0},
        "bake": {"size": 32, "steps": 1, "points": 300},
    }
    settings = [f"{owner}.{key}={value}" for owner, each in values.items() for key, value in each.items()]
    fixed = ("--methods", "splattingavatar", "--preset", "demo", "--device", "cpu", "--rasterizer", "torch")
    place = ("--data-root", faces, "--out", "out", "--datasets", "discs[anna]", "--label", "small", "--no-report")

    def call(stages: str, *more: str) -> Any:
        sets = [part for setting in settings for part in ("--set", setting)]
        return bench("run", *place, *fixed, "--protocol", "none", "--stages", stages, *sets, *more)

    return call


@pytest.fixture
def logo(tmp_path: Path) -> Path:
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[..., 1:3] = 0
    Image.fromarray(pixels).save(tmp_path / "logo.png")
    return tmp_path / "logo.png"


def maps(folder: Path, step: int = 1) -> Mapping[str, torch.Tensor]:
    found = read_tensors(folder / f"checkpoint-{step}" / "model.safetensors")
    return {name: value for name, value in found.items() if "map_" in name}


def rows(run: Path) -> dict[str, str]:
    table = csv.DictReader(to_csv(build_table(run, None)).splitlines())
    return {row["stage"]: row["state"] for row in table if row["subject"]}


@pytest.mark.slow
def test_an_edit_becomes_a_row_that_every_verb_knows(
    run: Callable[..., Any],
    bench: Callable[..., Any],
    logo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(f"train,{BAKED}").code == 0
    cell = CellFolder(tmp_path / CELL)
    baked, edited = cell.stage(Way.parse(BAKED)), cell.stage(Way.parse(LOGO))
    done = bench("edit", baked.folder, "--sticker", logo, "--region", "face", "--label", "logo", "--out", "shown")
    assert done.code == 0, done
    assert f"{LOGO}: 1 edit; " in done.out
    frames = sorted(path.name for path in baked.renders(f"{BAKED}-white").glob("*.png"))
    assert frames and sorted(path.name for path in (tmp_path / "shown").glob("*.png")) == frames
    assert (tmp_path / "shown" / "edited.mp4").stat().st_size > 0
    assert sorted(path.name for path in edited.renders(f"{LOGO}-white").glob("*.png")) == frames
    assert json.loads((edited.folder / "edits.json").read_text()) == json.loads((edited.own / "edits.json").read_text())
    before, after = maps(baked.folder, 2), maps(edited.folder)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"portrait/map_colour"}
    assert rows(tmp_path / "out") == dict.fromkeys(("train", BAKED, LOGO), "rendered")
    assert "all is as it was written" in bench("verify", "out").out
    assert bench("render", edited.folder, "--out", "around", "--frames", "2", "--device", "cpu").code == 0

    # One that fails leaves the stack as it was, and a row that says so until it is made again.
    def fail(*_: Any) -> None:
        raise BenchError("the disk is full")

    kept = (edited.own / "edits.json").read_text()
    with monkeypatch.context() as broken:
        broken.setattr(stage, "apply", fail)
        failed = bench("edit", edited.folder, "--wash", "#2040c0", "--region", "lips")
    assert failed.code == 1 and "error: the disk is full" in failed.err
    assert (edited.own / "edits.json").read_text() == kept
    assert rows(tmp_path / "out")[LOGO] == "queued"
    assert "stale: the disk is full; add" in " ".join(bench("status", "out").out.split())
    assert run(f"train,{LOGO}").code == 0
    assert torch.equal(maps(edited.folder)["portrait/map_colour"], after["portrait/map_colour"])

    # Another command changed the stack after this one had read it.
    work = Work.at(edited.folder, dict.fromkeys(("label", "out", "device", "rasterizer", "limit")))
    (edited.own / "edits.json").write_text(kept + " ")
    with pytest.raises(BenchError, match="another command changed the edits of train/bake:texture/edit:logo just now"):
        work.make(lambda: work.stack)
    assert (edited.own / "edits.json").read_text() == kept + " "

    # Another edit on top, taken back: the bits are those before.
    assert bench("edit", edited.folder, "--wash", "#2040c0", "--region", "lips").code == 0
    assert not torch.equal(maps(edited.folder)["portrait/map_colour"], after["portrait/map_colour"])
    listed = bench("edit", edited.folder, "--list")
    assert "1  sticker logo.png region face" in listed.out
    assert "2  wash colour" in listed.out
    assert bench("edit", edited.folder, "--reorder", "2,1").code == 0
    assert bench("edit", edited.folder, "--undo", "1").code == 0
    assert torch.equal(maps(edited.folder)["portrait/map_colour"], after["portrait/map_colour"])
    assert bench("edit", edited.folder, "--undo").code == 0
    assert torch.equal(maps(edited.folder)["portrait/map_colour"], before["portrait/map_colour"])
    assert list(edited.own.glob("*.png")) == [], "no edit reads the picture any more"


@pytest.mark.slow
@pytest.mark.tried(
    "wrong command lines",
    "edits of what is not baked; without a place or with two; of a region, frame, number or picture that is not there",
)
def test_a_request_takes_the_stack_that_the_cell_keeps_or_one_of_a_file(
    run: Callable[..., Any], bench: Callable[..., Any], logo: Path, tmp_path: Path
) -> None:
    lacking = run(f"{BAKED},{LOGO}")
    assert lacking.code == 2 and f"{LOGO} is made from a file: --set edit.stack=FILE" in " ".join(lacking.out.split())
    baked = CellFolder(tmp_path / CELL).stage(Way.parse(BAKED))
    # A frame for testing: its pose and camera are kept in the stack.
    frame = next(baked.renders(f"{BAKED}-white").glob("*.png")).stem
    place = ("--from-frame", frame, "--at", "12,12", "--size", "6")
    assert bench("edit", baked.folder, "--label", "logo", "--sticker", logo, *place).code == 0
    edited = CellFolder(tmp_path / CELL).stage(Way.parse(LOGO))
    made = edited.summary.stat().st_mtime_ns
    again = run(f"{BAKED},{LOGO}")
    assert again.code == 0 and "stale" not in again.out and edited.summary.stat().st_mtime_ns == made
    other = run(f"{BAKED},{BAKED}/edit:other", "--set", f"edit.stack={edited.own / 'edits.json'}")
    assert other.code == 0, other
    beside = CellFolder(tmp_path / CELL).stage(Way.parse(f"{BAKED}/edit:other"))
    assert torch.equal(maps(beside.folder)["portrait/map_colour"], maps(edited.folder)["portrait/map_colour"])
    assert {record.state for record in read_cells(tmp_path / "out")} == {"done"}
    # The stack changes: what was made from it is stale.
    stack = edited.own / "edits.json"
    values = json.loads(stack.read_text())
    values["entries"][0]["opacity"] = 0.5
    stack.write_text(json.dumps(values))
    stale = run(f"{BAKED},{LOGO}")
    assert f"stage {LOGO} is stale: the file of option stack changed; done again" in stale.out
    assert not torch.equal(maps(beside.folder)["portrait/map_colour"], maps(edited.folder)["portrait/map_colour"])

    # Outside of a run everything is written to --out.
    alone = tmp_path / "alone"
    shutil.copytree(baked.folder, alone, ignore=shutil.ignore_patterns("edit*"))
    assert "needs a place" in bench("edit", alone, "--wash", "#ff0000", "--region", "face").err
    itself = bench("edit", alone, "--wash", "#ff0000", "--region", "face", "--out", alone)
    assert "alone holds the avatar that is edited, which would be lost" in itself.err
    for count in (1, 2):
        options = ("--wash", "#ff0000", "--region", "face", "--out", "outside", "--limit", "2", "--device", "cpu")
        done = bench("edit", alone, *options)
        assert done.code == 0 and f"outside: {count} edit" in done.out, done
    assert bench("render", "outside", "--out", "around", "--frames", "2", "--device", "cpu").code == 0
    assert len(list((tmp_path / "outside").glob("0*.png"))) == 2

    _refusals(bench, baked.folder, logo, tmp_path)


def _refusals(bench: Callable[..., Any], baked: Path, logo: Path, tmp_path: Path) -> None:
    """Wrong command lines are one line each, and nothing is written."""
    train = baked.parent
    flat = tmp_path / "flat.png"
    Image.new("RGB", (4, 4)).save(flat)
    sticker = ("--sticker", logo)
    before = sorted(path for path in baked.parents[5].rglob("*"))
    for path, options, said in (
        (train, ("--undo",), "train is no baked avatar"),
        (baked, (), "expected one of --sticker"),
        (baked, (*sticker, "--undo", "--region", "face"), "found --sticker and --undo"),
        (baked, sticker, "a sticker has one place: --region, --rect or --from-frame, found none"),
        (baked, (*sticker, "--region", "face", "--rect", "0,0,1,1"), "found --rect and --region"),
        (baked, (*sticker, "--rect", "0,0,1"), "expected u0,v0,u1,v1"),
        (baked, (*sticker, "--rect", "0.5,0,0.2,1"), "with u0 < u1"),
        (baked, (*sticker, "--from-frame", "x", "--at", "1,2"), "also needs --size"),
        (
            baked,
            (*sticker, "--from-frame", "nobody", "--at", "1,2", "--size", "3"),
            "has no frame 'nobody' among its 9",
        ),
        (baked, (*sticker, "--region", "elbow"), "Unknown region of this head 'elbow'"),
        (baked, (*sticker, "--region", "face", "--at", "1,2"), "--at does not go with --sticker"),
        (baked, ("--sticker", flat, "--region", "face"), "expected a picture with alpha"),
        (baked, ("--wash", "blue", "--region", "face"), "expected #rrggbb"),
        (baked, ("--wash", "#0000ff"), "--wash here also needs --region"),
        (baked, ("--colour-map", logo), "expected 32 x 32 pixels as the avatar's colour map has, found 8 x 8"),
        (baked, ("--swap", train), "is no baked avatar: it has no colours to take"),
        (baked, ("--undo",), "there is no edit to undo"),
        (baked, ("--reorder", "1,x"), "expected the number of an edit, found 'x'"),
        (baked, ("--undo", "--label", "../x"), "--label '../x'"),
    ):
        done = bench("edit", path, *options)
        assert done.code == 1 and said in done.err and done.err.startswith("error: "), (options, done)
        assert sum(not line.startswith("  ") for line in done.err.splitlines()) == 1, done.err
    assert sorted(path for path in baked.parents[5].rglob("*")) == before
