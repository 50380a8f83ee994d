"""The CUDA rasterizer: gsplat's kernels, called one by one to skip what its wrapper does besides.

gsplat is imported on first use, since that may compile its kernels for minutes. It reads one number back from the
device in each forward pass, the count of (tile, Gaussian) pairs; nothing here waits for the device besides.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.splat.project import upstream_radii
from headbench.harness.splat.protocol import GSPLAT_ALPHA_MAX, LOW_PASS, NEAR, ScreenGradients, unpack
from headbench.harness.splat.sh import camera_centres
from headbench.harness.types import Camera, Gaussians, Splat

__all__ = ["GsplatRasterizer", "missing_for_gsplat"]

_TILE = 16


def missing_for_gsplat() -> tuple[str, str] | None:
    """(what is missing, what helps), or None where gsplat can be imported and has a toolkit to compile with."""
    if importlib.util.find_spec("gsplat") is None:
        return "gsplat is not installed", "pip install 'headbench[cuda]'"
    if not torch.cuda.is_available():
        return "torch finds no usable NVIDIA GPU", "install a CUDA build of torch and the NVIDIA driver, or use the CPU"
    if importlib.util.find_spec("gsplat.csrc") is not None:  # a wheel with compiled kernels needs no toolkit
        return None
    from torch.utils.cpp_extension import CUDA_HOME

    if CUDA_HOME is None:
        return (
            "gsplat compiles its kernels on first use and there is no CUDA toolkit (nvcc)",
            "install the toolkit of torch's CUDA version and set CUDA_HOME",
        )
    return None


class GsplatRasterizer:
    """The `gsplat` back end; see `Rasterizer`. Float32 on CUDA.

    Gradients reach Gaussians, background and the camera's w2c. gsplat has none for K: a K that asks for one is an
    error. Its coverage clamp is 0.999, not 0.99, and depth is drawn as a fourth channel in the same pass.

    Args:
        depth: False leaves the depth channel out; `Splat.depth` is then empty, (B, 0, H, W), so that nothing can
            mistake it for a depth.

    Raises:
        BenchError: gsplat, a GPU or the toolkit is missing.
    """

    name = "gsplat"
    alpha_max = GSPLAT_ALPHA_MAX

    def __init__(self, depth: bool = True) -> None:
        problem = missing_for_gsplat()
        if problem is not None:
            raise BenchError(f"The gsplat rasterizer cannot be used here: {problem[0]}.", help=problem[1])
        self.depth = depth
        self._ops = _import_ops()

    def __call__(
        self, gaussians: Gaussians, camera: Camera, background: Tensor, absolute_gradient: bool = False
    ) -> Splat:
        if gaussians.means.device.type != "cuda":
            raise ValueError(f"the gsplat rasterizer needs tensors on cuda, got {gaussians.means.device}")
        if camera.K.requires_grad:
            raise ValueError("gsplat gives no gradient for camera.K: detach it, or use the numba or torch rasterizer")
        scene = unpack(gaussians, camera, background)
        batch, count = scene.opacities.shape
        width, height = camera.width, camera.height
        screen = ScreenGradients(width, height, absolute_gradient)
        if count == 0:
            return _empty(scene.background, batch, width, height, self.depth, screen)

        # gsplat's batch holds Gaussians with C cameras each; here it is B with one, and C = 1 is squeezed away again.
        radii, means2d, depths, conics, _ = self._ops.fully_fused_projection(
            scene.means,
            None,
            scene.quats,
            scene.scales,
            camera.w2c[:, None],
            camera.K[:, None],
            width,
            height,
            eps2d=LOW_PASS,
            near_plane=NEAR,
            opacities=scene.opacities,
        )
        radii, means2d, depths, conics = radii[:, 0], means2d[:, 0], depths[:, 0], conics[:, 0]
        visible = (radii > 0).all(-1)
        # Rows that are culled are never written by the kernel and may hold anything, NaN too.
        depths = torch.where(visible, depths, 0.0)

        colours = self._colours(gaussians.sh_degree, scene.means, scene.colours, camera.w2c)
        backdrop = scene.background
        if self.depth:
            colours = torch.cat([colours, depths[..., None]], -1)
            backdrop = torch.cat([backdrop, torch.zeros_like(backdrop[:, :1])], -1)
        if means2d.requires_grad:
            means2d = means2d.contiguous()  # the very tensor whose `absgrad` gsplat fills
            means2d.register_hook(lambda g: screen.fill(g, getattr(means2d, "absgrad", None)))

        tiles_x, tiles_y = -(-width // _TILE), -(-height // _TILE)
        with torch.no_grad():
            _, pairs, ids = self._ops.isect_tiles(means2d, radii, depths, _TILE, tiles_x, tiles_y)
            offsets = self._ops.isect_offset_encode(pairs, batch, tiles_x, tiles_y)
        drawn, alpha = self._ops.rasterize_to_pixels(
            means2d,
            conics,
            colours,
            scene.opacities,
            width,
            height,
            _TILE,
            offsets,
            ids,
            backgrounds=backdrop,
            absgrad=absolute_gradient,
        )
        planes = drawn.permute(0, 3, 1, 2)
        with torch.no_grad():
            marks = upstream_radii(conics, visible)
        return Splat(
            image=planes[:, :3], alpha=alpha.permute(0, 3, 1, 2), depth=planes[:, 3:], radii=marks, screen=screen
        )

    def _colours(self, degree: int | None, means: Tensor, colours: Tensor, w2c: Tensor) -> Tensor:
        """RGB (B, N, 3) of RGB or of spherical-harmonics coefficients (B, N, K, 3)."""
        if degree is None:
            return colours
        directions = means - camera_centres(w2c)[:, None]
        return (self._ops.spherical_harmonics(degree, directions, colours) + 0.5).clamp_min(0.0)


def _import_ops() -> Any:
    """gsplat's functions.

    Raises:
        BenchError: its kernels did not load; chained to the reason.
    """
    try:
        import gsplat
        from gsplat.cuda._backend import _C
    except Exception as error:  # a failed compilation raises whatever the compiler's caller likes
        raise BenchError(
            f"gsplat's CUDA kernels did not load: {error}", help="VERBOSE=1 python -c 'import gsplat.cuda._backend'"
        ) from error
    if _C is None:
        raise BenchError("gsplat was installed without CUDA kernels.", help="set CUDA_HOME and reinstall gsplat")
    return gsplat


def _empty(background: Tensor, batch: int, width: int, height: int, with_depth: bool, screen: ScreenGradients) -> Splat:
    """What no Gaussians look like: the background."""
    nothing = background.new_zeros(batch, 0, 2)
    screen.fill(nothing, nothing)
    return Splat(
        image=background[:, :, None, None].expand(-1, -1, height, width),
        alpha=background.new_zeros(batch, 1, height, width),
        depth=background.new_zeros(batch, int(with_depth), height, width),
        radii=background.new_zeros(batch, 0),
        screen=screen,
    )
