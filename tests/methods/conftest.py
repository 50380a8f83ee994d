"""A tiny head (a dome of 42 vertices with a UV atlas), a camera before it and a few training frames."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.head import HeadArrays, HeadModel
from headbench.harness.plugins.checks import preset_values
from headbench.harness.plugins.specs import MethodSpec
from headbench.harness.types import Camera, Frame, HeadParams, Identity, Pixels, Rendering, TrainView
from headbench.methods.fateavatar import FateAvatar
from headbench.methods.flashavatar import FlashAvatar
from headbench.methods.gaussianavatars import GaussianAvatars
from headbench.methods.monogaussianavatar import MonoGaussianAvatar
from headbench.methods.plugin import register_methods
from headbench.methods.splattingavatar import SplattingAvatar

COLUMNS, ROWS, EXPRESSIONS, SHAPES = 7, 6, 4, 3


def _dome() -> HeadArrays:
    rng = np.random.default_rng(5)
    u, v = np.meshgrid(np.linspace(0.0, 1.0, COLUMNS), np.linspace(0.0, 1.0, ROWS))
    u, v = u.ravel(), v.ravel()
    longitude, latitude = (u - 0.5) * 2.4, (v - 0.5) * 2.0
    template = 0.1 * np.stack(
        [np.sin(longitude) * np.cos(latitude), np.sin(latitude), np.cos(longitude) * np.cos(latitude)], 1
    )
    faces = []
    for row in range(ROWS - 1):
        for column in range(COLUMNS - 1):
            a = row * COLUMNS + column
            b, c, d = a + 1, a + COLUMNS, a + COLUMNS + 1
            faces += [(a, b, d), (a, d, c)]
    count = len(template)
    weights = rng.dirichlet(np.ones(5), count)
    return HeadArrays(
        tag="openhead",
        topology="open",
        template=template.astype(np.float32),
        shape_dirs=rng.normal(0, 0.002, (count, 3, SHAPES)).astype(np.float32),
        expression_dirs=rng.normal(0, 0.003, (count, 3, EXPRESSIONS)).astype(np.float32),
        pose_dirs=rng.normal(0, 0.001, (36, 3 * count)).astype(np.float32),
        joint_regressor=rng.dirichlet(np.ones(count), 5).astype(np.float32),
        weights=weights.astype(np.float32),
        parents=(-1, 0, 1, 1, 1),
        faces=np.array(faces),
        uvs=0.12 + 0.76 * np.stack([u, v], 1).astype(np.float32),
        uv_faces=np.array(faces),
    )


@pytest.fixture
def tiny_head() -> HeadModel:
    return HeadModel(_dome())


@pytest.fixture
def tiny_camera() -> Camera:
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    K = torch.tensor([[96.0, 0.0, 16.0], [0.0, 96.0, 16.0], [0.0, 0.0, 1.0]])
    return Camera(w2c[None], K[None], 32, 32)


@pytest.fixture
def tiny_params() -> Callable[[int], HeadParams]:
    """Seed -> parameters of one frame; seed 0 is the head at rest."""

    def make(seed: int) -> HeadParams:
        rng = torch.Generator().manual_seed(seed)
        spread = 0.0 if seed == 0 else 1.0

        def draw(count: int, scale: float) -> torch.Tensor:
            return spread * scale * torch.randn(1, count, generator=rng)

        return HeadParams(
            head="openhead",
            expression=draw(EXPRESSIONS, 0.7),
            root=draw(3, 0.2),
            neck=draw(3, 0.1),
            jaw=draw(3, 0.1),
            eye_left=draw(3, 0.1),
            eye_right=draw(3, 0.1),
            translation=draw(3, 0.01),
        )

    return make


@pytest.fixture
def tiny_identity(tiny_params: Callable[[int], HeadParams], tiny_camera: Camera) -> Identity:
    first = tiny_params(1)
    return Identity(
        head="openhead",
        shape=torch.tensor([[0.5, -1.0, 0.3]]),
        mean_expression=torch.tensor([[0.1, 0.0, -0.2, 0.3]]),
        var_expression=torch.ones(1, EXPRESSIONS),
        first=first,
        camera=tiny_camera,
        subject="dome",
    )


@pytest.fixture
def tiny_train(tiny_params: Callable[[int], HeadParams], tiny_camera: Camera) -> TrainView:
    """Six frames whose images are one colour each, opaque in a disc."""

    def pixels(k: int) -> Callable[[], Pixels]:
        colour = torch.tensor([40 * k, 255 - 40 * k, 100], dtype=torch.uint8)[:, None, None].expand(3, 32, 32)
        y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        inside = ((x - 16) ** 2 + (y - 16) ** 2 < 100).to(torch.uint8) * 255
        return lambda: Pixels(colour.clone(), inside[None])

    frames = []
    for k in range(6):
        w2c = tiny_camera.w2c.clone()
        w2c[0, 0, 3] = 0.01 * k
        camera = replace(tiny_camera, w2c=w2c)
        frames.append(Frame(f"f{k}", camera, tiny_params(k + 1), pixels(k), timestep=k))
    return TrainView(tuple(frames), 32, 32, seed=3)


@pytest.fixture
def preset() -> Callable[..., Any]:
    """(method, preset name, changed fields) -> its configuration, read as the harness reads it."""

    def make(name: str, which: str, **changes: object) -> Any:
        found: list[MethodSpec] = []
        register_methods(found.append)
        spec = {s.name: s for s in found}[name]
        values = preset_values(spec, which)
        module, _, attribute = spec.target.partition(":")
        return getattr(import_module(module), attribute).config_type.model_validate({**values, **changes})

    return make


@pytest.fixture
def fate(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> Callable[..., FateAvatar]:
    """(changed fields) -> a small FateAvatar of the official preset without VGG."""

    def make(which: str = "official", **changes: object) -> FateAvatar:
        changes = {"num_points": 100, "head_topology": "open", "weights": {"vgg": 0.0}, **changes}
        return FateAvatar.create(tiny_head, tiny_identity, tiny_train, preset("FateAvatar", which, **changes))

    return make


@pytest.fixture
def rigged(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> Callable[..., GaussianAvatars]:
    """(preset, changed fields) -> a GaussianAvatars on the tiny head."""

    def make(which: str = "official", **changes: object) -> GaussianAvatars:
        config = preset("GaussianAvatars", which, **changes)
        return GaussianAvatars.create(tiny_head, tiny_identity, tiny_train, config)

    return make


@pytest.fixture
def flash(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> Callable[..., FlashAvatar]:
    """(preset, changed fields) -> a FlashAvatar on the tiny head, which has no neck, without LPIPS."""

    def make(which: str = "official", **changes: object) -> FlashAvatar:
        small = {"uv_size": 12, "head_topology": "open", "neck_boundary": "keep", "weights": {"lpips": 0.0}}
        return FlashAvatar.create(
            tiny_head, tiny_identity, tiny_train, preset("FlashAvatar", which, **{**small, **changes})
        )

    return make


@pytest.fixture
def embedded(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> Callable[..., SplattingAvatar]:
    """(preset, changed fields) -> a SplattingAvatar of 80 Gaussians on the tiny head, without LPIPS."""

    def make(which: str = "official", **changes: object) -> SplattingAvatar:
        changes = {"num_points": 80, "weights": {"lpips": 0.0}, **changes}
        config = preset("SplattingAvatar", which, **changes)
        return SplattingAvatar.create(tiny_head, tiny_identity, tiny_train, config)

    return make


@pytest.fixture
def growing(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> Callable[..., MonoGaussianAvatar]:
    """(preset, changed fields) -> a MonoGaussianAvatar of 60 points on the tiny head, small networks, without VGG."""

    def make(which: str = "official", **changes: object) -> MonoGaussianAvatar:
        small = {"deformer_width": 16, "geometry_width": 48, "correction_width": 8}
        config = preset("MonoGaussianAvatar", which)
        weights = {**config.weights.model_dump(), "vgg": 0.0}
        network = {**config.network.model_dump(), **small}
        # The released start has 400 points and this radius.
        given = {"start_points": 60, "splat_radius": 0.084375, "weights": weights, "network": network, **changes}
        config = preset("MonoGaussianAvatar", which, **given)
        return MonoGaussianAvatar.create(tiny_head, tiny_identity, tiny_train, config)

    return make


@dataclass(frozen=True)
class Screen:
    """A screen gradient that is known."""

    values: torch.Tensor

    def plain(self) -> torch.Tensor:
        return self.values

    def absolute(self) -> torch.Tensor:
        return self.values.abs()


@pytest.fixture
def splat_of() -> Callable[..., Rendering]:
    """(radii (B, N), gradient (B, N, 2)) -> what a rasterizer would return with them."""

    def make(radii: torch.Tensor, gradient: torch.Tensor | None = None) -> Rendering:
        blank = torch.zeros(len(radii), 3, 16, 16)
        gradient = torch.zeros(*radii.shape, 2) if gradient is None else gradient
        return Rendering(blank, blank[:, :1], blank[:, :1], radii > 0, Screen(gradient), lambda: radii)

    return make
