"""`bench render`: a trained portrait from all around, or driven by somebody's test sequence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.errors import BenchError

if TYPE_CHECKING:
    from headbench.harness.train import LoadedPortrait
    from headbench.harness.types import Camera, HeadParams, Subject

__all__ = ["find_checkpoint", "render"]

View = tuple[str, "HeadParams", "Camera"]
"""File stem, parameters and camera of one image."""


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for PNGs and the mp4; beside the stage without it."
)
@click.option("--driver", type=click.Path(exists=True, path_type=Path), help="Subject whose test sequence drives.")
@click.option("--dataset", help="Layout of the driver; the checkpoint's own without it.")
@click.option("--frames", default=120, show_default=True, type=click.IntRange(min=1), help="Images of an orbit.")
@click.option("--degrees", default=360.0, show_default=True, help="Angle of the orbit; 360 goes around.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many frames of the driver.")
@click.option("--fps", default=25, show_default=True, type=click.IntRange(min=1))
@click.option("--background", default="white", show_default=True, type=click.Choice(["white", "black", "green"]))
@click.option("--device", default="auto", show_default=True)
@click.option("--rasterizer", default="auto", show_default=True)
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
    from headbench.harness.device import resolve_device
    from headbench.harness.image import read_rgb
    from headbench.harness.image.video import write_video
    from headbench.harness.run.render import show_view
    from headbench.harness.splat import make_rasterizer
    from headbench.harness.train import load_portrait, shown

    folder = find_checkpoint(checkpoint)
    where = resolve_device(device)
    loaded = load_portrait(folder, str(where))
    if driver is None:
        name, views = "orbit", list(_orbit(loaded, frames, degrees))
    else:
        subject = _driver(driver, dataset or loaded.about["dataset"], loaded)
        name, views = f"driven-by-{subject.name}", list(_driven(subject, limit))
    target = out if out is not None else folder.parent / name
    maker = make_rasterizer(rasterizer, where)
    portrait = shown(loaded.portrait, where)
    paths = []
    with click.progressbar(views, label=name, hidden=not _is_terminal()) as bar:
        for stem, params, camera in bar:
            paths.append(target / f"{stem}.png")
            show_view(portrait, maker, params, camera, background, where, paths[-1])
    video = target / f"{name}.mp4"
    write_video(video, map(read_rgb, paths), fps)
    click.echo(f"{len(paths)} images and {video}")


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` means: itself, or the newest of a stage's or a cell's folder.

    Raises:
        BenchError: there is none.
    """
    from headbench.harness.train import latest_checkpoint

    if (path / "state.json").is_file():
        return path
    for stage in (path, path / "stages" / "train"):
        newest = latest_checkpoint(stage)
        if newest is not None:
            return newest
    raise BenchError(f"{path} is no checkpoint and holds none.", help="bench status RUN")


def _is_terminal() -> bool:
    from headbench.harness.console import is_terminal

    return is_terminal()


def _orbit(loaded: LoadedPortrait, count: int, degrees: float) -> Iterator[View]:
    """The first training frame from cameras on a circle about the head, level with the camera of that frame."""
    from headbench.harness.head import load_head
    from headbench.harness.run.orbit import orbit

    identity = loaded.identity
    device = identity.shape.device
    head = load_head(identity.head, loaded.config.topology(), device=device)
    centre = head.bind(identity).vertices(identity.first).mean(dim=1)[0]
    for number, camera in enumerate(orbit(identity.camera, centre, count, degrees)):
        yield f"{number:05d}", identity.first, camera


def _driver(folder: Path, dataset: str, loaded: LoadedPortrait) -> Subject:
    """The subject that drives.

    Raises:
        BenchError: not one subject, or its coefficients belong to another head model.
    """
    from headbench.harness.plugins import registry

    reader = registry().load_dataset(dataset)
    found = reader.subjects(folder)
    if len(found) != 1:
        raise BenchError(f"{folder} holds {len(found)} subjects ({', '.join(found)}); name the folder of one.")
    subject = reader.read(next(iter(found.values())), {})
    if subject.head != loaded.identity.head:
        raise BenchError(
            f"{folder} is tracked with head model {subject.head}, the checkpoint is of {loaded.identity.head}: "
            "coefficients of one do not drive the other.",
            help=f"choose a driver tracked with {loaded.identity.head}",
        )
    if not subject.test:
        raise BenchError(f"{folder} has no test frames to drive with.")
    return subject


def _driven(subject: Subject, limit: int | None) -> Iterator[View]:
    for frame in subject.test[:limit]:
        yield frame.id, frame.params, frame.camera
