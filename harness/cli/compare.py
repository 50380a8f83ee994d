"""`bench compare`: paired differences between two runs, and an exit code for a gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.cli.options import Place
from headbench.harness.console import say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from headbench.results import Change, Comparison

__all__ = ["REGRESSION", "UNDECIDED", "compare"]

REGRESSION = 3
"""Exit code where the second run is significantly worse."""
UNDECIDED = 4
"""Exit code where no difference has an interval, so that nothing is known."""


class _Threshold(click.ParamType):
    """Option that is METRIC=NUMBER."""

    name = "metric=number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Convert a text such as psnr=0.1."""
        name, _, number = str(value).partition("=")
        try:
            found = float(number)
        except ValueError:
            found = -1.0
        if not name or not 0 <= found < float("inf"):
            self.fail(f"{value!r}: expected a metric and how much worse is allowed, such as psnr=0.1", param, ctx)
        return name, found


@click.command()
@click.argument("run_a", type=Place(exists=True, file_okay=False))
@click.argument("run_b", type=Place(exists=True, file_okay=False))
@click.option("--protocol", help="NAME@VERSION; without it the first that both runs are scored by.")
@click.option(
    "--metric", "metrics", multiple=True, help="Compare this metric alone, such as lpips/alex; several times."
)
@click.option(
    "--threshold",
    "thresholds",
    type=_Threshold(),
    multiple=True,
    help="METRIC=NUMBER: worse by less than this, in the metric's unit, is no regression; several times.",
)
@click.option(
    "--familywise", is_flag=True, help="Correct for the number of comparisons (Holm): together they alarm as one does."
)
@click.option("--format", "format_", type=click.Choice(["terminal", "csv"]), default="terminal", show_default=True)
def compare(
    run_a: Path,
    run_b: Path,
    protocol: str | None,
    metrics: tuple[str, ...],
    thresholds: tuple[tuple[str, float], ...],
    familywise: bool,
    format_: str,
) -> int:
    """Compare the scores of RUN_B with those of RUN_A, frame by frame, with 95 % intervals.

    Over three subjects or more their mean decides (Student's t), else each subject alone (block bootstrap of this
    sequence). Runs of different data or protocols are refused.

    \b
    Exit code:  0  no significant regression
                1  an error
                3  RUN_B is significantly worse in a metric
                4  no difference has an interval: too few frames or subjects

    \b
    bench compare runs/main runs/change                      a gate for a change
    bench compare runs/main runs/change --metric psnr --threshold psnr=0.1
    """
    from headbench.harness.errors import BenchError, did_you_mean
    from headbench.results import compare_runs

    found = compare_runs(run_a, run_b, protocol, metrics)
    known = {change.metric for change in found.changes}
    for name, _ in thresholds:
        if name not in known:
            raise BenchError(did_you_mean("metric", name, known))
    worse = found.regressions(dict(thresholds), familywise)
    for note in found.notes:
        say(f"note: {note}", err=True)
    if format_ == "csv":
        from headbench.results import changes_frame

        say(changes_frame(found, worse).to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        from headbench.harness.console import console

        console().print(_table(found, worse))
    if found.undecided():
        say(f"undecided: {found.undecided()}", err=True)
        return UNDECIDED
    names = f"{found.second.name} from {found.first.name}"
    say(f"{len(worse)} significant regression(s) of {names}, {found.protocol}", err=True)
    say(_family(len(found.tests()), familywise), err=True)
    return REGRESSION if worse else 0


def _family(tests: int, familywise: bool) -> str:
    """Sentence on how many tests were made, and how many of them are false alarms where nothing changed."""
    if tests == 1:
        return "1 comparison"
    if familywise:
        return f"{tests} comparisons, together as strict as one (Holm)"
    return f"{tests} comparisons, of which {0.025 * tests:.2g} are false alarms on average where nothing changed"


def _table(found: Comparison, worse: Sequence[Change]) -> RenderableType:
    """Table with a line per method and subject (or mean), and a column per metric."""
    from rich import box
    from rich.table import Table

    from headbench.harness.console import literal
    from headbench.reports import metric_column, named, signed_interval

    columns = [metric_column(key) for key in dict.fromkeys(change.metric for change in found.changes)]
    title = f"{found.second.name} minus {found.first.name}: {found.protocol}"
    table = Table(box=box.SIMPLE_HEAD, title=literal(title), title_justify="left", pad_edge=False)
    for name in ("Subject", "Method", *(column.heading() for column in columns)):
        table.add_column(name, overflow="fold")
    lines: dict[tuple[str, str], dict[str, Change]] = {}
    for change in found.changes:
        place = f"{change.dataset}/{change.subject}" if change.subject else f"{change.dataset} mean"
        lines.setdefault((place, named(*change.entry)), {})[change.metric] = change
    for names, changes in lines.items():
        cells = [literal(name) for name in names]
        for column in columns:
            found_here = changes.get(column.key)
            if found_here is None:
                cells.append(literal("–"))
                continue
            text = signed_interval(found_here.difference.shown, column)
            style = "bold red" if found_here in worse else "" if found_here.difference.resolved else "dim"
            cells.append(literal(f"{text} worse" if found_here in worse else text, style))
        table.add_row(*cells)
    return table
