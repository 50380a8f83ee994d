"""`bench render`: render a trained portrait from all around."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.core import ParameterSource

from headbench.harness.cli.options import FiniteRange, Place, background_option, device_options
from headbench.harness.console import is_terminal, say
from headbench.harness.errors import BenchError

if TYPE_CHECKING:
    from headbench.harness.session import Session, View
    from headbench.viewer.paths import CameraPath

__all__ = ["render"]

_POSED = "give the path's keys a pose instead of a frame"
"""Remedy where a path names frames and nobody knows where they are."""


@click.command()
@click.argument("checkpoint", type=Place(exists=True))
@click.option("--out", type=Place(), help="Folder for PNGs and the mp4; beside the stage without it.")
@click.option("--path", "path", type=Place(exists=True, dir_okay=False), help="Camera path (JSON) instead of an orbit.")
@click.option("--driver", hidden=True, help="Of earlier versions; `bench reenact` took its place.")
@click.option("--dataset", hidden=True, help="Of earlier versions, beside --driver.")
@click.option("--frames", default=120, show_default=True, type=click.IntRange(min=1), help="Images of an orbit.")
@click.option(
    "--degrees", default=360.0, show_default=True, type=FiniteRange(), help="Angle of the orbit; 360 goes around."
)
@click.option("--limit", hidden=True, help="Of earlier versions, beside --driver.")
@click.option(
    "--fps",
    default=25,
    show_default="25, or the path's",
    type=click.IntRange(min=1),
    help="Frames per second of the mp4.",
)
@background_option()
@device_options
@click.pass_context
def render(
    context: click.Context,
    checkpoint: Path,
    out: Path | None,
    path: Path | None,
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

    The first training frame is seen from all around, or by --path along a camera path, whose keys may also pose the
    head. `bench reenact` drives the head by a subject's frames.
    """
    if driver is not None or dataset is not None or limit is not None:
        raise BenchError(
            "bench render shows the head from all around; what --driver, --dataset and --limit did is `bench reenact`.",
            help=f"bench reenact {shlex.quote(str(checkpoint))} --driver DATASET/SUBJECT --data-root FOLDER",
        )
    given = {name for name in ("frames", "degrees", "fps") if _is_given(context, name)}
    if path is not None and given - {"fps"}:
        option = "--frames" if "frames" in given else "--degrees"
        raise click.UsageError(f"{option} is of an orbit; --path has its own cameras and their times.")
    from headbench.harness.files import writable
    from headbench.harness.image import read_rgb
    from headbench.harness.image.video import write_video
    from headbench.harness.layout import refuse_links
    from headbench.harness.session import open_checkpoint, orbit_views

    writable(checkpoint if out is None else out, folder=True)
    played = None if path is None else _Played.read(path, fps if "fps" in given else None, out is None)
    with open_checkpoint(checkpoint, device, rasterizer) as session:
        if played is None:
            name, views, rate = "orbit", list(orbit_views(session.loaded, frames, degrees)), Fraction(fps)
        else:
            name, views, rate = played.name, played.views(session), played.rate
        target = out if out is not None else session.path.parent / name
        if out is None:
            refuse_links(target, session.path.parent)
        with click.progressbar(length=len(views), label=name, hidden=not is_terminal()) as bar:
            session.write(views, target, background, lambda done, total: bar.update(1))
    paths = [target / f"{view.name}.png" for view in views]
    video = target / f"{name}.mp4"
    write_video(video, map(read_rgb, paths), rate)
    say(f"{len(paths)} images and {video}")


def _is_given(context: click.Context, name: str) -> bool:
    """Whether an option stands in the command line."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


@dataclass(frozen=True)
class _Played:
    """A camera path to play."""

    path: CameraPath
    file: Path
    fps: int | None
    """Frames per second that take the place of the path's; None: its own."""

    @classmethod
    def read(cls, file: Path, fps: int | None, named: bool) -> _Played:
        """Read a path, before the checkpoint is opened.

        Args:
            file: of the path.
            fps: frames per second that take the place of its own.
            named: whether the folder of the pictures is named after the file.
        """
        from headbench.harness.names import safe_name
        from headbench.viewer.paths import read_path

        found = read_path(file)
        if named:
            safe_name(file.stem, "its name", file)
        return cls(found, file, fps)

    @property
    def name(self) -> str:
        """Name of the folder beside the stage, and of the video."""
        return f"path-{self.file.stem}"

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        from headbench.viewer.saving import rate_of

        return rate_of(self.path.fps if self.fps is None else self.fps)

    def views(self, session: Session) -> list[View]:
        """Views along the path."""
        from headbench.harness.cli.driver import own_subject
        from headbench.viewer.playing import path_views

        return path_views(self.path, session.loaded, lambda: own_subject(session.path, _POSED), self.file, self.fps)
