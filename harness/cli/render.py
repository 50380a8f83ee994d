"""`bench render`: render a trained portrait from all around."""

from __future__ import annotations

import shlex
from pathlib import Path

import rich_click as click

from headbench.harness.cli.options import FiniteRange, Place, background_option, device_options
from headbench.harness.console import is_terminal, say
from headbench.harness.errors import BenchError

__all__ = ["render"]


@click.command()
@click.argument("checkpoint", type=Place(exists=True))
@click.option("--out", type=Place(), help="Folder for PNGs and the mp4; beside the stage without it.")
@click.option("--driver", hidden=True, help="Of earlier versions; `bench reenact` took its place.")
@click.option("--dataset", hidden=True, help="Of earlier versions, beside --driver.")
@click.option("--frames", default=120, show_default=True, type=click.IntRange(min=1), help="Images of an orbit.")
@click.option(
    "--degrees", default=360.0, show_default=True, type=FiniteRange(), help="Angle of the orbit; 360 goes around."
)
@click.option("--limit", hidden=True, help="Of earlier versions, beside --driver.")
@click.option("--fps", default=25, show_default=True, type=click.IntRange(min=1), help="Frames per second of the mp4.")
@background_option()
@device_options
def render(
    checkpoint: Path,
    out: Path | None,
    driver: str | None,
    dataset: str | None,
    frames: int,
    degrees: float,
    limit: str | None,
    fps: int,
    background: str,
    device: str,
    rasterizer: str,
) -> None:
    """Show CHECKPOINT (a checkpoint, a stage or a cell) as PNGs and an mp4.

    The first training frame is seen from all around. `bench reenact` drives the head by a subject's frames.
    """
    if driver is not None or dataset is not None or limit is not None:
        raise BenchError(
            "bench render shows the head from all around; what --driver, --dataset and --limit did is `bench reenact`.",
            help=f"bench reenact {shlex.quote(str(checkpoint))} --driver DATASET/SUBJECT --data-root FOLDER",
        )
    from headbench.harness.files import writable
    from headbench.harness.image import read_rgb
    from headbench.harness.image.video import write_video
    from headbench.harness.layout import refuse_links
    from headbench.harness.session import open_checkpoint, orbit_views

    writable(checkpoint if out is None else out, folder=True)
    with open_checkpoint(checkpoint, device, rasterizer) as session:
        name, views = "orbit", list(orbit_views(session.loaded, frames, degrees))
        target = out if out is not None else session.path.parent / name
        if out is None:
            refuse_links(target, session.path.parent)
        with click.progressbar(length=len(views), label=name, hidden=not is_terminal()) as bar:
            session.write(views, target, background, lambda done, total: bar.update(1))
    paths = [target / f"{view.name}.png" for view in views]
    video = target / f"{name}.mp4"
    write_video(video, map(read_rgb, paths), fps)
    say(f"{len(paths)} images and {video}")
