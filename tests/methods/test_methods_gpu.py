"""On a GPU: steps never wait for the device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.head import HeadModel
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams, Identity, Splat, TrainView
from headbench.methods.fateavatar import FateAvatar
from headbench.methods.gaussianavatars import GaussianAvatars

pytestmark = pytest.mark.gpu
CLOCK = Clock(5, 1, 100, 1000)


@pytest.fixture(params=["FateAvatar", "GaussianAvatars"])
def avatar(
    request: pytest.FixtureRequest, tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> FateAvatar | GaussianAvatars:
    head, identity = tiny_head.cuda(), tiny_identity.to("cuda")
    if request.param == "FateAvatar":
        config = preset("FateAvatar", "fixed", num_points=100, weights={"vgg": 0.0})
        return FateAvatar.create(head, identity, tiny_train, config)
    return GaussianAvatars.create(head, identity, tiny_train, preset("GaussianAvatars", "fixed"))


def test_an_ordinary_step_never_waits_for_the_device(
    avatar: FateAvatar | GaussianAvatars,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
    splat_of: Callable[..., Splat],
) -> None:
    params, camera = tiny_params(1).to("cuda"), tiny_camera.to("cuda")
    n = avatar.count()
    splat = splat_of(torch.ones(1, n, device="cuda"), torch.ones(1, n, 2, device="cuda"))
    blank = torch.zeros(1, 3, 16, 16, device="cuda")
    splat = Splat(blank, blank[:, :1], blank[:, :1], splat.visible, splat.screen, splat.measure)
    batch = Batch(params, camera, blank + 0.5, blank[:, :1], torch.ones(1, 3, device="cuda"), ("a",))

    def step() -> None:
        drive = avatar.drive(params)
        terms = avatar.losses(drive, splat, batch, CLOCK)
        (sum(terms.values()) + drive.gaussians.means.sum()).backward()
        with torch.no_grad():
            assert avatar.edit(Event.AFTER_BACKWARD, splat, CLOCK) is None
            assert avatar.edit(Event.AFTER_STEP, splat, CLOCK) is None

    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
