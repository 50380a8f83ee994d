"""Files of maps for people: PNGs to look at and to paint on, and exact tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from headbench.harness.files import atomic_path, make_folder, write_json
from headbench.harness.reading import Unreadable
from headbench.harness.tensors import read_metadata, read_tensors

from .png import read_png, write_png

__all__ = ["read_colour_png", "read_maps", "write_maps"]

_MEANING = {
    "colour": "RGB as rendered",
    "opacity": "logit of the opacity",
    "scaling": "natural logarithms of standard deviations in metres",
    "rotation": "quaternion (w, x, y, z) in the frame of the face, as red, green, blue, alpha",
    "offset": "share of the largest offset along the normal",
}
_FIXED = {"colour": (0.0, 1.0), "rotation": (-1.0, 1.0), "offset": (-1.0, 1.0)}
"""Values of a map that black and white stand for; those of other maps are their smallest and largest."""


def write_maps(maps: Mapping[str, Tensor], folder: Path, rows: str, bits: Literal[8, 16], head: str) -> None:
    """Write ``maps.safetensors``, a PNG per map and ``maps.json``, which says what the PNGs' values stand for.

    In the PNGs row 0 is v = 1, the top of the atlas; in the tensors rows are as the avatar has them.

    Args:
        maps: (C, S, S) by name.
        folder: is made where it is missing.
        rows: order of the tensors' rows, v_up or v_down.
        bits: per channel of the PNGs.
        head: tag and topology of the head model whose atlas the maps lie on, such as flame2020 mouth_closed.
    """
    make_folder(folder)
    largest = 2**bits - 1
    about = {}
    for name, tensor in maps.items():
        values = tensor.detach().to("cpu", torch.float64)
        low, high = _FIXED.get(name, (float(values.min()), float(values.max())))
        shown = (values.flip(1) if rows == "v_up" else values).permute(1, 2, 0).numpy()
        levels = np.rint(np.clip((shown - low) / ((high - low) or 1.0), 0, 1) * largest)
        write_png(folder / f"{name}.png", levels.astype(np.uint8 if bits == 8 else np.uint16))
        about[name] = {"file": f"{name}.png", "black": low, "white": high, "meaning": _MEANING[name]}
    with atomic_path(folder / "maps.safetensors") as part:
        host = {name: tensor.detach().cpu().contiguous() for name, tensor in maps.items()}
        # One entry: safetensors writes several in an order that differs from run to run.
        part.write_bytes(save(host, {"atlas": f"{head} {rows}"}))
    size = next(iter(maps.values())).shape[-1]
    whole = {"size": size, "bits": bits, "first_row": "v = 1", "rows": rows, "head": head, "maps": about}
    write_json(folder / "maps.json", whole)


def read_colour_png(path: Path, size: int) -> tuple[Tensor, int]:
    """Read colours that a person changed in an image editor.

    Args:
        path: PNG of 8 or 16 bits per channel, RGB, or RGBA that is opaque everywhere; row 0 is v = 1.
        size: texels along a side that it must have.

    Returns:
        (colours (3, S, S) in [0, 1], whose row 0 is v = 0; the largest level of its channels, 255 or 65535).

    Raises:
        Unreadable: it is no such PNG.
    """
    pixels = read_png(path)
    height, width, channels = pixels.shape
    if (width, height) != (size, size):
        raise Unreadable(
            path,
            f"expected {size} x {size} pixels as the avatar's colour map has, found {width} x {height}",
            f"resize it to {size} x {size}",
        )
    largest = 255 if pixels.dtype == np.uint8 else 65535
    if channels == 4 and bool((pixels[..., 3] < largest).any()):
        raise Unreadable(
            path,
            "expected a picture that is opaque everywhere, found transparent pixels",
            "flatten the picture in the image editor; or place it as a sticker",
        )
    if channels not in (3, 4):
        raise Unreadable(path, f"expected red, green and blue, found {channels} channels", "save it as RGB")
    found = torch.from_numpy(pixels[::-1, :, :3].astype(np.float64)) / largest
    return found.float().permute(2, 0, 1).contiguous(), largest


def read_maps(path: Path, channels: Mapping[str, int], size: int, rows: str, head: str) -> dict[str, Tensor]:
    """Read ``maps.safetensors``, such as another avatar's.

    Args:
        path: the file.
        channels: channels of each map.
        size: texels along a side that maps must have.
        rows: order of rows that is wanted; maps of the other order are turned upside down.
        head: tag and topology of the head model that the maps must be of.

    Raises:
        Unreadable: a map is missing, of another size, type or head, or has values that are not finite or out of range.
    """
    tensors = read_tensors(path)
    known, _, order = read_metadata(path).get("atlas", "").rpartition(" ")
    if known != head:
        known = known or "none that it names"
        help = f"give maps of an avatar on {head}: texels of another atlas are other places"
        raise Unreadable(path, f"expected maps of head model {head}, found those of {known}", help)
    found = {}
    for name, count in channels.items():
        tensor = tensors.get(name)
        expected = f"a map {name} of {count} x {size} x {size} numbers"
        if tensor is None:
            raise Unreadable(path, f"expected {expected}, found none of that name", "give maps.safetensors of a bake")
        if tuple(tensor.shape) != (count, size, size):
            shape = " x ".join(map(str, tensor.shape))
            raise Unreadable(path, f"expected {expected}, found {shape}", f"give maps of {size} x {size} texels")
        if not tensor.is_floating_point():
            raise Unreadable(path, f"expected {expected}, found type {str(tensor.dtype).removeprefix('torch.')}")
        if not bool(torch.isfinite(tensor).all()):
            raise Unreadable(path, f"expected {expected}, found some that are not finite")
        low, high = _FIXED.get(name, (-np.inf, np.inf))
        if name != "rotation" and not bool(((tensor >= low - 1e-6) & (tensor <= high + 1e-6)).all()):
            raise Unreadable(path, f"expected {expected} from {low:g} to {high:g}, found others")
        found[name] = tensor.float() if order == rows else tensor.float().flip(1)
    return found
