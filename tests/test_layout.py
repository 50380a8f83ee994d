"""Where the files of a cell lie."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.layout import CellFolder, refuse_links
from headbench.harness.way import Way

CELL = CellFolder(Path("cell"))


def test_files_of_train_lie_where_they_always_lay() -> None:
    place = CELL.stage()
    found = [place.folder, place.summary, place.checkpoint(30), place.renders("train-white"), place.speed, CELL.log]
    found += [place.scores("headbench@1"), place.marker("headbench@1"), place.tracking("train-white-t")]
    assert [path.as_posix() for path in found] == [
        "cell/stages/train",
        "cell/stages/train/summary.json",
        "cell/stages/train/checkpoint-30",
        "cell/renders/train-white",
        "cell/speed.json",
        "cell/stages/train/log.txt",
        "cell/scores/headbench@1.jsonl",
        "cell/scores/headbench@1.json",
        "cell/stages/track/train-white-t",
    ]


def test_another_instance_has_places_of_its_own() -> None:
    place = CELL.stage(Way.parse("train/bake:decoder"))
    assert place.relative(place.folder) == "stages/train/bake:decoder"
    assert place.relative(place.speed) == "speed/train/bake:decoder.json"
    assert place.relative(place.scores("headbench@1")) == "scores/train/bake:decoder/headbench@1.jsonl"


def test_folders_and_files_that_are_there_are_found_in_order(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path)
    assert cell.stage().render_folders() == cell.stage().score_files() == cell.stage().tracking_folders() == []
    for name in ("train-b", "train-a"):
        cell.stage().renders(name).mkdir(parents=True)
        cell.stage().tracking(name).mkdir(parents=True)
    written = [cell.stage(way).scores("p@1") for way in map(Way.parse, ("train", "train/bake"))]
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert (
        [path.name for path in cell.stage().render_folders()]
        == [path.name for path in cell.stage().tracking_folders()]
        == ["train-a", "train-b"]
    )
    assert cell.stage().score_files() == written[:1]
    assert cell.stage(Way.parse("train/bake")).score_files() == written[1:]


def test_only_links_that_lead_out_of_a_run_are_refused(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "run-2"
    cell = run / "cells" / "a"
    for folder in (cell / "renders" / "white", cell / "stages" / "train" / "scratch", other):
        folder.mkdir(parents=True)
    (cell / "renders" / "black").symlink_to(cell / "renders" / "white")
    (cell / "stages" / "train" / "scratch" / "data").symlink_to(other)
    (tmp_path / "named").symlink_to(run)
    for folder in (run, tmp_path / "named", tmp_path / "missing", cell):
        refuse_links(folder)
    refuse_links(run / "report", run)
    for place in ("report", ".lock", "cells/a/scores", "cells/a/stages/train/log.txt", "cells/b"):
        link = run / place
        link.symlink_to(other / "gone")
        with pytest.raises(BenchError, match=f"{link} is a link to {other / 'gone'}, out of {run}: .*"):
            refuse_links(run)
        with pytest.raises(BenchError) if place == "report" else contextlib.nullcontext():
            refuse_links(run / "report", run)
        link.unlink()
