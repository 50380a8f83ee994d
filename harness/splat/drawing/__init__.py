"""Our own CUDA kernels that project and draw Gaussians: `CudaRasterizer`.

The kernels lie beside this file: `project.cuh` (from 3D to the screen and back), `shading.cuh` (colours by spherical
harmonics), `lists.cuh` (which Gaussians reach which tile), `blend.cuh` (the image) and `gradient.cuh` (the way back);
`library.cu` is what Python calls. nvcc compiles them on first use (`build.py`), and `emulation.hpp` runs the same text
on a CPU, thread by thread, which is how tests check them without a GPU.
"""

from __future__ import annotations

from headbench.harness.splat.drawing.backend import CudaRasterizer

__all__ = ["CudaRasterizer"]
