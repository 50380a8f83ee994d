"""What a process computes that compiles the kernels, and one that finds them in numba's cache: the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HASHES = """
import dataclasses, hashlib, torch
from headbench.harness.splat.benchmark import head_scene
from headbench.harness.splat.numba_backend import NumbaRasterizer

gaussians, camera = head_scene(2000, 32)
# Equal scales and a turned camera: by these the gradients of quaternions and cameras were told apart.
angle = torch.tensor(0.1)
turn = torch.eye(4)
turn[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
camera = dataclasses.replace(camera, w2c=(turn @ camera.w2c).requires_grad_(), K=camera.K.clone().requires_grad_())
gaussians = dataclasses.replace(gaussians, scales=torch.full_like(gaussians.scales, 0.004))
names = ("means", "quats", "scales", "opacities", "colours")
leaves = {name: getattr(gaussians, name).clone().requires_grad_() for name in names}
rendering = NumbaRasterizer()(dataclasses.replace(gaussians, **leaves), camera, torch.ones(3))
(rendering.image.square().sum() + rendering.depth.sum()).backward()
found = {"image": rendering.image, "w2c": camera.w2c.grad, "K": camera.K.grad}
for name, tensor in (found | {name: leaf.grad for name, leaf in leaves.items()}).items():
    print(name, hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_kernels_that_are_compiled_now_and_those_of_the_cache_give_the_same_bits(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    compiles, reads = (
        subprocess.run(
            [sys.executable, "-P", "-c", HASHES], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc")), "nothing was kept"
    assert compiles.count("\n") == 8 and compiles == reads
