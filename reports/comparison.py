"""Draws methods beside each other on every subject: one frame with two details, and the error maps, as PNG and PDF.

Importing this module imports torch, because dataset readers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from headbench.harness.errors import BenchError
from headbench.harness.image import ERROR_LIMIT, error_colours, error_map
from headbench.harness.names import safe_name
from headbench.harness.run.listing import listed
from headbench.harness.types import TEST
from headbench.reports.html import Figure
from headbench.reports.renders import Subjects, background_of, first_seeds, job_of, renders_of
from headbench.reports.sheet import Rgb, Rgb8, Sheet
from headbench.reports.table import named
from headbench.results import Result, Run

__all__ = ["draw_comparisons"]

CELL = 132.0
"""Width of a picture in points."""
GAP = 4.0
SUBJECTS = 12
"""Limit of the subjects of one figure, which stand below each other."""
DETAIL = 0.22
"""Width of a detail as a share of the picture's smaller side."""
DETAILS: tuple[Rgb, ...] = ((226, 60, 40), (40, 120, 220))
"""Colours of the two details' frames."""
TITLE, LABEL = 16.0, 14.0


@dataclass(frozen=True)
class _Row:
    """One subject's frame: ground truth, and a render per method; None where a method has none."""

    place: str
    frame: str
    truth: Rgb8
    renders: tuple[Rgb8 | None, ...]
    rivals: tuple[bool, ...]
    """Which of them are no baselines: details show where these err."""


def draw_comparisons(run: Run, folder: Path, subjects: Subjects) -> tuple[list[Figure], list[str]]:
    """Draw a grid of methods and subjects, and one of their error maps, for each dataset.

    Of every subject the frame is taken whose mean score over methods is the median.

    Args:
        run: the run; first seeds of at least two entries are compared.
        folder: where the figures are written.
        subjects: reads subjects.

    Returns:
        the figures, and a sentence for every subject that could not be read.
    """
    figures, remarks = [], []
    results = first_seeds(run)
    for dataset in dict.fromkeys(result.cell.dataset for result in results):
        own = [result for result in results if result.cell.dataset == dataset]
        entries = list(dict.fromkeys(result.entry for result in own))
        names = list(dict.fromkeys(result.cell.subject for result in own))
        rows = []
        for name in names[:SUBJECTS]:
            cells = {result.entry: result for result in own if result.cell.subject == name}
            try:
                rows.append(_row([cells.get(entry) for entry in entries], subjects))
            except Exception as error:
                # A reader is a plugin's code and may raise anything; other subjects must not be lost.
                kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
                remarks.append(f"The comparison of methods is without {dataset}/{name}: {kind}{error}")
        if len(names) > SUBJECTS:
            remarks.append(f"The comparison of methods on {dataset} shows {SUBJECTS} of {len(names)} subjects.")
        if rows and len(entries) > 1:
            labels = [_short(entry, entries) for entry in entries]
            stem = folder / f"comparison-{safe_name(dataset, 'dataset', run.path)}"
            figures += _figures(rows, labels, dataset, stem)
    return figures, remarks


def _short(entry: tuple[str, str, str, str], entries: Sequence[tuple[str, str, str, str]]) -> str:
    return entry[0] if sum(other[0] == entry[0] for other in entries) == 1 else named(*entry)


def _row(cells: Sequence[Result | None], subjects: Subjects) -> _Row:
    there = [cell for cell in cells if cell is not None]
    first = there[0]
    folders = {cell.path: renders_of(cell, TEST) for cell in there}
    hashes = {cell: listed(folder) for cell, folder in folders.items()}
    frames = {frame.id: frame for frame in subjects(job_of(first.folder)).showing(TEST).test}
    name = _median(there, [name for name in frames if all(f"{name}.png" in known for known in hashes.values())])
    truth = subjects.truth(frames[name], background_of(folders[first.path]))
    renders: list[Rgb8 | None] = []
    for cell in cells:
        path = folders[cell.path] / f"{name}.png" if cell is not None else None
        image = subjects.render(path, hashes[cell.path]) if cell is not None and path is not None else None
        renders.append(image if image is not None and image.shape == truth.shape else None)
    rivals = tuple(cell is not None and not cell.baseline for cell in cells)
    return _Row(first.cell.subject, name, truth, tuple(renders), rivals)


def _median(cells: Sequence[Result], names: Sequence[str]) -> str:
    """Frame whose score, averaged over cells, is the median; the middle frame where there are no scores."""
    if not names:
        raise BenchError(f"no test frame of {'/'.join(cells[0].place)} was rendered by all methods.")
    found: dict[str, list[float]] = {name: [] for name in names}
    for cell in cells:
        scores = next((each for each in cell.scores.values() if each.views == TEST and each.frames), None)
        for frame in scores.frames if scores else ():
            value = frame.value(scores.metrics[0]) if scores else None
            if value is not None and np.isfinite(value) and frame.id in found:
                found[frame.id].append(value)
    means = sorted((fmean(values), name) for name, values in found.items() if values)
    return means[len(means) // 2][1] if means else names[len(names) // 2]


def _figures(rows: Sequence[_Row], labels: Sequence[str], dataset: str, stem: Path) -> list[Figure]:
    shown = "the frame of median score per subject, with the two details in which methods err most"
    found = []
    for name, draw, caption in (
        ("", _pictures, f"Methods on {dataset}: {shown}"),
        ("-errors", _errors, f"Error maps of methods on {dataset}: mean |error| over RGB of the same frames"),
    ):
        png, pdf = draw(rows, labels).save(stem.with_name(stem.name + name))
        found.append(Figure("Methods and subjects", caption, png, document=pdf))
    return found


def _pictures(rows: Sequence[_Row], labels: Sequence[str]) -> Sheet:
    """Grid of pictures with a row of details below each."""
    half = (CELL - GAP) / 2
    sheet, tops = _sheet(rows, ["ground truth", *labels], half + GAP, 0.0)
    for row, top in zip(rows, tops, strict=True):
        boxes = _worst(row)
        for column, image in enumerate((row.truth, *row.renders)):
            x = column * (CELL + GAP)
            if image is None:
                sheet.text(x + CELL / 2, top + 30, "not rendered", 9, "middle")
                continue
            scale, tall = CELL / image.shape[1], _tall(row)
            sheet.picture(x, top, CELL, tall, image)
            for number, (colour, (up, left, side)) in enumerate(zip(DETAILS, boxes, strict=False)):
                sheet.frame(x + left * scale, top + up * scale, side * scale, side * scale, colour, 1.2)
                place = x + number * (half + GAP)
                sheet.picture(place, top + tall + GAP, half, half, image[up : up + side, left : left + side])
                sheet.frame(place, top + tall + GAP, half, half, colour, 1.2)
    return sheet


def _errors(rows: Sequence[_Row], labels: Sequence[str]) -> Sheet:
    """Grid of error maps with a colour bar."""
    sheet, tops = _sheet(rows, ["ground truth", *labels], 0.0, 52.0)
    for row, top in zip(rows, tops, strict=True):
        sheet.picture(0, top, CELL, _tall(row), row.truth)
        for column, image in enumerate(row.renders, 1):
            if image is not None:
                sheet.picture(column * (CELL + GAP), top, CELL, _tall(row), error_map(row.truth, image))
    bar = np.repeat(error_colours(np.linspace(1.0, 0.0, 128)[:, None]), 8, axis=1)
    x, height = (len(labels) + 1) * (CELL + GAP) + 4, min(_tall(rows[0]), 160.0)
    sheet.picture(x, tops[0], 10, height, bar)
    for share, more in ((1.0, "+"), (0.5, ""), (0.0, "")):
        sheet.text(x + 13, tops[0] + (1 - share) * (height - 9), f"{share * ERROR_LIMIT:.2f}{more}", 8.5)
    return sheet


def _sheet(rows: Sequence[_Row], labels: Sequence[str], below: float, beside: float) -> tuple[Sheet, list[float]]:
    """Empty grid with the labels of its columns and rows, and the upper edges of its rows.

    Args:
        rows: one per subject.
        labels: of the columns.
        below: height under each picture.
        beside: width on the right.
    """
    heights = [LABEL + _tall(row) + below + GAP for row in rows]
    sheet = Sheet(len(labels) * (CELL + GAP) - GAP + beside, TITLE + sum(heights))
    for column, label in enumerate(labels):
        sheet.text(column * (CELL + GAP) + CELL / 2, 3, label, 10, "middle")
    tops = []
    for number, row in enumerate(rows):
        top = TITLE + sum(heights[:number])
        sheet.text(0, top + 2, f"{row.place}, frame {row.frame}", 8.5, colour=(110, 116, 124))
        tops.append(top + LABEL)
    return sheet, tops


def _tall(row: _Row) -> float:
    return CELL * row.truth.shape[0] / row.truth.shape[1]


def _worst(row: _Row) -> list[tuple[int, int, int]]:
    """Upper edge, left edge and side of the two squares, apart from each other, in which methods err most."""
    height, width = row.truth.shape[:2]
    side = max(2, round(DETAIL * min(height, width)))
    errors = np.zeros((height, width), np.float64)
    for image, rival in zip(row.renders, row.rivals, strict=True):
        if image is not None and rival:
            errors += np.abs(image.astype(np.int16) - row.truth.astype(np.int16)).sum(-1)
    sums = _windows(errors, side)
    found = []
    for _ in DETAILS:
        up, left = (int(place) for place in np.unravel_index(int(np.argmax(sums)), sums.shape))
        found.append((up, left, side))
        sums[max(0, up - side + 1) : up + side, max(0, left - side + 1) : left + side] = -1.0
    return found


def _windows(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sums of all squares of `side` pixels, by their upper left corner."""
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums: NDArray[np.float64] = (
        total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    )
    return sums
