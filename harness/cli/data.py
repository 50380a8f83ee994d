"""`bench data`: make synthetic subjects, and say what is wrong with real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError, DataError, did_you_mean
from headbench.harness.names import one_line

if TYPE_CHECKING:
    from headbench.harness.plugins import DatasetReader
    from headbench.inspection import Examination

__all__ = ["data"]

_AT_ONCE = 4
"""Number of subjects that are checked at the same time; each decodes with threads of its own."""


@click.group()
def data() -> None:
    """Make synthetic subjects and check datasets."""


@data.command()
@click.option("--layout", default="insta", show_default=True, help="Write in the layout of this dataset.")
@click.option("--subjects", type=click.IntRange(min=1), default=1, show_default=True, help="How many people.")
@click.option(
    "--frames",
    type=click.IntRange(min=2),
    default=128,
    show_default=True,
    help="Frames of each; the last fifth is for testing.",
)
@click.option("--size", type=click.IntRange(16, 4096), default=256, show_default=True, help="Side of the images.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed makes other people."
)
@click.option(
    "--around/--no-around",
    default=True,
    show_default=True,
    help="Also views from all around: 24 to score by headbench-around@1, 24 to complete heads with.",
)
@click.argument("out", type=Place())
def synth(layout: str, subjects: int, frames: int, size: int, seed: int, around: bool, out: Path) -> None:
    """Write synthetic subjects on the open head below OUT/<layout>, a data root for `bench run`.

    Face, skin and hair come from the seed; they speak, blink, look around and turn the head, and are rendered by ray
    casts. The same arguments give the same files. A subject appears when it is whole; one that exists is left alone,
    and that is an error.
    """
    from headbench.datasets.synthetic import write_synthetic
    from headbench.harness.files import writable

    writable(out, folder=True)
    write_synthetic(out, layout, subjects, frames, size, seed, say, around=around)
    say(f"wrote {subjects} subject(s); train on them: bench run --methods all --datasets {layout} --data-root {out}")


@data.command()
@click.argument("dataset")
@click.option(
    "--data-root",
    required=True,
    type=Place(),
    help="Holds DATASET/SUBJECT; or one of these folders.",
)
@click.option("--subject", "wanted", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option(
    "--set", "settings", multiple=True, metavar="DATASET.OPTION=VALUE", help="Change an option of the reader."
)
@click.option(
    "--sheet",
    type=Place(),
    help="Draw first, middle and last frame of each subject with the head mesh on them into this PNG.",
)
@click.option(
    "--fix-list",
    is_flag=True,
    help="Print what to do instead, for scripts: severity, subject, file, frames, action, apart by tabs.",
)
@click.option("--all", "each", is_flag=True, help="Print every problem on a line of its own, alike ones too.")
def check(
    dataset: str,
    data_root: Path,
    wanted: tuple[str, ...],
    settings: tuple[str, ...],
    sheet: Path | None,
    fix_list: bool,
    each: bool,
) -> None:
    """Print everything that is wrong with the subjects of DATASET, one line per cause with its files and frames.

    Files and numbers are checked; then the head mesh is projected into the first, middle and last frame and must lie
    on the head, and images must move as the tracking does. A mesh beside the head comes with the likeliest cause:
    shifted frames, flipped axes, a wrong focal length, coefficients of another head.

    Errors keep a subject from being read; warnings may cost quality or comparability; notes are measurements. Lines
    for each subject with its variant, split and fingerprint, and the counts of causes and of their frames, end the
    list.

    Exit codes: 0 no errors, 1 usage, 2 errors.
    """
    from headbench.harness.files import atomic_path, writable
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.aside import aside
    from headbench.harness.problems import counted
    from headbench.inspection import draw_sheet, fix_lines

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise BenchError(f"--sheet {sheet}: expected a name that ends in .png.")
    if sheet is not None:
        writable(sheet)
    name = registry().dataset(dataset).name
    reader = registry().load_dataset(dataset)
    found = []
    # A script reads the list: what a plugin's reader prints must not be in it.
    with aside() if fix_list else nullcontext():
        subjects = _choose(reader.subjects(data_root), wanted)
        for examination in _examine(reader, subjects, _options(name, settings)):
            found.append(examination)
            if not fix_list:
                _tell(examination, each)
    totals = counted({examination.name: examination.problems for examination in found})
    for line in fix_lines(found) if fix_list else []:
        say(line)
    say(f"{len(subjects)} subject(s) of {name}: {totals}", err=fix_list)
    if sheet is not None:
        picture = draw_sheet(found)
        with atomic_path(sheet) as temporary:
            picture.save(temporary, "PNG")
        say(f"wrote {sheet}", err=fix_list)
    if any(problem.severity == "error" for examination in found for problem in examination.problems):
        raise Exit(2)


def _examine(reader: DatasetReader, subjects: Mapping[str, Path], options: Mapping[str, Any]) -> Iterator[Examination]:
    """Examine subjects (name -> folder), several at a time; results come in their order."""
    from concurrent.futures import ThreadPoolExecutor

    from headbench.harness.cli import progress
    from headbench.inspection import examine

    def one(name: str) -> Examination:
        made = examine(reader, name, subjects[name], options, lambda step: counter.doing(name, step))
        counter.ended(name)
        return made

    pool = ThreadPoolExecutor(_AT_ONCE)
    with progress.Counter(len(subjects), "subjects") as counter:
        try:
            yield from pool.map(one, subjects)
        finally:
            # An interrupt does not wait for subjects that are being read.
            pool.shutdown(wait=False, cancel_futures=True)


def _tell(examination: Examination, each: bool) -> None:
    """Print the problems of one subject, all of them or one line per cause, then a summary."""
    from headbench.harness.problems import counted, grouped
    from headbench.inspection import summary_lines

    found = examination.problems
    for line in [problem.line() for problem in found] if each else [group.line() for group in grouped(found)]:
        say(line)
    lines = ["cannot be read"] if examination.subject is None else summary_lines(examination.subject)
    say(one_line(f"{examination.name}: {lines[0]}; {counted({examination.name: found})}"))
    for line in lines[1:]:
        say(f"  {one_line(line)}")


def _options(dataset: str, settings: tuple[str, ...]) -> dict[str, Any]:
    """Options of a dataset's reader from settings DATASET.OPTION=VALUE; other owners are a BenchError."""
    from headbench.harness.run.config import parse_setting

    parsed = [parse_setting(text) for text in settings]
    for setting in parsed:
        if setting.owner.lower() != dataset.lower():
            raise BenchError(f"--set {setting.text!r}: only options of {dataset} can be set here.")
    return {setting.path: setting.value for setting in parsed}


def _choose(found: Mapping[str, Path], wanted: tuple[str, ...]) -> dict[str, Path]:
    """Folders of the wanted subjects by name; all of them where none is named."""
    for name in wanted:
        if name not in found:
            raise DataError(did_you_mean("subject", name, found))
    return {name: path for name, path in found.items() if not wanted or name in wanted}
