"""What methods make of FLAME 2020 and 2023; `check_method` takes a step on every head and topology."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.avatar import Avatar
from headbench.harness.head import HeadModel
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Camera, Clock, Event, Frame, HeadParams, Identity, TrainView
from headbench.methods.fateavatar import FateAvatar
from headbench.methods.flashavatar import FlashAvatar
from headbench.methods.gaussianavatars import GaussianAvatars
from headbench.methods.monogaussianavatar import MonoGaussianAvatar
from headbench.methods.splattingavatar import SplattingAvatar

SIZES = {"open": (5023, 9976), "mouth_closed": (5023, 10_006), "teeth": (5143, 10_144)}


METHODS: dict[str, tuple[type[Avatar], str, dict[str, Any]]] = {
    "FateAvatar": (FateAvatar, "fateavatar", {"num_points": 400, "cover_faces": "none", "weights": {"vgg": 0.0}}),
    "FlashAvatar": (FlashAvatar, "fixed", {"uv_size": 48, "hidden": 8, "weights": {"lpips": 0.0}}),
    "GaussianAvatars": (GaussianAvatars, "fateavatar", {}),
    "MonoGaussianAvatar": (
        MonoGaussianAvatar,
        "fateavatar",
        {"start_points": 200, "weights": {"vgg": 0.0}, "network": {"geometry_width": 44}},
    ),
    "SplattingAvatar": (SplattingAvatar, "fixed", {"num_points": 500, "weights": {"lpips": 0.0}}),
}


def speaking(tag: str, given: int, lids: float) -> HeadParams:
    """A frame with `given` coefficients and eyelids closed by `lids`."""
    rng = torch.Generator().manual_seed(0)
    expression = 0.3 * torch.randn(1, given, generator=rng)
    pose = (0.1 * torch.randn(1, 3, generator=rng) for _ in ("root", "neck", "jaw", "left", "right", "translation"))
    return HeadParams(tag, expression, *pose, eyelids=torch.tensor([[lids, lids]]))


@pytest.fixture
def made(flame_heads: Callable[..., HeadModel], preset: Any, tiny_camera: Camera) -> Callable[..., Any]:
    """(method, tag, topology, coefficients) -> a small avatar on that head."""

    def make(method: str, tag: str, topology: str, given: int) -> Avatar:
        kind, which, small = METHODS[method]
        config = preset(method, which, head_topology=topology, **small)
        params = speaking(tag, given, 0.0)
        identity = Identity(
            tag, torch.zeros(1, 100), params.expression, torch.ones(1, given), params, tiny_camera, "someone"
        )
        frame = Frame("a", tiny_camera, params, lambda: pytest.fail("no image is needed to start"))
        return kind.create(flame_heads(tag, topology), identity, TrainView((frame,), 32, 32, seed=1), config)

    return make


@pytest.mark.parametrize(("tag", "given", "topology"), [("flame2020", 50, "open"), ("flame2023", 100, "teeth")])
def test_what_learns_per_coefficient_has_as_many_as_the_tracker_gives(
    flame_heads: Any, made: Any, tag: str, given: int, topology: str
) -> None:
    vertices, faces = SIZES[topology]
    assert (len(flame_heads(tag, topology).template), len(flame_heads(tag, topology).faces)) == (vertices, faces)
    assert made("FateAvatar", tag, topology, given).delta_expression.shape[2] == given
    assert made("MonoGaussianAvatar", tag, topology, given).deformer.blendshapes.weight.shape[0] == 108 + 3 * given + 3
    assert made("GaussianAvatars", tag, topology, given).count() == faces


@pytest.mark.parametrize("topology", [pytest.param("mouth_closed", marks=pytest.mark.slow), "teeth"])
def test_both_methods_live_on_flame_2023(made: Any, tiny_camera: Camera, topology: str) -> None:
    draw, white = make_rasterizer("numba"), torch.ones(1, 3)
    flash, embedded = (made(name, "flame2023", topology, 100) for name in ("FlashAvatar", "SplattingAvatar"))
    awake, asleep = (flash.drive(speaking("flame2023", 100, lids)).gaussians.means for lids in (0.0, 1.0))
    assert awake.shape == (1, flash.count(), 3)
    assert float((awake - asleep).detach().abs().max()) > 1e-3, "the lids are 4 mm high"

    embedded.table["shift"].data.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    start = embedded.table["face_index"].clone()
    with torch.no_grad():
        walked = embedded.edit(Event.AFTER_STEP, None, Clock(100, 1, 1000, 30_000))
        assert walked is not None
        embedded.table.apply_edit(walked)
    assert int((embedded.table["face_index"] != start).sum()) > 50
    for avatar in (flash, embedded):
        assert int(avatar.table["face_index"].max()) < SIZES[topology][1]
        avatar.table["opacity"].data.fill_(5.0)
        with torch.no_grad():
            image = avatar.render(speaking("flame2023", 100, 0.5), tiny_camera, white, draw)
        assert bool(torch.isfinite(image).all())
        assert 0.02 < float((image < 0.9).float().mean()) < 0.98
