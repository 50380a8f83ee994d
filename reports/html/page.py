"""Writes a report as one HTML page that needs no network: sortable tables, thumbnails inside."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup

from headbench.harness.names import one_line
from headbench.harness.pictures import read_picture
from headbench.reports.grid import Entry, headings, lines
from headbench.reports.table import Table

__all__ = ["Figure", "to_html"]

THUMBNAIL_WIDTH = 720
"""Width of thumbnails in pixels: wide enough to read three images side by side, small enough to embed dozens."""


@dataclass(frozen=True)
class Figure:
    """Figure of a report: a grid and perhaps a video that show one cell's renders."""

    group: str
    """Heading under which the figure stands: dataset and subject."""
    caption: str
    grid: Path
    """PNG file of the grid."""
    video: Path | None = None
    """mp4 file of the video, which the page links and does not embed; None where there is none."""


def to_html(tables: Sequence[Table], figures: Sequence[Figure] = (), remarks: Sequence[str] = ()) -> str:
    """Write the HTML page of a report.

    Args:
        tables: one per protocol.
        figures: their links are relative to the folder that holds the `figures` folder.
        remarks: sentences below the figures, such as why a cell has none.
    """
    package = files("headbench.reports")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    template = environment.from_string((package / "page.html.jinja").read_text(encoding="utf-8"))
    sections = [_section(number, table) for number, table in enumerate(tables, 1)]
    return template.render(
        run=tables[0].run if tables else "empty run",
        created=f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        css=Markup((package / "page.css").read_text(encoding="utf-8")),
        sections=sections,
        figures=_groups(figures),
        remarks=remarks,
        marks=_marks,
    )


def _shown(value: object) -> object:
    """Put every text of the page that is not this module's markup on one line, without hidden characters."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _section(number: int, table: Table) -> dict[str, object]:
    leading, values = headings(table)
    return {"id": f"t{number}", "table": table, "leading": leading, "headings": values, "lines": lines(table)}


def _marks(entry: Entry, section: str) -> Markup:
    links = (Markup('<a href="#{}-{}">{}</a>').format(section, number, number) for number in entry.notes)
    return Markup("<sup>{}</sup>").format(Markup(",").join(links)) if entry.notes else Markup("")


def _groups(figures: Sequence[Figure]) -> list[dict[str, object]]:
    groups: dict[str, list[dict[str, object]]] = {}
    for figure in figures:
        links = [("PNG", f"figures/{quote(os.fsencode(figure.grid.name))}")]
        links += [("mp4", f"figures/{quote(os.fsencode(figure.video.name))}")] if figure.video else []
        entry: dict[str, object] = {"caption": figure.caption, "thumbnail": _thumbnail(figure.grid), "links": links}
        groups.setdefault(figure.group, []).append(entry)
    return [{"title": title, "figures": members} for title, members in groups.items()]


def _thumbnail(path: Path) -> str:
    """Thumbnail of an image file, at most THUMBNAIL_WIDTH wide, as the base64 text of a PNG."""
    small = read_picture(path).convert("RGB")
    if small.width > THUMBNAIL_WIDTH:
        small = small.resize((THUMBNAIL_WIDTH, round(small.height * THUMBNAIL_WIDTH / small.width)))
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
