"""The report folder: files, pictures from a dataset, replacement as a whole; and the command."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from forked import fork_drawing
from PIL import Image

from headbench.harness.cli.report import report
from headbench.harness.errors import BenchError
from headbench.harness.plugins import Registry
from headbench.harness.reading import Unreadable
from headbench.harness.run import State
from headbench.reports import figures_process, write_report
from headbench.reports.figures_process import Artist, has_begun, has_pictures
from headbench.reports.html.figure import Figure, thumbnail
from headbench.reports.html.page import to_html
from headbench.reports.renders import Subjects
from headbench.results import read_run


def test_a_report_has_every_format_and_a_page(run: Any) -> None:
    folder = write_report(run.path, figures=False)
    assert folder == run.path / "report"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*sorted(f"headbench@1.{suffix}" for suffix in ("csv", "json", "md", "tex")), "index.html"]
    assert not [path for path in run.path.iterdir() if path.name.startswith(".")]


def test_every_protocol_of_the_run_has_its_table(run: Any) -> None:
    for path in run.path.glob("cells/**/headbench@1.jsonl"):
        run.scores(path.parents[1], ["0"], {"psnr": [25.0]}, "fateavatar-8bit@1", "3" * 64)
    folder = write_report(run.path, figures=False)
    assert {path.stem for path in folder.glob("*.md")} == {"headbench@1", "fateavatar-8bit@1"}
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("<h2 id=") >= 2 and "fateavatar-8bit@1</h2>" in page and "headbench@1</h2>" in page


def test_a_new_report_replaces_the_old_one_and_a_failing_one_leaves_it(run: Any) -> None:
    folder = write_report(run.path, figures=False)
    (folder / "stale.txt").write_text("old", encoding="utf-8")
    write_report(run.path, figures=False)
    assert not (folder / "stale.txt").exists()
    before = (folder / "headbench@1.csv").read_bytes()
    run.result("Other", digest="9" * 64)
    with pytest.raises(BenchError, match="differ"):
        write_report(run.path, figures=False)
    assert (folder / "headbench@1.csv").read_bytes() == before


def test_pictures_show_the_dataset_on_the_background_of_the_render(
    pictured: Any, faces: Registry, tmp_path: Path
) -> None:
    from headbench.reports.figures import draw_figures

    figures, remarks = draw_figures(pictured.path, tmp_path / "figures", subjects=Subjects(faces))
    assert remarks == []
    (figure,) = figures
    assert figure.group == "faces / anna" and figure.caption == "A (demo)"
    sheet = np.asarray(Image.open(figure.grid).convert("RGB"))
    # 128/255 of (200, 0, 0) on white is (227, 127, 127): 40 * 5 of the last frame, rounded.
    assert (sheet == (227, 127, 127)).all(axis=-1).sum() >= 32 * 32
    assert (sheet == (200, 127, 127)).all(axis=-1).sum() >= 32 * 32
    assert figure.video is not None and figure.video.stat().st_size > 0


def test_pictures_of_unchanged_renders_are_not_drawn_again(pictured: Any, faces: Registry, tmp_path: Path) -> None:
    from headbench.reports.figures import draw_figures

    draw_figures(pictured.path, tmp_path / "one", subjects=Subjects(faces))
    pictured.data.rename(pictured.data.with_name("moved"))
    figures, remarks = draw_figures(pictured.path, tmp_path / "two", tmp_path / "one", subjects=Subjects(faces))
    assert remarks == [] and figures[0].grid.read_bytes() == (tmp_path / "one" / figures[0].grid.name).read_bytes()
    listing = pictured.renders / "sha256.txt"
    listing.write_text(listing.read_text(encoding="utf-8").replace("a", "b"), encoding="utf-8")
    figures, remarks = draw_figures(pictured.path, tmp_path / "three", tmp_path / "two", subjects=Subjects(faces))
    assert figures == [] and len(remarks) == 1
    assert remarks[0].startswith("No pictures of a-demo/faces/anna/seed0: ") and "is no folder" in remarks[0]


def test_a_reader_that_breaks_costs_the_pictures_and_not_the_report(
    pictured: Any, faces: Registry, tmp_path: Path
) -> None:
    from headbench.reports.figures import draw_figures

    (pictured.data / "00003.png").write_bytes(b"no picture")  # in the video, not in the grid that is drawn before it
    figures, remarks = draw_figures(pictured.path, tmp_path / "figures", subjects=Subjects(faces))
    assert figures == [] and len(remarks) == 1 and "UnidentifiedImageError" in remarks[0]
    assert list((tmp_path / "figures").iterdir()) == [], "no half of a cell's pictures stays"


def test_the_page_embeds_thumbnails_and_links_files_that_exist(pictured: Any, faces: Registry) -> None:
    from headbench.reports.figures import draw_figures
    from headbench.reports.html.page import to_html

    figures, _ = draw_figures(pictured.path, pictured.path / "report" / "figures", subjects=Subjects(faces))
    text = to_html([], figures)
    (data,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', text)
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.width > 96
    for link in re.findall(r'href="([^#"][^"]*)"', text):
        assert (pictured.path / "report" / link).is_file(), link


def test_a_run_whose_data_cannot_be_read_still_has_a_report(pictured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fork_drawing(monkeypatch)
    folder = write_report(pictured.path)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "No pictures of a-demo/faces/anna/seed0" in page and "<h2>Remarks</h2>" in page


def test_where_no_cell_is_finished_no_process_draws(new_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = new_run("nothing")
    nothing.cell("A", state="failed", reason="loss is NaN at step 7")
    assert not has_begun(nothing.path) and not has_pictures(read_run(nothing.path))
    monkeypatch.setattr(figures_process, "subprocess", None)
    done = CliRunner().invoke(report, [str(nothing.path)])
    assert done.exit_code == 0, done.output
    folder = nothing.path / "report"
    assert list((folder / "figures").iterdir()) == []
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "loss is NaN at step 7" in page and "No pictures" not in page


def test_a_finished_or_a_scored_cell_is_drawn(pictured: Any) -> None:
    assert has_begun(pictured.path)
    record = read_run(pictured.path)
    assert has_pictures(record)
    (result,) = record.results
    unscored, unfinished = replace(result, scores={}), replace(result, state=State.FAILED)
    assert has_pictures(replace(record, results=(unscored,))) and has_pictures(replace(record, results=(unfinished,)))
    assert not has_pictures(replace(record, results=(replace(unscored, state=State.FAILED),)))


@pytest.mark.tried(
    "faults in runs", "the process that draws a report's figures killed", "tables and page; a remark says so", "figures"
)
def test_a_killed_drawing_costs_the_pictures_alone(pictured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fork_drawing(monkeypatch)
    with Artist() as artist:
        artist._process.kill()
        artist._process.wait()
        folder = write_report(pictured.path, artist=artist)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "No pictures: drawing ended with -9: without a word" in page and (folder / "headbench@1.csv").is_file()


def test_a_drawing_ends_with_whoever_started_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fork_drawing(monkeypatch)
    with Artist() as artist:
        pass
    assert artist._process.poll() == -9
    with Artist() as artist:
        artist._process.stdin.close()
        assert artist._process.wait() == 0, "nobody asked"
    with Artist() as artist:
        artist.ask(tmp_path, tmp_path, tmp_path)
        assert artist.drawn().remarks[0].startswith("No pictures: drawing ended with 1: ")


def test_a_page_shows_thumbnails_that_were_made_before(tmp_path: Path) -> None:
    Image.effect_noise((900, 300), 60).save(tmp_path / "grid.png")
    figure = Figure("anna", "A", tmp_path / "grid.png")
    assert to_html([], [figure]) == to_html([], [replace(figure, small=thumbnail(figure.grid))])


def test_the_command_shows_the_table_and_writes_the_report(run: Any) -> None:
    done = CliRunner().invoke(report, [str(run.path), "--no-figures"])
    assert done.exit_code == 0, done.output
    assert "headbench@1" in done.output
    assert (run.path / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("name", "start"),
    [("markdown", "### demo"), ("latex", "% demo"), ("csv", "run,protocol"), ("json", "{"), ("html", "<!doctype")],
)
def test_the_command_prints_one_format_and_writes_nothing(run: Any, name: str, start: str) -> None:
    done = CliRunner().invoke(report, [str(run.path), "--format", name])
    assert done.exit_code == 0 and done.output.startswith(start)
    assert not (run.path / "report").exists()


def test_the_command_writes_one_format_elsewhere(run: Any, tmp_path: Path) -> None:
    done = CliRunner().invoke(report, [str(run.path), "--format", "latex", "--out", str(tmp_path / "paper")])
    assert done.exit_code == 0
    assert [path.name for path in (tmp_path / "paper").iterdir()] == ["headbench@1.tex"]


@pytest.mark.slow
def test_a_report_imports_no_torch_with_or_without_pictures(run: Any) -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom headbench.harness.cli.report import report\n"
        "for more in ([], ['--no-figures']):\n"
        "    done = CliRunner().invoke(report, [*sys.argv[1:], *more])\n"
        "    print(done.exit_code, 'torch' in sys.modules, 'numba' in sys.modules)\n"
    )
    command = [sys.executable, "-P", "-c", code, str(run.path)]
    environment = {**os.environ, "HEADBENCH_PLUGINS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert done.stdout.split() == ["0", "False", "False"] * 2, done.stdout + done.stderr
    assert (run.path / "report" / "index.html").is_file()


def test_further_pictures_stand_at_the_end_of_the_page(run: Any, tmp_path: Path) -> None:
    sheet = tmp_path / "driven" / "sheet.png"
    sheet.parent.mkdir()
    Image.new("RGB", (30, 20), "red").save(sheet)
    written = write_report(run.path, figures=False, pictures=[sheet])
    page = (written / "index.html").read_text()
    assert "driven/sheet.png" in page and "data:image/webp;base64," in page
    assert Image.open(written / "figures" / "further-1.png").size == (30, 20)
    sheet.write_bytes(b"no picture")
    with pytest.raises(Unreadable, match=r"sheet\.png"):
        write_report(run.path, figures=False, pictures=[sheet])
    assert (written / "index.html").read_text() == page, "the report that was there stays"
