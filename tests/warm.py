"""Compiles the CPU rasterizer's kernels into numba's cache, before several workers would each do it at once.

`pytest -n` runs it as a program where the cache beside the kernels is older than they are, or is not there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KERNELS = ("kernels", "kernels_project", "kernels_triangles")
"""Modules of `harness/splat` whose functions numba compiles."""


def is_warm(folder: Path) -> bool:
    """Return whether every module of kernels in a folder has compiled functions that are newer, in its `__pycache__`.

    A cache that numba keeps elsewhere is not looked for: then the program finds everything compiled, and ends.
    """
    for name in KERNELS:
        written = (folder / f"{name}.py").stat().st_mtime
        compiled = [path.stat().st_mtime for path in (folder / "__pycache__").glob(f"{name}.*.nbi")]
        if not compiled or max(compiled) < written:
            return False
    return True


def before_workers(config: object) -> None:
    """Compile the kernels where pytest is about to start workers and they are not compiled."""
    workers = getattr(config.option, "numprocesses", None)  # type: ignore[attr-defined]
    if workers and not is_warm(Path(__file__).parents[1] / "harness" / "splat"):
        subprocess.run([sys.executable, "-P", __file__], check=False)


def main() -> None:
    """Rasterize a Gaussian and a triangle, and take the gradient."""
    import numpy as np
    import torch

    from headbench.harness.splat import fill_triangles, make_rasterizer
    from headbench.harness.types import Camera, Gaussians

    one, row = torch.ones(1, 1), torch.ones(1, 1, 3, requires_grad=True)
    gaussians = Gaussians(0.01 * row, torch.ones(1, 1, 4), 0.1 * row, 0.5 * one, row)
    w2c = torch.eye(4)[None].clone()
    w2c[:, 2, 3] = 1.0
    camera = Camera(w2c, torch.tensor([[[20.0, 0.0, 8.0], [0.0, 20.0, 8.0], [0.0, 0.0, 1.0]]]), 16, 16)
    make_rasterizer("numba")(gaussians, camera, torch.ones(3)).image.sum().backward()
    fill_triangles(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]]), np.array([[0, 1, 2]]), width=4, height=4)


if __name__ == "__main__":
    main()
