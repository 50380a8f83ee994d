"""Pictures of where the regions of a person lie, beside tables that score them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headbench.harness.head import load_head
from headbench.harness.head.regions import REGIONS, lacking, region_labels
from headbench.harness.image import on_background
from headbench.harness.train import identity_of
from headbench.reports.draw import Rgb8, evenly_spread
from headbench.reports.html import Figure
from headbench.reports.renders import Subjects, job_of

if TYPE_CHECKING:
    from headbench.harness.types import Frame, Subject
    from headbench.results import Result

__all__ = ["draw_region_figures", "region_sheet"]

FRAMES = 3
"""Number of frames in a picture of regions."""
SHARE = 0.55
"""Share of a region's colour in the picture."""
COVERED = 128
"""Least alpha of a pixel that counts, as in the scores."""
_SIDE = 256
"""Height to which smaller images are enlarged by a whole factor."""
_KEY = 26
"""Height of the line that names the colours, in pixels."""
_METRIC = "psnr-region/"


def draw_region_figures(results: Sequence[Result], folder: Path, subjects: Subjects) -> tuple[list[Figure], list[str]]:
    """Draw the regions of each subject for which any result has scores per region.

    Args:
        results: cells of a run.
        folder: where the pictures are written.
        subjects: reads subjects.

    Returns:
        the figures, and a sentence for each subject whose regions could not be drawn.
    """
    chosen: dict[tuple[str, str], Result] = {}
    for result in results:
        if any(key.startswith(_METRIC) for scores in result.scores.values() for key in scores.metrics):
            chosen.setdefault(result.place, result)
    figures, remarks = [], []
    for number, (place, result) in enumerate(chosen.items(), 1):
        path = folder / f"regions-{number}.png"
        try:
            region_sheet(subjects(job_of(result.folder))).save(path, "PNG")
            figures.append(Figure(" / ".join(place), "regions that are scored", path))
        except Exception as error:  # a reader is a plugin's code and may raise anything
            said = error.args[0] if error.args else type(error).__name__
            remarks.append(f"No picture of the regions of {'/'.join(place)}: {said}")
    return figures, remarks


def region_sheet(subject: Subject, frames: Sequence[Frame] = ()) -> Image.Image:
    """Draw frames of a subject with their regions: each as it is and tinted, above the names of the colours.

    Args:
        subject: gives head model and identity.
        frames: what is shown; without any, three test frames.

    Raises:
        MissingAsset: the head model's file is not registered.
    """
    chosen = frames or [subject.test[k] for k in evenly_spread(len(subject.test), FRAMES)]
    head = load_head(subject.head, "teeth").bind(identity_of(subject))
    rows = np.concatenate([_pair(frame, region_labels(head, frame)) for frame in chosen], axis=1)
    factor = max(1, _SIDE // rows.shape[0])
    rows = rows.repeat(factor, axis=0).repeat(factor, axis=1)
    sheet = Image.new("RGB", (rows.shape[1], rows.shape[0] + _KEY), "white")
    sheet.paste(Image.fromarray(rows), (0, 0))
    pen, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(14), 6
    unnamed = lacking(head.regions)
    for region in REGIONS:
        name = region.name.replace("-", " ")
        text = f"{name} (not in this head model)" if region.name in unnamed else name
        pen.rectangle((x, rows.shape[0] + 6, x + 14, rows.shape[0] + 20), fill=region.colour)
        pen.text((x + 20, rows.shape[0] + 5), text, fill="black", font=font)
        x += 36 + int(font.getlength(text))
    return sheet


def _pair(frame: Frame, labels: Rgb8) -> Rgb8:
    """One frame on white beside the same with its regions tinted; labels (H, W) as of `region_labels`."""
    pixels = frame.pixels()
    image = on_background(pixels, (1.0, 1.0, 1.0))
    palette = np.array([(255, 255, 255), *(region.colour for region in REGIONS)], dtype=np.float64)
    tinted = ((1 - SHARE) * image + SHARE * palette[labels]).round().astype(np.uint8)
    person = pixels.alpha[0].numpy() >= COVERED
    return np.concatenate([image, np.where(person[..., None], tinted, 255).astype(np.uint8)], axis=1)
