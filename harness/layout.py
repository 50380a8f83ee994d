"""Where the files of a cell lie: the one place that makes their paths. Needs no torch."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.way import TRAIN, Way

__all__ = ["CellFolder", "StagePaths", "refuse_links"]

_STAGES = "stages"
_RENDERS = "renders"
_SCORES = "scores"
_SCRATCH = "scratch"


@dataclass(frozen=True)
class StagePaths:
    """Places of one stage instance in a cell.

    Args:
        cell: the cell's folder.
        way: the instance's name. Files of ``train`` lie where they lay before there were other stages.
    """

    cell: Path
    way: Way

    @property
    def folder(self) -> Path:
        """Checkpoints, metrics, previews and summary."""
        return self.cell / _STAGES / str(self.way)

    @property
    def summary(self) -> Path:
        """What a finished instance says of itself."""
        return self.folder / "summary.json"

    @property
    def scratch(self) -> Path:
        """For a method's own files while it works."""
        return self.folder / _SCRATCH

    @property
    def log(self) -> Path:
        """All that the process that worked on it printed."""
        return self.folder / "log.txt"

    @property
    def speed(self) -> Path:
        """How fast it is shown, and what it cost."""
        return self.cell / "speed.json" if self.way == TRAIN else self.cell / "speed" / f"{self.way}.json"

    def checkpoint(self, step: int) -> Path:
        """The checkpoint after so many steps."""
        return self.folder / f"checkpoint-{step}"

    def renders(self, key: str) -> Path:
        """Pictures of a render key."""
        return self.cell / _RENDERS / key

    def tracking(self, key: str) -> Path:
        """Test frames' parameters that were optimised for a render key."""
        return self.cell / _STAGES / "track" / key

    def scores(self, protocol: str) -> Path:
        """Scores by ``name@version``, one line per frame."""
        return self._scored(f"{protocol}.jsonl")

    def marker(self, protocol: str) -> Path:
        """What these scores were computed from."""
        return self._scored(f"{protocol}.json")

    def key_of(self, renders: Path) -> str:
        """The render key whose pictures, or tracked parameters, lie in a folder."""
        places = (self.cell / _RENDERS, self.cell / _STAGES / "track")
        return next(renders.relative_to(place).as_posix() for place in places if renders.is_relative_to(place))

    def protocol_key(self, folder: Path) -> str:
        """The render key of pictures, or of tracked parameters, as protocols and scores name it: of ``train``, which
        stands for the instance that is asked for."""
        return f"{TRAIN}{folder.name.removeprefix(str(self.way.last))}"

    def render_folders(self) -> list[Path]:
        """Folders that hold, or are to hold, pictures of this instance, in order of their names."""
        beside = (self.cell / _RENDERS / str(self.way)).parent
        return sorted(path for path in beside.glob(f"{self.way.last}-*") if path.is_dir())

    def score_files(self, suffix: str = "jsonl") -> list[Path]:
        """Files of this instance's scores, or with suffix json their markers, in order of their names."""
        return sorted(self.scores("any@1").parent.glob(f"*.{suffix}"))

    def tracking_folders(self) -> list[Path]:
        """Folders with parameters that were optimised for this instance's render keys, in order of their names."""
        beside = (self.cell / _STAGES / "track" / str(self.way)).parent
        return sorted(path for path in beside.glob(f"{self.way.last}-*") if path.is_dir())

    def shown(self, path: Path) -> str:
        """A place of the cell as messages name it: from the cell's folder on."""
        return path.relative_to(self.cell).as_posix()

    def _scored(self, name: str) -> Path:
        below = self.cell / _SCORES
        return below / name if self.way == TRAIN else below / str(self.way) / name


@dataclass(frozen=True)
class CellFolder:
    """A cell's folder.

    Args:
        path: where it lies.
    """

    path: Path

    def stage(self, way: Way = TRAIN) -> StagePaths:
        """Places of a stage instance."""
        return StagePaths(self.path, way)

    @property
    def log(self) -> Path:
        """All that the cell's processes printed, one after the other."""
        return self.stage().log


def refuse_links(folder: Path, home: Path | None = None) -> None:
    """Refuse a run's folder, or one in it, with links that lead out: whoever writes there would write elsewhere.

    A folder that was received may hold any link. What a method keeps in its scratch folder is its own business.

    Args:
        folder: all of it is looked at; one that is missing has no links.
        home: the folder that links may lead into; `folder` without it, which may be a link itself, since the user
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
        except OSError:  # missing, or told by whoever writes there
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
