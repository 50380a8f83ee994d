"""The table of what exports to what in docs/export.md: each avatar is exported in each format, and the page says so.

``HEADBENCH_WRITE_TABLES=1 python -m pytest -m slow tests/export/test_table.py`` writes it anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headbench.export import FORMATS
from headbench.export.source import Source
from headbench.export.write import export
from headbench.harness.errors import BenchError

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
BEGIN, END = "<!-- written by tests/export/test_table.py -->\n", "<!-- end -->"
AVATARS = {
    "FateAvatar": ("FateAvatar", {}),
    "GaussianAvatars": ("GaussianAvatars", {"sh_every": 0, "sh_degree": 3}),
    "FlashAvatar": ("FlashAvatar", {"sh_every": 0, "sh_degree": 3}),
    "SplattingAvatar": ("SplattingAvatar", {"sh_degree": 3}),
    "MonoGaussianAvatar": ("MonoGaussianAvatar", {}),
    "baked": ("baked", {}),
    "nearest-frame (pictures)": ("nearest-frame", {}),
}
"""Row of the table -> avatar and its options."""
LOSSES = {
    "holds no spherical harmonics": "degree 0",
    "measured in the canonical pose": "measured",
    "in recorded frames": "clip",
}
"""Words of a note on what was left out -> what the table says; other notes are of the format, and not of the avatar."""


def cell(session, form, out: Path, subject) -> str:
    """What the table says of an avatar and a format."""
    try:
        done = export(Source(session), form, "first", out, lambda: subject)
    except BenchError:
        assert not out.exists()
        return "–"
    assert out.exists()
    said = [short for words, short in LOSSES.items() if any(words in note for note in done.notes)]
    return ", ".join(said) or "yes"


@pytest.mark.slow
def test_the_page_says_what_exports_to_what(opened, made_subject, tmp_path) -> None:
    lines = [f"| avatar | {' | '.join(FORMATS)} |", "|---" * (len(FORMATS) + 1) + "|"]
    for number, (row, (method, options)) in enumerate(AVATARS.items()):
        session, cells = opened(method, **options), []
        for form in FORMATS.values():
            out = tmp_path / f"{number}-{form.name}{form.suffixes[0] if form.suffixes else ''}"
            cells.append(cell(session, form, out, made_subject))
        lines.append(f"| {row} | {' | '.join(cells)} |")
    table = "\n".join(lines) + "\n"
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, end, after = rest.partition(END)
    assert begin and end
    if os.environ.get("HEADBENCH_WRITE_TABLES"):
        PAGE.write_text(before + begin + table + end + after, encoding="utf-8")
        written = table
    assert written == table
