"""Loading of GPU kernels written in Triton, and the switch that turns each of them on or off.

Every kernel has a twin in plain torch, which computes on a CPU, where triton is missing, and where the kernel is off.
``HEADBENCH_KERNELS`` in the environment says otherwise than the defaults: ``0`` turns all kernels off, and a list such
as ``-pooling,+adam`` turns some off and others on.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from typing import Any

import torch

from headbench.harness.errors import BenchError, did_you_mean

__all__ = ["KERNELS", "SWITCH", "chosen", "kernels", "make_current", "switched_on"]

SWITCH = "HEADBENCH_KERNELS"
"""Environment variable that turns kernels on and off."""

KERNELS = {
    "activation": ("blocks.activation_kernels", True),
    "adam": ("train.adam_kernels", True),
    "binding": ("blocks.binding_kernels", True),
    "block": ("image.block_kernels", True),
    "cloud": ("blocks.cloud_kernels", True),
    "compose": ("image.compose_kernels", True),
    "dense": ("blocks.dense_kernels", False),
    "descent": ("blocks.descent_kernels", True),
    "features": ("image.feature_kernels", True),
    "frames": ("head.frames_kernels", True),
    "lpips": ("image.lpips_kernels", True),
    "offsets": ("blocks.offset_kernels", True),
    "phong": ("blocks.phong_kernels", True),
    "photometric": ("image.photometric_kernels", True),
    "pooling": ("image.pooling_kernels", True),
    "prepare": ("image.prepare_kernels", True),
    "regularisers": ("blocks.regulariser_kernels", True),
    "skinning": ("head.skinning_kernels", True),
    "ssim": ("image.ssim_kernels", True),
}
"""Name of a kernel -> its module within the harness, and whether it is used by default."""


def kernels(name: str, device: torch.device) -> Any:
    """Import the module of a kernel, where it is to be used; None where plain torch computes.

    Triton comes with torch's CUDA builds for Linux, and with no others.

    Args:
        name: one of `KERNELS`.
        device: of the tensors. A CPU has no kernels, but for triton's interpreter (``TRITON_INTERPRET=1``), which runs
            those that `SWITCH` names with a plus: for tests.

    Raises:
        BenchError: `SWITCH` names a kernel that does not exist, on a CPU, too.
    """
    used = switched_on()
    if device.type != "cuda":
        interpreted = os.environ.get("TRITON_INTERPRET") == "1" and f"+{name}" in os.environ.get(SWITCH, "")
        return _module(KERNELS[name][0]) if interpreted and name in used else None
    make_current(device)
    return _module(KERNELS[name][0]) if name in used else None


def make_current(device: torch.device) -> None:
    """Make a GPU the calling thread's current one: our kernels and CUDA's events start there, wherever tensors are."""
    if device.type == "cuda" and device.index is not None and torch.cuda.current_device() != device.index:
        torch.cuda.set_device(device)


def switched_on() -> frozenset[str]:
    """Return the names of the kernels that `SWITCH` leaves or turns on, on whatever device.

    Raises:
        BenchError: it names a kernel that does not exist.
    """
    return chosen(os.environ.get(SWITCH, ""))


@functools.cache
def chosen(switch: str) -> frozenset[str]:
    """Return the names of the kernels that are used where `SWITCH` has this value.

    Args:
        switch: ``0``: none; else names with ``+`` or ``-``, separated by commas. Kernels that are not named have their
            default.

    Raises:
        BenchError: a name is unknown or has no sign.
    """
    if switch.strip() == "0":
        return frozenset()
    found = {name for name, (_, default) in KERNELS.items() if default}
    for word in filter(None, (part.strip() for part in switch.split(","))):
        sign, name = word[:1], word[1:]
        if sign not in ("+", "-"):
            raise BenchError(f"{SWITCH}={switch!r}: {word!r} has no sign; -{word} turns it off, +{word} on.")
        if name not in KERNELS:
            raise BenchError(f"{SWITCH}={switch!r}: {did_you_mean('kernel', name, KERNELS)}")
        found = found | {name} if sign == "+" else found - {name}
    return frozenset(found)


@functools.cache
def _module(name: str) -> Any:
    """Import a module of kernels by its place within the harness; None where triton is missing."""
    if importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module(f"headbench.harness.{name}")
