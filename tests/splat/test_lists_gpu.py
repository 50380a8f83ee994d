"""Lists of fixed capacity on a GPU: the same pictures to the bit, in a graph that draws whatever comes next."""

from dataclasses import replace

import pytest
import torch

from headbench.harness.splat import make_rasterizer
from headbench.harness.splat.drawing.build import missing_for_cuda
from headbench.harness.splat.lists import Lists
from headbench.harness.train.graph_recorder import GraphRecorder
from headbench.harness.types import Camera, Gaussians, map_tensors

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(missing_for_cuda() is not None, reason="no GPU, or no nvcc"),
]


def _given(scene):  # type: ignore[no-untyped-def]
    def sent(value):  # type: ignore[no-untyped-def]
        return map_tensors(value, lambda t: t.float().cuda())

    return sent(scene.gaussians), sent(scene.camera), scene.background.float().cuda()


@pytest.mark.parametrize("count", [60, 5000])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_capacity_draws_the_same_and_tells_what_it_wanted(make_scene, batch: int, count: int) -> None:
    gaussians, camera, background = _given(make_scene(count=count, batch=batch, width=200, height=120))
    rasterizer, device = make_rasterizer("cuda", "cuda"), torch.device("cuda")
    exact = rasterizer(gaussians, camera, background)
    prepared = rasterizer.prepare(gaussians, camera)
    measured = Lists(device)
    assert torch.equal(rasterizer.rasterize_within(prepared, background, measured).image, exact.image)
    wanted = int(measured.wanted)
    assert wanted > 0
    for capacity in (wanted, 2 * wanted + 7):
        lists = Lists(device, capacity)
        torch.cuda.set_sync_debug_mode("error")
        try:
            drawn = rasterizer.rasterize_within(prepared, background, lists)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for name in ("image", "alpha", "depth", "visible"):
            assert torch.equal(getattr(drawn, name), getattr(exact, name)), name
        assert int(lists.wanted) == wanted
    lists = Lists(device, wanted // 2)
    assert not torch.equal(rasterizer.rasterize_within(prepared, background, lists).depth, exact.depth)
    assert lists.too_short(int(lists.wanted))


def test_a_graph_draws_and_differentiates_what_comes_next(make_scene) -> None:
    scenes = [_given(make_scene(count=800, width=90, height=70, sh_degree=2, seed=seed)) for seed in range(4)]
    rasterizer, recorder = make_rasterizer("cuda", "cuda"), GraphRecorder(torch.device("cuda"))
    names = ("means", "quats", "scales", "opacities", "colours")
    slots = {name: getattr(scenes[0][0], name).clone().requires_grad_() for name in names}
    pose, K, background = scenes[0][1].w2c.clone(), scenes[0][1].K, scenes[0][2].clone()
    lists, found = Lists(torch.device("cuda"), 100_000), {}

    def draw(given: Gaussians, camera: Camera, shade: torch.Tensor, within: bool):  # type: ignore[no-untyped-def]
        if not within:
            return rasterizer(given, camera, shade, absolute_gradient=True)
        return rasterizer.rasterize_within(rasterizer.prepare(given, camera), shade, lists, True)

    def work() -> None:
        with torch.enable_grad():
            given = replace(scenes[0][0], **slots)
            drawn = draw(given, Camera(pose, K, 90, 70), background, True)
            loss = drawn.image.square().sum() + drawn.alpha.sum() + 0.1 * drawn.depth.square().sum()
            found["gradients"] = torch.autograd.grad(loss, list(slots.values()))
        found["image"], found["screen"] = drawn.image.detach(), drawn.screen

    recorder.warm_up(work)
    replay = recorder.record(work)
    for gaussians, camera, shade in scenes:
        for name in names:
            slots[name].detach().copy_(getattr(gaussians, name))
        pose.copy_(camera.w2c)
        background.copy_(shade)
        replay()
        leaves = {name: getattr(gaussians, name).clone().requires_grad_() for name in names}
        drawn = draw(replace(gaussians, **leaves), camera, shade, False)
        (drawn.image.square().sum() + drawn.alpha.sum() + 0.1 * drawn.depth.square().sum()).backward()
        assert torch.equal(found["image"], drawn.image)
        for gradient, leaf in zip(found["gradients"], leaves.values(), strict=True):
            torch.testing.assert_close(gradient, leaf.grad, rtol=1e-3, atol=1e-3 * float(leaf.grad.abs().max()))
        ours, theirs = found["screen"].absolute(), drawn.screen.absolute()
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.max()))
    assert not lists.too_short(int(lists.wanted))
