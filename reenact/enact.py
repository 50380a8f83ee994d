"""All of a re-enactment: every driver drives every source; pictures, videos, sheet and records are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.files import make_folder, write_json
from headbench.harness.image import read_rgb
from headbench.harness.image.video import write_video
from headbench.harness.session import View
from headbench.reenact.conversion import check_convertible
from headbench.reenact.detour import Psnr, detour, image_loss, parameter_loss
from headbench.reenact.driver import Driver
from headbench.reenact.panels import Pixels, Row, contact_sheet, driver_picture, video_panels
from headbench.reenact.performance import Performance
from headbench.reenact.record import FORMAT, driven_record
from headbench.reenact.source import Source, refined_tables
from headbench.reenact.transfer import Options, Transferred, transfer

__all__ = ["RECORD", "Output", "Pair", "measure_detours", "plan_pairs", "write_pairs"]

RECORD = "reenact.json"
"""Name of the record in the folder of a re-enactment; each pair's own lies beside its pictures."""
VIDEO = "reenact.mp4"
"""Name of the video of each driver: the driver beside all sources."""
SHOWN = 3
"""Number of moments of each driver on the contact sheet."""


@dataclass(frozen=True)
class Pair:
    """One driver and one source, with the parameters that drive."""

    driver: Driver
    source: Source
    performance: Performance
    made: Transferred
    options: Options
    refined: tuple[int, Path | None]
    """Number of frames with refined parameters, and the checkpoint that they are from."""
    losses: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Losses of detours by the name of the other avatar."""

    def views(self) -> list[View]:
        """Views of the source, one per frame of the driver."""
        params, camera, ids = self.made.params, self.made.camera, self.performance.ids
        rows = [slice(k, k + 1) for k in range(len(ids))]
        return [View(name, params.rows(row), camera.rows(row)) for name, row in zip(ids, rows, strict=True)]

    def notes(self) -> list[str]:
        """Sentences on what was left out, fitted or converted."""
        return [note for note in (self.source.note(), *self.driver.notes, *self.made.notes) if note]


@dataclass(frozen=True)
class Output:
    """What is written, and how."""

    folder: Path
    """An empty folder."""
    background: str
    """white, black or green."""
    fps: int
    wrote: Callable[[], None]
    """Is called after each picture of a source."""


def plan_pairs(sources: Sequence[Source], drivers: Sequence[Driver], options: Options, limit: int | None) -> list[Pair]:
    """Transfer each driver's performance to each source; draws nothing.

    Args:
        sources: the avatars.
        drivers: who drives.
        options: what is taken from whom.
        limit: maximum number of frames per driver, its first ones; None: all.

    Raises:
        BenchError: a driver's head model does not drive a source.
        MissingAsset: a converter needs a head model that is not registered.
    """
    pairs = []
    for driver in drivers:
        for source in sources:
            try:
                check_convertible(driver.text, driver.subject.head, source.head.identity.head)
            except BenchError as error:
                raise BenchError(f"{source.session.path}: {error.args[0]}", error.help) from error
            tables, path = refined_tables(source, driver, sources)
            performance, refined = driver.performance(options.smooth, tables)
            performance = performance.rows(slice(0, limit))
            made = transfer(performance, driver.head, source.head, options)
            count = len(refined.intersection(performance.ids))
            pairs.append(Pair(driver, source, performance, made, options, (count, path)))
    return pairs


def measure_detours(pairs: Sequence[Pair], background: str, psnr: Psnr) -> None:
    """Add to each pair of the first source what is lost by way of each other source.

    Args:
        pairs: of all drivers and sources.
        background: white, black or green.
        psnr: PSNR per frame of two batches of pictures.
    """
    for pair in pairs:
        if pair.source is not pairs[0].source:
            continue
        for other in pairs:
            if other.driver is not pair.driver or other.source is pair.source:
                continue
            heads = (pair.driver.head, pair.source.head, other.source.head)
            found = detour(pair.performance, *heads, pair.options, pair.made)
            images = image_loss(found, pair.source, pair.performance.ids, background, psnr)
            parameters = parameter_loss(found, pair.source.head)
            pair.losses[other.source.label] = {"parameters": parameters, "images": images, "notes": list(found.notes)}


def write_pairs(pairs: Sequence[Pair], output: Output) -> list[str]:
    """Write pictures and a record per pair, a video per driver, the contact sheet, and the record of all.

    Args:
        pairs: of all drivers and sources, driver by driver.
        output: where and how.

    Returns:
        sentences on pictures of drivers that are not there.

    Raises:
        BenchError: a picture cannot be made; the message names its frame.
    """
    notes, rows, listed = [], [], []
    for driver in dict.fromkeys(id(pair.driver) for pair in pairs):
        some = [pair for pair in pairs if id(pair.driver) == driver]
        said, drawn = _write_driver(some, output)
        notes += said
        rows += drawn
        listed += [_summary(pair) for pair in some]
    heads = ["driver", *dict.fromkeys(pair.source.label for pair in pairs)]
    contact_sheet(heads, rows).save(output.folder / "sheet.png", "PNG")
    write_json(output.folder / RECORD, {"format": FORMAT, "pairs": listed, "notes": notes}, durable=False)
    return notes


def _write_driver(pairs: Sequence[Pair], output: Output) -> tuple[list[str], list[Row]]:
    """Write what one driver drives.

    Returns:
        sentences on its pictures that are not there, and its rows of the contact sheet.
    """
    driver, ids = pairs[0].driver, pairs[0].performance.ids
    folder = output.folder / driver.label
    results = []
    for pair in pairs:
        place = folder / pair.source.label
        make_folder(place)
        pair.source.session.write(pair.views(), place, output.background, lambda done, total: output.wrote())
        record = driven_record(pair.source, driver, pair.performance, pair.made, pair.options, pair.refined)
        write_json(place / RECORD, {**record, "detours": pair.losses}, durable=False)
        results.append([place / f"{name}.png" for name in ids])
    absent: list[str] = []
    shown = sorted({round(part * (len(ids) - 1) / (SHOWN - 1)) for part in range(SHOWN)})
    rows = []

    def own() -> Iterator[Pixels]:
        for k, (name, frame) in enumerate(zip(ids, driver.frames, strict=False)):
            picture, fault = driver_picture(frame, output.background)
            absent.extend([fault] if fault else [])
            if k in shown:
                rows.append(Row(f"{driver.text}  {name}", (picture, *(read_rgb(files[k]) for files in results))))
            yield picture

    write_video(folder / VIDEO, video_panels(own(), results), output.fps)
    lacking = f"{driver.text}: {len(absent)} of {len(ids)} frames have no picture of the driver"
    return [f"{lacking}: {absent[0]}"] if absent else [], rows


def _summary(pair: Pair) -> dict[str, Any]:
    return {
        "driver": pair.driver.text,
        "source": {**pair.source.about, "checkpoint": str(pair.source.session.path)},
        "folder": f"{pair.driver.label}/{pair.source.label}",
        "frames": len(pair.performance.ids),
        "refined_frames": pair.refined[0],
        "notes": pair.notes(),
        "detours": pair.losses,
    }
