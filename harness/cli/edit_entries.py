"""Entries of a stack of edits from the options of `bench edit`, and the avatar that they are made for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.names import quoted

if TYPE_CHECKING:
    from headbench.harness.run import Job
    from headbench.harness.train import LoadedPortrait
    from headbench.harness.types import Frame

__all__ = ["BAKE", "Baked", "entry_of"]

BAKE = "bake it first: the run's command with --stages train/bake"
"""Help of the errors about avatars that are not baked."""
Made = tuple[Any, dict[str, Path]]
"""An entry, and the files that it reads by their names in the stack."""


@dataclass
class Baked:
    """A baked avatar, with the data of its cell where it is in a run."""

    checkpoint: Path
    asked: str | None = None
    """Device of the command line; None for the run's."""
    cell: Path | None = None
    """Folder of its cell; None outside of a run."""

    @property
    def device(self) -> str:
        """Device to work on: auto, cpu, cuda or cuda:K."""
        return self.asked or (self.job().execution.device if self.cell is not None else "auto")

    @cached_property
    def loaded(self) -> LoadedPortrait:
        """The avatar with what rendering takes.

        Raises:
            BenchError: it is not baked.
        """
        from headbench.harness.device import resolve_device
        from headbench.harness.train import load_portrait

        found = load_portrait(self.checkpoint, str(resolve_device(self.device)))
        if not hasattr(found.portrait, "maps"):
            raise BenchError(f"{self.checkpoint} is no baked avatar: it has no maps to edit.", help=BAKE)
        return found

    @property
    def avatar(self) -> Any:
        """The avatar itself."""
        return self.loaded.portrait

    def job(self) -> Job:
        """Job of its cell."""
        from headbench.harness.run import Job

        assert self.cell is not None
        return Job.read(self.cell)

    def frame(self, name: str) -> Frame:
        """A frame of its subject by id, for training or for testing.

        Raises:
            BenchError: there is no such frame, or the avatar is in no run.
        """
        from headbench.harness.plugins import registry
        from headbench.harness.run.cell import run_of
        from headbench.harness.run.subject import read_subject

        if self.cell is None:
            raise BenchError(
                f"{self.checkpoint} is not in a run, so its frames are not known.",
                help="edit it in its run, or place the sticker on a region",
            )
        subject = read_subject(self.job(), registry(), run_of(self.cell))
        frames = {frame.id: frame for frame in (*subject.train, *subject.test)}
        if name not in frames:
            close = difflib.get_close_matches(name, frames, n=3, cutoff=0.3) or list(frames)[:3]
            raise BenchError(
                f"subject {subject.name} has no frame {quoted(name)} among its {len(frames)}.",
                help=f"name one of its frames, such as {', '.join(close)}",
            )
        return frames[name]


def entry_of(action: str, options: Mapping[str, Any], baked: Baked, scratch: Path) -> Made:
    """Make the entry that a command line asks for.

    Args:
        action: sticker, wash, style, swap or colour_map.
        options: of the command line.
        baked: the avatar.
        scratch: a folder for files that are made for the entry.

    Raises:
        BenchError: a file or an option does not fit.
    """
    from headbench.stages.edit import bring, entries

    shared: dict[str, Any] = {"opacity": options["opacity"]}
    if action != "sticker":
        shared |= {key: value for key in ("region", "feather") if (value := _given(options, key)) is not None}
    if action == "wash":
        return entries.Wash(colour=bring.of_colour(options["wash"]), **shared), {}
    path: Path = options[action]
    shared["name"] = path.name
    if action == "swap":
        return _swap(path, shared, baked, scratch)
    if action == "style" and bring.is_network(path):
        kept = bring.kept_as(path)
        asked = options["input_"] or ("bgr" if path.suffix.lower() == ".t7" else "rgb")
        how = {**bring.INPUTS[asked], "keep_luminance": options["keep_luminance"]}
        return entries.Network(file=kept, **how, **shared), {kept: path}
    kept = bring.picture_as(path)
    if action == "style":
        how = {key: options[key] for key in ("keep_luminance", "steps", "rate", "content", "seed")}
        return entries.Style(picture=kept, **how, **shared), {kept: path}
    if action == "colour_map":
        return entries.ColourMap(picture=kept, **shared), {kept: path}
    place = _place(options, baked)
    return entries.Sticker(picture=kept, place=place, blend=options["blend"], **shared), {kept: path}


def _given(options: Mapping[str, Any], name: str) -> Any:
    """An option's value in the unit of an entry; None where it was not given."""
    value = options[name]
    return value / 1000 if name == "feather" and value is not None else value


def _place(options: Mapping[str, Any], baked: Baked) -> Any:
    """Return the place of a sticker, as an entry of a stack has it."""
    from headbench.stages.edit import bring, entries, views

    if options["rect"] is not None:
        box: Any = bring.of_numbers(options["rect"], 4, "--rect", "u0,v0,u1,v1, such as 0.2,0.5,0.4,0.7")
        if not (box[0] < box[2] and box[1] < box[3]):
            raise BenchError(f"--rect {options['rect']!r}: expected u0,v0,u1,v1 with u0 < u1 and v0 < v1.")
        return entries.Rectangle(box=box, rows=options["rows"])
    if options["region"] is not None:
        feather = _given(options, "feather")
        more = {} if feather is None else {"feather": feather}
        return entries.Region(region=options["region"], fill=options["fill"], angle=options["angle"], **more)
    at: Any = bring.of_numbers(options["at"], 2, "--at", "x,y in pixels, such as 200,310")
    frame = baked.frame(options["from_frame"])
    params, camera = views.view_of(frame, baked.loaded.frames)
    view = {"params": views.plain(params), "camera": views.plain(camera)}
    return entries.Frame(frame=frame.id, at=at, size=options["size"], angle=options["angle"], **view)


def _swap(path: Path, shared: Mapping[str, Any], baked: Baked, scratch: Path) -> Made:
    """The colours of another baked avatar.

    Args:
        path: checkpoint of the other avatar, or a folder that holds one.
        shared: values of the entry that it has in common with others.
        baked: the avatar that gets them.
        scratch: gets a file with the colours.
    """
    from headbench.harness.session import find_checkpoint
    from headbench.harness.train import load_portrait
    from headbench.stages.edit import bring, canvas_of, entries

    other = load_portrait(find_checkpoint(path), str(baked.avatar.maps.colour.device))
    avatar: Any = other.portrait
    if not hasattr(avatar, "maps"):
        raise BenchError(f"{path} is no baked avatar: it has no colours to take.", help=BAKE)
    canvas = canvas_of(avatar)
    kept, file = bring.colour_of(avatar.maps.colour, canvas.v_up, scratch)
    name = other.about.get("subject", path.name)
    return entries.Swap(file=kept, layout=canvas.layout, **{**shared, "name": name}), {kept: file}
