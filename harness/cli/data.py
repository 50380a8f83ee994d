"""`bench data`: make subjects up, and say what is wrong with real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from headbench.harness.errors import BenchError, DataError, did_you_mean

if TYPE_CHECKING:
    from headbench.harness.plugins import DatasetReader
    from headbench.harness.types import Frame

__all__ = ["data"]


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
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def synth(layout: str, subjects: int, frames: int, size: int, seed: int, out: Path) -> None:
    """Write made-up subjects on the open head below OUT/<layout>, a data root for `bench run`.

    Face, skin and hair come from the seed; they speak, blink, look around and turn the head, and are rendered by ray
    casts. The same arguments give the same files. A subject appears when it is whole; one that exists is left alone,
    and that is an error.
    """
    from headbench.datasets.synthetic import write_synthetic

    write_synthetic(out, layout, subjects, frames, size, seed, click.echo)
    click.echo(
        f"wrote {subjects} subject(s); train on them: bench run --methods all --datasets {layout} --data-root {out}"
    )


@data.command()
@click.argument("dataset")
@click.option(
    "--data-root",
    required=True,
    type=click.Path(path_type=Path),
    help="Holds DATASET/SUBJECT; or one of these folders.",
)
@click.option("--subject", "wanted", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option(
    "--set", "settings", multiple=True, metavar="DATASET.OPTION=VALUE", help="Change an option of the reader."
)
def check(dataset: str, data_root: Path, wanted: tuple[str, ...], settings: tuple[str, ...]) -> None:
    """Print everything that is wrong with the subjects of DATASET, one line a problem with file and frame.

    Errors keep a subject from being read; warnings may cost quality or comparability; notes are measurements. A line
    for each subject with its frames, and the counts, end the list.

    Exit codes: 0 no errors, 1 usage, 2 errors.
    """
    from headbench.harness.plugins import registry

    name = registry().dataset(dataset).name
    reader = registry().load_dataset(dataset)
    options = _options(name, settings)
    subjects = _choose(reader.subjects(data_root), wanted)
    totals: Counter[str] = Counter()
    for subject, folder in subjects.items():
        problems = reader.check(folder, options)
        for problem in problems:
            click.echo(problem.line())
        counts = Counter(problem.severity for problem in problems)
        click.echo(f"{subject}: {_summary(reader, folder, options, counts['error'] > 0)}; {_counts(counts)}")
        totals += counts
    click.echo(f"{len(subjects)} subject(s) of {name}: {_counts(totals)}")
    if totals["error"]:
        raise Exit(2)


def _options(dataset: str, settings: tuple[str, ...]) -> dict[str, Any]:
    from headbench.harness.run.config import parse_setting

    parsed = [parse_setting(text) for text in settings]
    for setting in parsed:
        if setting.owner.lower() != dataset.lower():
            raise BenchError(f"--set {setting.text!r}: only options of {dataset} can be set here.")
    return {setting.path: setting.value for setting in parsed}


def _choose(found: Mapping[str, Path], wanted: tuple[str, ...]) -> dict[str, Path]:
    for name in wanted:
        if name not in found:
            raise DataError(did_you_mean("subject", name, found))
    return {name: path for name, path in found.items() if not wanted or name in wanted}


def _summary(reader: DatasetReader, folder: Path, options: Mapping[str, Any], broken: bool) -> str:
    if broken:
        return "cannot be read"
    subject = reader.read(folder, options)
    camera = (subject.train or subject.test)[0].camera
    return (
        f"{subject.variant or subject.dataset}, {subject.head}, {camera.width} x {camera.height}, "
        f"{_frames(subject.train)} for training, {_frames(subject.test)} for testing"
    )


def _frames(frames: tuple[Frame, ...]) -> str:
    return (
        f"{len(frames)} frame{'' if len(frames) == 1 else 's'} ({frames[0].id} to {frames[-1].id})"
        if frames
        else "no frames"
    )


def _counts(counts: Mapping[str, int]) -> str:
    parts = [f"{counts.get(kind, 0)} {kind}{'' if counts.get(kind, 0) == 1 else 's'}" for kind in ("error", "warning")]
    return ", ".join(parts)
