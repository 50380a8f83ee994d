"""SplattingAvatar's presets, and the method on heads of any number of vertices."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.head import HeadModel, load_head
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Camera, Clock, Event, Frame, HeadParams, Identity, TrainView
from headbench.methods.plugin import SPLATTINGAVATAR
from headbench.methods.splattingavatar import SplattingAvatar

PRESETS = ["official", "fateavatar", "fixed", "demo"]


def test_the_spec_names_citation_and_licence() -> None:
    assert "arXiv:2403.05087" in SPLATTINGAVATAR.citation
    assert "non-commercial" in SPLATTINGAVATAR.licence
    assert list(SPLATTINGAVATAR.presets) == [*PRESETS, "tiny"]


def test_official_has_the_released_numbers(preset: Any) -> None:
    config = preset("SplattingAvatar", "official")
    assert config.train.steps == 30_000
    assert (config.train.batch, config.train.background, config.train.resolution) == (1, "random", None)
    assert not config.train.finetune.rates
    assert config.rates.model_dump() == {
        "position": 1.6e-4,
        "position_final": 1.6e-6,
        "dc": 0.0025,
        "rest": 0.000125,
        "opacity": 0.05,
        "scaling": 0.005,
        "rotation": 0.001,
    }
    assert config.weights.model_dump() == {"l1": 1.0, "mse": 10.0, "lpips": 0.01, "scale": 1.0}
    assert (config.num_points, config.sh_degree, config.units, config.max_points) == (10_000, 0, 4.0, None)
    assert (config.extent * config.dense_share, config.extent * config.max_size_share) == (0.02, 0.2)
    assert (config.scale_threshold, config.axis_ratio, config.area_damping) == (0.008, 10.0, 1e-4)
    assert (config.walk_every, config.walk_decay, config.walk_rule) == (100, 0.9, "released")


def test_the_port_differs_where_its_code_does(preset: Any) -> None:
    official, port = (preset("SplattingAvatar", which).model_dump() for which in ("official", "fateavatar"))
    different = {name: port[name] for name in official if official[name] != port[name]}
    train = different.pop("train")
    assert (train["epochs"], train["steps"], train["resolution"], train["background"]) == (10, None, 512, "white")
    assert different.pop("rates") == {**official["rates"], "position_final": 1.6e-4}
    assert different == {
        "use_static_offset": False,
        "units": 1.0,
        "canonical": "mean_expression",
        "eps": 1e-8,
        "lpips_net": "vgg",
        "lpips_masked": False,
        "scale_loss_size": "canonical",
        "densify_from": 0,
        "clone_size": "canonical",
        "prune_size": "canonical",
        "split_point": "posed_base",
        "size_prune_from": 3500,
        "reset_every": 3500,
        "reset_after_densify": True,
    }


def test_the_repairs_are_the_ones_the_readme_names(preset: Any) -> None:
    official, fixed = (preset("SplattingAvatar", which).model_dump() for which in ("official", "fixed"))
    assert {name: fixed[name] for name in official if official[name] != fixed[name]} == {
        "canonical": "mean_expression",
        "eyelids": True,
        "embedding": "lifted",
        "displacement_freezes": False,
        "mesh_scaling": "product",
        "quaternion_signs": "aligned",
        "clone_size": "canonical",
        "split_displacement": "solved",
        "solver_start": "nearest",
        "max_radius": 0.0,
        "walk_rule": "continuous",
    }


def test_networks_are_needed_where_lpips_has_a_weight(preset: Any) -> None:
    assert preset("SplattingAvatar", "official").needs() == {"lpips-alex"}
    assert preset("SplattingAvatar", "fateavatar").needs() == {"lpips-vgg"}
    assert preset("SplattingAvatar", "demo").needs() == frozenset()


def resting(head: HeadModel, seed: int = 0) -> HeadParams:
    zero = torch.zeros(1, 3)
    expression = 0.3 * torch.randn(1, head.sizes[1], generator=torch.Generator().manual_seed(seed))
    return HeadParams(head.tag, expression, zero, zero, zero, zero, zero, zero)


def facing(head: HeadModel, size: int = 64) -> Camera:
    """One metre before the middle of the head, which fills the image."""
    low, high = head.template.amin(0), head.template.amax(0)
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ ((low + high) / 2 + torch.tensor([0.0, 0.0, 1.0]))
    f = 0.8 * size / float((high - low)[1])
    K = torch.tensor([[f, 0, size / 2], [0, f, size / 2], [0, 0, 1]])
    return Camera(w2c[None], K[None], size, size)


def made(head: HeadModel, config: Any) -> SplattingAvatar:
    """An avatar of a subject that stands still on this head."""
    params, camera = resting(head), facing(head)
    identity = Identity(
        head=head.tag,
        shape=torch.zeros(1, head.sizes[0]),
        mean_expression=params.expression,
        var_expression=torch.ones_like(params.expression),
        first=params,
        camera=camera,
    )
    frame = Frame("a", camera, params, lambda: pytest.fail("no image is needed to start"))
    return SplattingAvatar.create(head, identity, TrainView((frame,), 64, 64, 0), config)


@pytest.fixture
def small(preset: Any) -> Callable[..., Any]:
    return lambda which, **changes: preset("SplattingAvatar", which, num_points=800, weights={"lpips": 0.0}, **changes)


def live(avatar: SplattingAvatar, head: HeadModel, splat_of: Any, step: int) -> None:
    """PosedAvatar another expression, then grow and walk as at `step`."""
    params = resting(head, seed=5)
    g = avatar.drive(HeadParams.join([params, params])).gaussians
    assert g.means.shape == (2, avatar.count(), 3)
    assert all(bool(torch.isfinite(x).all()) for x in (g.means, g.quats, g.scales))
    n = avatar.count()
    if "shift" in avatar.table.names():
        avatar.table["shift"].data.normal_(0, 0.3)
    clock = Clock(step, 1, 1000, 30_000)
    with torch.no_grad():
        for event in (Event.AFTER_BACKWARD, Event.AFTER_STEP):
            edit = avatar.edit(event, splat_of(torch.ones(1, avatar.count()), torch.ones(1, n, 2)), clock)
            if edit is not None:
                avatar.table.apply_edit(edit)
    assert avatar.count() > n
    assert bool(torch.isfinite(avatar.drive(params).gaussians.means).all())
    assert int(avatar.table["face_index"].max()) < len(head.faces)


@pytest.mark.parametrize("which", PRESETS)
def test_it_covers_the_open_head_grows_and_walks(small: Any, splat_of: Any, which: str) -> None:
    config = small(which)
    head = load_head("openhead", config.topology())
    avatar = made(head, config)
    avatar.table["opacity"].data.fill_(5.0)
    draw, black = make_rasterizer("numba"), torch.zeros(1, 3)
    with torch.no_grad():
        rendering = draw(avatar.drive(resting(head)).gaussians, facing(head), black)
    assert 0.2 < float((rendering.alpha > 0.5).float().mean()) < 0.9
    live(avatar, head, splat_of, 700 if which != "demo" else 100)


@pytest.mark.parametrize(
    ("which", "topology", "vertices"),
    [
        pytest.param("official", "open", 5023, marks=pytest.mark.slow),
        ("fixed", "mouth_closed", 5023),
        pytest.param("fixed", "teeth", 5143, marks=pytest.mark.slow),
    ],
)
def test_it_lives_on_flame_with_and_without_teeth(
    flame_home: Any, small: Any, splat_of: Any, which: str, topology: str, vertices: int
) -> None:
    config = small(which, head_topology=topology)
    head = load_head("flame2020", config.topology())
    assert len(head.template) == vertices
    avatar = made(head, config)
    assert avatar.count() == 800
    live(avatar, head, splat_of, 700)
