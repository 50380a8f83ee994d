"""`bench score`: score the stored renders of a run again, or any folder of pictures, by any protocol."""

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

ALL = "all"
"""Name that stands for every built-in protocol, and those that a run asked for."""


@click.command()
@click.argument("run", required=False, type=Place())
@click.option("--renders", type=Place(), help="Instead of RUN: a folder of pictures, or a video, that is scored.")
@click.option("--truth", metavar="FOLDER|DATASET/SUBJECT", help="What --renders is compared with; or a video.")
@click.option("--alpha", type=Place(), help="Mattes of the pictures of --truth, where they have no alpha of their own.")
@click.option("--data-root", type=Place(), help="Holds <dataset>/<subject>, for --truth DATASET/SUBJECT.")
@click.option(
    "--set", "settings", multiple=True, metavar="DATASET.OPTION=VALUE", help="Option of that dataset's reader."
)
@click.option("--out", type=Place(), help="Folder for the scores of --renders: JSON, and CSV per frame.")
@click.option(
    "--protocol",
    multiple=True,
    help="One or more, such as headbench@1; all: each that can be scored from what is stored. Without it what the run "
    "asked for, or headbench@1.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:K.")
@click.option(
    "--lpips", multiple=True, type=click.Choice(["alex", "vgg"]), help="Networks; on a CPU only alex without it."
)
@click.option("--force", is_flag=True, help="Score a run's renders also where scores are there already.")
def score(
    run: Path | None, protocol: tuple[str, ...], device: str, lpips: tuple[str, ...], force: bool, **folders: Any
) -> None:
    """Score stored renders of RUN, or of any two folders of pictures, by protocols.

    Nothing is trained or rendered. Names of pictures are joined where all names of one folder stand in the other, else
    by frame number: the one number that differs between the names of a folder.

    Exit codes: 0 all finished cells scored, 1 usage, 2 some could not be scored.
    """
    nets = {"alex", *lpips} if lpips else None
    if run is not None:
        _refuse_options(folders)
        _score_run(run, protocol, device, nets, force)
        return
    _refuse_lacking(folders)
    from headbench.harness.cli.score_folders import score_folders
    from headbench.harness.cli.score_truth import Folders
    from headbench.harness.run.asked import split_names
    from headbench.metrics import protocol_names

    names = list(split_names(protocol)) or ["headbench@1"]
    everything = ALL in names
    score_folders(Folders(**folders), protocol_names() if everything else names, device, nets, everything)


def _refuse_options(folders: Mapping[str, Any]) -> None:
    """Refuse options of folders beside a run."""
    given = [f"--{name.replace('_', '-')}" for name, value in folders.items() if value]
    if given:
        what = "--set" if given[0] == "--settings" else given[0]
        raise click.UsageError(f"{what} goes with --renders, not with a run.")


def _refuse_lacking(folders: Mapping[str, Any]) -> None:
    """Refuse a line that names neither a run nor two things to compare."""
    if folders["renders"] is None:
        raise click.UsageError("Name a RUN, or pictures: --renders FOLDER --truth FOLDER.")
    if not folders["truth"]:
        raise click.UsageError("--renders needs --truth: a folder of pictures, a video, or DATASET/SUBJECT.")


def _score_run(run: Path, protocol: tuple[str, ...], device: str, nets: set[str] | None, force: bool) -> None:
    """Score stored renders of a run's cells by protocols.

    Args:
        run: folder of the run.
        protocol: protocols as the user names them; none means those that the run asked for.
        device: where to score, such as cpu or cuda.
        nets: LPIPS networks to compute; None means all that are worth their time on the device.
        force: score also where scores are there.
    """
    from headbench.harness.cli.scoring import scorers
    from headbench.harness.files import writable
    from headbench.harness.layout import refuse_links
    from headbench.harness.run import read_cells

    records = read_cells(run)
    names, everything = _asked(run, protocol, records)
    writable(run, folder=True)
    refuse_links(run)
    judges = scorers(names, nets)
    failed = 0
    shown: set[str] = set()
    for record in records:
        scored, faults = _score_cell(run, record, judges, device, force, everything)
        shown |= scored
        failed += bool(faults)
        for fault in faults:
            say(f"{record.cell.path}: {fault}", err=True)
    # Where no cell could be scored by a protocol there is no table, and the reasons have been said.
    _show(run, [judge.name for judge in judges if judge.name in shown or not (failed or everything)])
    if failed:
        raise Exit(2)


def _asked(run: Path, protocol: tuple[str, ...], records: Sequence[CellRecord]) -> tuple[list[str], bool]:
    """Protocols to score by: those the user names, else those the run asked for, or its cells were scored by.

    Returns:
        the names, and whether they stand for all protocols, so that one that does not fit is no fault.
    """
    from headbench.harness.run.asked import NONE, split_names
    from headbench.metrics import protocol_names

    names = list(split_names(protocol))
    if ALL in names:
        own = [name for name in _of_run(run, records) if name != NONE]
        named = [name for name in names if name != ALL]
        return list(dict.fromkeys([*protocol_names(), *own, *named])), True
    names = names or _of_run(run, records)
    if not names or NONE in names:
        asked = "protocol none was asked for" if names else f"{run} was made with protocol none"
        raise BenchError(f"{asked}, which scores nothing.", help=f"bench score {run} --protocol headbench@1")
    return names, False


def _of_run(run: Path, records: Sequence[CellRecord]) -> list[str]:
    """Protocols that a run asked for, or, where its request is gone, those that its cells were scored by."""
    from headbench.harness.run.request import read_request

    try:
        return read_request(run / "run.yaml", {}).protocols()
    except BenchError:
        names = list(dict.fromkeys(name for record in records for name in record.protocols))
        if not names:
            raise
        return names


def _score_cell(
    run: Path, record: CellRecord, judges: Sequence[Scorer], device: str, force: bool, everything: bool
) -> tuple[set[str], list[str]]:
    """Score one cell by each protocol that it can be scored by.

    Args:
        run: folder of the run.
        record: record of the cell.
        judges: one scorer for each protocol.
        device: where to score, such as cpu or cuda.
        force: score also where scores are there.
        everything: whether all protocols are tried, so that one without stored renders is said and no fault.

    Returns:
        names of the protocols that it was scored by, and why it could not be by others.
    """
    from headbench.harness.execution import claimed
    from headbench.harness.run import State, cell_folder
    from headbench.harness.run.folder import cell_record

    if record.state is State.DONE:
        try:
            with claimed(cell_folder(run, record.cell)):
                record = cell_record(run, record.cell) or record  # another process may have begun it anew
                if record.state is State.DONE:
                    return _score_claimed(run, record, judges, device, force, everything)
        except Exception as error:
            return set(), [_words(error)]
    if record.state is State.UNKNOWN:
        return set(), [record.reason]
    say(f"{record.cell.path}: {record.state}, not scored")
    return set(), []


def _score_claimed(
    run: Path, record: CellRecord, judges: Sequence[Scorer], device: str, force: bool, everything: bool
) -> tuple[set[str], list[str]]:
    """Score one cell that this process has claimed; arguments and result are those of `_score_cell`."""
    from headbench.harness.layout import CellFolder
    from headbench.harness.plugins import registry
    from headbench.harness.run import Job, State, cell_folder, remedy
    from headbench.harness.run.subject import read_subject
    from headbench.harness.run.tasks import score_task, unstored
    from headbench.harness.way import TRAIN

    folder = cell_folder(run, record.cell)
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
        lacking = unstored(CellFolder(folder).stage(way), subject, judge) if everything else ""
        if lacking:
            say(f"{where}: {judge.name} not scored: {lacking}")
            continue
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
    from headbench.results import read_run

    record = read_run(run)
    for name in protocols:
        console().print(terminal(build_table(record, name)))


def _quiet(now: Mapping[str, Any]) -> None:
    return None
