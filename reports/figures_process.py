"""Draws a report's pictures in a child process: the report imports no torch, and no dataset's code can end it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headbench.harness.reading import parse_json, read_text
from headbench.harness.run import State
from headbench.reports.html import Embed, Figure, Scene
from headbench.reports.html.figure import Thumbnail
from headbench.reports.html.scene import BUDGET
from headbench.results import Run

__all__ = ["Artist", "Drawn", "has_begun", "has_pictures"]

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


class Artist:
    """Child process that calls `figures.draw_figures`, `comparison.draw_comparisons` and `previews.draw_previews`.

    It starts at once, since what it imports takes seconds, and is told later what to draw; whoever made it works on
    meanwhile. It ends with the block at the latest.
    """

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._answer = Path(self._place.name) / "drawn.json"
        # By path and with -P: nothing puts the rooms' own folder on the child's path.
        command = [sys.executable, "-P", str(Path(__file__).with_name("figures.py")), str(self._answer)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, text=True, errors="replace"
        )

    def __enter__(self) -> Artist:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._place.cleanup()

    def ask(self, run: Path, folder: Path, old: Path, embed: Embed = Embed.PREVIEW) -> None:
        """Begin to draw.

        Args:
            run: the run's folder.
            folder: where the figures are written.
            old: a folder of earlier figures, which need not exist.
            embed: how much of the frames the page shows.
        """
        asked = json.dumps([*(str(path.resolve()) for path in (run, folder, old)), str(embed)])
        # Where it has ended already, `drawn` says why.
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(f"{asked}\n")
                self._process.stdin.flush()

    def drawn(self, budget: int = BUDGET) -> Drawn:
        """Wait for the pictures.

        Args:
            budget: limit of the previews of frames in characters of base64.

        Returns:
            the pictures; if the process itself failed, none and one sentence with its last line.
        """
        said = self._process.communicate(f"{budget}\n")[1].strip().splitlines()
        code = self._process.returncode
        if code or not self._answer.is_file():
            why = f"No pictures: drawing ended with {code}: {said[-1] if said else 'without a word'}"
            return Drawn(remarks=(why,))
        found = parse_json(read_text(self._answer, ANSWER_BYTES), self._answer)
        return Drawn(
            tuple(_figure(**each) for each in found["figures"]),
            tuple(Scene.of(each) for each in found["scenes"]),
            tuple(found["remarks"]),
            found["scale"],
        )


def has_begun(run: Path) -> bool:
    """Tell if any cell of a run has begun a stage, without reading the run: else there is nothing to draw."""
    return any(run.glob("cells/*/*/*/*/stages"))


def has_pictures(run: Run) -> bool:
    """Tell if any cell of a run is finished or scored; else nothing is drawn and nothing is said of pictures."""
    return any(result.state is State.DONE or result.scores for result in run.results)


def _figure(
    group: str, caption: str, grid: str, seed: int | None, small: Mapping[str, Any] | None, **others: str | None
) -> Figure:
    """Figure as the child lists it.

    Args:
        group: heading.
        caption: its caption.
        grid: path of the picture.
        seed: as of `Figure`.
        small: fields of its thumbnail.
        others: paths of other files, by field.
    """
    more = {name: Path(path) if path else None for name, path in others.items()}
    return Figure(group, caption, Path(grid), **more, seed=seed, small=Thumbnail(**small) if small else None)
