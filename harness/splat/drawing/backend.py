"""The rasterizer of our own kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.splat.drawing.blending import Settings, blend
from headbench.harness.splat.drawing.build import compiled, missing_for_cuda
from headbench.harness.splat.drawing.library import Library
from headbench.harness.splat.drawing.projecting import project
from headbench.harness.splat.drawing.shading import shade
from headbench.harness.splat.gsplat_backend import Footprints
from headbench.harness.splat.lists import Lists
from headbench.harness.splat.project import upstream_radii
from headbench.harness.splat.rasterizer import ALPHA_MAX, Rasterizer, ScreenGradients, backdrop, unpack
from headbench.harness.types import Camera, Gaussians, Rendering, ScreenStatistics

__all__ = ["CudaRasterizer", "draw"]


class CudaRasterizer(Rasterizer):
    """Rasterizer on CUDA in float32 by our own kernels; see `Rasterizer`.

    Coverage is limited to 0.99, and a coverage at that limit passes its gradient on, both as in the 2023 rasterizer.
    Gradients reach Gaussians, background and the camera's w2c; a K that asks for one is an error.

    Args:
        depth: False leaves the depth channel out; `Rendering.depth` is then empty, (B, 0, H, W).

    Raises:
        BenchError: a GPU or nvcc is missing, or the kernels do not compile.
    """

    name = "cuda"
    alpha_max = ALPHA_MAX
    through = True
    """Whether a coverage at its limit passes its gradient on."""
    recordable = True
    collects = True
    device_type = "cuda"
    """Where the tensors are."""

    def __init__(self, depth: bool = True) -> None:
        problem = missing_for_cuda()
        if problem is not None:
            raise BenchError(f"The cuda rasterizer cannot be used here: {problem[0]}.", help=problem[1])
        self.depth = depth
        self._library = Library(compiled(torch.device("cuda")))

    def prepare(self, gaussians: Gaussians, camera: Camera) -> Footprints:
        """Project the Gaussians into the cameras' images; nothing here waits for the device."""
        return self.prepare_collecting(gaussians, camera, None)

    def prepare_collecting(
        self, gaussians: Gaussians, camera: Camera, statistics: ScreenStatistics | None
    ) -> Footprints:
        """Project the Gaussians, whose gradients are added to statistics on the way back.

        Args:
            gaussians: as in `prepare`.
            camera: as in `prepare`.
            statistics: of the Gaussians; None: nothing is added.
        """
        if gaussians.means.device.type != self.device_type:
            raise ValueError(f"the cuda rasterizer needs tensors on {self.device_type}, got {gaussians.means.device}")
        if camera.K.requires_grad:
            raise ValueError("the cuda rasterizer gives no gradient for camera.K: detach it, or use numba or torch")
        scene, size = unpack(gaussians, camera), (camera.width, camera.height)
        means2d, depths, conics, radii = project(self._library, gaussians, camera, statistics)
        if gaussians.sh_degree is not None:
            colours = shade(self._library, gaussians, camera.w2c, depths if self.depth else None)
        else:
            colours = torch.cat([scene.colours, depths[..., None]], -1) if self.depth else scene.colours
        return Footprints(radii, means2d, depths, conics, scene.opacities, colours, *size)

    def rasterize(self, prepared: Footprints, background: Tensor, absolute_gradient: bool = False) -> Rendering:
        """Composite projected Gaussians; see `Rasterizer.rasterize`."""
        return draw(self._library, prepared, background, absolute_gradient, self.through)

    def rasterize_within(
        self, prepared: Footprints, background: Tensor, lists: Lists, absolute_gradient: bool = False
    ) -> Rendering:
        """Composite projected Gaussians by lists of a given capacity; see `Rasterizer.rasterize_within`.

        Args:
            prepared: projected Gaussians.
            background: (B, 3) or (3,) in [0, 1].
            lists: their capacity; those of the farthest Gaussians are left out beyond it.
            absolute_gradient: also collect `Rendering.screen.absolute()`.
        """
        return draw(self._library, prepared, background, absolute_gradient, self.through, lists)


def draw(
    library: Library,
    prepared: Footprints,
    background: Tensor,
    absolute_gradient: bool = False,
    through: bool = True,
    lists: Lists | None = None,
) -> Rendering:
    """Composite projected Gaussians into images by the kernels of a library.

    Args:
        library: the kernels, for the device where the tensors are.
        prepared: projected Gaussians, (B, N, ...).
        background: (B, 3) or (3,) in [0, 1].
        absolute_gradient: also collect `Rendering.screen.absolute()`.
        through: whether a coverage at its limit passes its gradient on.
        lists: their capacity; None: as long as they have to be, for which the device is waited for.
    """
    images, count, channels = prepared.colours.shape
    backing = backdrop(background, images)
    screen = ScreenGradients(prepared.width, prepared.height, absolute_gradient)
    if channels == 4:
        backing = torch.cat([backing, torch.zeros_like(backing[:, :1])], -1)
    inputs = (prepared.means2d, prepared.conics, prepared.opacities, prepared.colours, backing)
    kept = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    settings = Settings(library, prepared.width, prepared.height, ALPHA_MAX, through, screen, kept, lists)
    if count == 0:
        nothing = prepared.means2d
        screen.fill(nothing, nothing)
        planes = backing[:, :, None, None].expand(-1, -1, prepared.height, prepared.width)
        alpha = torch.zeros_like(planes[:, 0])
    else:
        planes, alpha = blend(*inputs, prepared.radii, prepared.depths, settings)
    visible = prepared.radii[..., 0] > 0  # where one half size is 0 the other is, too
    conics = prepared.conics.detach()
    return Rendering(
        image=planes[:, :3],
        alpha=alpha[:, None],
        depth=planes[:, 3:],
        visible=visible,
        screen=screen,
        measure=lambda: upstream_radii(conics, visible),
    )
