"""Where the files of a cell lie."""

from __future__ import annotations

from pathlib import Path

from headbench.harness.layout import CellFolder
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
    assert place.shown(place.folder) == "stages/train/bake:decoder"
    assert place.shown(place.speed) == "speed/train/bake:decoder.json"
    assert place.shown(place.scores("headbench@1")) == "scores/train/bake:decoder/headbench@1.jsonl"


def test_folders_and_files_that_are_there_are_found_in_order(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path)
    assert cell.render_folders() == cell.score_files() == cell.tracking_folders() == []
    for name in ("b", "a"):
        cell.stage().renders(name).mkdir(parents=True)
        cell.stage().tracking(name).mkdir(parents=True)
    written = [cell.stage(way).scores("p@1") for way in map(Way.parse, ("train", "train/bake"))]
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert (
        [path.name for path in cell.render_folders()] == [path.name for path in cell.tracking_folders()] == ["a", "b"]
    )
    assert cell.score_files() == written[:1]
    assert cell.score_files(Way.parse("train/bake")) == written[1:]
