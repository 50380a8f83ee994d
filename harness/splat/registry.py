"""Registry of the rasterizers, and which of them work on this machine; back ends are imported on request."""

from __future__ import annotations

import importlib.util

import torch

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.splat.rasterizer import Rasterizer

__all__ = ["backend_report", "make_rasterizer"]

_NAMES = ("cuda", "gsplat", "numba", "torch")


def make_rasterizer(name: str = "auto", device: torch.device | str = "cpu", depth: bool = True) -> Rasterizer:
    """Return a rasterizer by its name.

    Args:
        name: gsplat, cuda, numba, torch, or auto: numba on the CPU; on a GPU cuda, our own kernels, which nvcc compiles
            at first use, or gsplat where there is no nvcc.
        device: where its tensors will be.
        depth: whether `Rendering.depth` is needed; without, a back end may leave it empty, (B, 0, H, W), to save time.

    Raises:
        BenchError: the name is unknown, the back end does not work on this device, or something it needs is missing.

    Example:
        >>> make_rasterizer(device="cpu").name, make_rasterizer("torch").name
        ('numba', 'torch')
    """
    kind = torch.device(device).type
    if name == "auto":
        name = _on_cuda() if kind == "cuda" else "numba"
    if name == "torch":
        from headbench.harness.splat.torch_backend import TorchRasterizer

        return TorchRasterizer()
    if name == "numba":
        if kind != "cpu":
            raise BenchError(
                f"The numba rasterizer works on the CPU, not on {device}.", help="use --device cpu, or gsplat on CUDA"
            )
        from headbench.harness.splat.numba_backend import NumbaRasterizer

        return NumbaRasterizer()
    if name in ("gsplat", "cuda"):
        if kind != "cuda":
            raise BenchError(
                f"The {name} rasterizer works on CUDA, not on {device}.", help="use --device cuda, or numba on the CPU"
            )
        if name == "cuda":
            from headbench.harness.splat.drawing import CudaRasterizer

            return CudaRasterizer(depth)
        from headbench.harness.splat.gsplat_backend import GsplatRasterizer

        return GsplatRasterizer(depth)
    raise BenchError(did_you_mean("rasterizer", name, (*_NAMES, "auto")))


def _on_cuda() -> str:
    """Name of the rasterizer that draws on CUDA unless another one is chosen."""
    from headbench.harness.splat.drawing.build import compiler

    return "gsplat" if compiler() is None else "cuda"


def backend_report() -> list[tuple[str, bool, str]]:
    """Return (name, usable, reason or version) of each back end, for `bench doctor`; compiles nothing, never raises.

    Example:
        >>> [name for name, usable, reason in backend_report()]
        ['gsplat', 'cuda', 'numba', 'torch']
    """
    reference = ("torch", True, f"torch {torch.__version__}; small scenes")
    return [("gsplat", *_gsplat()), ("cuda", *_cuda()), ("numba", *_numba()), reference]


def _numba() -> tuple[bool, str]:
    """Return whether the numba back end works here, and its version or the reason."""
    if importlib.util.find_spec("numba") is None:
        return False, "numba is not installed: pip install numba"
    try:
        import numba
    except Exception as error:  # a broken installation raises whatever it likes, and a report must go on
        return False, f"numba does not import: {error}"
    return True, f"numba {numba.__version__}, {numba.get_num_threads()} threads"


def _cuda() -> tuple[bool, str]:
    """Return whether our own CUDA kernels can work here, and with which compiler, or the reason."""
    from headbench.harness.splat.drawing.build import compiler, missing_for_cuda

    problem = missing_for_cuda()
    if problem is not None:
        return False, f"{problem[0]} ({problem[1]})"
    return True, f"compiled by {compiler()}"


def _gsplat() -> tuple[bool, str]:
    """Return whether the gsplat back end works here, and its version or the reason."""
    from headbench.harness.splat.gsplat_backend import missing_for_gsplat

    problem = missing_for_gsplat()
    if problem is not None:
        return False, f"{problem[0]} ({problem[1]})"
    import gsplat

    return True, f"gsplat {gsplat.__version__} on {torch.cuda.get_device_name(0)}"
