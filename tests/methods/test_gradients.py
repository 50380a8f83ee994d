"""Every method from parameters to the loss, in double precision: gradients through drive, rasterizer and losses."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams

FIELDS = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation")
TRACKED = ("expression", "root", "neck", "jaw", "translation")
LATE = Clock(20_001, 1, 600, 150_000)
PRESETS = ["official", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fateavatar", "fixed"))]
NETWORKS = {"deformer_width": 5, "geometry_width": 44, "correction_width": 16, "start": "plain"}


@pytest.fixture
def scene(tiny_params: Callable[[int], HeadParams], tiny_camera: Camera) -> Batch:
    """Two frames in double precision, an image and masks of noise."""
    rng = torch.Generator().manual_seed(2)

    def rand(channels: int) -> Tensor:
        return torch.rand(2, channels, 32, 32, generator=rng, dtype=torch.float64)

    params = HeadParams.join([tiny_params(3), tiny_params(4)])
    params = replace(params, **{name: getattr(params, name).double() for name in FIELDS})
    camera = Camera.join([tiny_camera, tiny_camera])
    camera = replace(camera, w2c=camera.w2c.double(), K=camera.K.double())
    background = torch.ones(2, 3, dtype=torch.float64)
    return Batch(params, camera, rand(3), rand(1), background, ("a", "b"), {"mouth": rand(1)})


def disturb(avatar: Avatar, spread: dict[str, float], opacity: float = 0.0) -> None:
    """Other values than the start's in every parameter; `opacity` is added to logits, so that Gaussians are seen."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in avatar.named_parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            parameter.add_(noise * spread.get(name.removeprefix("table."), 0.2))
        if opacity:
            avatar.table["opacity"].add_(opacity)


def tracked(scene: Batch) -> dict[str, Tensor]:
    return {name: getattr(scene.params, name).requires_grad_() for name in TRACKED}


def follow(leaves: dict[str, Tensor], loss: Callable[[], Tensor], step: float = 1e-8, depth: int = 2) -> None:
    """The loss changes along a random way of each group of leaves as its gradient says.

    The first `depth` parts of its name are a leaf's group, such as geometry.trunk. A picture jumps where a pixel passes
    the opacity below which it is left out. Steps are so short that this is rare, and it never happens on both sides:
    one of them is enough.
    """
    for leaf in leaves.values():
        leaf.grad = None
    loss().backward()
    assert {name for name, leaf in leaves.items() if leaf.grad is None} == set()
    rng = torch.Generator().manual_seed(1)
    for group, members in itertools.groupby(leaves, key=lambda name: ".".join(name.split(".")[:depth])):
        names = list(members)
        ways = [torch.randn(leaves[name].shape, generator=rng, dtype=torch.float64) for name in names]
        with torch.no_grad():
            at = [float(loss())]
            for side in (step, -2 * step, step):
                for name, way in zip(names, ways, strict=True):
                    leaves[name].add_(side * way)
                if side != step or len(at) == 1:
                    at.append(float(loss()))
        slope = sum(float((leaves[name].grad * way).sum()) for name, way in zip(names, ways, strict=True))
        assert abs(slope) > 1e-5, f"{group}: too flat to tell"
        sides = [(at[1] - at[0]) / step, (at[0] - at[2]) / step]
        assert min(abs(side - slope) for side in sides) <= 2e-4 * abs(slope) + 6e-8, (group, slope, sides)


@dataclass(frozen=True)
class Small:
    """A method on the tiny head: its fixture, changed fields and what `disturb` adds."""

    fixture: str
    changes: dict[str, Any]
    spread: dict[str, float]
    terms: frozenset[str]


SMALL = {
    "FlashAvatar": Small(
        "flash",
        {"uv_size": 8, "hidden": 8, "layers": 2, "octaves": 3, "offset_bound": 0.02, "detach_codes": False},
        {"scaling": 0.3, "opacity": 0.5},
        frozenset({"huber", "mouth"}),
    ),
    "SplattingAvatar": Small(
        "embedded",
        {"num_points": 40, "scale_threshold": 0.001, "axis_ratio": 1.5},
        {"displacement": 0.02, "shift": 0.05, "scaling": 0.3, "opacity": 0.5},
        frozenset({"l1", "mse", "scale"}),
    ),
    "GaussianAvatars": Small(
        "rigged", {}, {"position": 0.8, "scaling": 0.3}, frozenset({"l1", "dssim", "position", "scale"})
    ),
}


@pytest.mark.parametrize("which", PRESETS)
@pytest.mark.parametrize("method", SMALL)
def test_the_loss_falls_along_its_gradient(
    method: str, which: str, scene: Batch, request: pytest.FixtureRequest
) -> None:
    small = SMALL[method]
    avatar: Avatar = request.getfixturevalue(small.fixture)(which, **small.changes).double().eval()
    disturb(avatar, small.spread, opacity=2.0)
    avatar.edit(Event.AFTER_STEP, None, LATE)  # all bands that the preset has
    draw = make_rasterizer("torch")

    def loss() -> Tensor:
        posed = avatar.drive(scene.params)
        rendering = draw(posed.gaussians, scene.camera, scene.background)
        assert bool(rendering.visible.all())
        assert posed.gaussians.sh_degree == avatar.config.sh_degree
        terms = avatar.losses(posed, rendering, scene, LATE)
        assert {name for name, term in terms.items() if float(term.detach()) > 0} == small.terms
        return torch.stack(list(terms.values())).sum()

    follow({**dict(avatar.named_parameters()), **tracked(scene)}, loss, depth=3)


@pytest.mark.parametrize("which", ["official", pytest.param("fixed", marks=pytest.mark.slow)])
def test_fateavatar_s_loss_falls_along_its_gradient(fate: Any, scene: Batch, which: str) -> None:
    # A larger bound for the raw normal: with the released one the offset has no effect to measure.
    bound = 20.0 if which != "fixed" else 0.02
    avatar = fate(which, num_points=49, cover_faces="none", offset_bound=bound, scale_threshold=1.5).double().eval()
    small = {"delta_expression": 1e-3, "delta_pose": 1e-3, "delta_vertex": 2e-3, "scaling": 0.3, "offset": 0.5}
    disturb(avatar, small, opacity=3.0)
    draw = make_rasterizer("torch")
    plain = avatar.drive(scene.params).plain.detach()

    def loss() -> Tensor:
        # The Laplacian takes the uncorrected mesh as given.
        posed = replace(avatar.drive(scene.params), plain=plain)
        terms = avatar.losses(posed, draw(posed.gaussians, scene.camera, scene.background), scene, LATE)
        assert {name for name, term in terms.items() if float(term.detach()) > 0} == {"rgb", "scale", "laplacian"}
        return torch.stack(list(terms.values())).sum()

    follow({**dict(avatar.named_parameters()), **tracked(scene)}, loss)


@pytest.mark.parametrize("which", PRESETS)
def test_monogaussianavatar_s_loss_falls_along_its_gradient(growing: Any, scene: Batch, which: str) -> None:
    avatar = growing(which, start_points=30, network=NETWORKS).double().eval()
    disturb(avatar, {"points": 0.02})
    draw = make_rasterizer("torch")

    def terms() -> dict[str, Tensor]:
        posed = avatar.drive(scene.params)
        found = avatar.losses(posed, draw(posed.gaussians, scene.camera, scene.background), scene, Clock(1, 1, 6, 60))
        assert set(found) == {"rgb", "dssim", "skinning", "pose", "expression"}
        return found

    def picture() -> Tensor:
        found = terms()
        return found["rgb"] + found["dssim"]

    def pull() -> Tensor:
        found = terms()
        return found["skinning"] + found["pose"] + found["expression"]

    parameters = dict(avatar.named_parameters())
    looks = {n: p for n, p in parameters.items() if n.startswith(("geometry.", "corrections."))}
    deformer = {n: p for n, p in parameters.items() if n.startswith("deformer.")}
    assert {*looks, *deformer, "table.points"} == set(parameters)
    follow(looks, picture)
    # What points look like neither moves them nor the deformer, so it is held still for these.
    with torch.no_grad():
        before = avatar.drive(scene.params).gaussians
        points = avatar.table["points"]
        skin = avatar.deformer(points)
        moved = avatar._move(skin.points, skin.directions, skin.weights, scene.params)
        looked, changed = avatar.geometry(points), avatar.corrections(moved - skin.points)
    avatar.geometry.forward = lambda _: looked  # type: ignore[method-assign]
    avatar.corrections.forward = lambda _: changed  # type: ignore[method-assign]
    torch.testing.assert_close(avatar.drive(scene.params).gaussians.colours, before.colours)
    follow({**deformer, "points": points, **tracked(scene)}, picture)
    follow(deformer, pull, step=1e-6)
