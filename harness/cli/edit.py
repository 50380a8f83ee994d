"""`bench edit`: edit the colours of a baked avatar, as one more entry of a stack of edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click
from click.core import ParameterSource

from headbench.harness.cli.options import FiniteRange, NotEmpty, Place, background_option
from headbench.harness.console import say
from headbench.harness.errors import BenchError

__all__ = ["edit"]

_MAKES = ("sticker", "wash", "style", "swap", "colour_map")
_CHANGES = ("undo", "reorder", "list_")
_SHOWS = {"label", "out", "limit", "fps", "background", "device", "rasterizer", "checkpoint"}
_USES: dict[str, set[str]] = {
    "sticker": {"rect", "rows", "region", "fill", "angle", "feather", "from_frame", "at", "size", "blend", "opacity"},
    "wash": {"region", "feather", "opacity"},
    "style": {"region", "feather", "opacity", "keep_luminance", "steps", "rate", "content", "seed", "input_"},
    "swap": {"region", "feather", "opacity"},
    "colour_map": {"opacity"},
}
"""Kind of edit -> further options that it reads."""
_PLACES = {
    "rect": {"rect", "rows"},
    "region": {"region", "fill", "angle", "feather"},
    "from_frame": {"from_frame", "at", "size", "angle"},
}
"""Option that places a sticker -> options that belong to the place."""


@click.command()
@click.argument("checkpoint", type=Place(exists=True))
@click.option("--sticker", type=Place(exists=True, dir_okay=False), help="Lay a picture with alpha on the head.")
@click.option("--wash", type=NotEmpty(), help="Wash a region with a colour, #rrggbb; light and dark stay.")
@click.option(
    "--style",
    type=Place(exists=True, dir_okay=False),
    help="Take the style of a picture, or of a network (.t7, .onnx).",
)
@click.option("--swap", type=Place(exists=True), help="Take the colours of another baked avatar.")
@click.option(
    "--colour-map", type=Place(exists=True, dir_okay=False), help="Put back a colour map that you changed, as PNG."
)
@click.option("--undo", is_flag=False, flag_value="last", help="Take back the last edit, or the one of a number.")
@click.option("--reorder", type=NotEmpty(), help="Numbers of all edits in their new order, such as 2,1,3.")
@click.option("--list", "list_", is_flag=True, help="List the edits, and change nothing.")
@click.option("--region", type=NotEmpty(), help="Region of the head: forehead, left_cheek, face, hair, all ...")
@click.option("--rect", help="Rectangle of the atlas for a sticker: u0,v0,u1,v1, v up.")
@click.option(
    "--rows",
    type=click.Choice(["v_down", "v_up"]),
    default="v_down",
    show_default=True,
    help="Edge of --rect at which the sticker's first row lies: the upper, or the lower one as in FATE's editor.",
)
@click.option("--from-frame", type=NotEmpty(), help="Project the sticker from the view of a frame, by its id.")
@click.option("--at", help="Middle of the projected sticker in that frame's picture, x,y in pixels.")
@click.option("--size", type=FiniteRange(min=0, min_open=True), help="Width of the projected sticker in pixels.")
@click.option("--fill", default=0.8, show_default=True, type=FiniteRange(0, 4), help="Share of the region to fill.")
@click.option("--angle", default=0.0, show_default=True, type=FiniteRange(), help="Turn of the sticker in degrees.")
@click.option("--feather", type=FiniteRange(0, 200), help="Width of the region's soft edge in millimetres.")
@click.option("--blend", type=click.Choice(["normal", "multiply", "screen"]), default="normal", show_default=True)
@click.option("--opacity", default=1.0, show_default=True, type=FiniteRange(0, 1), help="How much of the edit shows.")
@click.option("--keep-luminance", is_flag=True, help="Let a style change hue and saturation alone.")
@click.option(
    "--steps", default=200, show_default=True, type=click.IntRange(1, 5000), help="Steps of a picture's style."
)
@click.option("--rate", default=0.05, show_default=True, type=FiniteRange(0, 1, min_open=True), help="Adam's rate.")
@click.option("--content", default=0.2, show_default=True, type=FiniteRange(0, 1e6), help="Weight of what was there.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Seed of a style's noise."
)
@click.option(
    "--input",
    "input_",
    type=click.Choice(["bgr", "rgb", "official"]),
    help="What a network gets: bgr less means (for .t7), rgb (for .onnx), or as FATE's editor.",
)
@click.option("--label", type=NotEmpty(), help="Name of the stack: the instance is train/bake/edit:LABEL.")
@click.option("--out", type=Place(), help="Folder for PNGs and an mp4 of the test sequence.")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of frames in --out.")
@click.option("--fps", default=25, show_default=True, type=click.IntRange(min=1), help="Frames per second of the mp4.")
@background_option()
@click.option("--device", help="auto, cpu, cuda or cuda:K; the run's without it.")
@click.option("--rasterizer", help="auto, gsplat, cuda, numba or torch; the run's without it.")
def edit(checkpoint: Path, **options: Any) -> None:
    """Edit the colours of CHECKPOINT, a baked avatar or one edited before.

    One command adds one edit to a stack, or takes one back, or reorders them. Edits are applied in order to the maps
    as they were baked, so nothing is lost. In a run the result is a stage instance beside its parent, which
    `bench run`, `score`, `report`, `verify` and `render` know; outside of a run everything is written to --out.
    """
    from headbench.harness.cli.edited import Work

    action = _action(options)
    work = Work.at(checkpoint, options)
    if action == "list_":
        lines = work.stack.lines()
        say("\n".join(lines) if lines else f"{work.name()}: no edits")
        return
    if action == "undo":
        number = None if options["undo"] == "last" else _number(options["undo"])
        say(work.make(lambda: work.stack.without(number)))
    elif action == "reorder":
        order = [_number(part) for part in options["reorder"].split(",")]
        say(work.make(lambda: work.stack.reordered(order)))
    else:
        say(work.make(lambda: work.added(action)))


def _action(options: dict[str, Any]) -> str:
    """Return what a command line asks for: one of the edits, or undo, reorder, list_.

    Raises:
        BenchError: it asks for none or several, or has options that belong to another.
    """
    chosen = [name for name in (*_MAKES, *_CHANGES) if options[name]]
    if len(chosen) != 1:
        names = ", ".join(f"--{name.strip('_').replace('_', '-')}" for name in (*_MAKES, *_CHANGES))
        found = " and ".join(f"--{name.strip('_').replace('_', '-')}" for name in chosen) or "none"
        raise BenchError(f"expected one of {names}, found {found}.", help="bench edit --help")
    action = chosen[0]
    allowed = {action, *_SHOWS, *_USES.get(action, set())}
    needed = ""
    if action == "sticker":
        places = [name for name in _PLACES if options[name] is not None]
        if len(places) != 1:
            found = " and ".join(f"--{name.replace('_', '-')}" for name in places) or "none"
            raise BenchError(f"a sticker has one place: --region, --rect or --from-frame, found {found}.")
        allowed -= set().union(*_PLACES.values()) - _PLACES[places[0]]
        needed = next((name for name in ("at", "size") if places == ["from_frame"] and options[name] is None), "")
    if action == "wash" and options["region"] is None:
        needed = "region"
    if needed:
        raise BenchError(f"--{action.replace('_', '-')} here also needs --{needed}.", help="bench edit --help")
    context: Any = click.get_current_context()
    given = ParameterSource.COMMANDLINE
    strange = [name for name in options if context.get_parameter_source(name) is given and name not in allowed]
    if strange:
        name = f"--{strange[0].strip('_').replace('_', '-')}"
        raise BenchError(f"{name} does not go with --{action.strip('_').replace('_', '-')}.", help="bench edit --help")
    return action


def _number(text: str) -> int:
    """The number of an edit.

    Raises:
        BenchError: it is none.
    """
    if not text.strip().isdecimal() or len(text) > 9:
        raise BenchError(f"expected the number of an edit, found {text!r}.", help="bench edit CKPT --list")
    return int(text)
