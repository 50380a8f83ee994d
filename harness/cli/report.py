"""`bench report`: show the table of a run, and write its report."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from headbench.harness.cli.collecting import nothing_collected
from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError
from headbench.harness.plugins.table_format_checks import BUILT_IN_FORMATS

if TYPE_CHECKING:
    from headbench.reports import Table

__all__ = ["report"]

_MANY = 50
"""Number of rows of a table from which on another process lays it out."""


class _Format(click.Choice[str]):
    """Choice among the built-in formats and those that plugins bring, which are looked up only where none fits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.choices:
            return value
        from headbench.harness.plugins import registry

        found = next((name for name in registry().table_formats() if name.lower() == str(value).lower()), None)
        return super().convert(value, param, ctx) if found is None else found


@click.command()
@click.argument("run", type=Place(exists=True, file_okay=False))
@click.option("--protocol", help="NAME@VERSION; without it the first that the run asked for is shown, all are written.")
@click.option(
    "--format",
    "format_",
    type=_Format(BUILT_IN_FORMATS),
    help="Print this format and write no report; with --out, write it as one file in that folder. long and parquet are "
    "a row per frame and metric, and with --out three files: frames, cells and curves. Plugins bring more: "
    "bench list table-formats.",
)
@click.option("--figures/--no-figures", default=True, help="Draw image grids and videos; this reads the dataset.")
@click.option(
    "--embed",
    type=click.Choice(["full", "preview", "none"]),
    default="preview",
    help="Frames inside the page: all of them without loss, as many small ones as 25 MB hold, or none.",
)
@click.option("--published", is_flag=True, help="Also show what papers print; grey where they score in another way.")
@click.option("--picture", "pictures", type=Place(exists=True, dir_okay=False), multiple=True, help="Show this, too.")
@click.option("--out", type=Place(), help="Folder of the report; default RUN/report.")
@nothing_collected()
def report(
    run: Path,
    protocol: str | None,
    format_: str | None,
    figures: bool,
    embed: str,
    published: bool,
    pictures: tuple[Path, ...],
    out: Path | None,
) -> None:
    """Show the table of RUN and write its report: markdown, LaTeX, CSV, JSON and an HTML page with images.

    \b
    bench report runs/x                      table on the screen, report in runs/x/report
    bench report runs/x --format latex       LaTeX on standard output, nothing written
    """
    from headbench.harness.console import console
    from headbench.harness.files import writable
    from headbench.harness.run.runners import writing
    from headbench.harness.run.shared import Shared, cores
    from headbench.reports import build_table, build_tables, format_table, terminal, write_report
    from headbench.reports.figures_process import Artist, has_begun
    from headbench.reports.html import Embed
    from headbench.reports.report import write_table
    from headbench.results import read_run

    if format_ is None or out is not None:
        writable(run / "report" if out is None else out, folder=True)
    if format_ in ("long", "parquet"):
        _long(run, format_, out)
        return
    # Files first, then the screen: a terminal that goes away costs no file.
    if format_ is None:
        with Artist() if figures and has_begun(run) else contextlib.nullcontext() as artist:
            record = read_run(run)
            table, *others = build_tables(record, protocol, published)
            # A large table is laid out by another process meanwhile.
            aside = len(table.rows) > _MANY and cores() > 1
            with Shared(1, lambda _: _laid_out(table), str, str, int(aside)) as screen:
                with writing(run, _tell) if out is None else contextlib.nullcontext():
                    written = write_report(run, figures, out, pictures, Embed(embed), record, [table, *others], artist)
                (text,) = screen.results()
        console().out(text, end="", highlight=False)
        say(f"report: {written / 'index.html'}")
        return
    table = build_table(read_run(run), protocol, published)
    if format_ == "terminal":
        console().print(terminal(table))
    elif out is None:
        say(format_table(table, format_), nl=False)
    else:
        say(str(write_table(table, format_, out)))


def _laid_out(table: Table) -> str:
    """Lay a table out as the console shows it, with the codes of its colours."""
    from headbench.harness.console import console
    from headbench.reports import terminal

    shown = console()
    with shown.capture() as found:
        shown.print(terminal(table, whole=False))
    return found.get()


def _tell(sentence: str) -> None:
    say(sentence, err=True)


def _long(run: Path, format_: str, out: Path | None) -> None:
    """Write a run's results as data, a row per frame and metric, or print them as CSV where there is no folder."""
    from headbench.results import load

    if out is None and format_ == "parquet":
        raise BenchError("parquet is written into a folder.", help="name one: --out FOLDER")
    results = load(run)
    for note in results.notes:
        say(f"note: {note}", err=True)
    if out is None:
        say(results.frames.to_csv(index=False, lineterminator="\n"), nl=False)
        return
    for path in results.write(out, "csv" if format_ == "long" else format_):
        say(str(path))
