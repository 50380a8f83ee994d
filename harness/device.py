"""Which device work runs on."""

from __future__ import annotations

import torch

from headbench.harness.errors import BenchError

__all__ = ["device_label", "resolve_device"]


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA where a device is usable, otherwise the CPU.

    Raises:
        BenchError: CUDA was asked for by name and there is none, or the name is unknown.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BenchError(f"Unknown device {name!r}; expected auto, cpu, cuda or cuda:K.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BenchError("Device cuda was asked for, but torch finds no usable NVIDIA GPU.", help="bench doctor")
        return torch.device("cuda", device.index or 0)
    if device.type != "cpu":
        raise BenchError(f"Device {name!r} is not supported; expected auto, cpu, cuda or cuda:K.")
    return device


def device_label(device: torch.device) -> str:
    """What tables show: the GPU's name, or CPU with its thread count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({torch.get_num_threads()} threads)"
