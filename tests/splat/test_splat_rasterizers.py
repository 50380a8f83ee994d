"""What holds for the CPU rasterizer alone, and how rasterizers are made, refused and reported."""

from __future__ import annotations

from dataclasses import replace

import numba
import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.jit import compiled
from headbench.harness.splat import backend_report, make_rasterizer
from headbench.harness.splat.benchmark import head_scene, time_rasterizer
from headbench.harness.splat.numba_backend import NumbaRasterizer
from headbench.harness.types import Camera, Gaussians


@pytest.fixture
def two_heads():
    gaussians, camera = head_scene(600, 72)
    aside = camera.w2c.clone()
    aside[:, 0, 3] += 0.02
    cameras = Camera.join([camera, replace(camera, w2c=aside)])
    return gaussians, replace(cameras, width=72, height=50)


def _everything(gaussians: Gaussians, camera: Camera) -> list[torch.Tensor]:
    fields = ("means", "quats", "scales", "opacities", "colours")
    leaves = {f: getattr(gaussians, f).clone().requires_grad_() for f in fields}
    moved = replace(camera, w2c=camera.w2c.clone().requires_grad_(), K=camera.K.clone().requires_grad_())
    rendering = NumbaRasterizer()(replace(gaussians, **leaves), moved, torch.ones(3), absolute_gradient=True)
    (rendering.image.square().sum() + rendering.depth.sum() + rendering.alpha.sum()).backward()
    gradients = [leaf.grad for leaf in leaves.values()]
    screen = [rendering.screen.plain(), rendering.screen.absolute()]
    return [
        rendering.image,
        rendering.alpha,
        rendering.depth,
        rendering.radii,
        *gradients,
        moved.w2c.grad,
        moved.K.grad,
        *screen,
    ]


def test_results_are_bit_equal_for_any_number_of_threads(two_heads):
    most = numba.config.NUMBA_NUM_THREADS
    if most < 2:
        pytest.skip("numba may use one thread only here")
    before = numba.get_num_threads()
    torch.use_deterministic_algorithms(True)
    try:
        numba.set_num_threads(1)
        alone = _everything(*two_heads)
        numba.set_num_threads(most)
        for _ in range(3):
            together = _everything(*two_heads)
            assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    finally:
        numba.set_num_threads(before)
        torch.use_deterministic_algorithms(False)
    assert alone[0].std() > 0.05


def test_an_image_does_not_depend_on_the_batch_it_is_drawn_in(two_heads):
    gaussians, cameras = two_heads
    together = NumbaRasterizer()(gaussians, cameras, torch.ones(3))
    alone = NumbaRasterizer()(gaussians, cameras.rows(slice(1, 2)), torch.ones(3))
    assert torch.equal(together.image[1:], alone.image)


def test_a_gaussian_that_is_not_a_number_is_culled_and_spoils_no_other():
    gaussians, camera = head_scene(50, 40)
    expected = NumbaRasterizer()(gaussians, camera, torch.ones(3))
    for name, value in (("means", torch.nan), ("scales", torch.inf), ("quats", torch.nan), ("opacities", torch.nan)):
        broken = getattr(gaussians, name)
        broken = torch.cat([broken, torch.full_like(broken[:1], value)])
        others = {
            f: torch.cat([getattr(gaussians, f), getattr(gaussians, f)[:1]])
            for f in vars(gaussians)
            if f != "sh_degree"
        }
        rendering = NumbaRasterizer()(replace(gaussians, **(others | {name: broken})), camera, torch.ones(3))
        assert rendering.radii[0, -1] == 0
        assert torch.equal(rendering.image, expected.image)


def test_a_colour_that_is_not_a_number_shows():
    gaussians, camera = head_scene(50, 40)
    colours = gaussians.colours.clone()
    colours[7, 1] = torch.nan
    image = NumbaRasterizer()(replace(gaussians, colours=colours), camera, torch.ones(3)).image
    assert image[:, 1].isnan().any() and not image[:, 0].isnan().any()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("quats", torch.zeros(50, 3), r"gaussians.quats must have shape \(1, 50, 4\), got \(1, 50, 3\)"),
        ("scales", torch.zeros(2, 50, 3), r"gaussians.scales must have shape \(1, 50, 3\), got \(2, 50, 3\)"),
        ("opacities", torch.zeros(49), r"gaussians.opacities must have shape \(1, 50\), got \(1, 49\)"),
        ("colours", torch.zeros(50, 4), r"gaussians.colours must have shape \(1, 50, 3\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(field, value, message):
    gaussians, camera = head_scene(50, 40)
    with pytest.raises(ValueError, match=message):
        NumbaRasterizer()(replace(gaussians, **{field: value}), camera, torch.ones(3))


def test_harmonics_of_too_few_coefficients_are_named():
    gaussians, camera = head_scene(50, 40)
    short = replace(gaussians, colours=torch.zeros(50, 4, 3), sh_degree=2)
    with pytest.raises(ValueError, match=r"K >= 9, got \(50, 4, 3\)"):
        NumbaRasterizer()(short, camera, torch.ones(3))


def test_screen_gradients_say_what_they_miss():
    gaussians, camera = head_scene(50, 40)
    gaussians.means.requires_grad_()
    rendering = NumbaRasterizer()(gaussians, camera, torch.ones(3))
    with pytest.raises(BenchError, match="before backward"):
        rendering.screen.plain()
    rendering.image.sum().backward()
    assert rendering.screen.plain().shape == (1, 50, 2)
    with pytest.raises(BenchError, match="absolute_gradient=True"):
        rendering.screen.absolute()


def test_an_input_changed_before_backward_is_an_error():
    gaussians, camera = head_scene(50, 40)
    gaussians.means.requires_grad_()
    rendering = NumbaRasterizer()(gaussians, camera, torch.ones(3))
    with torch.no_grad():
        gaussians.means.add_(0.01)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        rendering.image.sum().backward()


def test_rasterizers_are_made_by_name_and_device():
    assert make_rasterizer().name == "numba"
    assert make_rasterizer("torch", "cuda").name == "torch"
    with pytest.raises(BenchError, match="Did you mean 'numba'"):
        make_rasterizer("nubma")
    with pytest.raises(BenchError, match="works on the CPU, not on cuda"):
        make_rasterizer("numba", "cuda")
    with pytest.raises(BenchError, match="works on CUDA, not on cpu"):
        make_rasterizer("gsplat", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing where there is no GPU")
def test_gsplat_says_what_is_missing():
    with pytest.raises(BenchError, match="cannot be used here") as caught:
        make_rasterizer("auto", "cuda")
    assert caught.value.help


def test_the_report_names_every_back_end_with_its_state():
    report = {name: (usable, reason) for name, usable, reason in backend_report()}
    assert set(report) == {"gsplat", "cuda", "numba", "torch"}
    assert report["numba"][0] and numba.__version__ in report["numba"][1]
    usable, reason = report["gsplat"]
    assert ("gsplat 1." in reason) if usable else ("not installed" in reason or "GPU" in reason or "toolkit" in reason)
    usable, reason = report["cuda"]
    assert usable or "GPU" in reason or "nvcc" in reason


def test_kernels_compile_where_no_cache_can_be_written():
    namespace: dict = {}
    exec(compile("def double(x):\n    return x + x\n", "<no file>", "exec"), namespace)
    with pytest.raises(RuntimeError, match="locator"):
        numba.njit(cache=True)(namespace["double"])
    assert compiled()(namespace["double"])(21) == 42


def test_the_benchmark_times_both_ways():
    timing = time_rasterizer(200, 32, repeats=2)
    assert timing.rasterizer == "numba" and timing.forward > 0 and timing.backward > 0
    assert timing.total == timing.forward + timing.backward
