"""Bringing files of the user's into a stack, where their SHA-256 is their name."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path, sha256_of
from headbench.harness.pictures import picture_header
from headbench.stages.edit.network import OFFICIAL

__all__ = ["INPUTS", "colour_of", "is_network", "kept_as", "of_colour", "of_numbers", "picture_as"]

_NETWORKS = (".t7", ".onnx")
INPUTS: dict[str, dict[str, object]] = {
    "official": OFFICIAL,
    "bgr": {"order": "bgr"},
    "rgb": {"order": "rgb", "means": (0.0, 0.0, 0.0)},
}
"""What a network gets -> options of its entry. bgr: levels from 0 to 255 less the means of ImageNet, as Torch7's models
of fast neural style take them; rgb: levels as they are, as their ONNX exports do; official: as FATE's editor does."""


def is_network(path: Path) -> bool:
    """Whether a file of a style is a network by its name, and not a picture."""
    return path.suffix.lower() in _NETWORKS


def picture_as(path: Path) -> str:
    """Name of a PNG or JPEG file in a stack.

    Raises:
        Unreadable: it is neither.
    """
    picture_header(path)
    with path.open("rb") as file:
        suffix = "png" if file.read(4) == b"\x89PNG" else "jpg"
    return f"{sha256_of(path)}.{suffix}"


def kept_as(path: Path) -> str:
    """Name of a network's file in a stack."""
    return f"{sha256_of(path)}{path.suffix.lower()}"


def colour_of(colour: Tensor, v_up: bool, folder: Path) -> tuple[str, Path]:
    """Write the colours of a baked avatar into a folder, for a stack: (name, path).

    Args:
        colour: (3, S, S) map.
        v_up: whether its row 0 is v = 0; the file's is.
        folder: gets the file.
    """
    kept = (colour if v_up else colour.flip(1)).detach().to("cpu", torch.float32).clamp(0, 1).contiguous()
    part = folder / "colour.safetensors"
    with atomic_path(part) as temporary:
        temporary.write_bytes(save({"colour": kept}))
    name = f"{sha256_of(part)}.safetensors"
    return name, part.rename(folder / name)


def of_numbers(text: str, count: int, option: str, form: str) -> tuple[float, ...]:
    """Numbers of a command line's option, such as 0.1,0.2.

    Args:
        text: as the user wrote it.
        count: how many numbers it takes.
        option: its name, for messages.
        form: what it looks like, for messages.

    Raises:
        BenchError: it has another form.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != count or not all(abs(each) < 1e9 for each in found):
        raise BenchError(f"{option} {text!r}: expected {form}.")
    return found


def of_colour(text: str) -> tuple[float, float, float]:
    """RGB in [0, 1] of #rrggbb or of three numbers from 0 to 1.

    Raises:
        BenchError: it has another form.
    """
    form = "#rrggbb, or three numbers from 0 to 1 such as 0.8,0.2,0.2"
    digits = text.removeprefix("#")
    if text.startswith("#"):
        if len(digits) != 6 or not set(digits.lower()) <= set("0123456789abcdef"):
            raise BenchError(f"--wash {text!r}: expected {form}.")
        red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
        return red, green, blue
    red, green, blue = of_numbers(text, 3, "--wash", form)
    if not all(0 <= each <= 1 for each in (red, green, blue)):
        raise BenchError(f"--wash {text!r}: expected {form}.")
    return red, green, blue
