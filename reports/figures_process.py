"""Draws a report's figures in a child process, so that the report imports no torch and no dataset's code can end it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from headbench.harness.files import read_json
from headbench.reports.page import Figure

__all__ = ["draw_apart"]


def draw_apart(run: Path, folder: Path, old: Path) -> tuple[list[Figure], list[str]]:
    """Call `figures.draw_figures` in a child process.

    Args:
        run: the run's folder.
        folder: where the figures are written.
        old: a folder of earlier figures, which need not exist.

    Returns:
        the figures, and a sentence for every cell whose figure could not be made; if the process itself failed, no
        figure and one sentence with its last line.
    """
    with tempfile.TemporaryDirectory() as place:
        answer = Path(place) / "drawn.json"
        script = Path(__file__).with_name("figures.py")
        # By path and with -P: nothing puts the rooms' own folder on the child's path.
        command = [
            sys.executable,
            "-P",
            str(script),
            *(str(path.resolve()) for path in (run, folder, old)),
            str(answer),
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not answer.is_file():
            said = done.stderr.strip().splitlines()
            return [], [f"No pictures: drawing ended with {done.returncode}: {said[-1] if said else 'without a word'}"]
        found = read_json(answer)
    figures = [
        Figure(f["group"], f["caption"], Path(f["grid"]), Path(f["video"]) if f["video"] else None)
        for f in found["figures"]
    ]
    return figures, found["remarks"]
