"""Rasterizers of 3D Gaussians behind one interface: `cuda` or `gsplat` on a GPU, `numba` on the CPU, `torch` to check.

The coverage of pixels by projected triangles, and the nearest of them, are computed here, too.
"""

from headbench.harness.splat.rasterizer import Rasterizer
from headbench.harness.splat.registry import backend_report, make_rasterizer
from headbench.harness.splat.triangles import fill_triangles, nearest_triangles

__all__ = ["Rasterizer", "backend_report", "fill_triangles", "make_rasterizer", "nearest_triangles"]
