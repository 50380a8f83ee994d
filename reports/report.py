"""Writes the report folder of a run: tables in every format, an HTML page, figures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_folder, atomic_path, make_folder
from headbench.harness.names import is_label, quoted, safe_name
from headbench.harness.pictures import read_picture
from headbench.reports.build import build_tables
from headbench.reports.figures_process import Artist, Drawn, has_pictures
from headbench.reports.format import formatted, suffix_of
from headbench.reports.html import Embed, Figure
from headbench.reports.html.figure import THUMBNAILS
from headbench.reports.latex import to_latex
from headbench.reports.quality import draw_quality
from headbench.reports.table import Table
from headbench.reports.text import to_csv, to_json, to_markdown
from headbench.results import Run, read_run

__all__ = ["FORMATS", "format_table", "write_report"]

_WRITERS: Mapping[str, Callable[[Table], str]] = {
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "json": to_json,
}
_SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}

LIMIT = 24_500_000
"""Limit of a page in bytes, unless whole frames were asked for: 25 MB, with room for what figures are called."""

FORMATS = (*_WRITERS, "html")
"""Formats in which `format_table` writes a table as text."""


def format_table(table: Table, name: str) -> str:
    """Format a table as text in one of FORMATS, or in a format of a plugin; html gives a page without figures."""
    if name == "html":
        from headbench.reports.html.page import to_html

        return to_html([table])
    return _WRITERS[name](table) if name in _WRITERS else formatted(table, name)


def write_report(
    run: Path,
    figures: bool = True,
    out: Path | None = None,
    pictures: Sequence[Path] = (),
    embed: Embed = Embed.PREVIEW,
    record: Run | None = None,
    tables: Sequence[Table] = (),
    artist: Artist | None = None,
) -> Path:
    """Write ``report/`` of a run: one table per protocol in four formats, index.html, and figures.

    The folder appears whole or not at all, and replaces an older one.

    Args:
        run: the run's folder.
        figures: also draw PNG grids and mp4s, in a child process, which reads the dataset. A cell whose ground truth
            cannot be read has no figure, and the page says why.
        out: folder of the report; None takes ``report`` in the run.
        pictures: further pictures for the end of the page, such as contact sheets; they are copied.
        embed: how many of the rendered frames lie inside the page; without `figures` none do.
        record: what was read of the run, where somebody has read it already.
        tables: what `build_tables` made of it; without any they are built.
        artist: draws the figures, where somebody has started one already.

    Returns:
        the folder.

    Raises:
        BenchError: `run` is no run folder, its scores cannot be tabulated, or the report's folder holds something else.
        Unreadable: a further picture cannot be read.
    """
    from headbench.reports.html.page import to_html

    target = run / "report" if out is None else out.resolve()
    _check_place(target, own=out is None)
    record = record or read_run(run)
    tables = tables or build_tables(record)
    drawn = Drawn()
    plots: list[Figure] = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(atomic_folder(target))
        if figures:
            make_folder(folder / "figures")
            # Drawing takes longest: it begins before all else, and all that needs no pictures is done meanwhile.
            if artist is None and has_pictures(record):
                artist = stack.enter_context(Artist())
            if artist is not None:
                artist.ask(run, folder / "figures", target / "figures", embed)
        for table in tables:
            for name, write in _WRITERS.items():
                path = folder / _file(table, _SUFFIXES[name])
                path.write_text(write(table), encoding="utf-8")
        further = [_further(number, path, folder / "figures") for number, path in enumerate(pictures, 1)]
        if figures:
            plots = [plot for table in tables for plot in draw_quality(table, folder / "figures", _stem(table))]
        if figures and artist is not None:
            bare = len(to_html(tables, (), (), record, home=target))
            drawn = artist.drawn(max(0, LIMIT - THUMBNAILS - bare))
        shown = (*drawn.figures, *plots, *further)
        page = to_html(tables, shown, drawn.remarks, record, drawn.scenes, drawn.scale, target)
        (folder / "index.html").write_text(page, encoding="utf-8")
    return target


def _further(number: int, path: Path, folder: Path) -> Figure:
    """Copy a picture of the user's into the report's figures.

    Raises:
        Unreadable: it is no picture.
    """
    make_folder(folder)
    target = folder / f"further-{number}.png"
    read_picture(path).convert("RGB").save(target)
    return Figure("Further pictures", f"{path.parent.name}/{path.name}", target)


def write_table(table: Table, name: str, out: Path) -> Path:
    """Write a table in one format as one file in the folder `out`, and return the file's path."""
    path = out / _file(table, _SUFFIXES.get(name) or (name if name in FORMATS else suffix_of(name)))
    with atomic_path(path) as part:
        part.write_text(format_table(table, name), encoding="utf-8")
    return path


def _stem(table: Table) -> str:
    return safe_name(table.protocol.replace(" ", "-"), "protocol", table.run)


def _file(table: Table, suffix: str) -> str:
    return f"{_stem(table)}.{suffix}"


def _check_place(target: Path, own: bool) -> None:
    """Check that the report's folder may be replaced as a whole.

    Args:
        target: the folder.
        own: whether it is the run's own ``report``; any other may hold nothing but an older report.

    Raises:
        BenchError: it is a link, or holds something else.
    """
    if target.is_symlink():
        raise BenchError(
            f"{target} is a link to {target.readlink()}; a report is written into a folder of its own.",
            help="remove the link, or name a folder with --out",
        )
    for path in sorted(target.iterdir()) if target.is_dir() and not own else []:
        written = path.suffix[1:] in (*_SUFFIXES.values(), "html") and path.stem in ("index", "not-scored")
        written |= is_label(path.stem) or path.name == "figures"
        if not written:
            raise BenchError(
                f"{target} would be replaced as a whole, and holds {quoted(path.name)}, which is no report's.",
                help="name a new folder with --out",
            )
