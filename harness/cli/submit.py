"""`bench submit`: a checked zip for a benchmark's organisers, and a ledger of what was sent. Never uploads."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from headbench.harness.cli.options import Place, device_options
from headbench.harness.console import say
from headbench.harness.errors import BenchError, PluginError, did_you_mean

if TYPE_CHECKING:
    from headbench.harness.problems import Problem

__all__ = ["submit"]


class _Submit(click.RichGroup):
    """Command group whose verbs are its own and the name of any dataset whose benchmark takes submissions."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = super().get_command(ctx, name)
        if found is not None:
            return found
        from headbench.harness.plugins import registry

        try:
            dataset = registry().dataset(name).name
        except PluginError:
            known = [*self.commands, *registry().datasets()]
            raise click.UsageError(did_you_mean("dataset or command of bench submit", name, known), ctx) from None
        return click.RichCommand(
            name=dataset,
            callback=functools.partial(_make, dataset),
            params=make.params,
            help=make.help,
            short_help=make.short_help,
        )


@click.group(cls=_Submit, subcommand_metavar="DATASET RUN | check ZIP | uploaded ZIP | ledger")
def submit() -> None:
    """Make, check and keep count of submissions to a dataset's benchmark. Nothing is uploaded.

    \b
    bench submit DATASET RUN          render, encode, pack and check what RUN trained
    bench submit check ZIP            say what is wrong with any zip
    bench submit uploaded ZIP         write down that you uploaded it
    bench submit ledger               what was made and uploaded, and what the quota leaves
    """


@click.command()
@click.argument("run", type=Place())
@click.option("--method", help="Where RUN trained several.")
@click.option("--preset", help="Where RUN trained several.")
@click.option("--variant", help="Label or hash of what --set changed; empty text for cells without.")
@click.option("--stage", help="Stage instance, such as train/bake, where RUN made several.")
@click.option("--seed", type=int, help="Where RUN trained several.")
@click.option("--data-root", type=Place(), help="Where the data lies now; as trained without it.")
@click.option("--out", type=Place(), help="The zip; below RUN/submissions without it.")
@device_options
def make() -> None:
    """Render the benchmark's hidden sequences with the trained cells of RUN, and write and check the zip.

    Nothing is trained. A killed call goes on where it stopped: what is lost is at most one video.

    Exit codes: 0 the check found no error, 1 usage, 2 it found some.
    """


def _make(
    dataset: str,
    run: Path,
    method: str | None,
    preset: str | None,
    variant: str | None,
    stage: str | None,
    seed: int | None,
    data_root: Path | None,
    out: Path | None,
    device: str,
    rasterizer: str,
) -> None:
    """Render, encode, pack and check a submission to a dataset's benchmark.

    Args:
        dataset: name of the dataset.
        run: folder of the run.
        method: method of the cells, where the run trained several.
        preset: preset of the cells, where the run trained several.
        variant: variant of the cells, where the run trained several; an empty text for cells without.
        stage: stage instance, where the run made several.
        seed: seed of the cells, where the run trained several.
        data_root: where the data lies now; None: where it was trained from.
        out: the zip; None: below RUN/submissions.
        device: auto, cpu, cuda or cuda:K.
        rasterizer: name of the rasterizer, or auto.
    """
    from headbench.harness.files import writable
    from headbench.harness.home import home
    from headbench.harness.layout import refuse_links
    from headbench.harness.plugins import registry
    from headbench.submission import Choice, Order, make_submission, read_ledger, task_of, uploads

    # The ledger of submissions lies among the user's files; videos that are kept lie in the run.
    writable(home(), folder=True)
    writable(run, folder=True)
    refuse_links(run)
    if out is not None:
        writable(out)
    choice = Choice(method, preset, variant, seed, stage)
    order = Order(run, dataset, choice, data_root, out, device, rasterizer)
    made = make_submission(order, registry(), say)
    say(f"record: {made.record}")
    _, _, task = task_of(registry(), dataset)
    spent = len(uploads(read_ledger(), task.name))
    say(f"quota of {task.name}: {task.quota}, {spent} uploaded so far; after an upload: bench submit uploaded ZIP")
    _conclude(made.zip, made.findings)


@submit.command()
@click.argument("zip_path", metavar="ZIP", type=Place(dir_okay=False))
@click.option("--dataset", help="Whose benchmark it is for; needed where several take submissions.")
@click.option("--data-root", type=Place(), help="Compares with tracking and images of the people.")
def check(zip_path: Path, dataset: str | None, data_root: Path | None) -> None:
    """Say what is wrong with ZIP, wherever it comes from, one line per cause.

    With --data-root also frame counts, frame order and colours are compared. A submission.json beside it tells the
    tracking and what encoding cost.

    Exit codes: 0 no errors, 1 usage, 2 errors.
    """
    from headbench.harness.plugins import registry
    from headbench.submission import check_zip, find_record, participants, reference_of, task_of

    record = find_record(zip_path)
    name = dataset or (record or {}).get("dataset") or _only_dataset()
    _, reader, task = task_of(registry(), str(name))
    reference = None
    if data_root is not None:
        found = reader.subjects(data_root)
        folders = {subject: found[subject] for subject in participants(task) if subject in found}
        lacking = [subject for subject in participants(task) if subject not in found]
        if lacking:
            raise BenchError(f"{data_root} has no subject {', '.join(lacking)}; it has {', '.join(found)}.")
        reference = reference_of(reader, folders, {}, task)
    _conclude(zip_path, check_zip(zip_path, task, reference, record))


@submit.command()
@click.argument("zip_path", metavar="ZIP", type=Place(exists=True, dir_okay=False))
@click.option("--note", default="", help="Such as the name on the leaderboard.")
def uploaded(zip_path: Path, note: str) -> None:
    """Write down that you uploaded ZIP, which counts against the quota. Uploading is yours to do."""
    from headbench.harness.files import sha256_of, writable
    from headbench.harness.home import home
    from headbench.harness.plugins import registry
    from headbench.submission import read_ledger, record_upload, task_of, uploads

    writable(home(), folder=True)
    digest = sha256_of(zip_path)
    made = [entry for entry in read_ledger() if entry.sha256 == digest]
    quota = task_of(registry(), made[-1].dataset)[2].quota if made else None
    entry = record_upload(digest, zip_path, quota, note)
    spent = len(uploads(read_ledger(), entry.task))
    say(f"{entry.task}: {spent} of {quota} submissions uploaded")


@submit.command()
def ledger() -> None:
    """Show what was made and uploaded here, and how much of each quota is left."""
    from headbench.harness.plugins import registry
    from headbench.submission import ledger_path, read_ledger, task_of, uploads

    entries = read_ledger()
    say(f"{len(entries)} entries in {ledger_path()} (HEADBENCH_HOME moves it)")
    for entry in entries:
        errors = f"; {entry.errors} error(s) found by the check" if entry.errors else ""
        note = f"; {entry.note}" if entry.note else ""
        say(
            f"{entry.time}  {entry.event:8}  {entry.task}  {entry.method}  {entry.sha256[:12]}  "
            f"{entry.zip}{errors}{note}"
        )
    for task_name, dataset in {entry.task: entry.dataset for entry in entries}.items():
        quota = task_of(registry(), dataset)[2].quota
        spent = len(uploads(entries, task_name))
        say(f"{task_name}: {spent} of {quota} submissions uploaded, {max(quota - spent, 0)} left")


def _only_dataset() -> str:
    """Name of the one dataset whose benchmark takes submissions; a BenchError where none does, or several do."""
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.submissions import TakesSubmissions

    found = []
    for name in registry().datasets():
        try:
            reader = registry().load_dataset(name)
        except PluginError:
            continue
        if isinstance(reader, TakesSubmissions):
            found.append(name)
    if len(found) != 1:
        raise BenchError(
            f"Datasets that take submissions: {', '.join(found) or 'none'}.", help="name one with --dataset"
        )
    return found[0]


def _conclude(zip_path: Path, findings: list[Problem]) -> None:
    """Print what the check of a zip found, and end with exit code 2 if there are errors."""
    from headbench.harness.problems import grouped

    for group in grouped(findings):
        say(group.line("video"))
    counts = {
        severity: sum(each.severity == severity for each in findings) for severity in ("error", "warning", "note")
    }
    listed = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items())
    say(f"{zip_path}: {listed}" + ("; do not upload it" if counts["error"] else "; ready"))
    if counts["error"]:
        raise Exit(2)
