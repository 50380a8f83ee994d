"""Draws a report's pictures in a child process: the report imports no torch, and no dataset's code can end it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.reading import parse_json, read_text
from headbench.reports.html import Embed, Figure, Scene
from headbench.reports.html.scene import BUDGET

__all__ = ["Drawn", "draw_apart"]

ANSWER_BYTES = 4_000_000_000
"""Limit of the child's answer: pictures of all frames without loss."""


@dataclass(frozen=True)
class Drawn:
    """Pictures of a report."""

    figures: tuple[Figure, ...] = ()
    scenes: tuple[Scene, ...] = ()
    remarks: tuple[str, ...] = ()
    """A sentence for every cell that has no pictures."""
    scale: str = ""
    """Colours of error maps, 766 x 3 bytes by the sum of a pixel's differences in bytes, as base64."""


def draw_apart(run: Path, folder: Path, old: Path, embed: Embed = Embed.PREVIEW, budget: int = BUDGET) -> Drawn:
    """Call `figures.draw_figures` and `previews.draw_previews` in a child process.

    Args:
        run: the run's folder.
        folder: where the figures are written.
        old: a folder of earlier figures, which need not exist.
        embed: how much of the frames the page shows.
        budget: limit of their previews in characters of base64.

    Returns:
        the pictures; if the process itself failed, none and one sentence with its last line.
    """
    with tempfile.TemporaryDirectory() as place:
        answer = Path(place) / "drawn.json"
        script = Path(__file__).with_name("figures.py")
        paths = [str(path.resolve()) for path in (run, folder, old)]
        # By path and with -P: nothing puts the rooms' own folder on the child's path.
        command = [sys.executable, "-P", str(script), *paths, str(embed), str(budget), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not answer.is_file():
            said = done.stderr.strip().splitlines()
            why = f"No pictures: drawing ended with {done.returncode}: {said[-1] if said else 'without a word'}"
            return Drawn(remarks=(why,))
        found = parse_json(read_text(answer, ANSWER_BYTES), answer)
    return Drawn(
        tuple(_figure(**each) for each in found["figures"]),
        tuple(Scene.of(each) for each in found["scenes"]),
        tuple(found["remarks"]),
        found["scale"],
    )


def _figure(group: str, caption: str, grid: str, seed: int | None, **others: str | None) -> Figure:
    more = {name: Path(path) if path else None for name, path in others.items()}
    return Figure(group, caption, Path(grid), **more, seed=seed)
