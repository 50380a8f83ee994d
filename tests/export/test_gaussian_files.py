"""Files of Gaussians hold what is drawn: readers written from the formats render them to 45 dB of the original."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.export import FORMATS, format_of
from headbench.export.source import Source
from headbench.export.splats import SMALLEST_SCALE, splats_of
from headbench.export.write import export
from headbench.harness.errors import BenchError
from headbench.harness.types import Gaussians

METHODS = ("FateAvatar", "GaussianAvatars", "FlashAvatar", "SplattingAvatar", "MonoGaussianAvatar", "baked")


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(-10 * (one.clamp(0, 1) - other.clamp(0, 1)).square().mean().clamp(min=1e-12).log10())


@torch.no_grad()
def drawn(session, gaussians: Gaussians, camera) -> torch.Tensor:
    return session.rasterizer(gaussians, camera.resized(64, 64), torch.ones(1, 3)).image


@pytest.fixture
def write(made_subject, tmp_path):
    def call(session, name: str, pose: str = "first", out: str = "") -> tuple:
        form = format_of(name)
        place = tmp_path / (out or f"head{form.suffixes[0]}")
        return place, export(Source(session), form, pose, place, lambda: made_subject)

    return call


@pytest.mark.parametrize("name", ["ply", "splat", "glb"])
@pytest.mark.parametrize("method", METHODS)
def test_a_file_of_gaussians_renders_as_its_avatar(method, name, opened, write, readers, made_subject) -> None:
    session = opened(method)
    frame = made_subject.train[2]
    path, done = write(session, name, frame.id)
    found = getattr(readers, f"read_{name}")(path)
    original = session.gaussians(frame.params)
    degree = original.sh_degree or 0
    if name == "splat" and degree:
        assert done.notes and f"degree 1 to {degree} were left out" in done.notes[0]
        original = replace(original, colours=original.colours[..., :1, :], sh_degree=0)
    else:
        assert done.notes == ()
    assert len(found.means) == session.loaded.portrait.count()
    image = drawn(session, original, frame.camera)
    assert float(image.std()) > 0.02, "there is something to see"
    assert psnr(image, drawn(session, found, frame.camera)) > 45


def test_properties_of_a_ply_stand_in_their_order(opened, write, readers) -> None:
    path, _ = write(opened("GaussianAvatars", sh_every=0, sh_degree=3), "ply")
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"] + [f"f_rest_{k}" for k in range(45)]
    expected += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert list(readers.ply_columns(path)) == expected


def test_harmonics_of_degree_3_are_kept_by_ply_and_glb(opened, write, readers, made_subject) -> None:
    session = opened("GaussianAvatars", sh_every=0, sh_degree=3)
    original = session.gaussians(made_subject.train[0].params)
    for name in ("ply", "glb"):
        path, _ = write(session, name)
        found = getattr(readers, f"read_{name}")(path)
        assert found.sh_degree == 3
        camera = made_subject.train[0].camera
        assert psnr(drawn(session, original, camera), drawn(session, found, camera)) > 60


def test_tiny_scales_are_raised_and_nothing_else() -> None:
    gaussians = Gaussians(
        torch.zeros(2, 3),
        torch.tensor([[0.0, 0, 0, 0], [2.0, 0, 0, 0]]),
        torch.tensor([[1e-30, 0.0, 1e-3], [1e-3, 1e-3, 1e-3]]),
        torch.tensor([0.0, 1.0]),
        torch.tensor([[0.0, 0.5, 1.0], [0.5, 0.5, 0.5]]),
    )
    found = splats_of(gaussians)
    assert np.allclose(np.exp(found.log_scales), [[SMALLEST_SCALE, SMALLEST_SCALE, 1e-3], [1e-3] * 3])
    assert np.allclose(found.quats, [[1, 0, 0, 0]] * 2)
    from headbench.export.ply import encoded

    assert np.isfinite(np.frombuffer(encoded(found).partition(b"end_header\n")[2], "<f4")).all()
    with pytest.raises(BenchError, match="pose first: 1 of 2 Gaussians have values that are not finite"):
        splats_of(replace(gaussians, means=torch.tensor([[0.0, 0, 0], [torch.nan, 0, 0]])), "first")


def test_a_sequence_becomes_numbered_files_that_say_their_frames(opened, write, readers, made_subject) -> None:
    session = opened("FateAvatar")
    path, done = write(session, "ply", "train", "clip")
    assert done.count == 5 and sorted(p.name for p in path.iterdir()) == [
        *(f"{k:05d}.ply" for k in range(5)),
        "poses.json",
    ]
    named = json.loads((path / "poses.json").read_text())
    assert named == {f"{k:05d}.ply": frame.id for k, frame in enumerate(made_subject.train)}
    means = [readers.read_ply(path / name).means for name in named]
    assert not torch.equal(means[0], means[1])


def test_a_neutral_head_stands_upright_at_the_origin_seen_from_the_front(opened, made_subject) -> None:
    from headbench.export.poses import poses_of

    session = opened("GaussianAvatars")
    (pose,) = poses_of(session.loaded, "neutral", lambda: made_subject).members
    means = session.gaussians(pose.params).means[0]
    first = made_subject.train[0].camera
    seen = (first.w2c[0, :3, :3] @ means.T).T + pose.camera.w2c[0, :3, 3]
    assert float(pose.params.expression.abs().max()) == 0
    assert (seen[:, 2].mean() - first.w2c[0, 2, 3]).abs() < 0.2
    assert seen[:, :2].mean(0).abs().max() < 0.05


def test_training_frames_are_posed_as_training_refined_them(opened, made_subject) -> None:
    from headbench.export.poses import poses_of

    loaded = replace(opened("FateAvatar").loaded)
    tables = {"timesteps": torch.arange(3), "jaw": torch.rand(3, 3), "camera_t": torch.rand(3, 3)}
    loaded.__dict__["frames"] = tables
    subject = replace(made_subject, train=tuple(replace(each, sequence="talk") for each in made_subject.train))
    (_, second, _, fourth) = poses_of(loaded, "train", lambda: subject, limit=4).members
    assert torch.equal(second.params.jaw[0], tables["jaw"][1])
    assert torch.equal(second.camera.w2c[0, :3, 3], tables["camera_t"][1])
    assert torch.equal(second.params.expression, subject.train[1].params.expression)
    assert fourth.params is subject.train[3].params, "a timestep that was not refined"
    talk = poses_of(loaded, "talk", lambda: subject, own=False)
    assert talk.is_sequence and len(talk.members) == 5
    assert talk.members[1].params is subject.train[1].params, "another subject's frames were not refined"


def test_every_format_is_loaded_by_its_name() -> None:
    assert all(callable(form.writer()) for form in FORMATS.values())


def test_avatars_without_gaussians_are_refused(opened, write, tmp_path) -> None:
    with pytest.raises(BenchError, match="needs Gaussians; nearest-frame shows pictures and has nothing else"):
        write(opened("nearest-frame"), "glb")
    assert list(tmp_path.iterdir()) == []
