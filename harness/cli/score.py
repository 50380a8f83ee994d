"""`bench score`: score the stored renders of a run again, by any protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError

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
    from headbench.harness.plugins import registry
    from headbench.harness.run import Job, State, cell_folder, read_cells
    from headbench.harness.run.asked import NONE, split_names
    from headbench.harness.run.lock import held
    from headbench.harness.run.request import read_request
    from headbench.harness.run.stages import read_subject, score_stage

    records = read_cells(run)
    names = split_names(protocol) or read_request(run / "run.yaml", {}).protocols()
    if not names or NONE in names:
        asked = "protocol none was asked for" if names else f"{run} was made with protocol none"
        raise BenchError(f"{asked}, which scores nothing.", help=f"bench score {run} --protocol headbench@1")
    writable(run, folder=True)
    judges = scorers(names, {"alex", *lpips} if lpips else None)
    failed = 0
    shown: set[str] = set()
    with held(run / ".lock", "bench run"):
        for record in records:
            folder = cell_folder(run, record.cell)
            if record.state is not State.DONE:
                say(f"{record.cell.path}: {record.state}, not scored")
                continue
            try:
                subject = read_subject(Job.read(folder), registry())
                for judge in judges:
                    if force:
                        (folder / "scores" / f"{judge.name}.json").unlink(missing_ok=True)
                    done = score_stage(folder, subject, judge, device, _quiet)
                    say(f"{record.cell.path}: {judge.name} {'scored' if done else 'is up to date'}")
                    shown.add(judge.name)
                scored = {**record.protocols, **{judge.name: judge.hash for judge in judges}}
                dataclasses.replace(record, protocols=scored).write(folder)
            except BenchError as error:
                failed += 1
                say(f"{record.cell.path}: {error}", err=True)
        # Where no cell could be scored by a protocol there is no table, and the reasons have been said.
        _show(run, [judge.name for judge in judges if judge.name in shown or not failed])
    if failed:
        raise Exit(2)


def _show(run: Path, protocols: list[str]) -> None:
    from headbench.harness.console import console
    from headbench.reports import build_table, terminal

    for name in protocols:
        console().print(terminal(build_table(run, name)))


def _quiet(now: Mapping[str, Any]) -> None:
    return None
