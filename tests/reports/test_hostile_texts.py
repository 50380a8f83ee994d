"""Texts of strangers in every format of a table, read back by parsers that are not ours."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from headbench.harness.names import one_line
from headbench.reports import Row, Table, Value, build_table, format_table, terminal, write_report
from headbench.reports.columns import COST_COLUMNS, metric_column
from headbench.reports.grid import LONGEST

HOSTILE = {
    "TeX": r"\input{/etc/passwd} \write18{rm} $x^2_3$ %&#~{}",
    "TeX by character codes": "^^5cinput a ^^M ^^0d b",
    "a star at the start of a row": "*x",
    "a bracket at the start of a row": "[2cm] x",
    "HTML": "</td></style></script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "HTML attributes": '" onmouseover="alert(1)" x=\'y\' javascript:alert(1)',
    "HTML entities": "&lt;b&gt; &#60;script&#62; &amp;",
    "Jinja": "{{ 7 * 7 }}{% raw %}",
    "Markdown": "[x](javascript:alert(1)) ![i](http://e.example/i.png) | a | `b` **c** <b>d</b>",
    "a formula": '=HYPERLINK("http://e.example","x")',
    "a formula with plus": "+1+cmd|' /C calc'!A0",
    "a formula with minus": "-1+1",
    "a formula with at": "@SUM(A1:A9)",
    "a formula behind a tab": "\t=1+1",
    "quotes and commas": "a\",\"b','c;d",
    "lines": "a\nerror: forged\r\n| b | c |\n\n\\end{tabular}",
    "other line ends": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "a terminal's escapes": "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b]8;;http://e.example\x1b\\link",
    "8-bit escapes": "\x9b2J\x9d0;x\x9c",
    "rich markup": "[red]x[/red] [link=http://e.example]y[/link] [/]",
    "a path": "../../../etc/passwd",
    "300 bytes": "x" * 300,
    "no UTF-8": "a\udcffb\ud800",
    "NUL": "a\0b",
    "a change of direction": "gnp\u202eexe\u2066x",
    "invisible tags": "a\U000e0041\u200b\ufeffb",
}
TAME = "word"
STATES = ("done", "not scored")


def table(text: str) -> Table:
    """`text` wherever a table has a text."""
    columns = (metric_column("psnr"), metric_column("ssim"), *COST_COLUMNS)
    values = (Value(30.0, rank=1, notes=(1,)), Value(reason=text), Value(9.0), Value(2.0), Value(5), Value(text=text))
    rows = (
        Row("subject", text, text, text, text, text, (0,), values, notes=(1, 2), stage=text),
        Row("state", text, text, text, text, text, (1,), (), STATES[1], text, (2,), stage=text),
        Row("mean", text, text, text, text, "", (0,), values, stage=text),
    )
    return Table(text, Path("run"), text, "ab" * 32, columns, rows, (text, f"note: {text}"), tracked=True)


@functools.cache
def written_in(name: str, text: str) -> str:
    """The table of `text` in a format, made once."""
    return format_table(table(text), name)


def hidden(text: str) -> set[str]:
    return {c for c in set(text) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}


every = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


@every
@pytest.mark.parametrize("name", ["markdown", "latex", "csv", "json", "html"])
def test_no_format_has_a_hidden_character(text: str, name: str) -> None:
    written = written_in(name, text)
    written.encode("utf-8")
    assert hidden(written) == set()


class Page(HTMLParser):
    """Tags with their attributes' names, links, all text that is shown, and the JSON that scripts read."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[str] = []
        self.texts: list[str] = []
        self.data: list[Any] = []
        self.script: dict[str, str | None] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for name, value in attrs if name in ("href", "src")]
        self.script = dict(attrs) if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))
        self.script = None

    def handle_data(self, data: str) -> None:
        if self.script is None:
            self.texts.append(data)
        elif self.script.get("type") == "application/json":
            self.data.append(json.loads(data))


@functools.cache
def read_page(text: str) -> Page:
    """The page of the table of `text`, read once."""
    return Page(written_in("html", text))


@pytest.mark.tried("hostile files", "HTML and scripts in names and notes of a run", "the page, with them as text")
@every
def test_html_shows_it_as_text(text: str) -> None:
    # A reason that is long moves into the footnotes.
    tame = TAME if len(text) <= LONGEST else TAME * LONGEST
    page, calm = read_page(text), read_page(tame)
    assert page.tags == calm.tags and page.values == calm.values
    assert sum(one_line(text) in shown for shown in page.texts) >= sum(tame in shown for shown in calm.texts) > 10
    assert {entry["name"] for entry in page.data[0]["entries"]} == {one_line(text)}


@pytest.mark.tried("hostile files", "formulas, quotes and line ends in names of a run", "the CSV, with them as text")
@every
def test_csv_has_the_same_fields_and_no_formula(text: str) -> None:
    rows, calm = (list(csv.reader(io.StringIO(written_in("csv", t)))) for t in (text, TAME))
    assert [len(row) for row in rows] == [len(row) for row in calm] and rows[0] == calm[0]
    shown = one_line(text)
    for row, tame in zip(rows[1:], calm[1:], strict=True):
        for field, expected in zip(row, tame, strict=True):
            assert not field.startswith(("=", "+", "-", "@", "\t", "\r")) and "\n" not in field
            if expected == TAME:
                assert field.removeprefix("'" if shown[0] in "=+-@" else "") == shown


@every
def test_json_keeps_every_character(text: str) -> None:
    found = json.loads(written_in("json", text))
    assert (found["run"], found["notes"]) == (text, [text, f"note: {text}"])
    assert {row["method"] for row in found["rows"]} == {text}


def unescaped(text: str, characters: str) -> str:
    """The special characters that no backslash stands before, in order."""
    return "".join(re.findall(rf"[{re.escape(characters)}]", re.sub(r"\\[!-/:-@\[-`{-~]", "", text)))


@pytest.mark.tried("hostile files", "bars and links of Markdown in names of a run", "the table, with them as text")
@every
def test_markdown_has_the_same_table(text: str) -> None:
    lines, calm = (written_in("markdown", t).splitlines() for t in (text, TAME))
    assert len(lines) == len(calm)
    for line, tame in zip(lines, calm, strict=True):
        assert unescaped(line, "|*`<>[]$~") == unescaped(tame, "|*`<>[]$~")
        assert not re.search(r"(?<!\\)&#?\w+;", line)
    assert one_line(text) in re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", lines[-1])


def tex_tokens(text: str) -> list[str]:
    """Control sequences and special characters as TeX finds them; what is after a comment sign is not there."""
    found = []
    for line in text.splitlines():
        for token in re.findall(r"\\[a-zA-Z]+|\\.|[{}$&#%_^~*\[\]\"]", line):
            if token == "%":
                break
            found.append(token)
    return found


GLYPHS = ["textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar"]
PLAIN = re.compile(rf"\\(?:{'|'.join(GLYPHS)})\{{\}}|\\[{{}}$&#%_]|\{{[\[\]*]\}}|\{{''\}}")
"""What TeX prints literally."""


@pytest.mark.tried("hostile files", "raw TeX in names, notes and reasons of a run", "the table, with it as text")
@every
def test_latex_has_the_same_commands(text: str) -> None:
    # A reason that is long moves into the footnotes.
    written, calm = (written_in("latex", t) for t in (text, TAME if len(text) <= LONGEST else TAME * LONGEST))
    assert len(written.splitlines()) == len(calm.splitlines())
    assert [line[:1] == "%" for line in written.splitlines()] == [line[:1] == "%" for line in calm.splitlines()]
    assert tex_tokens(PLAIN.sub("", written)) == tex_tokens(PLAIN.sub("", calm))
    assert "^^" not in "".join(line for line in written.splitlines() if line[:1] != "%")


@pytest.mark.tried("hostile files", "escape sequences of a terminal in a run", "the table, with them written out")
@every
@pytest.mark.parametrize("width", [60, 400])
def test_the_terminal_gets_colours_of_ours_alone(text: str, width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=width)
    console.print(terminal(table(text)))
    out = console.file
    assert isinstance(out, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert hidden(shown) == set()
    if width == 400:
        assert f"[2] note: {' '.join(one_line(text).split())}" in " ".join(shown.split())


def test_a_screen_without_unicode_gets_question_marks(run: Any) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    Console(file=stream, width=200).print(terminal(build_table(run.path)))
    stream.flush()
    assert b"29.00" in stream.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.tried("hostile files", "a received run of hostile texts", "its report; nothing is written beside it")
@every
def test_a_report_of_real_files_stays_in_its_folder(new_run: Any, tmp_path: Path, text: str) -> None:
    folder = new_run()
    cell = folder.result(
        "A", psnr=[30.0], lpips=[None], lpips_reason=text, device=text, notes=[text], train_notes=[text]
    )
    folder.cell("B", state="failed", reason=text)
    plan = json.loads((folder.path / "plan.json").read_text(encoding="utf-8"))
    (folder.path / "plan.json").write_text(json.dumps({**plan, "notes": [text]}), encoding="utf-8")
    (folder.path / "run.yaml").write_text(json.dumps({"protocol": [text, f"{text}.yaml"]}), encoding="utf-8")
    (cell / "scores" / "copy.jsonl").write_text(text, encoding="utf-8", errors="surrogatepass")
    before = set(tmp_path.rglob("*"))
    report = write_report(folder.path, figures=False)
    new = set(tmp_path.rglob("*")) - before
    assert {path.name for path in new} == {
        "report",
        "index.html",
        *(f"headbench@1.{s}" for s in ("md", "tex", "csv", "json")),
    }
    assert all(path == report or path.parent == report for path in new)
    for path in report.iterdir():
        assert hidden(path.read_text(encoding="utf-8")) == set()
    assert one_line(text) in "".join(Page((report / "index.html").read_text(encoding="utf-8")).texts)


def test_every_text_of_a_table_is_tried() -> None:
    made = table("needle")
    for record in (made, *made.rows, *(value for row in made.rows for value in row.values)):
        texts = {f.name for f in dataclasses.fields(record) if f.type == "str"}
        assert texts <= {"run", "protocol", "protocol_hash", "kind", "method", "preset", "variant", "dataset"} | {
            "subject",
            "stage",
            "state",
            "reason",
            "text",
            "mark",
        }
