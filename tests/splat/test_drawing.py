"""The CUDA kernels that draw, run thread by thread on a CPU, against the oracle."""

from __future__ import annotations

import ctypes
import gc
import shutil
import subprocess
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from headbench.harness.blocks.densify import accumulate
from headbench.harness.splat.benchmark import head_scene
from headbench.harness.splat.drawing import CudaRasterizer
from headbench.harness.splat.drawing.build import sources
from headbench.harness.splat.drawing.library import Library
from headbench.harness.splat.lists import Lists
from headbench.harness.splat.torch_backend import TorchRasterizer
from headbench.harness.train import GaussianTable
from headbench.harness.types import Camera, Gaussians, ScreenStatistics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="g++ compiles the kernels for the CPU, and is not here"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The kernels as the emulation runs them."""
    made = tmp_path_factory.mktemp("kernels") / "drawing.so"
    flags = ("-O2", "-std=c++17", "-x", "c++", "-DHEADBENCH_EMULATED", "-shared", "-fPIC", "-Wall", "-Werror")
    subprocess.run(["g++", *flags, "-o", str(made), str(sources()[0])], check=True)
    return Library(made)


class Emulated(CudaRasterizer):
    """The rasterizer on a CPU, thread by thread."""

    device_type = "cpu"

    def __init__(self, library: Library, through: bool = False, depth: bool = True) -> None:
        self._library, self.through, self.depth = library, through, depth


def _error(mine: Tensor, reference: Tensor) -> float:
    """Largest error, relative to the reference's largest value."""
    if not reference.numel():
        return 0.0
    return ((mine - reference).abs().max() / reference.abs().max().clamp_min(1e-6)).item()


@pytest.mark.parametrize("through", [False, True])
def test_the_kernels_draw_and_differentiate_as_the_oracle(library, scene, draw, through):
    mine = draw(Emulated(library, through), scene, torch.float32, skip="K")
    expected = draw(TorchRasterizer(through=through), scene, skip="K")
    assert torch.equal(mine.rendering.visible, expected.rendering.visible)
    for name in ("image", "alpha", "depth"):
        assert _error(getattr(mine.rendering, name), getattr(expected.rendering, name)) < 2e-4, name
    errors = {name: _error(mine.gradients[name], value) for name, value in expected.gradients.items()}
    errors["screen"] = _error(mine.screen, expected.screen)
    errors["absolute screen"] = _error(mine.absolute, expected.absolute)
    assert {name: error for name, error in errors.items() if not error < 1e-3} == {}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_the_way_back_adds_to_statistics_as_density_control_does(library, make_scene, draw, batch, shared):
    scene = make_scene(count=90, batch=batch, shared=shared)
    start = torch.arange(90.0)
    table = GaussianTable({"x": torch.zeros(90)}, statistics={"grad_sum": start, "grad_count": start})
    collected = ScreenStatistics(start.clone(), 2 * start)

    class Collecting(Emulated):
        def prepare(self, gaussians, camera):  # type: ignore[no-untyped-def]
            return self.prepare_collecting(gaussians, camera, collected)

    drawn = draw(Collecting(library), scene, torch.float32, skip="K")
    seen = drawn.rendering.visible
    assert not seen.all() and seen.any()
    units = replace(drawn.rendering, screen=SimpleNamespace(plain=lambda: drawn.screen.float()))
    accumulate(table, units)
    torch.testing.assert_close(collected.visits, 2 * start + table["grad_count"], rtol=0, atol=0)
    torch.testing.assert_close(collected.gradient, start + table["grad_sum"], rtol=1e-5, atol=1e-5)
    assert float(table["grad_sum"].max()) > 0


@pytest.mark.parametrize("batch", [1, 2])
def test_lists_longer_than_a_block_and_many_buckets_are_drawn_whole(library, make_scene, draw, batch):
    scene = make_scene(count=700, batch=batch, width=24, height=20)
    faint = replace(scene.gaussians, opacities=scene.gaussians.opacities * 0.06)
    scene = replace(scene, gaussians=faint)
    mine = draw(Emulated(library), scene, torch.float32, skip="K")
    expected = draw(TorchRasterizer(), scene, skip="K")
    assert expected.rendering.alpha.max() < 0.9999, "so that pixels see the whole list"
    assert _error(mine.rendering.image, expected.rendering.image) < 2e-4
    errors = {name: _error(mine.gradients[name], value) for name, value in expected.gradients.items()}
    assert {name: error for name, error in errors.items() if not error < 2e-3} == {}


def test_a_rendering_without_gradients_or_depth_is_the_same(library, make_scene):
    scene = make_scene(count=200)
    fields = {f: getattr(scene.gaussians, f).float() for f in ("means", "quats", "scales", "opacities", "colours")}
    camera = Camera(scene.camera.w2c.float(), scene.camera.K.float(), scene.camera.width, scene.camera.height)
    gaussians, background = Gaussians(**fields), scene.background.float()
    whole = Emulated(library)(gaussians, camera, background)
    plain = Emulated(library, depth=False)(gaussians, camera, background)
    assert plain.depth.shape[1] == 0
    torch.testing.assert_close(plain.image, whole.image, rtol=0, atol=0)
    fields["means"].requires_grad_()
    kept = Emulated(library)(Gaussians(**fields), camera, background)
    torch.testing.assert_close(kept.image, whole.image, rtol=0, atol=0)
    assert kept.image.requires_grad


def _within(library: Library, scene, capacity: int | None, through: bool = False):  # type: ignore[no-untyped-def]
    """A rasterizer that draws by lists of a capacity, and those lists."""
    lists = Lists(torch.device("cpu"), capacity)

    class Within(Emulated):
        def rasterize(self, prepared, background, absolute_gradient=False):  # type: ignore[no-untyped-def]
            return self.rasterize_within(prepared, background, lists, absolute_gradient)

    return Within(library, through), lists


@pytest.mark.parametrize("more", [1, -1])
def test_tiles_that_were_miscounted_leave_the_lists_of_others_alone(library, make_scene, draw, more):
    class Miscounting(Library):
        """Counts one tile more or fewer than there are of the Gaussian that comes second."""

        def run(self, stage, work, device):  # type: ignore[no-untyped-def]
            if stage == "lists":
                work.tensors["tiles"].zero_()
                work.tensors["ids"].fill_(2**30)  # what an unused place may hold
            super().run(stage, work, device)
            if stage == "measure":
                work.tensors["counts"][work.tensors["sorted_rows"][1]] += more
                work.tensors["ends"][1:] += more

    scene = make_scene(count=200)
    exact = draw(Emulated(library), scene, torch.float32, skip="K")
    mine = draw(Emulated(Miscounting(Path(library._functions._name))), scene, torch.float32, skip="K")
    if more > 0:
        torch.testing.assert_close(mine.rendering.image, exact.rendering.image, rtol=0, atol=0)
    else:
        away = (mine.rendering.image - exact.rendering.image).abs().amax(1) > 0
        assert away.sum() <= 16 * 16, "one tile of one Gaussian is missing"


def test_lists_of_a_fixed_capacity_draw_the_same_to_the_bit(library, scene, draw):
    exact = draw(Emulated(library), scene, torch.float32, skip="K")
    measuring, lists = _within(library, scene, None)
    draw(measuring, scene, torch.float32, skip="K")
    wanted = int(lists.wanted)
    assert bool(exact.rendering.visible.any()) == (wanted > 0)
    for capacity in (max(wanted, 1), wanted + 500):
        rasterizer, lists = _within(library, scene, capacity)
        mine = draw(rasterizer, scene, torch.float32, skip="K")
        assert int(lists.wanted) == wanted
        assert not lists.too_short(int(lists.wanted))
        assert torch.equal(mine.rendering.image, exact.rendering.image)
        assert torch.equal(mine.rendering.alpha, exact.rendering.alpha)
        for name, value in exact.gradients.items():
            torch.testing.assert_close(mine.gradients[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("batch", [1, 2])
def test_lists_that_are_too_short_say_so_and_leave_out_the_farthest(library, make_scene, draw, batch):
    scene = make_scene(count=200, batch=batch)
    rasterizer, lists = _within(library, scene, None)
    exact = draw(rasterizer, scene, torch.float32, skip="K")
    wanted = int(lists.wanted)
    rasterizer, lists = _within(library, scene, wanted // 2)
    mine = draw(rasterizer, scene, torch.float32, skip="K")
    assert int(lists.wanted) == wanted
    assert lists.too_short(wanted)
    assert not torch.equal(mine.rendering.image, exact.rendering.image)
    assert (mine.rendering.alpha <= exact.rendering.alpha + 1e-6).all()
    assert all(bool(value.isfinite().all()) for value in mine.gradients.values())
    draw(rasterizer, make_scene(count=10, batch=batch), torch.float32, skip="K")
    assert int(lists.wanted) == wanted, "the most that any drawing wanted"


class _Watched(torch.autograd.Function):
    """Passes a tensor on; `gone` hears when the node of the graph is freed."""

    @staticmethod
    def forward(ctx, value, gone):
        ctx.held = type("Held", (), {})()
        weakref.finalize(ctx.held, gone.append, None)
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


@pytest.mark.parametrize("backward", [False, True])
def test_a_picture_that_is_dropped_takes_its_graph_with_it(library, backward):
    """Else memory piles up, and no step after a plain one can be recorded, since nodes of another stream live on."""
    gaussians, camera = head_scene(40, 32)
    means, gone = gaussians.means.clone().requires_grad_(), []
    gc.disable()
    try:
        moved = replace(gaussians, means=_Watched.apply(means, gone))
        rendering = Emulated(library)(moved, camera, torch.ones(3))
        if backward:
            torch.autograd.grad(rendering.image.sum(), [means])
        assert gone == []
        del moved, rendering
        assert gone == [None]
    finally:
        gc.enable()


def test_a_length_that_no_int_holds_is_the_largest_and_not_negative(tmp_path: Path) -> None:
    (tmp_path / "sums.cpp").write_text(
        '#include "sorting.cuh"\n'
        'extern "C" void sums(const int* rows, const int* values, int* found, int items) {\n'
        "    size_t bytes = 1;\n"
        "    headbench::running_sum(&bytes, bytes, rows, values, found, items, nullptr);\n"
        "}\n"
    )
    flags = ("-std=c++17", "-DHEADBENCH_EMULATED", "-shared", "-fPIC", "-I", str(sources()[0].parent))
    made = tmp_path / "sums.so"
    subprocess.run(["g++", *flags, "-o", str(made), str(tmp_path / "sums.cpp")], check=True)
    rows, values = torch.tensor([2, 0, 1, 3]).int(), torch.tensor([2**30, 2**30, 7, 2**31 - 1]).int()
    found = torch.zeros(4, dtype=torch.int32)
    ctypes.CDLL(str(made)).sums(*(ctypes.c_void_p(t.data_ptr()) for t in (rows, values, found)), 4)
    assert found.tolist() == [7, 7 + 2**30, 2**31 - 1, 2**31 - 1]
