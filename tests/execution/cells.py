"""Cells that the suites of clusters share, and what their folders say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from headbench.harness.files import read_json
from headbench.harness.run import State, read_cells

_HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
BENCH = [sys.executable, "-P", "-c", _HEARS + "from headbench.harness.cli.main import main; main()"]
"""Command line of `bench` that hears Ctrl-C even where a shell without job control started the tests."""
PAIR = ("--methods", "GaussianAvatars,FlashAvatar", "--datasets", "insta[synth00]")
MANY = ("--methods", "GaussianAvatars,FlashAvatar,nearest-frame", "--datasets", "insta", "--seeds", "0,1")
"""3 methods, 4 subjects and 2 seeds, of which PAIR is a part."""
LONG = (
    *("--methods", "GaussianAvatars", "--datasets", "insta[synth00]", "--seeds", "0,1"),
    *("--set", "gaussianavatars.train.steps=60", "--label", "long", "--checkpoint-every", "20"),
)
"""Two cells with checkpoints to go on from."""
HOLDS = """
import os, time
from pathlib import Path

def held(move):
    def moved(path, target):
        done = move(path, target)
        while gate.exists() and f"/{target}".endswith("/" + gate.read_text()):
            time.sleep(0.05)
        return done
    return moved

if "HEADBENCH_GATE" in os.environ:
    gate = Path(os.environ["HEADBENCH_GATE"])
    Path.rename, Path.replace = held(Path.rename), held(Path.replace)
"""
"""Module that Python imports first: whoever has written the checkpoint or file that the gate names waits there."""


class Gate:
    """Gate at a checkpoint or file, where cells wait: so they are hit in the middle, however busy the machine is.

    Args:
        folder: empty folder for its files, which all nodes see.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._site = folder / "gate", folder / "site"
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(HOLDS)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a `bench run` whose workers stop at the gate."""
        paths = [str(self._site), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(paths), "HEADBENCH_GATE": str(self._file)}

    def close(self, at: int | str) -> None:
        """Let those wait that have written the checkpoint of a step, or a file whose path ends so, and nobody else."""
        part = self._file.with_suffix(".part")
        part.write_text(f"checkpoint-{at}" if isinstance(at, int) else at)
        part.replace(self._file)

    def open(self) -> None:
        """Let everybody go on."""
        self._file.write_text("")  # it stays, for those who wait may be about to read it


def command(data: Path, out: Path, *words: str) -> list[str]:
    """Words of a `bench run` whose cells have one thread each.

    Args:
        data: root of the data.
        out: folder of the run.
        words: executor, its options, and cells.
    """
    how = ("--preset", "tiny", "--device", "cpu", "--threads", "1", "--deterministic", "--no-report")
    return ["run", "--data-root", str(data), *how, *words, "--out", str(out)]


def of_local(data: Path, out: Path, *words: str) -> dict[str, str]:
    """Hashes of cells under the executor `local` with two workers.

    Args:
        data: root of the data.
        out: folder of the run.
        words: the cells.
    """
    ran = subprocess.run(
        [*BENCH, *command(data, out, "--executor", "local", "--workers", "2", *words)],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return hashes(out)


def done(process: subprocess.Popen[str]) -> str:
    """What a process printed, that must end well."""
    out, error = process.communicate(timeout=1800)
    assert process.returncode == 0, out + error
    return out


def hashes(folder: Path) -> dict[str, str]:
    """Hashes of the weights and renders of every cell, which must be done."""
    found = {}
    for record in read_cells(folder):
        assert record.state is State.DONE, record
        cell = folder / "cells" / record.cell.path
        weights = read_json(cell / "speed.json")["checkpoint"]
        found[record.cell.path] = weights + (cell / "renders" / "train-white" / "sha256.txt").read_text()
    return found


def begun(folder: Path) -> list[Path]:
    """Folders of the cells whose workers have begun."""
    return [path.parent for path in folder.glob("cells/*/*/*/*/progress.json")]


def stand_at(folder: Path, step: int) -> list[Path]:
    """Folders of the cells that have the checkpoint of a step, and have not finished their training."""
    cells = [path.parents[3] for path in folder.glob(f"cells/*/*/*/*/stages/train/checkpoint-{step}/state.json")]
    return [cell for cell in cells if not (cell / "stages" / "train" / "summary.json").exists()]
