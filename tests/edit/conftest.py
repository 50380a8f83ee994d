"""A baked avatar of small maps on the open head, and pictures to edit it with."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.head import load_head
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Camera, HeadParams, Identity
from headbench.stages.bake import BakedAvatar, BakedConfig, Maps
from headbench.stages.edit import Canvas, Stack, apply, bring, canvas_of

METHOD = "SplattingAvatar"


def made(size: int, points: int, side: int) -> SimpleNamespace:
    """A baked avatar: skin-coloured maps of `size` texels, seen from the front in `side` pixels."""
    known = registry()
    values = preset_values(known.method(METHOD), "official")
    shape = {"size": size, "points": points, "offset_normal": "unit", "offset_bound": 0.005, "second_tanh": False}
    config = BakedConfig.model_validate(
        {"train": values["train"], "method": METHOD, "method_config": values, "network": "texture", **shape}
    )
    head = load_head("openhead", config.topology())
    zero, (shapes, expressions) = torch.zeros(1, 3), head.sizes
    params = HeadParams("openhead", torch.zeros(1, expressions), zero, zero, zero, zero, zero, zero)
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    K = torch.tensor([[4.0 * side, 0, side / 2], [0, 4.0 * side, side / 2], [0, 0, 1]])
    camera = Camera(w2c[None], K[None], side, side)
    identity = Identity(
        "openhead", torch.zeros(1, shapes), params.expression, params.expression + 1, params, camera, "toy"
    )
    avatar = BakedAvatar.create(head, identity, None, config)
    avatar.canonical.copy_(avatar.carrier(params)[0].detach())
    v, u = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    colour = torch.tensor([0.8, 0.6, 0.5])[:, None, None] + 0.08 * torch.sin(9 * u + 7 * v)
    plain = Maps.uniform(size)
    # Flat discs that overlap: 0.15 square metres among all points.
    scaling = torch.full_like(plain.scaling, math.log(0.6 * math.sqrt(0.15 / points)))
    scaling[1] = math.log(0.0002)
    avatar.replace_maps(Maps(colour, plain.opacity + 6, scaling, plain.rotation, plain.offset))
    avatar.resample(points)
    rasterizer = make_rasterizer("numba", torch.device("cpu"))

    def render(maps: Maps, params: HeadParams = params, camera: Camera = camera) -> torch.Tensor:
        before = copied(avatar.maps)
        avatar.replace_maps(maps)
        with torch.no_grad():
            image = avatar.render(params, camera, torch.ones(1, 3), rasterizer)[0]
        avatar.replace_maps(before)
        return image

    return SimpleNamespace(
        avatar=avatar,
        maps=copied(avatar.maps),
        canvas=canvas_of(avatar),
        params=params,
        camera=camera,
        identity=identity,
        render=render,
        rasterizer=rasterizer,
    )


def copied(maps: Maps) -> Maps:
    return Maps(**{name: tensor.clone() for name, tensor in maps.tensors().items()})


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """Maps of 64 texels at 12,000 places, in 96 pixels."""
    return made(64, 12_000, 96)


@pytest.fixture
def make_toy() -> Callable[..., SimpleNamespace]:
    """(texels, points, pixels) -> a baked avatar."""
    return made


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """(name, (H, W, 3 or 4) in [0, 1]) -> a PNG file."""

    def write(name: str, pixels: Any) -> Path:
        path = tmp_path / name
        Image.fromarray((255 * np.asarray(pixels)).round().astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def red(picture: Callable[..., Path]) -> Path:
    """An opaque red sticker, twice as wide as high."""
    pixels = np.ones((8, 16, 4))
    pixels[..., 1:3] = 0
    return picture("red.png", pixels)


@pytest.fixture
def paint(toy: SimpleNamespace) -> Callable[..., Maps]:
    """(kind of entry, file of it or None, its values) -> the toy's maps with this one edit."""

    def call(kind: type, path: Path | None = None, canvas: Canvas | None = None, **values: Any) -> Maps:
        kept = {} if path is None else {bring.picture_as(path): path}
        named = {"picture": next(iter(kept))} if kept else {}
        return apply(Stack().add(kind(**named, **values), kept), toy.maps, canvas or toy.canvas)

    return call
