"""MonoGaussianAvatar on heads of any number of vertices, and its steps on a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.head import HeadModel, load_head
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams, Identity, Rendering, TrainView
from headbench.methods.monogaussianavatar import MonoGaussianAvatar
from headbench.methods.plugin import MONOGAUSSIANAVATAR

PRESETS = ["official", "fateavatar", "fixed", "demo"]
POSE = ("root", "neck", "jaw", "eye_left", "eye_right", "translation")


def test_the_spec_names_citation_and_licence() -> None:
    assert "arXiv:2312.04558" in MONOGAUSSIANAVATAR.citation
    assert "non-commercial" in MONOGAUSSIANAVATAR.licence
    assert list(MONOGAUSSIANAVATAR.presets) == [*PRESETS, "tiny"]


def test_official_has_the_released_numbers(preset: Any) -> None:
    config = preset("MonoGaussianAvatar", "official")
    assert (config.train.epochs, config.train.resolution, config.train.background) == (120, 512, "white")
    assert config.weights.model_dump() == {
        "rgb": 1.0,
        "dssim": 0.25,
        "vgg": 0.1,
        "skinning": 0.1,
        "pose": 10.0,
        "expression": 10.0,
    }
    assert (config.units, config.world_units, config.canonical_jaw, config.start_radius) == (4.0, 4.0, 0.4, 0.5)
    assert (config.start_points, config.scale_range, config.prune_opacity, config.rate) == (400, 0.025, 0.1, 1e-4)
    assert config.needs() == {"vgg16"}


def test_the_repairs_are_the_ones_the_readme_names(preset: Any) -> None:
    official, fixed = (preset("MonoGaussianAvatar", which).model_dump() for which in ("official", "fixed"))
    found = {name: fixed[name] for name in official if official[name] != fixed[name]}
    assert found.pop("network") == {**official["network"], "products": "float32"}
    assert found.pop("regulariser") == {**official["regulariser"], "variance_floor": 0.01}
    assert found == {
        "edit_every": 5,
        "jitter": "per_copy",
        "late_jitter": None,
        "fresh_optimizer": False,
        "quaternions": "per_point",
        "rate_milestones": (80, 100),
    }


def driven(head: HeadModel, config: Any, camera: Camera) -> tuple[MonoGaussianAvatar, HeadParams]:
    """An avatar of this head with the tiny subject's camera, and a pose with an open jaw and a turned head."""
    shapes, expressions = head.sizes
    device = head.template.device
    rng = torch.Generator().manual_seed(0)
    zero = torch.zeros(1, 3)
    still = HeadParams(head.tag, torch.zeros(1, expressions), *[zero] * 6)
    moved = HeadParams(
        head.tag,
        0.3 * torch.randn(1, expressions, generator=rng),
        *(0.2 * torch.randn(1, 3, generator=rng) for _ in POSE),
    )
    identity = Identity(
        head.tag, torch.zeros(1, shapes), torch.zeros(1, expressions), torch.ones(1, expressions), still, camera
    ).to(device)
    return MonoGaussianAvatar.create(head, identity, TrainView((), 32, 32, seed=1), config), moved.to(device)


def check(avatar: MonoGaussianAvatar, params: HeadParams) -> None:
    """Driven, pulled to the head's vertices, differentiable; a head's own weights give the head's own motion."""
    posed = avatar.drive(params)
    assert bool(torch.isfinite(posed.gaussians.means).all())
    skin = avatar.deformer(avatar.table["points"].detach())
    assert len(avatar.targets.vertices) == posed.vertices.shape[1]
    total = sum(avatar.targets(skin, avatar.factor).values()) + posed.gaussians.means.square().sum()
    total.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in avatar.deformer.parameters() if p.grad is not None)
    t = avatar.targets
    moved = avatar._move(t.vertices, t.directions, t.weights, params) / avatar.config.units
    torch.testing.assert_close(avatar.head.to_world(moved, params), posed.vertices, atol=2e-5, rtol=0)


@pytest.mark.parametrize("topology", ["open", "teeth"])
def test_the_open_head_carries_it(preset: Any, tiny_camera: Camera, topology: str) -> None:
    config = preset("MonoGaussianAvatar", "demo", start_points=200, head_topology=topology)
    avatar, params = driven(load_head("openhead", topology), config, tiny_camera)
    check(avatar, params)
    with torch.no_grad():
        image = avatar.render(params, tiny_camera, torch.ones(1, 3), make_rasterizer("numba"))
    assert bool(torch.isfinite(image).all())


@pytest.mark.parametrize(("topology", "vertices"), [("open", 5023), ("teeth", 5143)])
def test_flame_carries_it(preset: Any, flame_home: Any, tiny_camera: Camera, topology: str, vertices: int) -> None:
    weights = {"vgg": 0.0}
    config = preset("MonoGaussianAvatar", "official", head_topology=topology, weights=weights)
    avatar, params = driven(load_head("flame2020", topology), config, tiny_camera)
    assert avatar.drive(params).vertices.shape == (1, vertices, 3)
    assert avatar.targets.directions.shape == (vertices, 108 + 3 * avatar.head.expression_size)
    check(avatar, params)


CLOCK = Clock(5, 1, 100, 1000)


@pytest.mark.gpu
def test_an_ordinary_step_never_waits_for_the_device(
    growing: Any,
    tiny_params: Callable[[int], HeadParams],
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    tiny_camera: Camera,
) -> None:
    for config in [growing(which).config for which in PRESETS]:
        avatar = MonoGaussianAvatar.create(tiny_head.cuda(), tiny_identity.to("cuda"), tiny_train, config)
        params, camera = tiny_params(1).to("cuda"), tiny_camera.to("cuda")
        blank = torch.zeros(1, 3, 16, 16, device="cuda")
        batch = Batch(params, camera, blank + 0.5, blank[:, :1], torch.ones(1, 3, device="cuda"), ("a",))

        def step(avatar: MonoGaussianAvatar = avatar, params: HeadParams = params, batch: Batch = batch) -> None:
            posed = avatar.drive(params)
            image = batch.image * posed.gaussians.colours.mean()
            seen = torch.ones(1, avatar.count(), dtype=torch.bool, device="cuda")
            rendering = Rendering(image, image[:, :1], image[:, :1], seen, None, lambda: seen)  # type: ignore[arg-type]
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


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [1, 8])
def test_a_hundred_thousand_points_stay_within_24_gigabytes(preset: Any, tiny_camera: Camera, batch: int) -> None:
    config = preset("MonoGaussianAvatar", "official", start_points=100_000, splat_radius=0.002, weights={"vgg": 0.0})
    head = load_head("openhead", config.topology(), device="cuda")
    avatar, one = driven(head, config, tiny_camera)
    params = HeadParams.join([one] * batch)
    torch.cuda.reset_peak_memory_stats()
    posed = avatar.drive(params)
    pull = sum(avatar.targets(avatar.deformer(avatar.table["points"].detach()), avatar.factor).values())
    g = posed.gaussians
    (pull + g.means.sum() + g.colours.sum() + g.scales.sum() + g.opacities.sum() + g.quats.sum()).backward()
    assert torch.cuda.max_memory_allocated() < 16 * 2**30, "the rasterizer and the pictures need room too"
