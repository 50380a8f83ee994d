"""Pictures of a damaged or strange run: what is damaged is left out and named, and nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headbench.harness.errors import BenchError
from headbench.harness.plugins import Registry
from headbench.reports import write_report
from headbench.reports.figures import draw_figures
from headbench.reports.renders import Subjects

NAME = "a-demo_faces_anna_seed0"


def rows_of(grid: Path) -> int:
    with Image.open(grid) as image:
        return image.height


@pytest.mark.tried("faults in runs", "a render damaged later", "figures of the others; a remark names it")
def test_a_damaged_picture_is_left_out_and_named(pictured: Any, faces: Registry, tmp_path: Path) -> None:
    render = pictured.renders / "00003.png"
    render.write_bytes(render.read_bytes()[:-9] + b"x" * 9)
    (pictured.renders / "00004.png").unlink()
    os.mkfifo(pictured.renders / "00004.png")
    figures, remarks = draw_figures(pictured.path, tmp_path / "figures", None, Subjects(faces))
    assert len(figures) == 1 and figures[0].grid.is_file()
    assert remarks == [
        "Pictures of a-demo/faces/anna/seed0 are without frames 00003, 00004: changed or removed in train-white since "
        f"rendered; `bench run {pictured.path}/run.yaml` renders them again"
    ]


def test_pictures_that_lack_a_frame_are_drawn_again(pictured: Any, faces: Registry, tmp_path: Path) -> None:
    render = pictured.renders / "00003.png"
    whole = render.read_bytes()
    render.write_bytes(whole[:-1])
    draw_figures(pictured.path, tmp_path / "first", None, Subjects(faces))
    assert not (tmp_path / "first" / f"{NAME}.json").exists()
    render.write_bytes(whole)
    _, remarks = draw_figures(pictured.path, tmp_path / "second", tmp_path / "first", Subjects(faces))
    assert remarks == [] and (tmp_path / "second" / f"{NAME}.json").is_file()
    assert rows_of(tmp_path / "second" / f"{NAME}.png") > 0


def test_a_picture_that_was_swapped_is_not_shown(pictured: Any, faces: Registry, tmp_path: Path) -> None:
    for path in pictured.renders.glob("*.png"):
        Image.new("RGB", (32, 32), "white").save(path)
    figures, remarks = draw_figures(pictured.path, tmp_path / "figures", None, Subjects(faces))
    assert figures == [] and "all 5 renders in" in remarks[0]
    assert list((tmp_path / "figures").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("render.json", '{"background": "../x"}', "background '../x', expected "),
        ("render.json", "{}", "background None, expected "),
        ("render.json", "[", "found no JSON"),
        ("../../job.json", "{}", "names no cell"),
        ("../../job.json", '{"cell": []}', "names no cell"),
    ],
)
def test_damaged_notes_of_renders_cost_that_cells_pictures(
    pictured: Any, faces: Registry, tmp_path: Path, name: str, text: str, expected: str
) -> None:
    (pictured.renders / name).write_text(text, encoding="utf-8")
    figures, remarks = draw_figures(pictured.path, tmp_path / "figures", None, Subjects(faces))
    assert figures == [] and expected in remarks[0] and "Error" not in remarks[0]


@pytest.mark.tried("hostile files", "a subject with a name of 200 bytes", "all of the report")
def test_long_names_have_pictures_of_their_own(pictured: Any, faces: Registry, tmp_path: Path) -> None:
    plan = json.loads((pictured.path / "plan.json").read_text(encoding="utf-8"))
    cell = pictured.renders.parents[1]
    subjects = ["ä" * 100, "ä" * 99 + "b"]
    for subject in subjects:
        target = cell.parents[1] / subject / "seed0"
        target.parent.mkdir()
        shutil.copytree(cell, target)
        for file in ("cell.json", "job.json"):
            values = json.loads((target / file).read_text(encoding="utf-8"))
            (values["cell"] if file == "job.json" else values)["subject"] = subject
            (target / file).write_text(json.dumps(values), encoding="utf-8")
        where = f"a-demo/faces/{subject}/seed0"
        plan["cells"].append({**plan["cells"][0], "subject": subject, "path": where})
    (pictured.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    figures, remarks = draw_figures(pictured.path, tmp_path / "figures", None, Subjects(faces))
    assert remarks == [] and len({figure.grid for figure in figures}) == 3
    assert all(len(path.name.encode()) < 200 for path in (tmp_path / "figures").iterdir())


@pytest.mark.tried("hostile files", "a run whose report folder is a link elsewhere", "the other place")
def test_a_report_that_is_a_link_is_not_followed(run: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years", encoding="utf-8")
    (run.path / "report").symlink_to(tmp_path / "mine")
    with pytest.raises(BenchError, match=r"is a link to .*mine"):
        write_report(run.path, figures=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.tried("wrong command lines", "report --out FOLDER that holds other files", "the files")
@pytest.mark.parametrize("name", ["notes.md", "index.html.bak", ".git", "table.csv", "readme.html"])
def test_a_folder_of_other_files_is_not_replaced(run: Any, tmp_path: Path, name: str) -> None:
    place = tmp_path / "mine"
    write_report(run.path, figures=False, out=place)
    (place / name).write_text("mine", encoding="utf-8")
    with pytest.raises(BenchError, match="would be replaced as a whole, and holds"):
        write_report(run.path, figures=False, out=place)
    assert (place / name).read_text(encoding="utf-8") == "mine"


def test_an_older_report_elsewhere_is_replaced(run: Any, tmp_path: Path) -> None:
    place = tmp_path / "there"
    for _ in range(2):
        assert write_report(run.path, figures=False, out=place) == place
    (tmp_path / "link").symlink_to(place)
    assert write_report(run.path, figures=False, out=tmp_path / "link") == place
