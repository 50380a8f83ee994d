"""The page of a report in a real browser: sorting, slider, jumps to frames, keys, colours, a phone; no request.

And the browser of these tests itself: WebGL2 draws, and errors and requests of a page are seen.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import eventually, refuse_errors
from PIL import Image, ImageDraw

from headbench.reports import build_table
from headbench.reports.html import Embed, Scene, Source
from headbench.reports.html.page import to_html
from headbench.reports.previews import _encoded, error_scale
from headbench.results import read_run

FRAMES = [f"{k:05d}" for k in range(12)]
WHITE = (255, 255, 255)
ELSEWHERE = "http://127.0.0.1:9/x.png"
TARGET = """
const canvas = document.createElement("canvas"), gl = canvas.getContext("webgl2");
if (!gl || !gl.getExtension("EXT_color_buffer_float")) throw new Error("no WebGL2 with float targets");
document.title = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
"""


def picture(number: int, shift: int) -> np.ndarray[Any, Any]:
    """A disc whose grey is the frame's number; renders have it elsewhere."""
    image = Image.new("RGB", (64, 64), WHITE)
    ImageDraw.Draw(image).ellipse((12 + shift, 12, 52 + shift, 52), fill=(16 * number,) * 3)
    return np.asarray(image)


def scene_of(subject: str, embed: Embed) -> Scene:
    """Frames of a subject as two methods and the ground truth show them."""
    sources = (
        Source("", (), None),
        Source("a", ("FateAvatar", "demo", "", "train"), 0),
        Source("b", ("GaussianAvatars", "demo", "", "train"), 0),
    )
    rows = [[_encoded(picture(k, shift), embed) for k in range(len(FRAMES))] for shift in (0, 2, 6)]
    rows[2][5] = None  # type: ignore[call-overload]
    kind = "image/webp" if embed is Embed.PREVIEW else "image/png"
    return Scene("insta", subject, "test", tuple(FRAMES), kind, sources, tuple(map(tuple, rows)))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, run_folder: Any) -> Path:
    """A page of two methods and a baseline on two subjects, with frames, a training log, and a cell that failed."""
    folder = run_folder(tmp_path_factory.mktemp("page") / "two people <b>")
    for subject, offset in (("anna", 0.0), ("ben_2", 1.0)):
        worst = [28.0 + offset + k % 5 for k in range(len(FRAMES))]
        cell = folder.result("FateAvatar", subject, psnr=worst, ids=FRAMES)
        log = cell / "stages" / "train" / "metrics.jsonl"
        log.write_text("".join(f'{{"step": {k}, "loss": {1 / k}, "rate": 9}}\n' for k in range(1, 40)))
        folder.result("GaussianAvatars", subject, psnr=[27.0] * len(FRAMES), fps=50.0, ids=FRAMES)
        folder.result("nearest-frame", subject, psnr=[20.0] * len(FRAMES), ids=FRAMES, baseline=True)
    folder.cell("Broken", state="failed", reason="loss is NaN at step 7")
    (folder.path / "cells" / "fateavatar-demo" / "insta" / "anna" / "seed0" / "avatar.html").write_text("moves")
    record = read_run(folder.path)
    tables = [build_table(folder.path)]
    home = folder.path / "report"
    home.mkdir()
    scenes = [scene_of("anna", Embed.FULL), scene_of("ben_2", Embed.PREVIEW)]
    (home / "index.html").write_text(to_html(tables, (), ("a remark",), record, scenes, error_scale(), home))
    return home / "index.html"


def pixel(page: Any, selector: str, x: int, y: int) -> tuple[int, ...]:
    """Colour of a pixel of a canvas."""
    script = "([s, x, y]) => [...document.querySelector(s).getContext('2d').getImageData(x, y, 1, 1).data]"
    return tuple(page.evaluate(script, [selector, x, y]))


def frame(page: Any) -> str:
    """What the viewer says which frame it shows."""
    return str(page.text_content("#frame-name"))


def test_the_page_answers_without_a_request(page: Any, written: Path, screenshot: Any) -> None:
    page.goto(written.as_uri())
    assert page.title() == "two people <b> · headbench"

    # Sorting: by the second click the worst first; what has no number stays last.
    head = page.locator("#scores table.sortable").first.locator("th", has_text="PSNR").first
    first = page.locator("#scores table.sortable").first.locator("tbody tr")
    for order, name in (("descending", "FateAvatar"), ("ascending", "nearest-frame")):
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == order and name in first.first.text_content()
    assert page.locator("th[aria-sort]").count() == 1

    # The matrix of methods and subjects says why a cell is empty.
    broken = page.locator(".matrix:visible td.failed")
    assert broken.text_content() == "failed" and broken.get_attribute("title") == "loss is NaN at step 7"
    page.select_option(".pick-matrix", label="FPS ↑")
    assert page.locator(".matrix:visible").count() == 1 and "50.0" in page.locator(".matrix:visible").text_content()

    # It begins with the truth and the best method; the border is dragged by mouse and by key.
    assert page.eval_on_selector("#left", "s => s.selectedOptions[0].textContent") == "ground truth"
    assert page.eval_on_selector("#right", "s => s.selectedOptions[0].textContent") == "FateAvatar"
    stage = page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50, steps=3)
    page.mouse.up()
    assert 24 <= float(page.input_value("#border")) <= 26
    clip = page.eval_on_selector("#picture-right", "c => getComputedStyle(c).clipPath")
    assert clip.startswith("inset(0px 0px 0px 2")
    page.focus("#border")
    page.keyboard.press("End")
    assert page.input_value("#border") == "100"

    # Arrows step frames wherever the focus is no control of its own.
    page.evaluate("document.activeElement.blur()")
    assert frame(page) == "frame 00000"
    page.keyboard.press("ArrowRight")
    assert frame(page) == "frame 00001"
    eventually(page, lambda: pixel(page, "#picture-left", 32, 32) == (16, 16, 16, 255))  # without loss
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert frame(page) == "frame 00011", "round the end"

    # A click on the curve jumps to the frame.
    page.locator("#curve").scroll_into_view_if_needed()
    hit = page.locator("#curve .hit").bounding_box()
    page.mouse.click(hit["x"] + hit["width"] * 5 / 11, hit["y"] + 40)
    assert frame(page) == "frame 00005"
    assert page.locator("#values tr").first.text_content() == "FateAvatar28.00 dB"

    # Error maps have the figures' colours: where both are white it is the dark end.
    page.select_option("#right", label="error of FateAvatar")
    eventually(page, lambda: pixel(page, "#picture-right", 2, 2) == (8, 6, 32, 255))
    assert page.text_content(".tag.right") == "error of FateAvatar"
    assert pixel(page, "#picture-right", 12, 32)[0] > 200, "where the disc is not, it is bright"
    assert page.locator(".scale").is_visible()
    page.select_option("#right", label="GaussianAvatars")
    eventually(page, lambda: page.text_content(".tag.right") == "GaussianAvatars: no picture")
    screenshot(page, "page-light", whole=True)
    assert page.watched.outside() == [] and len(page.watched.requests) == 1


def test_frames_play_and_extremes_lead_to_them(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.select_option("#scene", label="insta / ben_2")
    worst = page.locator("#extremes button").first
    assert worst.get_attribute("aria-label") == "Frame 00000, PSNR 29.00 dB"
    page.locator("#extremes div").nth(1).locator("button").first.click()
    assert frame(page) == "frame 00009"
    page.select_option("#mode", "beside")
    assert page.locator("#border-line").is_hidden()
    left, right = (page.locator(f"#picture-{side}").bounding_box() for side in ("left", "right"))
    assert left["x"] + left["width"] < right["x"] + 1, "side by side"
    page.click("#play")
    eventually(page, lambda: frame(page) != "frame 00009")
    page.click("#play")
    assert page.get_attribute("#play", "aria-pressed") == "false"
    assert "reduced and compressed" in page.text_content("#kind")
    # The curves of training, the cells with reasons, an avatar that moves, what to cite.
    assert page.locator("#training-plot path.curve").count() == 1
    page.select_option("#training-quantity", "rate")
    assert "rate in training" in page.locator("#training-plot svg").get_attribute("aria-label")
    assert "failed: loss is NaN at step 7" in page.text_content("#cells")
    address = page.locator("#cells a").get_attribute("href")
    assert (written.parent / address).read_text() == "moves"
    assert "zhang2025fate" in page.text_content("#bibtex") and "@software{headbench" in page.text_content("#bibtex")
    assert page.watched.outside() == []


def test_dark_and_narrow_pages_are_readable(open_page: Any, written: Path, screenshot: Any) -> None:
    def ground(page: Any) -> list[int]:
        shot = Image.open(io.BytesIO(page.screenshot()))
        return list(shot.convert("RGB").getpixel((3, shot.height - 3)))  # type: ignore[arg-type]

    dark = open_page(dark=True)
    dark.goto(written.as_uri())
    assert max(ground(dark)) < 60
    dark.click("#theme")
    assert min(ground(dark)) > 200, "the button turns it light"
    phone = open_page(phone=True)
    phone.goto(written.as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390, "nothing is wider than the screen"
    assert phone.locator("#stage").bounding_box()["width"] > 300
    screenshot(phone, "page-phone", whole=True)
    # Every control has a name.
    unnamed = phone.evaluate(
        """() => [...document.querySelectorAll("button, select, input, canvas, svg, [tabindex]")].filter((each) => !(
            each.closest("[aria-hidden=true]") || each.getAttribute("aria-label") || each.textContent.trim() ||
            each.labels?.length || each.closest("label"))).map((each) => each.outerHTML)"""
    )
    assert unnamed == [] or unnamed == ["<pre>"], unnamed
    for page in (dark, phone):
        assert page.watched.outside() == []


@pytest.mark.slow
def test_a_page_without_frames_still_has_curves(page: Any, written: Path, tmp_path: Path) -> None:
    run = written.parents[1]
    text = to_html([build_table(run)], (), (), read_run(run), (), "", tmp_path)
    (tmp_path / "index.html").write_text(text)
    page.goto((tmp_path / "index.html").as_uri())
    assert page.locator("#curve path.curve").count() == 3 and page.locator("#stage").is_hidden()
    page.keyboard.press("ArrowRight")
    assert frame(page) == "frame 00001"
    assert "without frames inside" in page.text_content("#kind")
    # A script that got in by whatever way does not run: the page allows its own by digest.
    page.watched.allow("Content Security Policy")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.in = 1'}))"
    )
    assert page.evaluate("window.in === undefined")


@pytest.mark.slow
def test_the_reader_chooses_the_seed(page: Any, tmp_path: Path, run_folder: Any) -> None:
    folder = run_folder(tmp_path / "seeds")
    for seed in (0, 1):
        cell = folder.result("FateAvatar", psnr=[30.0 + seed] * len(FRAMES), ids=FRAMES, seed=seed)
        log = cell / "stages" / "train" / "metrics.jsonl"
        log.write_text("".join(f'{{"step": {k}, "loss": {1 + seed}}}\n' for k in range(1, 9)))
    folder.result("GaussianAvatars", psnr=[27.0] * len(FRAMES), ids=FRAMES)
    entries = [("", ()), ("a", ("FateAvatar", "demo", "", "train")), ("b", ("GaussianAvatars", "demo", "", "train"))]
    shifts = [(*entries[0], None, 0), (*entries[1], 0, 2), (*entries[2], 0, 6), (*entries[1], 1, 10)]
    sources = tuple(Source(cell, entry, seed) for cell, entry, seed, _ in shifts)
    rows = tuple(tuple(_encoded(picture(k, by), Embed.FULL) for k in range(len(FRAMES))) for *_, by in shifts)
    scene = Scene("insta", "anna", "test", tuple(FRAMES), "image/png", sources, rows)
    record = read_run(folder.path)
    text = to_html([build_table(record)], (), (), record, [scene], error_scale(), tmp_path)
    (tmp_path / "index.html").write_text(text)
    page.goto((tmp_path / "index.html").as_uri())

    def numbers() -> list[str]:
        return [row.text_content() for row in page.locator("#values tr").all()]

    assert numbers() == ["FateAvatar30.00 dB", "GaussianAvatars27.00 dB"]
    page.select_option("#right", label="error of FateAvatar")
    page.select_option("#seed", "1")
    assert page.text_content("#kind").startswith("Pictures of seeds 0, 1."), "both lie inside"
    assert page.eval_on_selector("#right", "s => s.selectedOptions[0].textContent") == "error of FateAvatar"
    page.select_option("#right", label="FateAvatar")
    # The disc of this seed begins ten pixels further right.
    eventually(page, lambda: pixel(page, "#picture-right", 20, 32)[:3] == WHITE)
    assert pixel(page, "#picture-right", 30, 32)[:3] == (0, 0, 0)
    assert numbers() == ["FateAvatar31.00 dB", "GaussianAvatars (seed 0)27.00 dB"]
    assert "GaussianAvatars (seed 0)" in page.text_content("#left")
    assert page.locator("#curve path.curve").count() == 2, "a line per method"
    first = page.locator("#training-plot path.curve").get_attribute("d")
    assert first and page.locator("#training-plot path.curve").count() == 1
    page.select_option("#training-seed", "1")
    assert page.locator("#training-plot .chart, #training-plot svg").count() == 1
    assert "2" in page.locator("#training-plot svg").text_content()
    assert page.watched.outside() == []


def test_a_page_is_watched(open_page: Any, screenshot: Any, tmp_path: Path) -> None:
    """WebGL2 with float targets is there; an error, a broken script and a request of a page are noted."""
    good, bad = tmp_path / "good.html", tmp_path / "bad.html"
    good.write_text(f"<canvas></canvas><script>{TARGET}</script>")
    bad.write_text(f"<img src='{ELSEWHERE}'><script>console.error('told'); throw new Error('broke')</script>")
    page = open_page(dark=True, phone=True)
    page.goto(good.as_uri())
    assert page.title() == "dark" and page.evaluate("innerWidth") <= 980
    assert page.watched.outside() == [] and page.watched.unexpected() == []
    assert screenshot(page, "good").stat().st_size > 0

    page = open_page()
    page.goto(bad.as_uri())
    assert page.watched.outside() == [ELSEWHERE]
    assert any("told" in text for text in page.watched.errors) and any("broke" in text for text in page.watched.errors)
    with pytest.raises(AssertionError, match="broke"):
        refuse_errors([page.watched])
    page.watched.allow("told|broke|ERR_")
    refuse_errors([page.watched])
