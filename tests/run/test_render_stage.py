"""Renders, orbits and speed."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.errors import BenchError
from headbench.harness.run.render import RenderKey, render_frames, rendered
from headbench.harness.run.speed import measure_speed
from headbench.harness.session import Session
from headbench.harness.session.orbit import orbit
from headbench.harness.splat import make_rasterizer
from headbench.harness.tensors import read_float_picture
from headbench.harness.train import LoadedPortrait, TrainSummary
from headbench.harness.types import Camera, Frame, Gaussians, Identity, PosedAvatar, Subject

CPU = torch.device("cpu")


class Flat(Portrait):
    """One colour, the value of the first expression coefficient."""

    config_type = MethodConfig

    @classmethod
    def create(cls, head, identity, train, config):
        return cls()

    def render(self, params, camera, background, rasterizer):
        return params.expression[:, :1, None, None].expand(1, 3, camera.height, camera.width) + 0 * background[0, 0]


@pytest.fixture
def subject(registry, faces: Path) -> Subject:
    return registry.load_dataset("discs").read(faces / "discs" / "anna", {})


def session_of(portrait: Portrait) -> Session:
    """A session of a portrait that was never trained."""
    nobody = torch.zeros(1, 1)
    identity = Identity("openhead", nobody, nobody, nobody, None, None)
    return Session(
        LoadedPortrait(portrait, identity, MethodConfig.model_validate({"train": {"steps": 1}}), {"method": "Flat"}, 0),
        CPU,
        "torch",
    )


def show(portrait: Portrait, frames: tuple[Frame, ...], folder: Path, checkpoint: str = "c") -> None:
    render_frames(session_of(portrait), frames, folder, RenderKey(), checkpoint, lambda now: None)


def test_images_are_clamped_and_rounded_to_nearest(subject: Subject, tmp_path: Path) -> None:
    show(Flat(), subject.test, tmp_path)
    # Expression 0.1 of frame 6 is 25.5 / 255, which truncation would make 25.
    values = [np.asarray(Image.open(tmp_path / f"{frame.id}.png")) for frame in subject.test]
    assert [int(v[0, 0, 0]) for v in values] == [26, 51, 76]
    assert all(v.shape == (24, 24, 3) and v.dtype == np.uint8 and (v == v[0, 0]).all() for v in values)


def test_complete_renders_are_known_by_checkpoint_frames_and_hashes(subject: Subject, tmp_path: Path) -> None:
    ids = [frame.id for frame in subject.test]
    show(Flat(), subject.test[:2], tmp_path)
    assert rendered(tmp_path, "c", ids[:2])
    assert not rendered(tmp_path, "c", ids) and not rendered(tmp_path, "other", ids[:2])
    before = (tmp_path / f"{ids[0]}.png").stat().st_mtime_ns
    show(Flat(), subject.test, tmp_path)
    assert rendered(tmp_path, "c", ids) and (tmp_path / f"{ids[0]}.png").stat().st_mtime_ns == before
    show(Flat(), subject.test, tmp_path, "other")
    assert rendered(tmp_path, "other", ids) and (tmp_path / f"{ids[0]}.png").stat().st_mtime_ns > before
    (tmp_path / f"{ids[1]}.png").write_bytes(b"half")
    assert not rendered(tmp_path, "other", ids)
    show(Flat(), subject.test, tmp_path, "other")
    assert rendered(tmp_path, "other", ids)


def test_frames_of_an_earlier_split_do_not_stay(subject: Subject, tmp_path: Path) -> None:
    show(Flat(), subject.test, tmp_path)
    show(Flat(), subject.test[1:], tmp_path)
    assert sorted(p.stem for p in tmp_path.glob("*.png")) == [frame.id for frame in subject.test[1:]]


@pytest.mark.tried("faults in runs", "a file of floats beside a render cut in half", "all other frames", "that frame")
def test_floats_lie_beside_pictures_and_are_kept_whole(subject: Subject, tmp_path: Path) -> None:
    class Bright(Flat):
        def render(self, params, camera, background, rasterizer):
            return 10 * super().render(params, camera, background, rasterizer) - 1.5

    key = RenderKey("train-white-float", floats=True)
    ids = [frame.id for frame in subject.test]

    def show_floats() -> None:
        render_frames(session_of(Bright()), subject.test, tmp_path, key, "c", lambda now: None)

    show_floats()
    assert key.files(ids[0]) == (f"{ids[0]}.png", f"{ids[0]}.safetensors") and RenderKey().files("x") == ("x.png",)
    values = [read_float_picture(tmp_path / f"{frame}.safetensors") for frame in ids]
    assert [round(float(v[0, 0, 0]), 2) for v in values] == [-0.5, 0.5, 1.5] and values[0].shape == (3, 24, 24)
    assert [int(np.asarray(Image.open(tmp_path / f"{frame}.png"))[0, 0, 0]) for frame in ids] == [0, 128, 255]
    assert rendered(tmp_path, "c", ids, key=key) and not rendered(tmp_path, "c", ids)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.*") if path.stem in (ids[0], ids[2])}
    cut = tmp_path / f"{ids[1]}.safetensors"
    cut.write_bytes(cut.read_bytes()[:100])
    assert not rendered(tmp_path, "c", ids, key=key)
    show_floats()
    assert rendered(tmp_path, "c", ids, key=key)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in kept} == kept
    show(Flat(), subject.test, tmp_path)
    assert not list(tmp_path.glob("*.safetensors")) and rendered(tmp_path, "c", ids)


def test_an_image_that_is_not_finite_names_its_frame_and_is_not_written(subject: Subject, tmp_path: Path) -> None:
    class Broken(Flat):
        def render(self, params, camera, background, rasterizer):
            return super().render(params, camera, background, rasterizer) / 0

    with pytest.raises(BenchError, match="frame 00006: the render has values that are not finite"):
        show(Broken(), subject.test, tmp_path)
    assert list(tmp_path.glob("*.png")) == [] and not (tmp_path / "sha256.txt").exists()


def camera() -> Camera:
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    K = torch.tensor([[50.0, 0, 12], [0, 50, 12], [0, 0, 1]])
    return Camera(w2c[None], K[None], 24, 24)


def seen(one: Camera, point: torch.Tensor) -> torch.Tensor:
    return one.w2c[0, :3, :3] @ point + one.w2c[0, :3, 3]


def test_an_orbit_keeps_the_centre_in_place_and_goes_around() -> None:
    centre = torch.tensor([0.02, 0.01, 0.05])
    cameras = list(orbit(camera(), centre, 8))
    for one in cameras:
        torch.testing.assert_close(seen(one, centre), seen(camera(), centre))
        torch.testing.assert_close(one.w2c[0, :3, :3] @ one.w2c[0, :3, :3].T, torch.eye(3))
    torch.testing.assert_close(cameras[0].w2c, camera().w2c)
    positions = torch.stack([-(c.w2c[0, :3, :3].T @ c.w2c[0, :3, 3]) for c in cameras]) - centre
    torch.testing.assert_close(positions[4, [0, 2]], -positions[0, [0, 2]])
    assert positions[:, 1].std() < 1e-6


def test_a_smaller_orbit_swings_there_and_back() -> None:
    cameras = list(orbit(camera(), torch.zeros(3), 4, degrees=60.0))
    angles = [torch.rad2deg(torch.atan2(c.w2c[0, 0, 2], c.w2c[0, 0, 0])).item() for c in cameras]
    assert [round(abs(a)) for a in angles] == [0, 30, 0, 30] and angles[1] == pytest.approx(-angles[3])


class Sleeper(Avatar):
    """Drives for a known number of GPU cycles."""

    config_type = MethodConfig

    def __init__(self, cycles: int) -> None:
        super().__init__()
        self.cycles = cycles

    @classmethod
    def create(cls, head, identity, train, config):
        return cls(0)

    def drive(self, params):
        device = params.expression.device
        if self.cycles:
            torch.cuda._sleep(self.cycles)
        means = torch.zeros(1, 3, device=device)
        gaussians = Gaussians(means, means.new_tensor([[1.0, 0, 0, 0]]), means + 0.01, means[:, 0] + 0.5, means)
        return PosedAvatar(gaussians, means[None], means[None])

    def losses(self, drive, rendering, batch, clock):
        return {}

    def param_groups(self):
        return []


SUMMARY = TrainSummary(10, 2.0, 5.0, 1, 0, "CPU", "torch")


def test_speed_on_a_cpu_says_so_and_keeps_driving_and_rasterizing_apart(subject: Subject) -> None:
    found = measure_speed(Sleeper(0), make_rasterizer("torch"), subject.test, CPU, SUMMARY)
    assert found["device"].startswith("CPU") and found["timer"] == "host clock on a CPU"
    assert found["train"] == {"seconds": 2.0, "rate": 5.0, "steps": 10, "device": "CPU"}
    assert 0 < found["drive_ms"]["median"] < found["total_ms"]["median"]
    assert found["fps"] == pytest.approx(1000 / found["total_ms"]["median"])
    assert found["frames"] >= 8 and found["warm_up"] == 3 and found["peak_host_memory_bytes"] > 1e7
    whole = measure_speed(Flat(), make_rasterizer("torch"), subject.test, CPU, SUMMARY)
    assert whole["drive_ms"] is None and whole["raster_ms"] is None and whole["total_ms"]["median"] > 0


def test_speed_of_a_rasterizer_that_can_be_recorded_is_that_of_whole_pictures(subject: Subject) -> None:
    class Recordable(type(make_rasterizer("torch"))):  # type: ignore[misc]
        recordable = True

    rasterizer, seen = Recordable(), set()

    class Watching(Sleeper):
        def render(self, params, camera, background, rasterizer):
            seen.add(rasterizer)
            return super().render(params, camera, background, rasterizer)

    found = measure_speed(Watching(0), rasterizer, subject.test, CPU, SUMMARY)
    assert seen == {rasterizer}, "recordings are of one rasterizer"
    assert found["drive_ms"] is None
    assert found["total_ms"]["median"] > 0


def slept(cycles: int) -> float:
    """Milliseconds that the GPU sleeps for so many cycles at its present clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(1000)
    start.record()
    torch.cuda._sleep(cycles)
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


@pytest.mark.gpu
def test_speed_on_a_gpu_measures_a_known_wait(subject: Subject) -> None:
    device, cycles = torch.device("cuda", 0), 20_000_000
    before = slept(cycles)
    found = measure_speed(Sleeper(cycles), make_rasterizer("gsplat", device), subject.test, device, SUMMARY)
    after = slept(cycles)  # The clock changes with what else runs.
    assert found["timer"] == "CUDA events" and found["frames"] == 200
    assert 0.9 * min(before, after) < found["drive_ms"]["median"] < 1.1 * max(before, after)
    assert found["raster_ms"]["median"] < min(before, after)


def test_the_toys_are_what_the_tests_think(registry) -> None:
    assert importlib.import_module("headbench_toys").TROUBLE[0] == "Average" and registry.check() == []
