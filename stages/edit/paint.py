"""Applying a stack of edits to maps: entries in order, on float colours before anything is quantised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.reading import Unreadable
from headbench.harness.tensors import read_tensors
from headbench.stages.bake.maps import Maps
from headbench.stages.bake.pictures import read_colour_png
from headbench.stages.edit.canvas import Canvas, luma
from headbench.stages.edit.entries import ColourMap, Frame, Network, Rectangle, Region, Sticker, Style, Swap, Wash
from headbench.stages.edit.network import run_network
from headbench.stages.edit.pictures import read_sticker, read_style
from headbench.stages.edit.placement import Placed, in_rectangle, in_view, on_region, sampled
from headbench.stages.edit.stack import Stack
from headbench.stages.edit.style import stylised
from headbench.stages.edit.views import camera_of, params_of

__all__ = ["apply", "check"]

Report = Callable[[str, int, int], None]
"""Called with what is done, the step and the number of steps."""
_BLENDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "multiply": lambda below, above: below * above,
    "screen": lambda below, above: 1 - (1 - below) * (1 - above),
}


def apply(stack: Stack, maps: Maps, canvas: Canvas, report: Report | None = None) -> Maps:
    """Maps with all edits of a stack applied in order; those given where the stack is empty.

    Texels that no edit reaches keep their bits.

    Args:
        stack: the edits.
        maps: of the baked avatar.
        canvas: of the same avatar.
        report: is called with what is done.

    Raises:
        BenchError: an edit does not fit this head; the message names it.
    """
    if not stack.entries:
        return maps
    colour = maps.colour.flatten(1)
    for number, entry in enumerate(stack.entries, start=1):
        try:
            colour = _PAINTERS[entry.kind](entry, colour, canvas, stack, report or _silent)
        except BenchError as error:
            raise _named(error, number, entry) from error
    return replace(maps, colour=colour.view_as(maps.colour))


def check(stack: Stack, canvas: Canvas) -> None:
    """Refuse a stack of edits that cannot be applied, without the slow part of it.

    Args:
        stack: the edits.
        canvas: of the avatar.

    Raises:
        BenchError: an edit does not fit this head, or a file is not as it should be; the message names the edit.
    """
    grey = torch.full((3, canvas.size**2), 0.5, device=canvas.head.base.device)
    for number, entry in enumerate(stack.entries, start=1):
        try:
            if isinstance(entry, Style):
                from headbench.harness.image import load_network

                load_network("vgg16")
                read_style(stack.file(entry.picture))
                canvas.weight(entry.region, entry.feather)
            else:
                _PAINTERS[entry.kind](entry, grey, canvas, stack, _silent)
        except BenchError as error:
            raise _named(error, number, entry) from error


def _named(error: BenchError, number: int, entry: Any) -> BenchError:
    """The same error with the edit's number before it."""
    text = str(error.args[0])
    return BenchError(f"edit {number} ({entry.kind.replace('_', ' ')}): {text}", error.help)


def _silent(what: str, step: int, steps: int) -> None:
    """Report nothing."""


def _sticker(entry: Sticker, colour: Tensor, canvas: Canvas, stack: Stack, report: Report) -> Tensor:
    picture = read_sticker(stack.file(entry.picture))
    above, cover = sampled(picture, _placed(entry.place, canvas, picture.shape[2] / picture.shape[1]), canvas.size)
    if not bool(cover.any()):
        size = f"{canvas.size} x {canvas.size}"
        raise BenchError(
            f"no texel of the maps ({size}) lies where the sticker shows.", "place it larger, or elsewhere"
        )
    above, cover = above * entry.opacity, cover * entry.opacity
    if entry.blend != "normal":
        above = _BLENDS[entry.blend](colour, above / cover.clamp_min(1e-6)) * cover
    return above + (1 - cover) * colour


def _placed(place: Rectangle | Region | Frame, canvas: Canvas, aspect: float) -> Placed:
    """Place a picture of an aspect (width over height) on the texels."""
    if isinstance(place, Rectangle):
        return in_rectangle(canvas, place.box, place.rows)
    if isinstance(place, Region):
        return on_region(canvas, place.region, place.feather, place.fill, place.angle, aspect)
    params, camera = params_of(place.params), camera_of(place.camera)
    if params.head != canvas.head.tag:
        raise BenchError(
            f"frame {place.frame} was tracked with head model {params.head}, this avatar is of {canvas.head.tag}.",
            help="project the sticker from a frame of this avatar's own data, or place it on a region",
        )
    return in_view(canvas, params, camera, place.at, place.size, place.angle, aspect)


def _wash(entry: Wash, colour: Tensor, canvas: Canvas, stack: Stack, report: Report) -> Tensor:
    weight = canvas.weight(entry.region, entry.feather)
    light = luma(colour)
    inside = weight * canvas.texels.charted
    mean = (light[0] * inside).sum() / inside.sum().clamp_min(1e-6)
    shaded = colour.new_tensor(entry.colour)[:, None] * (light / mean.clamp_min(1e-3))
    return _mixed(colour, shaded.clamp(0, 1), weight * entry.opacity)


def _style(entry: Style, colour: Tensor, canvas: Canvas, stack: Stack, report: Report) -> Tensor:
    weight = canvas.weight(entry.region, entry.feather)
    picture = read_style(stack.file(entry.picture))
    area = weight * canvas.texels.charted
    found = stylised(colour.view(3, canvas.size, -1), area.view(canvas.size, -1), picture, entry, report).flatten(1)
    found = found[:, canvas.texels.nearest]  # gutters hold what charts do, or seams would show
    return _mixed(colour, _lit(found, colour, entry.keep_luminance), weight * entry.opacity)


def _network(entry: Network, colour: Tensor, canvas: Canvas, stack: Stack, report: Report) -> Tensor:
    weight = canvas.weight(entry.region, entry.feather)
    found = run_network(stack.file(entry.file), colour.view(3, canvas.size, -1), entry).flatten(1)
    return _mixed(colour, _lit(found, colour, entry.keep_luminance), weight * entry.opacity)


def _swap(entry: Swap, colour: Tensor, canvas: Canvas, stack: Stack, report: Report) -> Tensor:
    path = stack.file(entry.file)
    if entry.layout != canvas.layout:
        raise BenchError(
            f"{entry.name or entry.file} is of a head with another topology or other texture coordinates than this "
            f"one ({canvas.head.tag}, {canvas.head.topology}).",
            help="swap colours between avatars that were baked from the same head model and topology",
        )
    other = read_tensors(path).get("colour")
    if other is None or other.ndim != 3 or other.shape[0] != 3 or other.shape[1] != other.shape[2]:
        found = "no such tensor" if other is None else f"one of shape {tuple(other.shape)}"
        raise BenchError(f"{path}: expected a tensor colour of shape (3, S, S), found {found}.", "swap it again")
    other = other.float()
    if not bool(((other >= 0) & (other <= 1)).all()):
        raise BenchError(f"{path}: expected colours from 0 to 1, found others.", "swap it again")
    if other.shape[1] != canvas.size:  # corner texels lie on corner texels
        size = (canvas.size, canvas.size)
        other = torch.nn.functional.interpolate(other[None], size, mode="bilinear", align_corners=True)[0]
    other = other if canvas.v_up else other.flip(1)
    return _mixed(
        colour, other.to(colour.device).flatten(1), canvas.weight(entry.region, entry.feather) * entry.opacity
    )


def _colour_map(entry: ColourMap, colour: Tensor, canvas: Canvas, stack: Stack, report: Report) -> Tensor:
    path = stack.file(entry.picture)
    found, levels = read_colour_png(path, canvas.size)
    if levels > 255 and float(found.max()) * levels <= 255:
        raise Unreadable(
            path,
            f"expected levels from 0 to {levels} in a PNG of 16 bits, found none above 255",
            "export it with its full range, or as 8 bits",
        )
    found = found if canvas.v_up else found.flip(1)
    found = found.to(colour).flatten(1)
    before, after = ((each.double().clamp(0, 1) * levels).round() for each in (colour, found))
    same = (before == after).all(0, keepdim=True)
    # People paint charts and not their gutters, which follow.
    nearest = canvas.texels.nearest
    found, same = torch.where(same, found[:, nearest], found), same & same[:, nearest]
    return torch.where(same, colour, _mixed(colour, found, torch.full_like(colour[0], entry.opacity)))


def _mixed(below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
    """Colours (3, T) of two layers by the weight (T,) of the upper one; where it is 0 the lower one keeps its bits."""
    return above * weight + (1 - weight) * below


def _lit(found: Tensor, before: Tensor, keep: bool) -> Tensor:
    """Colours `found`, with the luma of those before where it is to be kept."""
    found = found + (luma(before) - luma(found)) if keep else found
    return found.clamp(0, 1)


_PAINTERS: dict[str, Callable[..., Tensor]] = {
    "sticker": _sticker,
    "wash": _wash,
    "style": _style,
    "network": _network,
    "swap": _swap,
    "colour_map": _colour_map,
}
