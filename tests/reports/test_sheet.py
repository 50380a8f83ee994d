"""Figures as PNG and PDF: shapes of a sheet, plots of quality against cost, grids of methods and subjects."""

from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headbench.harness.plugins import Registry
from headbench.reports import build_table
from headbench.reports.quality import draw_quality
from headbench.reports.sheet import Sheet


def objects_of(content: bytes) -> dict[int, bytes]:
    """Objects of a PDF document by number, found as its table of places says."""
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n\Z", content)[1])  # type: ignore[index]
    lines = content[start:].split(b"\n")
    assert lines[0] == b"xref" and lines[2] == b"0000000000 65535 f "
    count = int(lines[1].split()[1])
    found = {}
    for number, line in enumerate(lines[3 : 2 + count], 1):
        body = content[int(line.split()[0]) :]
        assert body.startswith(b"%d 0 obj\n" % number)
        found[number] = body[: body.index(b"\nendobj")].partition(b"obj\n")[2]
    return found


def stream_of(found: bytes) -> bytes:
    """What a stream holds, whose length its dictionary says."""
    head, _, rest = found.partition(b"stream\n")
    length = int(re.search(rb"/Length (\d+)", head)[1])  # type: ignore[index]
    assert rest[length:] == b"\nendstream"
    return zlib.decompress(rest[:length])


def test_a_sheet_is_the_same_figure_as_png_and_pdf(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    sheet = Sheet(100, 60)
    sheet.picture(10, 20, 40, 30, pixels)
    sheet.text(5, 3, "a (b) \\ \u202e ü\n", anchor="left")
    sheet.frame(60, 20, 20, 20, (255, 0, 0), 2)
    sheet.dot(90, 50, 4, (0, 0, 255))
    png, pdf = sheet.save(tmp_path / "figure.with.dots")
    assert [path.name for path in (png, pdf)] == ["figure.with.dots.png", "figure.with.dots.pdf"]
    image = np.asarray(Image.open(png))
    assert image.shape == (120, 200, 3)
    assert (image[40, 20] == pixels[0, 0]).all() and (image[99, 99] == pixels[4, 3]).all()
    assert (image[100, 180] == (0, 0, 255)).all() and (image[40, 140] == (255, 0, 0)).all()
    found = objects_of(pdf.read_bytes())
    assert b"/MediaBox [0 0 100.00 60.00]" in found[3]
    assert stream_of(found[6]) == pixels.tobytes() and b"/Width 4 /Height 5" in found[6]
    drawn = stream_of(found[4]).decode("cp1252")
    assert "(a \\(b\\) \\\\ \\\\u202e ü) Tj" in drawn and "40.00 0 0 30.00 10.00 10.00 cm /P0 Do" in drawn
    assert "1.000 0.000 0.000 RG 2.00 w 60.00 40.00 m 80.00 40.00 l" in drawn


def test_quality_is_drawn_against_time_size_and_speed(new_run: Any, tmp_path: Path) -> None:
    folder = new_run()
    for number, method in enumerate(("A", "B", "nearest-frame")):
        more = {"seconds": 0.0, "gaussians": 0, "baseline": True} if number == 2 else {"seconds": 60.0 * (number + 1)}
        folder.result(method, psnr=[25.0 + number], fps=100.0 * (number + 1), **more)
    figures = draw_quality(build_table(folder.path), tmp_path / "figures", "headbench@1")
    names = [figure.grid.name for figure in figures]
    assert names == [f"headbench@1-quality-{cost}.png" for cost in ("train-seconds", "gaussians", "fps")]
    time, _, speed = (stream_of(objects_of(f.document.read_bytes())[4]).decode() for f in figures if f.document)
    assert "(A) Tj" in time and "(B) Tj" in time and "nearest-frame" not in time, "nothing was trained"
    assert "(1 min 0 s) Tj" in time and "(PSNR \\(dB\\)) Tj" in time
    assert "(nearest-frame) Tj" in speed
    assert draw_quality(build_table(new_run("empty").path), tmp_path, "x") == []


@pytest.fixture
def compared(pictured: Any) -> Any:
    """The run of `pictured` with a second method, whose renders are the same."""
    folder = pictured
    first = folder.renders.parents[1]
    ids = [path.stem for path in sorted(folder.renders.glob("*.png"))]
    cell = folder.result("B", psnr=[20.0, 21.0, 22.0, 23.0, 24.0], ids=ids, dataset="faces")
    shutil.copytree(first / "renders", cell / "renders")
    shutil.copy(first / "job.json", cell / "job.json")
    return folder


def test_methods_stand_beside_each_other_with_details_and_error_maps(
    compared: Any, faces: Registry, tmp_path: Path
) -> None:
    from headbench.reports.comparison import draw_comparisons
    from headbench.reports.renders import Subjects
    from headbench.results import read_run

    run = read_run(compared.path)
    (pictures, errors), remarks = draw_comparisons(run, tmp_path, Subjects(faces))
    assert remarks == []
    assert [figure.grid.name for figure in (pictures, errors)] == [
        "comparison-faces.png",
        "comparison-faces-errors.png",
    ]
    assert pictures.document is not None and errors.document is not None
    found = objects_of(pictures.document.read_bytes())
    text = stream_of(found[4]).decode()
    assert all(f"({name}) Tj" in text for name in ("ground truth", "A", "B", "anna, frame 00003")), "the median frame"
    bitmaps = [stream_of(content) for content in found.values() if b"/Subtype /Image" in content]
    assert len(bitmaps) == 9, "the truth and two renders, each with two details"
    assert bitmaps[3] == bitmaps[6] == np.asarray(Image.open(compared.renders / "00003.png")).tobytes() != bitmaps[0]
    assert "(0.20+) Tj" in stream_of(objects_of(errors.document.read_bytes())[4]).decode()
    (compared.data / "00003.png").write_bytes(b"no picture")
    figures, remarks = draw_comparisons(run, tmp_path, Subjects(faces))
    assert figures == [] and len(remarks) == 1
    assert remarks[0].startswith("The comparison of methods is without faces/anna: UnidentifiedImageError")
