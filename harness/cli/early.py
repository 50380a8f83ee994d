"""Makes a worker ready before its cell is known: imports what every cell needs, and starts the GPU meanwhile."""

from __future__ import annotations

import contextlib
import importlib
import threading

__all__ = ["make_ready"]

_MODULES = (
    "headbench.harness.run.stages",
    "headbench.harness.cli.scoring",
    "headbench.harness.train",
    "headbench.harness.train.stage",
    "headbench.harness.train.staging",
    "headbench.harness.session",
    "headbench.metrics.score",
    "headbench.harness.cli.truth",
)
"""Modules that every cell imports, in the order in which it does."""


def make_ready(device: str, rasterizer: str) -> None:
    """Import what cells need, and start the GPU where one is asked for; no random number is drawn.

    Args:
        device: auto, cpu, cuda or cuda:K.
        rasterizer: name of the rasterizer.

    Raises:
        BenchError: the device or the rasterizer does not work here, which the plan says, too.
    """
    from headbench.harness.device import resolve_device

    where = resolve_device(device)
    starting = threading.Thread(target=_start, args=(str(where), rasterizer), name="start-gpu", daemon=True)
    if where.type == "cuda":
        starting.start()
    for module in _MODULES:
        importlib.import_module(module)
    if where.type == "cuda":
        starting.join()
    else:
        _start(str(where), rasterizer)


def _start(device: str, rasterizer: str) -> None:
    """Load the rasterizer and, on a GPU, CUDA's context, its libraries of products and convolutions, and our kernels.

    Args:
        device: torch's name of the device.
        rasterizer: name of the rasterizer.
    """
    import torch
    from torch.nn import functional

    from headbench.harness.kernels import kernels, make_current, switched_on
    from headbench.harness.splat import make_rasterizer

    # What does not work is told where the cell needs it.
    with contextlib.suppress(Exception):
        where = torch.device(device)
        if where.type == "cuda":
            make_current(where)
            some = torch.ones((1, 4, 16, 16), device=where)
            torch.mm(some[0, 0], some[0, 0])
            functional.conv2d(some, some[:, :, :3, :3])
            torch.cuda.synchronize(where)
        make_rasterizer(rasterizer, where)
        for name in sorted(switched_on()):
            kernels(name, where)
