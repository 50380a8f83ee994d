"""`bench export`: write a trained portrait in a format that other programs open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.cli.options import NotEmpty, Place, background_option, device_options
from headbench.harness.console import say

if TYPE_CHECKING:
    from headbench.harness.types import Subject

__all__ = ["export"]


@click.command()
@click.argument("checkpoint", type=Place(exists=True))
@click.option("--format", "name", required=True, type=NotEmpty(), help="ply, splat, glb, …: `bench list formats`.")
@click.option("--out", required=True, type=Place(), help="File; a folder for sequences and for formats of many files.")
@click.option(
    "--pose",
    type=NotEmpty(),
    help="neutral, first, train, test, a frame's id or a sequence's name; neutral without it; test for "
    "html and with a driver.",
)
@click.option("--driver", type=Place(exists=True), help="Subject with the frames; the checkpoint's own without it.")
@click.option("--dataset", help="Layout of the driver; the checkpoint's own without it.")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of frames of a sequence.")
@click.option(
    "--fps", default=25, show_default=True, type=click.IntRange(min=1), help="Frames per second of a video or a page."
)
@click.option("--fit", is_flag=True, help="Put a linear fit of an avatar that networks move into a page, with sliders.")
@click.option(
    "--i-may-share-flame", "may_share", is_flag=True, help="Put FLAME's bases into a page: your licence lets you."
)
@background_option("Colour behind the head in a video.")
@device_options
def export(
    checkpoint: Path,
    name: str,
    out: Path,
    pose: str | None,
    driver: Path | None,
    dataset: str | None,
    limit: int | None,
    fps: int,
    fit: bool,
    may_share: bool,
    background: str,
    device: str,
    rasterizer: str,
) -> None:
    """Write CHECKPOINT (a checkpoint, a stage or a cell) in a format that other programs open.

    Gaussians are written as they stand in the world in a pose: the neutral head at the origin, the first training
    frame, another frame, or all frames of a sequence as numbered files. What a format cannot hold is said.
    """
    from headbench.export import format_of
    from headbench.harness.cli.driver import driving_subject, own_subject
    from headbench.harness.files import writable

    form = format_of(name)
    if driver is not None:
        pose = pose or "test"
    for option, given in (("--fit", fit), ("--i-may-share-flame", may_share)):
        if given and name != "html":
            raise click.UsageError(f"{option} goes with --format html.")
    if driver is not None and pose in ("neutral", "first"):
        raise click.UsageError(f"--pose {pose} is the checkpoint's own, so no --driver goes with it.")
    writable(out, folder=not form.suffixes or out.is_dir())
    from headbench.export.source import Source
    from headbench.export.write import export as write
    from headbench.harness.session import open_checkpoint

    with open_checkpoint(checkpoint, device, rasterizer) as session:

        def subject() -> Subject:
            if driver is None:
                return own_subject(session.path)
            return driving_subject(driver, dataset or session.loaded.about["dataset"])

        source = Source(session, background, fps, fit, may_share=may_share)
        done = write(source, form, pose, out, subject, driver is None, limit)
    for note in done.notes:
        say(f"note: {note}")
    say(f"{out}: {form.name}, {done.count} pose{'s' * (done.count != 1)}")
