"""The CUDA rasterizer: gsplat's kernels, called one by one to skip further work of its wrapper.

gsplat is imported on first use, since that may compile its kernels for minutes. It reads one number back from the
device in each forward pass, the count of (tile, Gaussian) pairs; nothing else here waits for the device.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.splat.project import upstream_radii
from headbench.harness.splat.rasterizer import (
    GSPLAT_ALPHA_MAX,
    LOW_PASS,
    NEAR,
    Rasterizer,
    Scene,
    ScreenGradients,
    backdrop,
    unpack,
)
from headbench.harness.splat.sh import camera_centres, view_colours
from headbench.harness.types import Camera, Gaussians, Rendering

__all__ = ["GsplatRasterizer", "missing_for_gsplat"]

_TILE = 16
"""Side of a tile in pixels."""
_WARP = 32
"""Threads of a CUDA warp."""


def missing_for_gsplat() -> tuple[str, str] | None:
    """Return (what gsplat lacks here, what helps), or None where it imports and has, or can compile, its kernels."""
    spec = importlib.util.find_spec("gsplat")
    if spec is None or spec.origin is None:
        return "gsplat is not installed", "pip install 'headbench[cuda]'"
    if not torch.cuda.is_available():
        return "torch finds no usable NVIDIA GPU", "install a CUDA build of torch and the NVIDIA driver, or use the CPU"
    if any(Path(spec.origin).parent.glob("csrc.*")):  # a wheel with compiled kernels needs no toolkit
        return None
    from torch.utils.cpp_extension import CUDA_HOME, is_ninja_available

    compiler = shutil.which("nvcc") or (CUDA_HOME and shutil.which("nvcc", path=str(Path(CUDA_HOME) / "bin")))
    if not compiler:
        return (
            "gsplat compiles its kernels on first use and there is no CUDA toolkit (nvcc)",
            f"install the toolkit of CUDA {torch.version.cuda} and set CUDA_HOME",
        )
    if not is_ninja_available():
        return "gsplat compiles its kernels on first use and there is no ninja", "pip install ninja"
    return None


@dataclass(frozen=True)
class Footprints:
    """Gaussians that gsplat has projected into images: radii, positions, depths, shapes and colours on the screen."""

    radii: Tensor
    """(B, N, 2) int32 half sizes in pixels, 0 where culled; the other fields are undefined there."""
    means2d: Tensor
    """(B, N, 2) projected means in pixels."""
    depths: Tensor
    """(B, N) depths in metres along the optical axis."""
    conics: Tensor
    """(B, N, 3) inverse 2D covariances, upper triangle (xx, xy, yy)."""
    opacities: Tensor
    """(B, N) opacities in [0, 1]."""
    colours: Tensor
    """(B, N, 3) RGB, or (B, N, 4) with the depth as fourth channel."""
    width: int
    """Width of the images in pixels."""
    height: int
    """Height of the images in pixels."""


class GsplatRasterizer(Rasterizer):
    """Rasterizer on CUDA by gsplat's kernels, in float32; see `Rasterizer`.

    Gradients reach Gaussians, background and the camera's w2c. gsplat has none for K: a K that asks for one is an
    error. Its coverage clamp is 0.999, not 0.99, and depth is composited as a fourth channel in the same pass.

    Args:
        depth: False leaves the depth channel out; `Rendering.depth` is then empty, (B, 0, H, W), so that nothing can
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

    def prepare(self, gaussians: Gaussians, camera: Camera) -> Footprints:
        """Project the Gaussians into the cameras' images; nothing here waits for the device."""
        if gaussians.means.device.type != "cuda":
            raise ValueError(f"the gsplat rasterizer needs tensors on cuda, got {gaussians.means.device}")
        if camera.K.requires_grad:
            raise ValueError("gsplat gives no gradient for camera.K: detach it, or use the numba or torch rasterizer")
        scene, size = unpack(gaussians, camera), (camera.width, camera.height)
        if scene.opacities.shape[1] == 0:
            nothing = scene.means.new_zeros(len(camera.w2c), 0, 3)
            flat = nothing[..., 0]
            return Footprints(nothing[..., :2].int(), nothing[..., :2], flat, nothing, flat, nothing, *size)
        radii, means2d, depths, conics = self._project(gaussians, scene, camera)
        colours = self._colours(gaussians.sh_degree, scene.means, scene.colours, camera.w2c)
        if self.depth:
            colours = torch.cat([colours, depths[..., None]], -1)
        # Contiguous, so that gsplat makes no other tensor of the means: it leaves gradients at the one it is given.
        return Footprints(radii, means2d.contiguous(), depths, conics, scene.opacities, colours, *size)

    def rasterize(self, prepared: Footprints, background: Tensor, absolute_gradient: bool = False) -> Rendering:
        """Composite projected Gaussians; see `Rasterizer.rasterize`."""
        batch, count = prepared.opacities.shape
        backing = backdrop(background, batch)
        width, height = prepared.width, prepared.height
        screen = ScreenGradients(width, height, absolute_gradient)
        if count == 0:
            return _empty(backing, batch, width, height, self.depth, screen)
        radii, means2d, depths, conics = prepared.radii, prepared.means2d, prepared.depths, prepared.conics
        visible = (radii > 0).all(-1)
        if torch.is_grad_enabled():
            means2d = means2d if means2d.requires_grad else means2d.detach().requires_grad_()
            means2d.retain_grad()
            screen = _RetainedGradients(means2d, width, height, absolute_gradient)
        if self.depth:
            backing = torch.cat([backing, torch.zeros_like(backing[:, :1])], -1)
        tiles_x, tiles_y = -(-width // _TILE), -(-height // _TILE)
        with torch.no_grad():
            _, pairs, ids = self._ops.isect_tiles(means2d, radii, depths, _TILE, tiles_x, tiles_y)
            offsets = self._ops.isect_offset_encode(pairs, batch, tiles_x, tiles_y)
        blended, alpha = self._ops.rasterize_to_pixels(
            means2d,
            conics,
            prepared.colours,
            prepared.opacities,
            width,
            height,
            _TILE,
            offsets,
            ids,
            backgrounds=backing,
            absgrad=absolute_gradient,
        )
        planes = blended.permute(0, 3, 1, 2)
        frozen = conics.detach()
        return Rendering(
            image=planes[:, :3],
            alpha=alpha.permute(0, 3, 1, 2),
            depth=planes[:, 3:],
            visible=visible,
            screen=screen,
            measure=lambda: upstream_radii(frozen, visible),
        )

    def _project(self, gaussians: Gaussians, scene: Scene, camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Project by gsplat: radii (B, N, 2) int32, means2d (B, N, 2), depths (B, N), conics (B, N, 3).

        For culled Gaussians only radii are written; the other three are undefined, and no kernel reads them.
        """
        options = {"eps2d": LOW_PASS, "near_plane": NEAR}
        size = (camera.width, camera.height)
        shared = (gaussians.means.ndim, gaussians.quats.ndim, gaussians.scales.ndim, gaussians.opacities.ndim)
        if shared == (2, 2, 2, 1):
            means, quats, scales, opacities = gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities
            radii, means2d, depths, conics, _ = self._ops.fully_fused_projection(
                means, None, quats, scales, camera.w2c, camera.K, *size, opacities=opacities, **options
            )
            return radii, means2d, depths, conics

        # gsplat 1.5.3 sums the gradients of camera c over a warp without asking whether its threads belong to one
        # batch member (ProjectionEWA3DGSFused.cu), so each member must fill whole warps. Padding has opacity 0.
        batch, count = scene.opacities.shape
        missing = -count % _WARP if batch > 1 else 0

        def padded(value: Tensor, filler: float) -> Tensor:
            rows = (0, missing) if value.ndim == 2 else (0, 0, 0, missing)
            return torch.nn.functional.pad(value, rows, value=filler) if missing else value

        radii, means2d, depths, conics, _ = self._ops.fully_fused_projection(
            padded(scene.means, 0.0),
            None,
            padded(scene.quats, 1.0),
            padded(scene.scales, 1.0),
            camera.w2c[:, None],
            camera.K[:, None],
            *size,
            opacities=padded(scene.opacities, 0.0),
            **options,
        )
        return radii[:, 0, :count], means2d[:, 0, :count], depths[:, 0, :count], conics[:, 0, :count]

    def _colours(self, degree: int | None, means: Tensor, colours: Tensor, w2c: Tensor) -> Tensor:
        """Return the RGB (B, N, 3) of Gaussians as each camera sees them.

        Args:
            degree: of the spherical harmonics; None where `colours` are RGB already.
            means: (B, N, 3) metres.
            colours: (B, N, 3) RGB, or (B, N, K, 3) coefficients.
            w2c: (B, 4, 4) world to camera.
        """
        if degree is None or degree == 0:
            return view_colours(means, colours, degree, w2c)
        directions = means - camera_centres(w2c)[:, None]
        return (self._ops.spherical_harmonics(degree, directions, colours) + 0.5).clamp_min(0.0)


class _RetainedGradients(ScreenGradients):
    """Screen gradients, read where gsplat leaves them: at the projected means. They add up over backward passes.

    Args:
        means2d: (B, N, 2) projected means, which retain their gradient.
        width: of the image in pixels.
        height: of the image in pixels.
        wants_absolute: whether absolute gradients are collected, too.
    """

    def __init__(self, means2d: Tensor, width: int, height: int, wants_absolute: bool) -> None:
        super().__init__(width, height, wants_absolute)
        self._means2d = means2d

    def per_pixel(self) -> tuple[Tensor | None, Tensor | None]:
        """Return plain and absolute gradients (B, N, 2) per pixel; None for what is not there yet."""
        return self._means2d.grad, getattr(self._means2d, "absgrad", None)


def _import_ops() -> Any:
    """Import the module gsplat, which may compile its kernels.

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


def _empty(
    background: Tensor, batch: int, width: int, height: int, with_depth: bool, screen: ScreenGradients
) -> Rendering:
    """Return the rendering of no Gaussians at all: the background.

    Args:
        background: (B, 3) in [0, 1].
        batch: number of images B.
        width: of the images in pixels.
        height: of the images in pixels.
        with_depth: whether the depth has a channel (of zeros) or none.
        screen: filled with empty gradients (B, 0, 2).
    """
    nothing = background.new_zeros(batch, 0, 2)
    screen.fill(nothing, nothing)
    return Rendering(
        image=background[:, :, None, None].expand(-1, -1, height, width),
        alpha=background.new_zeros(batch, 1, height, width),
        depth=background.new_zeros(batch, int(with_depth), height, width),
        visible=background.new_zeros(batch, 0, dtype=torch.bool),
        screen=screen,
        measure=lambda: background.new_zeros(batch, 0),
    )
