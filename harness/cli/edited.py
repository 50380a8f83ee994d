"""What `bench edit` does with a stack: reads it, adds an entry, and makes the edited avatar in its run or outside."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.cli.edit_entries import BAKE, Baked, entry_of
from headbench.harness.cli.progress import describe
from headbench.harness.console import say
from headbench.harness.errors import BenchError
from headbench.harness.names import name_fault, quoted
from headbench.harness.way import Step, Way

if TYPE_CHECKING:
    from headbench.harness.layout import StagePaths
    from headbench.harness.session import View
    from headbench.stages.edit import Stack

__all__ = ["Work"]

_STAGE = "edit"
_EVERY = 5.0
"""Least time between two lines of progress in seconds."""
_ORBIT = 60
"""Views of an orbit, where an avatar has no data beside it."""


@dataclass
class Work:
    """A baked avatar with its stack of edits, and what was asked for."""

    baked: Baked
    """The avatar as it was baked."""
    own: Path
    """Folder of the stack."""
    stack: Stack
    options: Mapping[str, Any]
    place: StagePaths | None = None
    """The edited instance; None outside of a run."""
    seen: str | None = None
    """SHA-256 of the stack's file when it was read; None where there is none."""
    files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @classmethod
    def at(cls, path: Path, options: Mapping[str, Any]) -> Work:
        """Find the baked avatar that a checkpoint is, or was edited from, and its stack.

        Args:
            path: checkpoint, or folder of a stage.
            options: of the command line.

        Raises:
            BenchError: it is no baked avatar, or the stack cannot be read.
        """
        from headbench.harness.files import digest_of
        from headbench.harness.layout import CellFolder, stage_at
        from headbench.harness.session import find_checkpoint
        from headbench.harness.train import latest_checkpoint
        from headbench.stages.edit import NAME, Stack, read_stack

        checkpoint, label = find_checkpoint(path), options["label"]
        here = stage_at(checkpoint.absolute().parent)
        if here is None:
            out = options["out"]
            if out is None:
                raise BenchError(f"{path} is not in a run, so the edited avatar needs a place.", help="--out FOLDER")
            if label is not None:
                raise BenchError(
                    "--label names a stage instance of a run; this checkpoint is in none.", help="--out FOLDER"
                )
            stack = read_stack(out / NAME) if (out / NAME).is_file() else Stack(folder=out)
            if out.absolute().resolve() in checkpoint.absolute().resolve().parents:
                raise BenchError(
                    f"{out} holds the avatar that is edited, which would be lost.", help="name another folder"
                )
            return cls(Baked(checkpoint, options["device"]), out, stack, options)
        way = _way(here.way, label)
        place = CellFolder(here.cell).stage(way)
        known = _stack_of(place) or (_stack_of(here) if here.way.stage == _STAGE else None)
        stack = read_stack(known) if known is not None else Stack(folder=place.own)
        assert way.parent is not None
        baked = latest_checkpoint(CellFolder(here.cell).stage(way.parent).folder)
        if baked is None:
            raise BenchError(f"{way.parent} of this cell has no checkpoint.", help=BAKE)
        source = Baked(baked, options["device"], place.cell)
        return cls(source, place.own, stack, options, place, digest_of(place.own / NAME))

    def name(self) -> str:
        """What is edited, for messages."""
        return str(self.place.way) if self.place is not None else str(self.own)

    def make(self, change: Callable[[], Stack]) -> str:
        """Change the stack, check that all of it can be applied, and make the edited avatar.

        Returns:
            what was made, for people.

        Raises:
            BenchError: the stack cannot be changed so or applied, or the avatar cannot be made; the stack stays.
        """
        from headbench.harness.files import writable
        from headbench.stages.edit import canvas_of, check

        with self.files:
            if self.options["out"] is not None:
                writable(self.options["out"], folder=True)
            stack = change()
            check(stack, canvas_of(self.baked.avatar))
            text = self._outside(stack) if self.place is None else self._in_run(stack, self.place)
        count = len(stack.entries)
        return f"{self.name()}: {count} edit{'' if count == 1 else 's'}; {text}"

    def added(self, action: str) -> Stack:
        """The stack with one more entry, as the options say.

        Args:
            action: sticker, wash, style, swap or colour_map.

        Raises:
            BenchError: a file or an option does not fit.
        """
        scratch = Path(self.files.enter_context(tempfile.TemporaryDirectory()))
        return self.stack.add(*entry_of(action, self.options, self.baked, scratch))

    def _in_run(self, stack: Stack, place: StagePaths) -> str:
        """Write the stack, make the instance as `bench run` would, and show it where asked for."""
        from headbench.harness.cli.scoring import scorers
        from headbench.harness.execution import claimed
        from headbench.harness.files import digest_of
        from headbench.harness.layout import refuse_links
        from headbench.harness.plugins import registry
        from headbench.harness.run.added import add_instance
        from headbench.harness.run.cell import StageJob, run_of
        from headbench.harness.session import driven_views
        from headbench.stages.edit import NAME, EditConfig, EditStage

        refuse_links(place.cell, run_of(place.cell))
        judges = scorers(self.baked.job().protocols)
        how = {key: value for key in ("device", "rasterizer") if (value := self.options[key]) is not None}
        with claimed(place.cell):
            if digest_of(self.own / NAME) != self.seen:
                raise BenchError(f"another command changed the edits of {place.way} just now.", help="run this again")
            with self._kept(stack):
                path = stack.write(self.own, prune=False)
                networks = tuple(EditStage.networks(EditConfig(stack=path)))
                planned = StageJob(str(place.way), True, {}, "", {"stack": str(path.absolute())}, networks)
                made = add_instance(place.cell, planned, registry(), judges, _Reporter(), how)
        if self.options["out"] is None:
            return f"{made.checkpoint}"
        views = list(driven_views(made.subject.test[: self.options["limit"]]))
        return self._shown(made.checkpoint, views)

    @contextlib.contextmanager
    def _kept(self, stack: Stack) -> Iterator[None]:
        """Keep a changed stack where what is made of it succeeds, and otherwise the one before."""
        known = (self.own / "edits.json").is_file()
        try:
            yield
        except BaseException:
            if known:
                self.stack.write(self.own)
            else:
                shutil.rmtree(self.own, ignore_errors=True)
            raise
        stack.write(self.own)

    def _outside(self, stack: Stack) -> str:
        """Write the stack and the edited avatar into --out, and show it."""
        from headbench.harness.files import sha256_of
        from headbench.harness.session import orbit_views
        from headbench.harness.staged import StageRecord, write_stage
        from headbench.harness.train.checkpoint import save_checkpoint
        from headbench.harness.trained import read_state
        from headbench.stages.edit import apply, canvas_of

        out: Path = self.options["out"]
        loaded, avatar = self.baked.loaded, self.baked.avatar
        avatar.replace_maps(apply(stack, avatar.maps, canvas_of(avatar)))
        state = dataclasses.replace(read_state(self.baked.checkpoint), loader=loaded.loader)
        inputs = {"the file of option stack": sha256_of(stack.write(out))}
        write_stage(out, StageRecord(_STAGE, self.baked.loaded.loader, {}, inputs))
        made = save_checkpoint(
            out, self.baked.avatar, self.baked.loaded.identity, {}, state, keep=1, frames=self.baked.loaded.frames
        )
        return self._shown(made, list(orbit_views(self.baked.loaded, self.options["limit"] or _ORBIT)))

    def _shown(self, checkpoint: Path, views: Sequence[View]) -> str:
        """Render views into --out, and a video of them."""
        from headbench.harness.image import read_rgb
        from headbench.harness.image.video import write_video
        from headbench.harness.session import open_checkpoint

        out, options = self.options["out"], self.options
        with open_checkpoint(checkpoint, self.baked.device, options["rasterizer"] or "auto") as session:
            session.write(views, out, options["background"])
        video = out / "edited.mp4"
        write_video(video, (read_rgb(out / f"{view.name}.png") for view in views), options["fps"])
        return f"{len(views)} images and {video}"


class _Reporter:
    """Callback that says on standard error what is done, at most once in `_EVERY` seconds."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, now: Mapping[str, Any]) -> None:
        if time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            say(describe(now), err=True)


def _stack_of(place: StagePaths) -> Path | None:
    """The stack of edits of an instance: its own, or that of the file that a request made it from; None for none."""
    from headbench.stages.edit import NAME

    folders = (place.own, place.folder) if place.summary.is_file() else (place.own,)
    return next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)


def _way(here: Way, label: str | None) -> Way:
    """Name of the edited instance that a checkpoint's instance and a label mean.

    Args:
        here: instance of the checkpoint: a baked one, or an edited one.
        label: of the command line, None where it has none.

    Raises:
        BenchError: the instance is not baked, or the label is no name.
    """
    from headbench.harness.plugins import registry

    if label is not None and (fault := name_fault(label) or ("expected no colon" if ":" in label else "")):
        raise BenchError(f"--label {quoted(label)}: {fault}.", help="take a plain name, such as logo")
    if here.stage == _STAGE and here.parent is not None:
        return here if label is None else Way((*here.parent.steps, Step(_STAGE, label)))
    if here.stage not in registry().stage(_STAGE).parents:
        raise BenchError(f"{here} is no baked avatar, and colours of one are edited.", help=BAKE)
    return Way((*here.steps, Step(_STAGE, label or "")))
