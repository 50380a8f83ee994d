"""FlashAvatar and SplattingAvatar from parameters to the loss: gradients through drive, rasterizer and losses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from headbench.harness.avatar import Avatar
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams

FIELDS = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation")
TRACKED = ("expression", "root", "jaw")
WHOLE = {
    "flash": {"uv_size": 8, "hidden": 8, "layers": 2, "octaves": 3, "offset_bound": 0.02, "detach_codes": False},
    "embedded": {"num_points": 40},
}


@pytest.fixture
def scene(tiny_params: Callable[[int], HeadParams], tiny_camera: Camera) -> Batch:
    """Two frames in double precision, an image and masks of noise."""
    rng = torch.Generator().manual_seed(2)

    def rand(channels: int) -> torch.Tensor:
        return torch.rand(2, channels, 32, 32, generator=rng, dtype=torch.float64)

    params = HeadParams.join([tiny_params(3), tiny_params(4)])
    params = replace(params, **{name: getattr(params, name).double() for name in FIELDS})
    camera = Camera.join([tiny_camera, tiny_camera])
    camera = replace(camera, w2c=camera.w2c.double(), K=camera.K.double())
    background = torch.ones(2, 3, dtype=torch.float64)
    return Batch(params, camera, rand(3), rand(1), background, ("a", "b"), {"mouth": rand(1)})


def disturb(avatar: Avatar) -> None:
    """Other values than the start's in every parameter, of Gaussians that are seen."""
    rng = torch.Generator().manual_seed(0)
    spread = {"displacement": 0.02, "shift": 0.05, "scaling": 0.3, "opacity": 0.5}
    with torch.no_grad():
        for name, parameter in avatar.named_parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            parameter.add_(noise * spread.get(name.removeprefix("table."), 0.2))
        avatar.table["opacity"].add_(2.0)


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed"])
@pytest.mark.parametrize("method", WHOLE)
def test_the_loss_falls_along_its_gradient_as_differences_say(
    method: str, which: str, scene: Batch, request: pytest.FixtureRequest
) -> None:
    avatar: Avatar = request.getfixturevalue(method)(which, **WHOLE[method])
    avatar.double().eval()
    disturb(avatar)
    clock = Clock(20_001, 1, 600, 150_000)
    avatar.edit(Event.AFTER_STEP, None, clock)  # all bands that the preset has
    draw = make_rasterizer("torch")
    leaves: dict[str, Any] = dict(avatar.named_parameters())
    leaves |= {name: getattr(scene.params, name).requires_grad_() for name in TRACKED}

    def loss() -> torch.Tensor:
        drive = avatar.drive(scene.params)
        splat = draw(drive.gaussians, scene.camera, scene.background)
        assert float(splat.visible.double().mean()) > 0.9
        terms = avatar.losses(drive, splat, scene, clock)
        assert len(terms) >= 2
        return torch.stack(list(terms.values())).sum()

    loss().backward()
    slopes = {name: leaf.grad for name, leaf in leaves.items()}
    unused = {name for name, slope in slopes.items() if slope is None}
    assert unused == set()
    rng = torch.Generator().manual_seed(1)
    # So short that no pixel passes the threshold of opacity below which it is left out, where the loss jumps.
    step = 1e-8
    for name, leaf in leaves.items():
        way = torch.randn(leaf.shape, generator=rng, dtype=torch.float64)
        found = []
        with torch.no_grad():
            for side in (step, -2 * step, step):
                leaf.add_(side * way)
                found.append(float(loss()))
        difference = (found[0] - found[1]) / (2 * step)
        slope = float((slopes[name] * way).sum())
        assert abs(slope) > 1e-6, f"{name}: too flat to tell"
        assert slope == pytest.approx(difference, rel=2e-4, abs=1e-7), name
