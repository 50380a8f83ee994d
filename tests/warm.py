"""Compiles the CPU rasterizer's kernels into numba's cache, before several workers would each do it at once.

`pytest -n` runs it as two programs at once, each for half of the kernels, where the cache beside the kernels is older
than they are, or is not there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

KERNELS = ("kernels", "kernels_project", "kernels_triangles")
"""Modules of `harness/splat` whose functions numba compiles."""
HALVES = ("projecting", "blending")
"""Programs, by what they compile."""


def is_warm(folder: Path) -> bool:
    """Return whether every module of kernels in a folder has compiled functions that are newer, in its `__pycache__`.

    A cache that numba keeps elsewhere is not looked for: then the programs find everything compiled, and end.
    """
    for name in KERNELS:
        written = (folder / f"{name}.py").stat().st_mtime
        compiled = [path.stat().st_mtime for path in (folder / "__pycache__").glob(f"{name}.*.nbi")]
        if not compiled or max(compiled) < written:
            return False
    return True


def has_workers(config: object) -> bool:
    """Return whether this process starts workers and runs no test itself."""
    return bool(getattr(config.option, "numprocesses", None))  # type: ignore[attr-defined]


def before_workers() -> None:
    """Compile the kernels where they are not compiled."""
    if not is_warm(Path(__file__).parents[1] / "harness" / "splat"):
        programs = [subprocess.Popen([sys.executable, "-P", __file__, half]) for half in HALVES]
        for program in programs:
            program.wait()


def main(half: str) -> None:
    """Rasterize a Gaussian and take the gradient, where what the other half compiles is left out; or triangles, too.

    Args:
        half: one of `HALVES`.
    """
    import numpy as np
    import torch

    from headbench.harness.splat import fill_triangles, kernels, kernels_project, make_rasterizer, nearest_triangles
    from headbench.harness.types import Camera, Gaussians

    if half == "projecting":
        left_out: dict[str, Any] = {
            "bin_tiles": lambda *_: (np.zeros(2, np.int64), np.zeros(0, np.int64)),
            "blend": lambda *_: None,
            "blend_backward": lambda *_: None,
            "gather_pairs": lambda pairs, ids, count: np.zeros((count, kernels.GRADIENTS), np.float32),
        }
        vars(kernels).update(left_out)
        corners, faces = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]]), np.array([[0, 1, 2]])
        fill_triangles(corners, faces, width=4, height=4)
        nearest_triangles(corners, np.ones(3), faces, width=4, height=4)
    else:
        # Columns below 0 are of a Gaussian that is not visible.
        vars(kernels_project).update(project=lambda *given: given[-2].fill(-1), project_backward=lambda *_: None)
    one, row = torch.ones(1, 1), torch.ones(1, 1, 3, requires_grad=True)
    gaussians = Gaussians(0.01 * row, torch.ones(1, 1, 4), 0.1 * row, 0.5 * one, row)
    w2c = torch.eye(4)[None].clone()
    w2c[:, 2, 3] = 1.0
    camera = Camera(w2c, torch.tensor([[[20.0, 0.0, 8.0], [0.0, 20.0, 8.0], [0.0, 0.0, 1.0]]]), 16, 16)
    make_rasterizer("numba")(gaussians, camera, torch.ones(3)).image.sum().backward()


if __name__ == "__main__":
    main(sys.argv[1])
