"""The browser that other tests use: WebGL2 draws, and errors and requests of a page are seen."""

from __future__ import annotations

import browsing
import pytest

ELSEWHERE = "http://127.0.0.1:9/x.png"
TARGET = """
const canvas = document.createElement("canvas"), gl = canvas.getContext("webgl2");
if (!gl || !gl.getExtension("EXT_color_buffer_float")) throw new Error("no WebGL2 with float targets");
document.title = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
"""


def test_a_page_is_watched(open_page, screenshot, tmp_path):
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
        browsing.refuse_errors([page.watched])
    page.watched.allow("told|broke|ERR_")
    browsing.refuse_errors([page.watched])
