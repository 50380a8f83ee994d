"""`bench run`: train, render, score, and print the table."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from headbench.harness.cli.collecting import nothing_collected
from headbench.harness.cli.options import NotEmpty, Place, Seconds, Size
from headbench.harness.console import say
from headbench.harness.names import one_line

if TYPE_CHECKING:
    from headbench.harness.run.plan import Plan
    from headbench.harness.run.runners import Runner
    from headbench.reports import Table
    from headbench.results import Run

__all__ = ["run"]

_DATASETS = (
    "insta, insta[bala,obama], insta[b*], or all. A backslash makes , [ ] * ? part of a subject's name, in quotes: "
    "'insta[a\\,b]'."
)


@click.command()
@click.argument("file", required=False, type=Place())
@click.option("--methods", help="Names with commas between, or all registered ones (baselines included).")
@click.option("--datasets", help=_DATASETS)
@click.option("--data-root", type=Place(), help="Holds <dataset>/<subject>.")
@click.option("--preset", help="One or more; a method without it uses its default, and the table says so.")
@click.option("--stages", help="Stage instances to show and score, such as train,train/bake; train without it.")
@click.option("--seeds", help="One or more, such as 0,1,2.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE", help="Change a method or dataset option."
)
@click.option("--label", type=NotEmpty(), help="Name of the variant that --set makes; without it, a hash.")
@click.option("--protocol", multiple=True, help="Protocol to score by, such as headbench@1; none only renders.")
@click.option("--device", help="auto, cpu, cuda or cuda:K.")
@click.option("--rasterizer", help="auto, gsplat, cuda, numba or torch.")
@click.option("--limit", type=int, help="Maximum number of training and of test frames per subject; the table says so.")
@click.option("--budget", help="What each training may spend: 30min, 2h, images=20000 or updates=5000.")
@click.option("--marks", type=int, metavar="N", help="Score each portrait after N equal parts of the budget, too.")
@click.option("--out", type=Place(), help="Folder of the run; runs/<label or preset> without it.")
@click.option("--timeout", type=Seconds(), help="Time a cell may take: 90s, 30m, 2h.")
@click.option("--memory", type=Size(), help="Host memory a cell needs, for executors to ask for: 500MB, 16GB.")
@click.option("--fail-fast", is_flag=True, help="Stop after the first failed cell.")
@click.option("--fail-on-error", type=int, metavar="N", help="Stop after N failed cells.")
@click.option("--keep-failed", is_flag=True, help="Leave cells that failed before as they are.")
@click.option(
    "--checkpoint-every", type=int, metavar="N", help="Steps between checkpoints; 1000 without it, more if fast."
)
@click.option("--threads", type=int, metavar="N", help="CPU threads of a cell; without it workers share the cores.")
@click.option("--workers", type=int, metavar="N", help="Cells at once; 1 without it, or one per GPU of --gpus.")
@click.option("--gpus", metavar="0,1", help="GPUs to use, one cell on each at a time.")
@click.option("--executor", metavar="NAME", help="What runs the cells: local, or one of `bench list executors`.")
@click.option("--executor-set", multiple=True, metavar="OPTION=VALUE", help="Change an option of the executor.")
@click.option("--deterministic", is_flag=True, default=None, help="Bit-equal when resumed on a CPU; slower.")
@click.option("--tensorboard", is_flag=True, default=None, help="Write TensorBoard files beside metrics.jsonl.")
@click.option("--no-report", is_flag=True, help="Neither print the table nor write the report; `bench report` does.")
@click.option("--detach", is_flag=True, help="Return at once; the run goes on without this shell.")
@click.option("--dry-run", is_flag=True, help="Print the cells, estimated hours and disk; write nothing.")
def run(
    file: Path | None,
    fail_fast: bool,
    keep_failed: bool,
    no_report: bool,
    detach: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Train METHODS on DATASETS, render and score held-out frames, print the table and write the report.

    FILE is a YAML file with the same keys (data_root, methods, …), or the name of a built-in one such as demo; options
    given here win over it. The same command goes on where it stopped: finished cells stay, failed ones are tried again.
    While it is at work the same command helps it, here or on another machine that shares the folder.

    Exit codes: 0 all good, 1 usage, 2 some cells or stages failed or were skipped, 130 interrupted.
    """
    from headbench.harness.cli.scoring import scorers
    from headbench.harness.files import writable
    from headbench.harness.layout import refuse_links
    from headbench.harness.plugins import registry
    from headbench.harness.run.plan import make_plan, write_plan
    from headbench.harness.run.request import read_request, write_request
    from headbench.harness.run.runners import Runner, agree, living

    given = {key: value for key, value in options.items() if value not in (None, (), [])}
    given = {("set" if k == "settings" else k): list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    if fail_fast:
        if "fail_on_error" in given:
            raise click.UsageError("--fail-fast stops after 1 failed cell, --fail-on-error after N: name one of them.")
        given["fail_on_error"] = 1
    request = read_request(file, given)
    asked = scorers(request.protocols())
    protocols = {scorer.name: scorer.hash for scorer in asked}
    folder = request.folder()
    if not dry_run:
        # A place that cannot be written is found before data are read, not after.
        writable(folder, folder=True)
        refuse_links(folder)
        agree(request, folder)
    from headbench.harness.cli.signals import orderly_signals
    from headbench.harness.execution.choose import known_costs, make_executor, with_resources
    from headbench.harness.run.execute import execute

    with nothing_collected(dry_run), contextlib.ExitStack() as unneeded:
        executor = make_executor(request, registry())
        if not dry_run and not detach:
            unneeded.callback(executor.close)
            executor.expect(request.device, request.rasterizer)
        # Two protocols that score the same renders track once.
        rules = {scorer.key.name: scorer.key.tracking for scorer in asked}
        tracked = sum(rule.steps for rule in rules.values() if rule is not None)
        known = known_costs(folder, request.device, registry()) if dry_run or executor.queues else {}
        plan = with_resources(make_plan(request, registry(), protocols, sys.argv), request, executor, known, tracked)
        _say_plan(plan, len(registry().problems()))
        for remark in executor.remarks():
            say(f"note: {remark}")
        if dry_run:
            from headbench.harness.cli.dry_run import show_plan

            show_plan(plan, known, tracked, executor)
            return
        planned = unneeded.pop_all()
    if detach:
        from headbench.harness.cli.detach import detach as start

        start(folder, [word for word in sys.argv[1:] if word != "--detach"])
        return

    def begin(helps: bool) -> None:
        agree(request, folder)
        if helps:
            say(f"helps {', '.join(map(str, living(folder)))}, which began this run")
        else:
            write_request(request, folder)
        write_plan(plan)

    with planned, orderly_signals(), Runner(folder, say) as runner:
        from headbench.harness.cli.progress import watcher

        limits = (request.fail_on_error, keep_failed, request.executor)
        if not no_report:
            # While cells are at work, so that the table does not wait for it.
            threading.Thread(target=_import_report, daemon=True, name="import-report").start()
        planned.pop_all()  # from here on `execute` ends what the executor has begun
        records = execute(plan, executor, watcher(), *limits, runner, begin)
        written = None if no_report else _report(runner)
    from headbench.harness.run import State
    from headbench.harness.run.folder import summarise

    say(f"{folder}: " + ", ".join(f"{count} {state}" for state, count in summarise(records).items()))
    if written is not None:
        from headbench.harness.cli.look import say_look

        say_look(folder, *written)
    if any(record.state is not State.DONE or record.unmade() for record in records):
        raise Exit(2)


def _say_plan(plan: Plan, problems: int) -> None:
    """Print the remarks on a plan and its cells, and how many problems plugins have."""
    if problems:
        say(f"{problems} plugin problem{'s' * (problems > 1)}: bench plugins", err=True)
    notes = [*plan.notes, *dict.fromkeys(note for planned in plan.cells for note in planned.record.notes)]
    for note in notes:
        say(f"note: {one_line(note)}")


def _import_report() -> None:
    import headbench.reports
    import headbench.results  # noqa: F401


def _report(runner: Runner) -> tuple[Path, Run, Table]:
    """Write the report of a run and print its table; returns the report's folder, what was read, and the table."""
    from headbench.harness.console import console
    from headbench.reports import build_tables, terminal, write_report
    from headbench.results import read_run

    with runner.writing():
        record = read_run(runner.run)
        table, *others = build_tables(record)
        try:
            console().print(terminal(table, whole=False))
        finally:
            # Pictures take their time, and a terminal that goes away costs no file.
            written = write_report(runner.run, record=record, tables=[table, *others])
    return written, record, table
