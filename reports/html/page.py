"""Writes a report as one HTML page that needs no network: tables, curves, frames and figures inside."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup

from headbench.harness.names import one_line, printable
from headbench.reports.grid import Entry
from headbench.reports.html.about import cells_of, origins_of
from headbench.reports.html.citations import bibtex_of
from headbench.reports.html.curves import page_data
from headbench.reports.html.figure import THUMBNAILS, Figure, links_of, thumbnail
from headbench.reports.html.pack import SCRIPTS, STYLES, as_json, joined, policy
from headbench.reports.html.scene import Scene
from headbench.reports.html.tables import section_of
from headbench.reports.table import Table
from headbench.results import Run

__all__ = ["to_html"]


def to_html(
    tables: Sequence[Table],
    figures: Sequence[Figure] = (),
    remarks: Sequence[str] = (),
    run: Run | None = None,
    scenes: Sequence[Scene] = (),
    scale: str = "",
    home: Path | None = None,
) -> str:
    """Write the HTML page of a report.

    Args:
        tables: one per protocol.
        figures: their links are relative to the folder that holds the `figures` folder.
        remarks: sentences below the figures, such as why a cell has none.
        run: gives curves, cells, provenance and citations; None writes a page of tables and figures alone.
        scenes: frames that the page shows.
        scale: colours of error maps (766 x 3 bytes, by the sum of a pixel's differences in bytes) as base64.
        home: folder of the page, from which links to other files of the run lead; None takes ``report`` in the run.
    """
    style, script = joined(STYLES), joined(SCRIPTS)
    template = _environment().get_template("page.html.jinja")
    return template.render(
        run=tables[0].run if tables else "empty run",
        created=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        policy=policy(style, script),
        style=style,
        script=script,
        sections=[section_of(number, table) for number, table in enumerate(tables, 1)],
        data=as_json(page_data(run, tables, scenes) | {"scale": scale}),
        scenes=scenes,
        pictures=[as_json([list(row) for row in scene.pictures]) for scene in scenes],
        cells=cells_of(run, home or run.path / "report") if run else [],
        origins=origins_of(run) if run else [],
        bibtex=Markup.escape(printable(bibtex_of(run))) if run else "",
        figures=_groups(figures),
        remarks=remarks,
        marks=_marks,
    )


@functools.cache
def _environment() -> Environment:
    """Return what compiles templates, once for all pages of this process: longer than filling one in."""
    return Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown, loader=FunctionLoader(_template)
    )


def _template(name: str) -> str:
    return (files("headbench.reports.html") / name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """Put every text of the page that is not this module's markup on one line, without hidden characters."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _marks(entry: Entry, section: str) -> Markup:
    links = (Markup('<a href="#{}-{}">{}</a>').format(section, number, number) for number in entry.notes)
    return Markup("<sup>{}</sup>").format(Markup(",").join(links)) if entry.notes else Markup("")


def _groups(figures: Sequence[Figure]) -> list[dict[str, object]]:
    """Figures under their headings; one of a further seed is linked below that of the first."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    left = THUMBNAILS
    for figure in figures:
        first = groups.setdefault(figure.group, {}).get(figure.caption)
        if first is not None and figure.seed is not None:
            first["seeds"].append((figure.seed, links_of(figure)))
            continue
        small = (figure.small or thumbnail(figure.grid)) if left > 0 else None
        left -= len(small.content) if small else 0
        caption = figure.caption if first is None else f"{figure.caption} ({len(groups[figure.group])})"
        entry = {"caption": figure.caption, "thumbnail": small, "links": links_of(figure), "seeds": []}
        groups[figure.group][caption] = entry
    return [{"title": title, "figures": list(members.values())} for title, members in groups.items()]
