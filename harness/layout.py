"""Paths of all files of a cell, made in this one place. Needs no torch."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.names import name_fault
from headbench.harness.way import TRAIN, Step, Way

__all__ = ["CellFolder", "StagePaths", "paths_in", "refuse_links", "stage_at"]

_STAGES = "stages"
_RENDERS = "renders"
_SCORES = "scores"
_SCRATCH = "scratch"
_OWN = "own"
_MARKS = "marks"


@dataclass(frozen=True)
class StagePaths:
    """Paths of the files of one stage instance in a cell.

    Args:
        cell: the cell's folder.
        way: the instance's name, such as train/bake.
    """

    cell: Path
    way: Way

    @property
    def folder(self) -> Path:
        """Folder of checkpoints, metrics, previews and summary."""
        return self.cell / f"{_STAGES}/{self.way}"  # in one step: a report asks thousands of times

    @property
    def summary(self) -> Path:
        """Summary file of a finished instance: steps, seconds, number of Gaussians, device."""
        return self.cell / f"{_STAGES}/{self.way}/summary.json"

    @property
    def metrics(self) -> Path:
        """Log of the training, one JSON line per so many steps; stages that do not train have none."""
        return self.cell / f"{_STAGES}/{self.way}/metrics.jsonl"

    @property
    def marks(self) -> Path:
        """Folder of the portraits that training kept at common marks of its budget, one checkpoint each."""
        return self.cell / _MARKS / str(self.way)

    @property
    def mark_renders(self) -> Path:
        """Folder of a kept portrait's pictures while they are scored."""
        return self.marks / _RENDERS

    def mark_scores(self, checkpoint: Path, protocol: str) -> tuple[Path, Path]:
        """File of a kept portrait's scores by a protocol ``name@version``, and of what they were computed from."""
        return checkpoint / f"{protocol}.jsonl", checkpoint / f"{protocol}.json"

    @property
    def scratch(self) -> Path:
        """Folder for a method's own files while it works."""
        return self.folder / _SCRATCH

    @property
    def own(self) -> Path:
        """Folder of what the user made for this instance, which stays when the instance is made again."""
        return self.cell / _OWN / str(self.way)

    @property
    def log(self) -> Path:
        """Text file with all that the process that made the instance printed."""
        return self.folder / "log.txt"

    @property
    def speed(self) -> Path:
        """File with the instance's rendering speed, and its costs in time and memory."""
        return self.cell / "speed.json" if self.way == TRAIN else self.cell / "speed" / f"{self.way}.json"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.folder / f"checkpoint-{step}"

    def renders(self, key: str) -> Path:
        """Folder with the pictures of a render key, such as train-white."""
        return self.cell / _RENDERS / key

    def tracking(self, key: str) -> Path:
        """Folder with the test frames' parameters that test-time tracking made for a render key."""
        return self.cell / _STAGES / "track" / key

    def scores(self, protocol: str) -> Path:
        """File of the scores by a protocol ``name@version``, one line per frame."""
        return self._scored(f"{protocol}.jsonl")

    def marker(self, protocol: str) -> Path:
        """File that says what the scores by a protocol ``name@version`` were computed from."""
        return self._scored(f"{protocol}.json")

    def key_of(self, renders: Path) -> str:
        """The render key whose pictures, or tracked parameters, lie in the folder `renders`."""
        places = (self.cell / _RENDERS, self.cell / _STAGES / "track")
        return next(renders.relative_to(place).as_posix() for place in places if renders.is_relative_to(place))

    def protocol_key(self, folder: Path) -> str:
        """The render key of a folder of pictures, or of tracked parameters, as protocols and scores name it.

        In their keys ``train`` stands for whichever instance is scored.
        """
        return f"{TRAIN}{folder.name.removeprefix(str(self.way.last))}"

    def render_folders(self) -> list[Path]:
        """Folders that exist for pictures of this instance, in order of their names."""
        beside = (self.cell / _RENDERS / str(self.way)).parent
        return [path for path in paths_in(beside, f"{self.way.last}-") if path.is_dir()]

    def score_files(self, suffix: str = "jsonl") -> list[Path]:
        """Score files of this instance, or with suffix json the markers beside them, in order of their names."""
        return paths_in(self.scores("any@1").parent, end=f".{suffix}")

    def tracking_folders(self) -> list[Path]:
        """Folders that exist for tracked parameters of this instance's render keys, in order of their names."""
        beside = (self.cell / _STAGES / "track" / str(self.way)).parent
        return [path for path in paths_in(beside, f"{self.way.last}-") if path.is_dir()]

    def relative(self, path: Path) -> str:
        """A path in the cell as messages name it: relative to the cell's folder."""
        return path.relative_to(self.cell).as_posix()

    def _scored(self, name: str) -> Path:
        return self.cell / (f"{_SCORES}/{name}" if self.way == TRAIN else f"{_SCORES}/{self.way}/{name}")


@dataclass(frozen=True)
class CellFolder:
    """Folder of a cell: all that a run makes of one method, preset, subject and seed.

    Args:
        path: where it lies.
    """

    path: Path

    def stage(self, way: Way = TRAIN) -> StagePaths:
        """Paths of the files of the stage instance `way`."""
        return StagePaths(self.path, way)

    def roots(self) -> list[StagePaths]:
        """Paths of the root instances that have checkpoints: ``train`` first, then the others by their names."""
        found = _with_checkpoints(self.path / _STAGES)
        named = sorted((name for name in found if not name_fault(name)), key=lambda name: (name != str(TRAIN), name))
        return [self.stage(Way((Step(*name.split(":", 1)),))) for name in named]

    @property
    def log(self) -> Path:
        """Text file with all that the cell's processes printed, one after the other."""
        return self.stage().log


def paths_in(folder: Path, start: str = "", end: str = "") -> list[Path]:
    """Paths in a folder whose names begin and end in a certain way, in order; none where there is no such folder.

    `Path.glob` takes several times as long, and a report asks for thousands of folders.
    """
    try:
        names = sorted(each.name for each in os.scandir(folder))
    except OSError:
        return []
    return [folder / name for name in names if name.startswith(start) and name.endswith(end)]


def _with_checkpoints(stages: Path) -> set[str]:
    """Names of the folders in `stages` that hold a checkpoint; by the system's own listing, as runs have many cells."""
    found = set()
    try:
        for each in os.scandir(stages):
            if each.is_dir() and any(inside.name.startswith("checkpoint-") for inside in os.scandir(each.path)):
                found.add(each.name)
    except OSError:  # nothing there
        pass
    return found


def stage_at(folder: Path) -> StagePaths | None:
    """The stage instance whose folder `folder` is, None where it is not in a cell.

    Raises:
        BenchError: it is in a cell, in a folder whose name no instance has.
    """
    whole = folder.absolute()
    for above in whole.parents:
        if above.name == _STAGES and os.path.lexists(above.parent / "cell.json"):
            return StagePaths(above.parent, Way.parse(whole.relative_to(above).as_posix()))
    return None


def refuse_links(folder: Path, home: Path | None = None) -> None:
    """Refuse a run's folder, or one in it, if links in it lead out: whoever writes there would write elsewhere.

    A folder that was received may hold any link. What a method keeps in its scratch folder is its own business.

    Args:
        folder: is searched with all its subfolders; one that is missing has no links.
        home: the folder that links may lead into. None: `folder`, which may then be a link itself, since the user
            names it.

    Raises:
        BenchError: the first link that leads out.
    """
    allowed = os.path.realpath(home or folder)
    if home is not None and folder.is_symlink():
        _refuse(folder, allowed)
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                found = list(entries)
        except OSError:  # missing; other errors are reported by whoever writes there
            continue
        for entry in found:
            if entry.is_symlink():
                _refuse(Path(entry.path), allowed)
            elif entry.is_dir(follow_symlinks=False) and entry.name != _SCRATCH:
                waiting.append(Path(entry.path))


def _refuse(link: Path, allowed: str) -> None:
    target = os.path.realpath(link)
    if os.path.commonpath([target, allowed]) != allowed:
        raise BenchError(
            f"{link} is a link to {target}, out of {allowed}: nothing is written in a run that leads elsewhere.",
            help=f"put what it leads to in its place, or remove it: rm {shlex.quote(str(link))}",
        )
