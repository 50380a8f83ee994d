"""Scenes that every rasterizer must draw alike, and how they are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from headbench.harness.types import Camera, Gaussians, Rendering

GAUSSIAN_FIELDS = ("means", "quats", "scales", "opacities", "colours")
INPUTS = (*GAUSSIAN_FIELDS, "w2c", "K", "background")


@dataclass(frozen=True)
class Scene:
    """A rasterizer's arguments in float64 on the CPU."""

    gaussians: Gaussians
    camera: Camera
    background: Tensor


@dataclass(frozen=True)
class Drawn:
    """A splat and the gradients of a fixed loss of its image, alpha and depth, all float64 on the CPU."""

    rendering: Rendering
    gradients: dict[str, Tensor]
    screen: Tensor
    absolute: Tensor


def _make(
    count: int = 60,
    batch: int = 1,
    width: int = 40,
    height: int = 40,
    centre: tuple[float, float] | None = None,
    sh_degree: int | None = None,
    shared: bool = False,
    seed: int = 0,
) -> Scene:
    """Gaussians of a few pixels in a box of half a metre, one metre in front of turned cameras."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    lead = () if shared else (batch,)
    colours = uniform(*lead, count, 3)
    if sh_degree is not None:
        colours = 1.5 * (uniform(*lead, count, 16, 3) - 0.5)
    gaussians = Gaussians(
        means=(uniform(*lead, count, 3) - 0.5) * torch.tensor([0.6, 0.5, 0.4]),
        quats=uniform(*lead, count, 4) - 0.5,
        scales=0.01 + 0.05 * uniform(*lead, count, 3),
        opacities=0.1 + 0.85 * uniform(*lead, count),
        colours=colours,
        sh_degree=sh_degree,
    )
    turn = torch.linalg.qr(uniform(batch, 3, 3) * 0.2 + torch.eye(3, dtype=torch.float64))[0]
    w2c = torch.eye(4, dtype=torch.float64).repeat(batch, 1, 1)
    w2c[:, :3, :3] = turn * torch.linalg.det(turn)[:, None, None]
    w2c[:, :3, 3] = torch.tensor([0.02, -0.01, 1.0]) + 0.05 * uniform(batch, 3)
    K = torch.eye(3, dtype=torch.float64).repeat(batch, 1, 1)
    K[:, 0, 0], K[:, 1, 1] = 70.0, 66.0
    K[:, 0, 2], K[:, 1, 2] = centre or (width / 2, height / 2)
    return Scene(gaussians, Camera(w2c, K, width, height), uniform(batch, 3))


def _with(scene: Scene, **changes: Tensor) -> Scene:
    return replace(scene, gaussians=replace(scene.gaussians, **changes))


def _behind() -> Scene:
    scene = _make(80)
    means = scene.gaussians.means.clone()
    means[:, ::2, 2] -= 1.5
    means[:, 1::8, 2] -= 0.75  # some between the near plane and the camera, some just in front
    return _with(scene, means=means)


def _scales(factor: Callable[[Tensor], Tensor], count: int = 30) -> Scene:
    scene = _make(count)
    return _with(scene, scales=factor(scene.gaussians.scales))


def _opaque(layers: int) -> Scene:
    scene = _make(layers)
    opacities = torch.linspace(0.97, 1.0, layers, dtype=torch.float64)[None]
    return _with(scene, opacities=opacities, scales=scene.gaussians.scales * 2)


def _culled() -> Scene:
    scene = _make(20)
    return _with(scene, means=scene.gaussians.means - torch.tensor([0.0, 0.0, 5.0]))


def _aside() -> Scene:
    """Wide Gaussians whose centres lie beyond the image, where the projection's slope is clamped."""
    scene = _make(40)
    means = scene.gaussians.means.clone()
    means[..., 0] += 0.45
    means[..., 1] -= 0.3
    return _with(scene, means=means, scales=scene.gaussians.scales * 3)


SCENES: dict[str, Callable[[], Scene]] = {
    "plain": _make,
    "no Gaussians": lambda: _make(0),
    "all culled": _culled,
    "behind the camera": _behind,
    "beside the image": _aside,
    "huge": lambda: _scales(lambda s: s * 40),
    "needles": lambda: _scales(lambda s: s * torch.tensor([6.0, 1.0, 0.02])),
    "tiny": lambda: _scales(lambda s: s * 1e-5),
    "wide image": lambda: _make(width=70, height=21),
    "tall image": lambda: _make(width=17, height=50),
    "principal point off centre": lambda: _make(centre=(9.0, 31.5)),
    "two cameras, shared Gaussians": lambda: _make(70, batch=2, shared=True),
    "two cameras, own Gaussians": lambda: _make(70, batch=2),
    "opaque": lambda: _opaque(12),
    "finished pixels": lambda: _opaque(120),
    "harmonics 0": lambda: _make(sh_degree=0),
    "harmonics 1": lambda: _make(sh_degree=1),
    "harmonics 2": lambda: _make(sh_degree=2),
    "harmonics 3, two cameras": lambda: _make(sh_degree=3, batch=2, shared=True),
}


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Each scene in turn."""
    return SCENES[request.param]()


@pytest.fixture
def scenes() -> dict[str, Callable[[], Scene]]:
    """name -> maker of every scene."""
    return SCENES


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """Makes a scene: count, batch, width, height, centre, sh_degree, shared, seed."""
    return _make


@pytest.fixture
def draw() -> Callable[..., Drawn]:
    """Draws a scene and takes the gradients of a random linear loss of everything drawn."""

    def run(
        rasterizer: object, scene: Scene, dtype: torch.dtype = torch.float64, device: str = "cpu", skip: str = ""
    ) -> Drawn:
        values = {name: getattr(scene.gaussians, name) for name in GAUSSIAN_FIELDS}
        values |= {"w2c": scene.camera.w2c, "K": scene.camera.K, "background": scene.background}
        leaves = {name: v.to(device, dtype, copy=True).requires_grad_(name != skip) for name, v in values.items()}
        gaussians = replace(scene.gaussians, **{name: leaves[name] for name in GAUSSIAN_FIELDS})
        camera = replace(scene.camera, w2c=leaves["w2c"], K=leaves["K"])
        rendering = rasterizer(gaussians, camera, leaves["background"], absolute_gradient=True)  # type: ignore[operator]
        loss = torch.zeros((), dtype=torch.float64, device=device)
        for seed, output in enumerate((rendering.image, rendering.alpha, rendering.depth)):
            weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            loss = loss + (output.double() * weights.to(device)).sum()
        loss.backward()

        def home(value: Tensor) -> Tensor:
            return value.detach().double().cpu()

        gradients = {
            name: home(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
            for name, leaf in leaves.items()
            if name != skip
        }
        drawn = replace(
            rendering,
            image=home(rendering.image),
            alpha=home(rendering.alpha),
            depth=home(rendering.depth),
            visible=home(rendering.visible),
            measure=lambda: home(rendering.radii),
        )
        return Drawn(drawn, gradients, home(rendering.screen.plain()), home(rendering.screen.absolute()))

    return run
