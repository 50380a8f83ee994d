"""Markdown, CSV, LaTeX, JSON, HTML and the terminal, from one table."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from headbench.reports import FORMATS, build_table, format_table, terminal, to_csv, to_json, to_latex, to_markdown
from headbench.reports.latex import escape

MISSING = "n/a (weights missing: bench assets fetch lpips)"


@pytest.fixture
def awkward(new_run: Callable[..., Any]) -> Any:
    """Names and texts with every character that a format gives a meaning to."""
    folder = new_run("run_1")
    lacks = {"lpips": [None] * 24, "lpips_reason": MISSING}
    folder.result("A_b&c", "su%b#1", psnr=[30.0] * 24, **lacks, notes=["note | <b> $x$ {y}"])
    folder.result("B~^\\", "su%b#1", psnr=[29.0] * 24, **lacks)
    folder.cell("C|*", "su%b#1", state="skipped", reason="needs <mouth> & 50 % more_memory")
    return folder


def screen(renderable: Any, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def test_markdown_has_one_bar_a_row_with_marks(run: Any) -> None:
    lines = to_markdown(build_table(run.path)).splitlines()
    empty = next(place for place, line in enumerate(lines) if line.startswith("<sup>"))
    bars = [line for line in lines[:empty] if line.startswith("|")]
    assert len(bars) == 2 + 9
    assert "| anna | GaussianAvatars (demo) | −1.50 \\[" in "\n".join(lines[empty:])
    assert {line.count("|") for line in bars} == {10}
    assert lines[0].startswith("### demo: headbench@1 (abababababab)")
    assert bars[2] == (
        "| anna | FateAvatar (demo) | **29.00** | <u>0.9200</u> | **0.0900** | 1 min 30 s | **100.0** | 12,345 "
        "| CPU (2 threads) |"
    )


def test_markdown_escapes_what_would_change_the_table(awkward: Any) -> None:
    text = to_markdown(build_table(awkward.path))
    assert "A\\_b&c" in text and "C\\|\\*" in text and "\\<b\\>" in text
    assert "skipped: needs \\<mouth\\> & 50 % more\\_memory" in text
    assert MISSING in text


def test_csv_comes_back_through_pandas(run: Any) -> None:
    run.cell("Flash", "anna", state="failed", reason='said "no", twice')
    table = build_table(run.path)
    frame = pd.read_csv(io.StringIO(to_csv(table)))
    assert len(frame) == len(table.rows)
    assert set(frame["protocol"]) == {"headbench@1"} and set(frame["protocol_hash"]) == {"ab" * 32}
    fate = frame[(frame.kind == "subject") & (frame.method == "FateAvatar") & (frame.subject == "anna")].iloc[0]
    assert fate["psnr"] == pytest.approx(29.0, abs=0) and fate["train_seconds"] == 90.0
    mean = frame[(frame.kind == "mean") & (frame.method == "FateAvatar")].iloc[0]
    scored = frame[(frame.kind == "subject") & (frame.method == "FateAvatar")]
    assert mean["psnr"] == pytest.approx(scored["psnr"].mean())
    assert fate["psnr_mark"] == "best" and fate["psnr_ci95_low"] <= 29.0 <= fate["psnr_ci95_high"]
    failed = frame[frame.state == "failed"].iloc[0]
    assert failed["reason"] == 'said "no", twice' and math.isnan(failed["psnr"])


def test_csv_keeps_numeric_columns_numeric_and_reasons_apart(awkward: Any) -> None:
    frame = pd.read_csv(io.StringIO(to_csv(build_table(awkward.path))))
    assert frame["lpips_alex"].isna().all() and frame["lpips_alex"].dtype == float
    assert frame.loc[0, "notes"] == f"note | <b> $x$ {{y}} | lpips_alex: {MISSING}"


def test_csv_has_the_deviation_over_seeds(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", seed=0, psnr=[29.0])
    folder.result("A", seed=1, psnr=[31.0])
    frame = pd.read_csv(io.StringIO(to_csv(build_table(folder.path))))
    assert frame.loc[0, "psnr_std"] == pytest.approx(math.sqrt(2)) and frame.loc[0, "seeds"] == "0 1"


def test_json_holds_numbers_texts_and_ranks(run: Any) -> None:
    document = json.loads(to_json(build_table(run.path)))
    assert document["protocol"] == "headbench@1"
    first = document["rows"][0]
    psnr = first["values"]["psnr"]
    interval = psnr.pop("interval")
    assert psnr == {"mean": 29.0, "std": None, "text": "29.00", "rank": 1, "mark": "", "wins": False, "notes": []}
    assert interval["of"] == "this sequence" and interval["low"] <= 29.0 <= interval["high"]
    found = [d for d in document["differences"] if d["subject"] == "anna" and d["scores"] == "psnr"]
    assert [(d["method"], d["best"]["method"], d["mean"], d["resolved"]) for d in found] == [
        ("GaussianAvatars", "FateAvatar", -1.5, True)
    ]
    assert found[0]["share_higher"] == 0.0
    assert [column["better"] for column in document["columns"][:3]] == ["higher", "higher", "lower"]


def test_json_stays_strict_with_an_infinite_value(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.scores(folder.cell("A"), ["0"], {"psnr": ["inf"]})

    def refuse(token: str) -> float:
        raise AssertionError(f"{token} is no JSON")

    document = json.loads(to_json(build_table(folder.path)), parse_constant=refuse)
    assert document["rows"][0]["values"]["psnr"]["mean"] is None
    assert document["rows"][0]["values"]["psnr"]["text"] == "∞"


def test_latex_is_a_booktabs_tabular_with_equal_rows(run: Any) -> None:
    run.cell("Flash", "anna", state="skipped", reason="no masks")
    text, differences = to_latex(build_table(run.path)).split(r"\benchbelow{Differences")
    assert differences.count(r"\begin{tabular}{llrrr}") == differences.count(r"\end{tabular}}") == 1
    assert text.count(r"\begin{tabular}{llrrrrrrl}") == 1 and text.count(r"\end{tabular}") == 1
    for rule in (r"\toprule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert text.count(r"\midrule") == 3
    for name in ("benchbest", "benchsecond"):
        assert re.search(rf"\\providecommand{{\\{name}}}\[1\]", text)
    assert r"\benchbest{29.00}" in text and r"\benchsecond{0.9200}" in text
    bars = [line for line in text.splitlines() if line.endswith(r"\\") and not line.startswith(r"\multicolumn")]
    for bar in bars:
        spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", bar))
        assert len(re.findall(r"(?<!\\)&", bar)) + 1 + spans == 9, bar
    assert r"PSNR$\uparrow$" in text and r"LPIPS\textsubscript{A}$\downarrow$" in text and r"FPS $\uparrow$" in text


def test_intervals_effect_sizes_and_marks_stand_in_every_format(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for number, subject in enumerate(("anna", "ben", "carl")):
        folder.result("A", subject, psnr=[30.0 + number / 10] * 24, lpips=[0.2] * 24)
        folder.result("B", subject, psnr=[29.0] * 24, lpips=[0.2 + number / 100] * 24)
        folder.result("nearest-frame", subject, psnr=[20.0] * 24, lpips=[0.1] * 24, baseline=True)
    table = build_table(folder.path)
    # B minus A: -1.0, -1.1 and -1.2; t(0.975, 2) = 4.3027, s = 0.1; d = -11 by Hedges' 4 / 7.
    texts = {name: format_table(table, name) for name in ("markdown", "latex", "html")} | {
        "terminal": screen(terminal(table), 200)
    }
    for name, text in texts.items():
        plain = text.replace("$-$", "−").replace("{[}", "[").replace("{]}", "]").replace("\\", "")
        assert "−1.10 [−1.35, −0.85], d −6.3" in plain, name
        assert "+0.0100 [−0.0148, +0.0348], d +0.6" in plain, "not resolved"
        assert "0.1000 ± 0.0000 (1st)" in plain.replace("$pm$", "±"), "a baseline that wins"
        said = " ".join(plain.replace("&#39;", "'").split())
        assert "over subjects (Student's t), or of this sequence alone" in said, name
        assert plain.count("†") + plain.count("dagger") >= 3, name
    record = json.loads(to_json(table))
    (found,) = (d for d in record["differences"] if d["kind"] == "mean" and d["scores"] == "psnr")
    assert found["interval"]["of"] == "subjects" and found["effect"] == pytest.approx(-11 * 4 / 7)
    marks = {(row["method"]): row["values"]["lpips_alex"] for row in record["rows"] if row["kind"] == "mean"}
    assert [(marks[m]["rank"], marks[m]["mark"], marks[m]["wins"]) for m in ("A", "B", "nearest-frame")] == [
        (0, "†", False), (0, "†", False), (0, "", True),
    ]  # fmt: skip
    frame = pd.read_csv(io.StringIO(to_csv(table)), keep_default_na=False)
    assert frame[frame.kind == "mean"]["lpips_alex_mark"].tolist() == ["†", "†", "1st"]
    assert frame[frame.kind == "mean"]["psnr_mark"].tolist() == ["best", "second", ""]


def test_latex_escapes_every_special_character(awkward: Any) -> None:
    assert escape("a_b&c%d#e$f{g}~^\\") == (r"a\_b\&c\%d\#e\$f\{g\}\textasciitilde{}\textasciicircum{}\textbackslash{}")
    assert escape("[x] y") == "{[}x{]} y", "a row that begins with [ would be an argument of the line break before it"
    text = to_latex(build_table(awkward.path))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert r"A\_b\&c (demo)" in body and r"su\%b\#1" in body and r"B\textasciitilde{}" in body
    assert r"skipped: needs \textless{}mouth\textgreater{} \& 50 \% more\_memory" in body
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert not re.search(r"(?<!\\)[%#]", body.replace("[1]{\\textbf{#1}}", "").replace("#1", ""))
    assert all(ord(character) < 128 for character in body)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(awkward: Any, tmp_path: Path) -> None:
    body = to_latex(build_table(awkward.path))
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


class _Page(HTMLParser):
    """Counts rows and collects everything that a page may load."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[str | None] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append(values.get("class"))
        self.loads += [values[name] or "" for name in ("src", "href") if name in values]


def test_html_is_one_page_that_loads_nothing(run: Any) -> None:
    text = format_table(build_table(run.path), "html")
    calm = text.replace("http://www.w3.org/2000/svg", "")  # a name of elements, not an address
    assert not re.search(r"https?:|//[a-z]|@import|url\(", calm)
    page = _Page()
    page.feed(text)
    kinds = [row.split()[0] for row in page.rows if row]
    assert kinds == [*["mean"] * 3, *["subject"] * 6, *["mean"] * 3], "the leaderboard, then all rows"
    assert [load for load in page.loads if not load.startswith("#")] == []
    assert {"script", "style", "table"} <= page.tags and "link" not in page.tags


def test_html_escapes_names_and_carries_numbers_for_sorting(awkward: Any) -> None:
    text = format_table(build_table(awkward.path), "html")
    assert "A_b&amp;c (demo)" in text and "note | &lt;b&gt; $x$ {y}" in text and "<b>" not in text
    assert 'data-sort="30.0"' in text
    assert '<span class="best">30.00</span>' in text
    assert '<a href="#t1-1">1</a>' in text and '<li id="t1-1">' in text
    assert MISSING in text


def test_the_terminal_shows_values_states_and_the_protocol(run: Any) -> None:
    run.cell("Flash", "anna", state="failed", reason="loss is NaN at step 7")
    text = screen(terminal(build_table(run.path)))
    assert "headbench@1" in text and "29.50" in text and "CPU (2 threads)" in text
    assert "anna, Flash (demo): failed: loss is NaN at step 7" in text


def test_the_terminal_names_the_seed_that_failed_where_there_are_several(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", seed=0)
    folder.cell("A", seed=1, state="failed", reason="out of memory")
    assert "anna, A (demo), seed 1: failed: out of memory" in screen(terminal(build_table(folder.path)))


def test_the_terminal_moves_long_reasons_below_the_table(awkward: Any) -> None:
    text = screen(terminal(build_table(awkward.path)))
    assert re.search(r"n/a \[2\]", text)
    assert f"[2] {MISSING}" in text


def test_the_terminal_marks_best_and_second(run: Any) -> None:
    console = Console(width=140, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(terminal(build_table(run.path)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert re.search(r"\x1b\[1m *29\.00", text) and re.search(r"\x1b\[4m *27\.50", text)
    assert not re.search(r"\x1b\[\d+m *20\.00", text)


def test_every_format_names_protocol_and_version(run: Any) -> None:
    table = build_table(run.path)
    for name in FORMATS:
        assert "headbench@1" in format_table(table, name), name


def test_the_terminal_leaves_rows_of_single_subjects_out_of_a_long_table(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = build_table(run.path)
    monkeypatch.setattr("headbench.reports.screen.LONGEST_TABLE", 5)
    whole, short = screen(terminal(table)), screen(terminal(table, whole=False))
    above = [text.partition("Differences to the best")[0] for text in (whole, short)]
    assert "anna" in above[0] and "anna" not in above[1] and "mean" in above[1]
    assert "6 rows of single subjects are in the report" in short
