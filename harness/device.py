"""The device that computes: choice of GPU or CPU, threads, determinism, and parallel branches of a CUDA graph."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

from headbench.harness.errors import BenchError
from headbench.harness.kernels import switched_on

__all__ = ["be_deterministic", "device_label", "gpu_uuid", "resolve_device", "side_by_side", "use_threads"]

_Result = TypeVar("_Result")


def resolve_device(name: str = "auto") -> torch.device:
    """Return the torch device of a name: auto, cpu, cuda or cuda:K; auto is CUDA where a GPU is usable, else the CPU.

    Raises:
        BenchError: CUDA was asked for by name and there is none, or the name is unknown; or the switch of the GPU
            kernels names one that does not exist, which would otherwise show in the middle of the work.
    """
    switched_on()
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BenchError(f"Unknown device {name!r}; expected auto, cpu, cuda or cuda:K.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BenchError("Device cuda was asked for, but torch finds no usable NVIDIA GPU.", help="bench doctor")
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            has = ", ".join(f"cuda:{index}" for index in range(count))
            raise BenchError(
                f"Device {name} was asked for; this machine has {has}.", help=f"--device {has.split(', ')[0]}"
            )
        return torch.device("cuda", device.index or 0)
    if device.type != "cpu":
        raise BenchError(f"Device {name!r} is not supported; expected auto, cpu, cuda or cuda:K.")
    return device


def be_deterministic(wanted: bool) -> None:
    """Restrict torch to deterministic algorithms, or allow all again.

    As `torch.use_deterministic_algorithms` does, which imports torch's compiler besides to tell it: a second and more
    of every program, none of which compiles.
    """
    torch.set_deterministic_debug_mode("error" if wanted else "default")


def use_threads(count: int | None, device: torch.device) -> None:
    """Set the number of CPU threads of torch, and of the rasterizer where `device` is the CPU; None changes nothing.

    The rasterizer's results are the same for any number of threads, torch's sums are not.
    """
    if count is None:
        return
    if device.type == "cpu":
        import numba

        # Before torch: numba's threads, when they start, set OpenMP's number, which torch uses too.
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def device_label(device: torch.device) -> str:
    """Return the name of a device for tables: the GPU's model, or CPU with its thread count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({torch.get_num_threads()} threads)"


def gpu_uuid(device: torch.device) -> str:
    """Return the UUID of a GPU as NVIDIA's driver writes it, such as GPU-0a1b…; empty for a CPU."""
    if device.type != "cuda":
        return ""
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"


def side_by_side(*works: Callable[[], _Result]) -> list[_Result]:
    """Run independent pieces of work and return their results in order.

    While a CUDA graph is being recorded they become parallel branches of it, so that a GPU that one of them does not
    fill runs them at the same time. Otherwise they run one after another.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        return [work() for work in works]
    here = torch.cuda.current_stream()
    sides = [_side_stream(here.device, number) for number in range(len(works) - 1)]
    for side in sides:
        side.wait_stream(here)
    results = [works[0]()]
    for side, work in zip(sides, works[1:], strict=True):
        with torch.cuda.stream(side):
            results.append(work())
    for side in sides:
        here.wait_stream(side)
    return results


@functools.cache
def _side_stream(device: torch.device, number: int) -> torch.cuda.Stream:
    """Return the CUDA stream of a branch: one per device and number, made once."""
    return torch.cuda.Stream(device)
