"""Rasterizers of 3D Gaussians behind one protocol: `numba` on the CPU, `gsplat` on CUDA, `torch` as the oracle."""

from headbench.harness.splat.protocol import Rasterizer
from headbench.harness.splat.registry import backend_report, make_rasterizer

__all__ = ["Rasterizer", "backend_report", "make_rasterizer"]
