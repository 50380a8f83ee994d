"""Figures of a run: per method and subject a PNG grid and an mp4 that show renders beside the dataset's images.

Importing this module imports torch, because dataset readers do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from headbench.harness.console import forgive_encoding
from headbench.harness.errors import BenchError
from headbench.harness.files import read_json, sha256_of, write_json
from headbench.harness.image.video import write_video
from headbench.harness.names import shortened
from headbench.harness.plugins import registry
from headbench.harness.reading import Unreadable, parse_json
from headbench.harness.run.listing import listed
from headbench.harness.types import TEST, Frame
from headbench.reports.comparison import draw_comparisons
from headbench.reports.draw import Pair, draw_grid, evenly_spread, side_by_side
from headbench.reports.html import Embed, Figure
from headbench.reports.html.figure import THUMBNAILS, thumbnail
from headbench.reports.previews import draw_previews, error_scale
from headbench.reports.regions import draw_region_figures
from headbench.reports.renders import (
    Subjects,
    background_of,
    is_whole,
    job_of,
    ranked,
    renders_of,
    view_sets,
    workers,
)
from headbench.reports.table import named
from headbench.results import Result, read_run

__all__ = ["draw_figures"]

SUFFIXES = ("png", "mp4", "json")
"""Suffixes of a cell's grid, its video, and the record of what both were made from."""
GRID_FRAMES = 4
"""Number of frames in a grid."""
NAMED = 5
"""Number of lost frames that a remark names before it counts the rest."""
LONGEST_NAME = 160
"""Longest name of a figure's file in bytes, without its suffix."""
BLOCK = 16
"""Number of thumbnails that are made before their sizes are added up."""
VIDEO_RATE = 25
"""Frames per second of the videos."""
FORMAT = 1
"""Number of the figures' format; figures of an older format are made again from the same renders."""


def draw_figures(
    run: Path, folder: Path, old: Path | None = None, subjects: Subjects | None = None
) -> tuple[list[Figure], list[str]]:
    """Draw every finished cell into `folder`: a figure per seed, of which a page shows the first and links the others.

    Args:
        run: the run's folder.
        folder: where the figures are written; it is made where it is missing.
        old: a folder of earlier figures; those whose renders and ground truth have not changed are copied.
        subjects: reads subjects; None takes the dataset readers of this process.

    Returns:
        the figures, and a sentence for every cell whose figure could not be made.
    """
    record = read_run(run)
    folder.mkdir(parents=True, exist_ok=True)
    subjects = subjects or Subjects(registry())
    jobs = [
        _Asked(result, rank, views, name if views == TEST else f"{name}-{views}")
        for (result, rank), name in _named(ranked(record))
        for views in view_sets(result)
    ]
    # Subject after subject, so that ground truth that was decoded is still there.
    order = sorted(jobs, key=lambda job: (job.result.place, job.views))
    with ThreadPoolExecutor(workers()) as pool:
        drawn = dict(zip(order, pool.map(partial(_try, folder=folder, old=old, subjects=subjects), order), strict=True))
    figures = [figure for job in jobs if (figure := drawn[job][0]) is not None]
    remarks = [remark for job in jobs for remark in drawn[job][1]]
    of_regions, more = draw_region_figures(record.results, folder, subjects)
    return [*figures, *of_regions], [*remarks, *more]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A figure to draw."""

    result: Result
    rank: int
    """Number of the cell among the seeds of its method and subject."""
    views: str
    name: str
    """Name of the figure's files, without suffix."""


def _try(asked: _Asked, folder: Path, old: Path | None, subjects: Subjects) -> tuple[Figure | None, list[str]]:
    """Draw a figure, or say why there is none.

    Args:
        asked: the figure.
        folder: where it is written.
        old: a folder of earlier figures; None where there is none.
        subjects: reads subjects.
    """
    try:
        return _draw(asked, folder, old, subjects)
    except Exception as error:
        # A reader is a plugin's code and may raise anything; tables of hours of training must not be lost.
        kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
        of = asked.result.path if asked.views == TEST else f"{asked.result.path}, {asked.views} views"
        for suffix in SUFFIXES:
            (folder / f"{asked.name}.{suffix}").unlink(missing_ok=True)
        return None, [f"No pictures of {of}: {kind}{error}"]


def _named(results: list[tuple[Result, int]]) -> list[tuple[tuple[Result, int], str]]:
    """Each cell with the name of its figures' files: unique, and short enough for a file system."""
    taken: dict[str, tuple[Result, int]] = {}
    for result, rank in results:
        name = shortened(re.sub("[/ :]", "_", result.path), LONGEST_NAME)
        if name in taken:
            name = f"{name}-{hashlib.sha256(result.path.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
        taken[name] = (result, rank)
    return [(result, name) for name, result in taken.items()]


def _draw(asked: _Asked, folder: Path, old: Path | None, subjects: Subjects) -> tuple[Figure, list[str]]:
    """Draw a figure of one cell's renders, or copy the earlier one.

    Args:
        asked: cell and views.
        folder: where they are written.
        old: a folder of earlier figures; None where there is none.
        subjects: gives the cell's subject, whose test frames, or frames of another set, are the ground truth.

    Returns:
        the figure, and a remark that names frames which were left out, if any were.

    Raises:
        BenchError: there are no renders, or none that is as it was rendered.
    """
    result, views, name = asked.result, asked.views, asked.name
    renders = renders_of(result, views)
    job, about = job_of(result.folder), read_json(renders / "render.json")
    grid, video = folder / f"{name}.png", folder / f"{name}.mp4"
    caption = named(*result.entry)
    key = result.files.key_of(renders)
    if views != TEST:
        caption += f", {views} views"
    if "tracked" in about and result.files.protocol_key(renders) not in result.untracked:
        caption += ", test frames tracked on the test images"
    figure = Figure(" / ".join(result.place), caption, grid, video, seed=result.cell.seed if asked.rank else None)
    listing = sha256_of(renders / "sha256.txt")
    origin: dict[str, object] = {"format": FORMAT, "renders": listing, "data": dict(job.fingerprint), "folder": key}
    if views != TEST:
        origin["views"] = about.get("viewed")
    if old is not None and _reuse(old, folder, name, origin):
        return figure, []
    subject = subjects(job).showing(views)
    background = background_of(renders)
    hashes = listed(renders)
    rendered = [frame for frame in subject.test if f"{frame.id}.png" in hashes]
    if not rendered:
        raise BenchError(f"{renders} holds none of the {len(subject.test)} {views} frames of {job.data}.")
    shown = [frame for frame in rendered if is_whole(renders / f"{frame.id}.png", hashes)]
    lost = [frame.id for frame in rendered if frame not in shown]
    if not shown:
        raise BenchError(f"all {len(lost)} renders in {renders} were changed or removed since they were rendered.")
    pair = partial(_pair, renders=renders, hashes=hashes, background=background, subjects=subjects)
    picked = [pair(shown[index]) for index in evenly_spread(len(shown), GRID_FRAMES)]
    seed = f", seed {result.cell.seed}" if asked.rank else ""
    draw_grid(picked, f"{caption}{seed} on {figure.group}").save(grid, "PNG", compress_level=3)
    write_video(video, (side_by_side(pair(frame)) for frame in shown), VIDEO_RATE, alone=False)
    if lost:
        # Without a note of what they were drawn from, the pictures are drawn again next time.
        return figure, [_without(result, renders, lost)]
    write_json(folder / f"{name}.json", origin)
    return figure, []


def _without(result: Result, renders: Path, lost: list[str]) -> str:
    named = ", ".join(lost[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")
    run = result.folder.parents[4]
    return (
        f"Pictures of {result.path} are without frame{'s' * (len(lost) > 1)} {named}: changed or removed in "
        f"{result.files.key_of(renders)} since rendered; `bench run {shlex.quote(str(run / 'run.yaml'))}` renders them "
        "again"
    )


def _reuse(old: Path, folder: Path, name: str, origin: dict[str, object]) -> bool:
    """Copy a cell's earlier figure if it was made from the same renders and data.

    Args:
        old: folder of the earlier figures.
        folder: folder of the new ones.
        name: of the figure's files, without suffix.
        origin: record of what the figure is made from.

    Returns:
        whether it was copied.
    """
    names = [f"{name}.{suffix}" for suffix in SUFFIXES]
    if not all((old / part).is_file() for part in names):
        return False
    try:
        if read_json(old / names[-1]) != origin:
            return False
    except Unreadable:
        return False
    for part in names:
        shutil.copy2(old / part, folder / part)
    return True


def _pair(
    frame: Frame,
    renders: Path,
    hashes: Mapping[str, str],
    background: tuple[float, float, float],
    subjects: Subjects,
) -> Pair:
    """Ground truth and render of a frame.

    Args:
        frame: the frame.
        renders: folder of the renders.
        hashes: names of its files, each with its digest.
        background: RGB in [0, 1].
        subjects: gives both pictures.

    Raises:
        BenchError: the render has another size than the ground truth, or was changed a moment ago.
    """
    render = subjects.render(renders / f"{frame.id}.png", hashes)
    if render is None:
        raise BenchError(f"{renders / f'{frame.id}.png'} was changed or removed while it was drawn.")
    truth = subjects.truth(frame, background)
    if truth.shape != render.shape:
        raise BenchError(f"frame {frame.id}: the render is {render.shape[:2]}, the ground truth {truth.shape[:2]}.")
    return Pair(frame.id, truth, render)


def _smaller(figures: Sequence[Figure]) -> list[Figure]:
    """Figures with the thumbnails that a page shows: none for further seeds, which it links, none beyond a limit."""
    found, left = list(figures), THUMBNAILS
    places = [place for place, figure in enumerate(figures) if figure.seed is None]
    with ThreadPoolExecutor(workers()) as pool:
        while places and left > 0:
            block, places = places[:BLOCK], places[BLOCK:]
            for place, small in zip(block, pool.map(thumbnail, [figures[place].grid for place in block]), strict=True):
                found[place] = replace(figures[place], small=small)
                left -= len(small.content)
    return found


def _plain(figure: Figure) -> dict[str, object]:
    paths = {"grid": figure.grid, "video": figure.video, "document": figure.document}
    small = None if figure.small is None else vars(figure.small)
    return vars(figure) | {name: str(path) if path else None for name, path in paths.items()} | {"small": small}


def main() -> None:
    """Run ``figures.py ANSWER``: draw what standard input asks for, and list it in ANSWER.

    The first line is JSON: run, folder, folder of earlier figures, and which frames the page shows. The second is the
    budget of these frames in characters; it may come later. Where a line is missing, whoever asked is gone.
    """
    forgive_encoding()
    # Threads draw several cells at once: torch's own would only wait for each other.
    torch.set_num_threads(1)
    asked = sys.stdin.readline()
    if not asked:
        return
    *paths, embed = parse_json(asked, Path("standard input"))
    run, folder, old = map(Path, paths)
    record, subjects = read_run(run), Subjects(registry())
    folder.mkdir(parents=True, exist_ok=True)
    # Side by side, so that all processors have work until the end; pictures are decoded once for all three.
    with ThreadPoolExecutor(2) as pool:
        beside = pool.submit(draw_comparisons, record, folder, subjects)
        drawing = pool.submit(draw_figures, run, folder, old, subjects)
        budget = sys.stdin.readline()
        if not budget:
            os._exit(1)
        scenes, unseen = draw_previews(record, Embed(embed), subjects, int(budget))
        (compared, alone), (figures, remarks) = beside.result(), drawing.result()
    plain = [_plain(figure) for figure in _smaller((*compared, *figures))]
    answer = {"figures": plain, "remarks": [*remarks, *unseen, *alone], "scenes": [scene.plain() for scene in scenes]}
    answer["scale"] = error_scale()
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
