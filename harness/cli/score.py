"""`bench score`: score the stored renders of a run again, by any protocol."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError, of_system
from headbench.harness.reading import Unreadable

if TYPE_CHECKING:
    from headbench.harness.run import CellRecord
    from headbench.harness.run.tasks import Scorer

__all__ = ["score"]


@click.command()
@click.argument("run", type=Place())
@click.option("--protocol", multiple=True, help="One or more, such as headbench@1; what the run asked for without it.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:K.")
@click.option(
    "--lpips", multiple=True, type=click.Choice(["alex", "vgg"]), help="Networks; on a CPU only alex without it."
)
@click.option("--force", is_flag=True, help="Score again where scores are there already.")
def score(run: Path, protocol: tuple[str, ...], device: str, lpips: tuple[str, ...], force: bool) -> None:
    """Score stored renders of RUN by protocols; nothing is trained or rendered.

    Exit codes: 0 all finished cells scored, 1 usage, 2 some could not be scored.
    """
    from headbench.harness.cli.scoring import scorers
    from headbench.harness.files import writable
    from headbench.harness.layout import refuse_links
    from headbench.harness.run import read_cells
    from headbench.harness.run.lock import held

    records = read_cells(run)
    names = _asked(run, protocol, records)
    writable(run, folder=True)
    refuse_links(run)
    judges = scorers(names, {"alex", *lpips} if lpips else None)
    failed = 0
    shown: set[str] = set()
    with held(run / ".lock", "bench run"):
        for record in records:
            scored, faults = _score_cell(run, record, judges, device, force)
            shown |= scored
            failed += bool(faults)
            for fault in faults:
                say(f"{record.cell.path}: {fault}", err=True)
        # Where no cell could be scored by a protocol there is no table, and the reasons have been said.
        _show(run, [judge.name for judge in judges if judge.name in shown or not failed])
    if failed:
        raise Exit(2)


def _asked(run: Path, protocol: tuple[str, ...], records: Sequence[CellRecord]) -> list[str]:
    """Protocols to score by: those the user names, else those the run asked for, or its cells were scored by."""
    from headbench.harness.run.asked import NONE, split_names
    from headbench.harness.run.request import read_request

    names = list(split_names(protocol))
    if not names:
        try:
            names = read_request(run / "run.yaml", {}).protocols()
        except BenchError:
            names = list(dict.fromkeys(name for record in records for name in record.protocols))
            if not names:
                raise
    if not names or NONE in names:
        asked = "protocol none was asked for" if names else f"{run} was made with protocol none"
        raise BenchError(f"{asked}, which scores nothing.", help=f"bench score {run} --protocol headbench@1")
    return names


def _score_cell(
    run: Path, record: CellRecord, judges: Sequence[Scorer], device: str, force: bool
) -> tuple[set[str], list[str]]:
    """Score one cell by each protocol that it can be scored by.

    Args:
        run: folder of the run.
        record: record of the cell.
        judges: one scorer for each protocol.
        device: where to score, such as cpu or cuda.
        force: score also where scores are there.

    Returns:
        names of the protocols that it was scored by, and why it could not be by others.
    """
    from headbench.harness.layout import CellFolder
    from headbench.harness.plugins import registry
    from headbench.harness.run import Job, State, cell_folder, remedy
    from headbench.harness.run.subject import read_subject
    from headbench.harness.run.tasks import score_task
    from headbench.harness.way import TRAIN

    folder = cell_folder(run, record.cell)
    if record.state is State.UNKNOWN:
        return set(), [record.reason]
    if record.state is not State.DONE:
        say(f"{record.cell.path}: {record.state}, not scored")
        return set(), []
    scored: dict[str, str] = {}
    faults = []
    try:
        subject = read_subject(Job.read(folder), registry())
    except Unreadable as error:
        if error.path.parent == folder:
            error.help = remedy(run, record.cell)
        return set(), [_words(error)]
    except Exception as error:
        return set(), [_words(error)]
    ways = [way for way, each in record.instances().items() if each.state is State.DONE]
    for judge, way in itertools.product(judges, ways):
        where = record.cell.path if way == TRAIN else f"{record.cell.path} {way}"
        try:
            done = score_task(CellFolder(folder).stage(way), subject, judge, device, _quiet, force)
            say(f"{where}: {judge.name} {'scored' if done else 'is up to date'}")
            scored[judge.name] = judge.hash
        except Exception as error:
            faults.append(_words(error))
    dataclasses.replace(record, protocols={**record.protocols, **scored}).write(folder)
    return set(scored), faults


def _words(error: Exception) -> str:
    """Message of an exception of one cell, which may be any, since readers are plugins' code."""
    if isinstance(error, OSError) and error.errno is not None:
        error = of_system(error, "a file")
    return str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"


def _show(run: Path, protocols: list[str]) -> None:
    from headbench.harness.console import console
    from headbench.reports import build_table, terminal

    for name in protocols:
        console().print(terminal(build_table(run, name)))


def _quiet(now: Mapping[str, Any]) -> None:
    return None
