"""Rasterizers of 3D Gaussians behind one protocol: `numba` on the CPU, `gsplat` on CUDA, `torch` as the oracle.

Beside them, where the triangles of a projected mesh fall.
"""

from headbench.harness.splat.rasterizer import Rasterizer
from headbench.harness.splat.registry import backend_report, make_rasterizer
from headbench.harness.splat.triangles import fill_triangles

__all__ = ["Rasterizer", "backend_report", "fill_triangles", "make_rasterizer"]
