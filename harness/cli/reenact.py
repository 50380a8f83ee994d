"""`bench reenact`: drive trained avatars by other subjects' performances."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from headbench.harness.cli.options import NotEmpty, Place, background_option, device_options
from headbench.harness.console import is_terminal, say
from headbench.harness.errors import BenchError
from headbench.harness.names import one_line

if TYPE_CHECKING:
    from headbench.reenact import Driver, Pair, Source

__all__ = ["reenact"]


@click.command()
@click.argument("sources", nargs=-1, required=True, type=Place(exists=True), metavar="SOURCE...")
@click.option(
    "--driver",
    "drivers",
    multiple=True,
    required=True,
    type=NotEmpty(),
    metavar="DATASET/SUBJECT[:SPLIT]",
    help="Whose frames drive; SPLIT is train, test or all, test without it. May be repeated.",
)
@click.option("--data-root", required=True, type=Place(), help="Holds <dataset>/<subject>.")
@click.option(
    "--expression",
    default="relative",
    show_default=True,
    type=click.Choice(["relative", "absolute"]),
    help="relative: moved by the difference of the two mean expressions; absolute: as it is.",
)
@click.option(
    "--pose",
    default="absolute",
    show_default=True,
    type=click.Choice(["absolute", "relative", "source"]),
    help="absolute: the driver's head pose; relative: its motion since its first training frame; source: stands still.",
)
@click.option(
    "--camera",
    default="driver",
    show_default=True,
    type=click.Choice(["driver", "source"]),
    help="Whose intrinsics and image size.",
)
@click.option(
    "--eyes",
    default="driver",
    show_default=True,
    type=click.Choice(["driver", "source"]),
    help="Whose gaze and eyelids; the source's are those of its first training frame.",
)
@click.option(
    "--smooth",
    default=1,
    show_default=True,
    type=click.IntRange(1, 999),
    metavar="FRAMES",
    help="Width of the window that smooths the performance.",
)
@click.option("--detour", is_flag=True, help="Measure what is lost where the first SOURCE is driven by way of another.")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of frames per driver, its first ones.")
@click.option("--fps", default=25, show_default=True, type=click.IntRange(min=1), help="Frames per second of the mp4.")
@background_option()
@click.option("--set", "settings", multiple=True, metavar="DATASET.OPTION=VALUE", help="Change an option of a reader.")
@click.option("--out", type=Place(), help="Folder of the result; beside the stage without it, for one pair.")
@device_options
def reenact(
    sources: tuple[Path, ...],
    drivers: tuple[str, ...],
    data_root: Path,
    detour: bool,
    limit: int | None,
    fps: int,
    background: str,
    settings: tuple[str, ...],
    out: Path | None,
    device: str,
    rasterizer: str,
    **choices: Any,
) -> None:
    """Drive each SOURCE (a checkpoint, a stage or a cell) by each driver, of any layout.

    Writes pictures and a record of what was transferred per pair, a video driver | results per driver, and a contact
    sheet. Where the head's motion lies (in the camera, the root, a similarity) is converted; coefficients are padded
    or cut. Refined parameters of training frames are used where a SOURCE was trained on the driver.
    """
    from headbench.harness.files import atomic_folder, writable
    from headbench.harness.plugins import registry
    from headbench.harness.session import open_checkpoint
    from headbench.metrics.psnr import psnr
    from headbench.reenact import Options, Output, measure_detours, plan_pairs, read_driver, sources_of, write_pairs

    several = len(sources) * len(drivers) > 1
    if detour and len(sources) < 2:
        raise click.UsageError("--detour needs two SOURCEs: the one that is driven, and one on the way.")
    if several and out is None:
        raise click.UsageError(f"{len(sources)} SOURCEs x {len(drivers)} drivers: name a folder for them with --out.")
    if out is not None:
        _free(out)
    options = _reader_options(settings, drivers)
    read = [read_driver(text, data_root, registry(), options) for text in dict.fromkeys(drivers)]
    with ExitStack() as opened:
        sessions = [opened.enter_context(open_checkpoint(path, device, rasterizer)) for path in sources]
        made = sources_of(sessions)
        target = out if out is not None else _beside(made[0], read[0])
        pairs = plan_pairs(made, read, Options(**choices), limit)
        writable(target, folder=True)
        count = sum(len(pair.performance.ids) for pair in pairs)
        with (
            atomic_folder(target.resolve()) as part,
            click.progressbar(length=count, label="reenact", hidden=not is_terminal()) as bar,
        ):
            if detour:
                measure_detours(pairs, background, psnr)
            notes = write_pairs(pairs, Output(part, background, fps, lambda: bar.update(1)))
    _tell(pairs, notes)
    say(f"{count} images, {len(read)} video{'s' * (len(read) > 1)} and sheet.png in {target}")


def _free(folder: Path) -> None:
    """Refuse a folder for the result that cannot be written, or that holds anything but an earlier result."""
    from headbench.harness.files import writable
    from headbench.reenact import RECORD

    writable(folder, folder=True)
    if folder.is_dir() and not os.path.lexists(folder / RECORD) and any(folder.iterdir()):
        raise BenchError(
            f"{folder}: expected an empty folder or an earlier result of `bench reenact`, found other files.",
            help="name another place: --out FOLDER",
        )


def _beside(source: Source, driver: Driver) -> Path:
    """Folder beside the source's checkpoint for what a driver makes it do."""
    from headbench.harness.layout import refuse_links

    stage = source.session.path.parent
    target = stage / f"driven-by-{driver.label}"
    refuse_links(target, stage)
    _free(target)
    return target


def _reader_options(settings: Sequence[str], drivers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options of the drivers' readers by dataset, from settings DATASET.OPTION=VALUE."""
    from headbench.harness.plugins import registry
    from headbench.harness.run.config import parse_setting

    known = {registry().dataset(text.partition("/")[0]).name for text in drivers} if settings else set()
    found: dict[str, dict[str, Any]] = {}
    for setting in map(parse_setting, settings):
        name = registry().dataset(setting.owner).name
        if name not in known:
            raise BenchError(f"--set {setting.text!r}: only options of {', '.join(sorted(known))} can be set here.")
        found.setdefault(name, {})[setting.path] = setting.value
    return found


def _tell(pairs: Sequence[Pair], notes: Sequence[str]) -> None:
    """Print what could not be carried over as it was, and the losses of detours."""
    said: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        for note in pair.notes():
            said.setdefault((pair.driver.text, note), []).append(pair.source.label)
    for (driver, note), sources in said.items():
        text = f"{driver} drives {', '.join(sources)}: {note}"
        say(f"note: {one_line(text)}")
    for pair in pairs:
        for by, loss in pair.losses.items():
            say(one_line(f"{pair.driver.text} drives {pair.source.label} by way of {by}: {_loss(loss)}"))
    for note in notes:
        say(f"note: {one_line(note)}")


def _loss(loss: dict[str, Any]) -> str:
    parameters, images = loss["parameters"], loss["images"]
    mean = images["psnr_mean"]
    pictures = f"{images['identical']} of {images['frames']} pictures identical"
    pictures += "" if mean is None else f", the others {mean:.1f} dB"
    return (
        f"expression {parameters['expression']:.3g} RMS, head {parameters['head_degrees']:.3g} degrees and "
        f"{parameters['head_mm']:.3g} mm, vertices {parameters['vertices_mm']:.3g} mm RMS; {pictures}"
    )
