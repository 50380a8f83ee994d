"""On a GPU: steps never wait for the device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.avatar import Avatar
from headbench.harness.head import HeadModel
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams, Identity, Rendering, TrainView
from headbench.methods.fateavatar import FateAvatar
from headbench.methods.flashavatar import FlashAvatar
from headbench.methods.gaussianavatars import GaussianAvatars
from headbench.methods.splattingavatar import SplattingAvatar

pytestmark = pytest.mark.gpu
CLOCK = Clock(5, 1, 100, 1000)


@pytest.fixture(params=["FateAvatar", "FlashAvatar", "GaussianAvatars", "SplattingAvatar"])
def avatar(
    request: pytest.FixtureRequest, tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> Avatar:
    head, identity = tiny_head.cuda(), tiny_identity.to("cuda")
    if request.param == "FateAvatar":
        config = preset("FateAvatar", "fixed", num_points=100, weights={"vgg": 0.0})
        return FateAvatar.create(head, identity, tiny_train, config)
    if request.param == "FlashAvatar":
        config = preset("FlashAvatar", "fixed", uv_size=12, neck_boundary="keep", weights={"lpips": 0.0})
        return FlashAvatar.create(head, identity, tiny_train, config)
    if request.param == "SplattingAvatar":
        config = preset("SplattingAvatar", "fixed", num_points=100, weights={"lpips": 0.0})
        return SplattingAvatar.create(head, identity, tiny_train, config)
    return GaussianAvatars.create(head, identity, tiny_train, preset("GaussianAvatars", "fixed"))


def test_an_ordinary_step_never_waits_for_the_device(
    avatar: Avatar,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
    splat_of: Callable[..., Rendering],
) -> None:
    params, camera = tiny_params(1).to("cuda"), tiny_camera.to("cuda")
    n = avatar.count()
    rendering = splat_of(torch.ones(1, n, device="cuda"), torch.ones(1, n, 2, device="cuda"))
    blank = torch.zeros(1, 3, 16, 16, device="cuda")
    rendering = Rendering(blank, blank[:, :1], blank[:, :1], rendering.visible, rendering.screen, rendering.measure)
    white, masks = torch.ones(1, 3, device="cuda"), {"mouth": torch.ones_like(blank[:, :1])}
    batch = Batch(params, camera, blank + 0.5, blank[:, :1], white, ("a",), masks)

    def step() -> None:
        posed = avatar.drive(params)
        terms = avatar.losses(posed, rendering, batch, CLOCK)
        (sum(terms.values()) + posed.gaussians.means.sum()).backward()
        with torch.no_grad():
            assert avatar.edit(Event.AFTER_BACKWARD, rendering, CLOCK) is None
            assert avatar.edit(Event.AFTER_STEP, rendering, CLOCK) is None

    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_splattingavatar_grows_and_walks_on_the_device_as_on_the_host(
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    preset: Any,
    splat_of: Callable[..., Rendering],
) -> None:
    config = preset("SplattingAvatar", "fixed", num_points=100, weights={"lpips": 0.0}, extent=1e-6, max_size_share=1e9)
    columns: dict[str, dict[str, torch.Tensor]] = {}
    for device in ("cpu", "cuda"):
        avatar = SplattingAvatar.create(tiny_head.to(device), tiny_identity.to(device), tiny_train, config).to(device)
        shift = 0.2 * torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        avatar.table["shift"].data.copy_(shift)
        rendering = splat_of(torch.ones(1, 100, device=device), torch.ones(1, 100, 2, device=device))
        clock = Clock(700, 1, 100, 1000)
        with torch.no_grad():
            for event in (Event.AFTER_STEP, Event.AFTER_BACKWARD):
                edit = avatar.edit(event, rendering, clock)
                assert edit is not None
                avatar.table.apply_edit(edit)
        columns[device] = {name: avatar.table[name].detach().cpu() for name in ("face_index", "bary", "displacement")}
    assert len(columns["cuda"]["bary"]) == 200
    same = columns["cuda"]["face_index"] == columns["cpu"]["face_index"]
    assert float(same.float().mean()) > 0.95, "rounding may turn a step next to an edge"
    # Children are re-embedded by a hundred Adam steps of 0.01, which roundings turn a little.
    for name in ("bary", "displacement"):
        torch.testing.assert_close(columns["cuda"][name][same], columns["cpu"][name][same], atol=1e-2, rtol=0)
