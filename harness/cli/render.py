"""`bench render`: render a trained portrait from all around, or driven by somebody's test sequence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.cli.options import FiniteRange, Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError

if TYPE_CHECKING:
    from headbench.harness.train import LoadedPortrait
    from headbench.harness.types import Subject

__all__ = ["render"]


@click.command()
@click.argument("checkpoint", type=Place(exists=True))
@click.option("--out", type=Place(), help="Folder for PNGs and the mp4; beside the stage without it.")
@click.option("--driver", type=Place(exists=True), help="Subject whose test sequence drives.")
@click.option("--dataset", help="Layout of the driver; the checkpoint's own without it.")
@click.option("--frames", default=120, show_default=True, type=click.IntRange(min=1), help="Images of an orbit.")
@click.option(
    "--degrees", default=360.0, show_default=True, type=FiniteRange(), help="Angle of the orbit; 360 goes around."
)
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of frames of the driver.")
@click.option("--fps", default=25, show_default=True, type=click.IntRange(min=1), help="Frames per second of the mp4.")
@click.option(
    "--background",
    default="white",
    show_default=True,
    type=click.Choice(["white", "black", "green"]),
    help="Colour behind the head.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:K.")
@click.option("--rasterizer", default="auto", show_default=True, help="auto, gsplat, numba or torch.")
def render(
    checkpoint: Path,
    out: Path | None,
    driver: Path | None,
    dataset: str | None,
    frames: int,
    degrees: float,
    limit: int | None,
    fps: int,
    background: str,
    device: str,
    rasterizer: str,
) -> None:
    """Show CHECKPOINT (a checkpoint, a stage or a cell) as PNGs and an mp4.

    Without --driver the first training frame is seen from all around. With --driver the head does what another subject
    does in its test sequence, seen by that subject's cameras; both must use the same head model.
    """
    from headbench.harness.files import writable
    from headbench.harness.image import read_rgb
    from headbench.harness.image.video import write_video
    from headbench.harness.layout import refuse_links
    from headbench.harness.session import driven_views, open_checkpoint, orbit_views

    writable(checkpoint if out is None else out, folder=True)
    with open_checkpoint(checkpoint, device, rasterizer) as session:
        loaded = session.loaded
        if driver is None:
            name, views = "orbit", list(orbit_views(loaded, frames, degrees))
        else:
            subject = _driver(driver, dataset or loaded.about["dataset"], loaded)
            name, views = f"driven-by-{subject.name}", list(driven_views(subject.test[:limit]))
        target = out if out is not None else session.path.parent / name
        if out is None:
            refuse_links(target, session.path.parent)
        with click.progressbar(length=len(views), label=name, hidden=not _is_terminal()) as bar:
            session.write(views, target, background, lambda done, total: bar.update(1))
    paths = [target / f"{view.name}.png" for view in views]
    video = target / f"{name}.mp4"
    write_video(video, map(read_rgb, paths), fps)
    say(f"{len(paths)} images and {video}")


def _is_terminal() -> bool:
    from headbench.harness.console import is_terminal

    return is_terminal()


def _driver(folder: Path, dataset: str, loaded: LoadedPortrait) -> Subject:
    """Read the subject whose test sequence drives a portrait.

    Args:
        folder: folder of the subject.
        dataset: name of the subject's layout.
        loaded: portrait to drive.

    Raises:
        BenchError: the folder does not hold one subject, or its coefficients belong to another head model.
    """
    from headbench.harness.cli.driver import driving_subject

    subject = driving_subject(folder, dataset)
    if subject.head != loaded.identity.head:
        raise BenchError(
            f"{folder} is tracked with head model {subject.head}, the checkpoint is of {loaded.identity.head}: "
            "coefficients of one do not drive the other.",
            help=f"choose a driver tracked with {loaded.identity.head}",
        )
    if not subject.test:
        raise BenchError(f"{folder} has no test frames to drive with.")
    return subject
