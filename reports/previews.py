"""Pictures for the page of a report: truth and renders of a subject's frames, small enough to lie inside it.

Importing this module imports torch, because dataset readers do.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from headbench.harness.errors import BenchError
from headbench.harness.image import ERROR_LIMIT, error_colours
from headbench.harness.names import name_fault
from headbench.harness.reading import read_bytes
from headbench.harness.run.listing import listed
from headbench.harness.types import Frame
from headbench.metrics import Scores
from headbench.reports.draw import Rgb8, evenly_spread
from headbench.reports.html.scene import BUDGET, Embed, Scene, Source
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
from headbench.results import Result, Run

__all__ = ["draw_previews", "error_scale"]

SIDE = 384
"""Longest side of a preview in pixels."""
QUALITY = 88
"""Quality of previews, of 100."""
EXTREMES = 2
"""Number of worst and of best frames per method that are shown in any case."""
NAMED = 5
"""Number of subjects that a remark names before it counts the rest."""
SMALLEST = 2
"""Number of frames without which a scene is left out."""
ENOUGH = 12
"""Number of frames for which seeds after the first are left out of a scene."""


@dataclass
class _Group:
    """Cells that show one subject's frames."""

    views: str
    cells: list[tuple[Result, int]] = field(default_factory=list)
    """Finished cells, each with its number among the seeds of its method."""


def draw_previews(run: Run, embed: Embed, subjects: Subjects, budget: int = BUDGET) -> tuple[list[Scene], list[str]]:
    """Encode the frames that the page shows: of every finished cell, or of first seeds where the budget is too small.

    Args:
        run: the run.
        embed: PREVIEW reduces and compresses, and takes as many frames as the budget allows; FULL takes all, whole.
        subjects: reads subjects.
        budget: limit of the previews of all scenes in characters of base64.

    Returns:
        one scene per subject and set of views; a sentence for each whose ground truth could not be read, and one on
        those for which the budget is too small.
    """
    if embed is Embed.NONE:
        return [], []
    groups: dict[tuple[str, str, str], _Group] = {}
    for result, rank in ranked(run):
        for views in view_sets(result):
            groups.setdefault((*result.place, views), _Group(views)).cells.append((result, rank))
    scenes, remarks, left_out, left = [], [], [], budget
    for number, group in enumerate(groups.values()):
        place = "/".join(group.cells[0][0].place)
        try:
            scene, remark = _scene(group, embed, subjects, left // (len(groups) - number), left)
        except Exception as error:
            # A reader is a plugin's code and may raise anything; the tables must not be lost.
            remarks.append(f"No frames of {place} to look at: {_said(error)}")
            continue
        remarks += remark
        if scene is None:
            left_out.append(place)
            continue
        left -= sum(len(text or "") for row in scene.pictures for text in row)
        scenes.append(scene)
    if left_out:
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        whole = ", ".join(left_out[:NAMED]) + more
        remarks.append(f"The page is full: it has no frames of {whole} to look at. All are in it with --embed full.")
    return scenes, remarks


def error_scale() -> str:
    """Colours of error maps as base64: three bytes for each sum of a pixel's three differences in bytes, 0 to 765."""
    sums = np.arange(3 * 255 + 1, dtype=np.float32)
    colours = error_colours(sums / np.float32(3) / np.float32(255) / ERROR_LIMIT)
    return base64.b64encode(np.ascontiguousarray(colours).tobytes()).decode("ascii")


def _said(error: Exception) -> str:
    return f"{error}" if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"


def _scene(group: _Group, embed: Embed, subjects: Subjects, share: int, left: int) -> tuple[Scene | None, list[str]]:
    """Encode the frames of one subject and set of views.

    Args:
        group: the cells.
        embed: PREVIEW or FULL.
        subjects: reads subjects.
        share: characters of base64 that the scene may have where it can do with so few.
        left: limit in any case; None is returned where that is too small for SMALLEST frames.

    Raises:
        BenchError: no cell has complete renders, or none of the frames.
    """
    cells = [cell for cell in group.cells if _has(cell[0], group.views)]
    folders = [(result, renders_of(result, group.views)) for result, _ in cells]
    if not folders:
        raise BenchError(f"{group.cells[0][0].folder} has no complete renders.")
    hashes = [listed(folder) for _, folder in folders]
    known = dict.fromkeys(name.removesuffix(".png") for names in hashes for name in sorted(names))
    remarks: list[str] = []
    try:
        truth = {frame.id: frame for frame in subjects(job_of(folders[0][0].folder)).showing(group.views).test}
    except Exception as error:
        place = "/".join(folders[0][0].place)
        remarks.append(f"The frames of {place} are shown without ground truth: {_said(error)}")
        truth = {}
    ids = [name for name in truth if name in known] or [name for name in known if not name_fault(name)]
    if not ids:
        raise BenchError(
            f"{folders[0][1]} holds none of the {group.views} frames of {job_of(folders[0][0].folder).data}."
        )
    makers = [
        partial(_render, subjects, folder, names, embed) for (_, folder), names in zip(folders, hashes, strict=True)
    ]
    if truth:
        makers = [partial(_truth, subjects, truth, background_of(folders[0][1]), embed), *makers]
    ranks = [*([0] if truth else []), *(rank for _, rank in cells)]
    sources = [Source(result.path, result.entry, result.cell.seed) for result, _ in folders]
    sources = [*([Source("", (), None)] if truth else []), *sources]
    wanted = len(ids)
    with ThreadPoolExecutor(workers()) as pool:
        if embed is Embed.PREVIEW:
            sample = [ids[place] for place in evenly_spread(len(ids), 2)]
            sizes = [sum(len(made or "") for made in pool.map(make, sample)) / len(sample) for make in makers]
            seeds, fit = _seeds(sizes, ranks, share, min(ENOUGH, len(ids)))
            least = SMALLEST * sum(size for size, rank in zip(sizes, ranks, strict=True) if rank < seeds)
            if fit < SMALLEST and least > left:
                return None, remarks
            wanted = min(wanted, max(SMALLEST, fit))
            kept = [place for place, rank in enumerate(ranks) if rank < seeds]
            makers, sources = [makers[place] for place in kept], [sources[place] for place in kept]
        scores = [_scores(result, group.views) for result, rank in cells if rank == 0]
        picked = [ids[place] for place in _picked(ids, scores, wanted)]
        made = [list(pool.map(make, picked)) for make in makers]
    kind = "image/webp" if embed is Embed.PREVIEW else "image/png"
    return Scene(
        *group.cells[0][0].place, group.views, tuple(picked), kind, tuple(sources), tuple(map(tuple, made))
    ), remarks


def _seeds(sizes: Sequence[float], ranks: Sequence[int], share: int, enough: int) -> tuple[int, int]:
    """Number of seeds that a scene shows, the most with which it has enough frames, and the frames that then fit.

    Args:
        sizes: characters of a frame per source.
        ranks: number of each source among the seeds of its method.
        share: limit of all frames in characters.
        enough: number of frames.
    """
    for seeds in range(max(ranks) + 1, 0, -1):
        fit = int(share / max(sum(size for size, rank in zip(sizes, ranks, strict=True) if rank < seeds), 1))
        if fit >= enough:
            break
    return seeds, fit


def _has(result: Result, views: str) -> bool:
    try:
        renders_of(result, views)
    except BenchError:
        return False
    return True


def _scores(result: Result, views: str) -> Scores | None:
    return next((each for each in result.scores.values() if each.views == views and each.frames), None)


def _picked(ids: Sequence[str], scores: Sequence[Scores | None], wanted: int) -> list[int]:
    """Places of the frames that are shown: the extremes of every method, then evenly spread ones, at most `wanted`."""
    if wanted >= len(ids):
        return list(range(len(ids)))
    place = {name: number for number, name in enumerate(ids)}
    extreme: list[int] = []
    for each in scores:
        key = next((key for key in each.metrics if not each.is_of_sequences(key)), None) if each else None
        values = [(frame.value(key), frame.id) for frame in each.frames] if each and key else []
        order = [place[name] for value, name in sorted(v for v in values if v[0] is not None) if name in place]
        extreme += order[:EXTREMES] + order[-EXTREMES:]
    kept = list(dict.fromkeys(extreme))[: wanted // 2]
    count = wanted
    while len(spread := sorted({*kept, *evenly_spread(len(ids), count)})) > wanted:
        count -= 1
    return spread


def _truth(
    subjects: Subjects, frames: Mapping[str, Frame], background: tuple[float, float, float], embed: Embed, name: str
) -> str | None:
    return _encoded(subjects.truth(frames[name], background), embed)


def _render(subjects: Subjects, folder: Path, hashes: Mapping[str, str], embed: Embed, name: str) -> str | None:
    """A render as base64; None where it is missing, or is not as it was rendered.

    Args:
        subjects: decodes renders.
        folder: where they are.
        hashes: names of its files, each with its digest.
        embed: PREVIEW or FULL.
        name: of the frame.
    """
    path = folder / f"{name}.png"
    if embed is Embed.FULL:
        whole = path.name in hashes and is_whole(path, hashes)
        return base64.b64encode(read_bytes(path)).decode("ascii") if whole else None
    image = subjects.render(path, hashes)
    return None if image is None else _encoded(image, embed)


def _encoded(image: Rgb8, embed: Embed) -> str:
    """Base64 of an image as WebP, reduced to SIDE, or as PNG."""
    picture, buffer = Image.fromarray(np.ascontiguousarray(image)), io.BytesIO()
    if embed is Embed.FULL:
        picture.save(buffer, "PNG", compress_level=4)
        return base64.b64encode(buffer.getvalue()).decode("ascii")
    scale = SIDE / max(picture.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
