"""Every back end draws every scene as the oracle does, and its gradients are the oracle's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from headbench.harness.splat import make_rasterizer
from headbench.harness.splat.torch_backend import TorchRasterizer
from headbench.harness.types import Camera

BACKENDS = ["numba", pytest.param("gsplat", marks=pytest.mark.gpu), pytest.param("cuda", marks=pytest.mark.gpu)]
DEVICES = {"numba": "cpu", "gsplat": "cuda", "cuda": "cuda", "torch": "cpu"}
WITHOUT_K = ("gsplat", "cuda")
"""Back ends that have no gradient for K, and say so."""


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def _decibels(mine, reference, peak=1.0):
    error = (mine - reference).square().mean().item() if reference.numel() else 0.0
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def _relative(mine, reference):
    """Largest of the relative errors in the 2-norm and in the maximum norm; absolute where the reference is 0."""
    if reference.numel() == 0:
        return 0.0
    difference = mine - reference
    scale_2, scale_max = reference.norm().item() or 1.0, reference.abs().max().item() or 1.0
    return max(difference.norm().item() / scale_2, difference.abs().max().item() / scale_max)


def test_a_back_end_draws_and_differentiates_as_the_oracle(backend, scene, draw):
    device = DEVICES[backend]
    rasterizer = make_rasterizer(backend, device)
    oracle = TorchRasterizer(rasterizer.alpha_max, through=getattr(rasterizer, "through", False))
    fixed = "K" if backend in WITHOUT_K else ""
    expected = draw(oracle, scene, skip=fixed)
    mine = draw(rasterizer, scene, torch.float32, device, skip=fixed)

    assert _decibels(mine.rendering.image, expected.rendering.image) >= 60
    assert _decibels(mine.rendering.alpha, expected.rendering.alpha) >= 60
    assert _decibels(mine.rendering.depth, expected.rendering.depth) >= 60
    assert torch.equal(mine.rendering.visible, expected.rendering.visible)
    assert torch.equal(mine.rendering.radii > 0, mine.rendering.visible)
    # Rounding up can go either way where a radius is a whole number.
    assert torch.all((mine.rendering.radii - expected.rendering.radii).abs() <= 1)
    errors = {name: _relative(mine.gradients[name], value) for name, value in expected.gradients.items()}
    errors["screen"] = _relative(mine.screen, expected.screen)
    errors["absolute screen"] = _relative(mine.absolute, expected.absolute)
    assert {name: error for name, error in errors.items() if not error < 1e-3} == {}


def test_the_scenes_do_what_their_names_say(scenes, draw):
    from_scenes = {name: draw(TorchRasterizer(), make()) for name, make in scenes.items() if "harmonics" not in name}
    assert from_scenes["all culled"].rendering.radii.max() == 0
    assert from_scenes["no Gaussians"].rendering.radii.shape == (1, 0)
    seen = from_scenes["behind the camera"].rendering.radii > 0
    assert 0 < seen.sum() < seen.numel()
    assert from_scenes["opaque"].rendering.alpha.max() >= 0.99
    assert from_scenes["finished pixels"].rendering.alpha.median() > 0.999
    assert from_scenes["huge"].rendering.radii.max() > 400
    assert from_scenes["tiny"].rendering.radii.max() == 3


@pytest.mark.parametrize("name", ["torch", *BACKENDS])
def test_screen_gradients_are_in_half_image_units_and_absolute_ones_add_up_pixel_by_pixel(name, make_scene):
    device = DEVICES[name]
    scene = make_scene(count=8, width=9, height=6)
    rasterizer = make_rasterizer(name, device)
    gaussians = replace(
        scene.gaussians,
        **{
            f: getattr(scene.gaussians, f).float().to(device)
            for f in ("means", "quats", "scales", "opacities", "colours")
        },
    )
    K = scene.camera.K * torch.tensor([[0.2], [0.2], [1.0]])
    K[:, 0, 2], K[:, 1, 2] = 4.5, 3.0
    background = scene.background.float().to(device)
    weights = torch.randn(1, 3, 6, 9, generator=torch.Generator().manual_seed(0)).to(device)

    def rendering():
        means = gaussians.means.clone().requires_grad_()
        camera = Camera(scene.camera.w2c.float().to(device), K.float().to(device), 9, 6)
        return rasterizer(replace(gaussians, means=means), camera, background, absolute_gradient=True)

    whole = rendering()
    (whole.image * weights).sum().backward()
    plain, absolute = whole.screen.plain(), whole.screen.absolute()

    per_pixel = []
    for v in range(6):
        for u in range(9):
            one = rendering()
            (one.image * weights)[..., v, u].sum().backward()
            per_pixel.append(one.screen.plain())
    torch.testing.assert_close(torch.stack(per_pixel).sum(0), plain, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(torch.stack(per_pixel).abs().sum(0), absolute, atol=1e-4, rtol=1e-3)
    assert (absolute > plain.abs() * 1.01).any()

    # Moving the principal point moves every projected mean by as many pixels, and the oracle knows that gradient.
    exact = {f: getattr(scene.gaussians, f) for f in ("means", "quats", "scales", "opacities", "colours")}
    moved = K.clone().requires_grad_()
    oracle = TorchRasterizer(alpha_max=rasterizer.alpha_max)
    image = oracle(replace(gaussians, **exact), Camera(scene.camera.w2c, moved, 9, 6), scene.background).image
    (image * weights.cpu()).sum().backward()
    expected = moved.grad[:, :2, 2] * torch.tensor([9 / 2, 6 / 2])
    torch.testing.assert_close(plain.sum(1).cpu(), expected.float(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["torch", *BACKENDS])
def test_shared_gaussians_collect_the_gradients_of_all_cameras(name, make_scene, draw):
    device = DEVICES[name]
    rasterizer = make_rasterizer(name, device)
    shared = make_scene(count=20, batch=3, shared=True)
    fixed = "K" if name in WITHOUT_K else ""
    both = draw(rasterizer, shared, torch.float32, device, skip=fixed)
    fields = ("means", "quats", "scales", "opacities", "colours")
    own = replace(
        shared,
        gaussians=replace(shared.gaussians, **{f: torch.stack([getattr(shared.gaussians, f)] * 3) for f in fields}),
    )
    apart = draw(rasterizer, own, torch.float32, device, skip=fixed)
    torch.testing.assert_close(apart.rendering.image, both.rendering.image, atol=1e-6, rtol=1e-5)
    for field in fields:
        torch.testing.assert_close(apart.gradients[field].sum(0), both.gradients[field], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(apart.gradients["w2c"], both.gradients["w2c"], atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("name", ["torch", *BACKENDS])
def test_nothing_but_colours_may_ask_for_gradients(name, make_scene):
    device = DEVICES[name]
    scene = make_scene(count=20)
    fields = ("means", "quats", "scales", "opacities", "colours")
    gaussians = replace(scene.gaussians, **{f: getattr(scene.gaussians, f).float().to(device) for f in fields})
    gaussians.colours.requires_grad_()
    camera = replace(scene.camera, w2c=scene.camera.w2c.float(), K=scene.camera.K.float()).to(device)
    rendering = make_rasterizer(name, device)(gaussians, camera, torch.ones(3, device=device))
    rendering.image.square().sum().backward()
    assert gaussians.colours.grad.abs().sum() > 0
    assert rendering.screen.plain().abs().sum() > 0


@pytest.mark.gpu
def test_gsplats_clamp_differs_from_the_2023_rasterizers_only_under_opaque_gaussians(draw, make_scene):
    rasterizer = make_rasterizer("gsplat", "cuda")
    scene = make_scene()
    calm = replace(scene, gaussians=replace(scene.gaussians, opacities=scene.gaussians.opacities.clamp_max(0.98)))
    mine = draw(rasterizer, calm, torch.float32, "cuda", skip="K")
    expected = draw(TorchRasterizer(), calm, skip="K")
    assert _decibels(mine.rendering.image, expected.rendering.image) >= 60


@pytest.mark.gpu
@pytest.mark.parametrize("name", WITHOUT_K)
def test_a_gpu_s_back_end_refuses_a_gradient_for_intrinsics_and_can_leave_depth_out(make_scene, name):
    scene = make_scene()
    fields = ("means", "quats", "scales", "opacities", "colours")
    gaussians = replace(scene.gaussians, **{f: getattr(scene.gaussians, f).float().cuda() for f in fields})
    camera = replace(scene.camera, w2c=scene.camera.w2c.float(), K=scene.camera.K.float()).to("cuda")
    background = scene.background.float().cuda()
    with_depth = make_rasterizer(name, "cuda")(gaussians, camera, background)
    without = make_rasterizer(name, "cuda", depth=False)(gaussians, camera, background)
    torch.testing.assert_close(without.image, with_depth.image)
    assert without.depth.shape == (1, 0, 40, 40)
    camera.K.requires_grad_()
    with pytest.raises(ValueError, match=r"no gradient for camera\.K"):
        make_rasterizer(name, "cuda")(gaussians, camera, background)
