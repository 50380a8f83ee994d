"""`bench view`: show trained portraits in a browser, where they can be moved."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.cli.options import FiniteRange, NotEmpty, Place, device_options
from headbench.harness.console import say
from headbench.harness.errors import BenchError
from headbench.harness.names import one_line

if TYPE_CHECKING:
    from headbench.harness.types import Subject
    from headbench.viewer.server import Viewer

__all__ = ["view"]

_PORT = 8080


@click.command()
@click.argument("paths", nargs=-1, required=True, type=Place(exists=True), metavar="CHECKPOINT...")
@click.option("--host", default="127.0.0.1", show_default=True, type=NotEmpty(), help="Address to serve at.")
@click.option("--port", default=_PORT, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--share", is_flag=True, help="Serve other machines, too: anybody who reaches the port can look.")
@click.option("--driver", type=Place(exists=True), help="Subject with the frames; the checkpoint's own without it.")
@click.option("--dataset", help="Layout of the driver; the checkpoint's own without it.")
@click.option(
    "--size", default=1024, show_default=True, type=click.IntRange(64, 4096), help="Longest side of a picture at rest."
)
@click.option("--measure", type=FiniteRange(min=0.5), metavar="SECONDS", help="Measure frames per second, then end.")
@device_options
def view(
    paths: tuple[Path, ...],
    host: str,
    port: int,
    share: bool,
    driver: Path | None,
    dataset: str | None,
    size: int,
    measure: float | None,
    device: str,
    rasterizer: str,
) -> None:
    """Show each CHECKPOINT (a checkpoint, a stage, a cell or a run) in a browser, until Ctrl-C.

    The pictures are those that are scored. The page moves camera, head and timeline, and compares avatars with each
    other and with the dataset's pictures.
    """
    from headbench.viewer.server_address import Address, viser_module

    viser_module()
    address = Address(host, port)
    if not address.loopback:
        if not share:
            raise click.UsageError(f"--host {host}: anybody who reaches the port can look; --share says that they may.")
        say("note: anybody who reaches the port can look.", err=True)
    address.refuse_taken()
    from headbench.viewer.server import Viewer
    from headbench.viewer.server_avatars import open_avatars, timeline_of
    from headbench.viewer.server_choice import chosen

    with ExitStack() as opened:
        avatars = open_avatars(chosen(paths), device, rasterizer, opened)
        subject = _subject(
            avatars[0].session.path, driver, dataset or avatars[0].session.loaded.about.get("dataset", "")
        )
        viewer = Viewer(avatars, timeline_of(avatars, subject), address, size)
        opened.callback(viewer.stop)
        if measure is not None:
            _measured(viewer, measure, size)
            return
        say(f"{', '.join(one_line(shown.label) for shown in avatars)}: {viewer.address.url} (Ctrl-C ends)")
        viewer.wait()


def _measured(viewer: Viewer, seconds: float, size: int) -> None:
    """Measure the loop with a page that acknowledges pictures, and say what it took."""
    from headbench.viewer.loop_measure import measure

    found = measure(viewer.address.url, seconds, size)
    (width, height), times = viewer.last()
    say(
        f"{found.rate:.1f} frames/s at {width} x {height} ({found.kilobytes:.1f} kB per picture); median times: {times}"
    )


def _subject(checkpoint: Path, driver: Path | None, dataset: str) -> Subject | None:
    """The subject whose frames pose the avatars; None, with a note, where the checkpoint's own is not there."""
    from headbench.harness.cli.driver import driving_subject, own_subject

    if driver is not None:
        return driving_subject(driver, dataset)
    try:
        return own_subject(checkpoint)
    except BenchError as error:
        say(f"note: {one_line(error.args[0])} The first training frame is shown; --driver FOLDER gives more.", err=True)
        return None
