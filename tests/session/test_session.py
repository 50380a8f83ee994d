"""A session renders one avatar for whoever asks, also from several threads."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from headbench.harness.avatar import TrainConfig
from headbench.harness.errors import BenchError
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.session import View, driven_views, open_checkpoint, orbit_views
from headbench.harness.train import train_stage


@pytest.fixture(scope="session")
def opened(tmp_path_factory, made_subject):
    """Method -> a session of a barely trained avatar."""
    made = {}

    def make(method):
        if method not in made:
            kind = registry().load_method(method)
            folder = tmp_path_factory.mktemp("session")
            config = kind.config_type(train=TrainConfig(steps=2, background="white"))
            about = {"method": method, "preset": "", "variant": "", "dataset": "none", "subject": "made"}
            train_stage(folder, about, kind, config, made_subject, Execution(device="cpu"))
            made[method] = open_checkpoint(folder, "cpu")
        return made[method]

    return make


def _resized(frame, width, height):
    return frame.params, frame.camera.resized(width, height)


def test_two_threads_render_two_sizes_as_one_does(opened, made_subject) -> None:
    session = opened("GaussianAvatars")
    jobs = [_resized(made_subject.train[k % 3], *size) for k, size in enumerate([(32, 32), (20, 28)] * 6)]
    alone = [session.render(*job) for job in jobs]
    found: dict[int, torch.Tensor] = {}

    def work(first: int) -> None:
        for number in range(first, len(jobs), 2):
            found[number] = session.render(*jobs[number])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(jobs)
    assert all(torch.equal(found[k], alone[k]) for k in found)
    assert {tuple(image.shape) for image in alone} == {(1, 3, 32, 32), (1, 3, 28, 20)}


@pytest.mark.parametrize("method", ["GaussianAvatars", "nearest-frame"])
def test_coverage_is_what_the_background_does_not_show(method: str, opened, made_subject) -> None:
    session, frame = opened(method), made_subject.train[0]
    image = session.render(frame.params, frame.camera, "green", "float32", alpha=True)
    black = session.render(frame.params, frame.camera, "black", "float32")
    colour, alpha = image[:, :3], image[:, 3:]
    green = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None]
    assert torch.allclose(colour, black + (1 - alpha) * green, atol=2e-3)
    assert -1e-3 <= float(alpha.min()) < 0.1 and 0.2 < float(alpha.max()) <= 1 + 1e-3


def test_eight_bits_are_the_rounded_floats(opened, made_subject) -> None:
    session, frame = opened("GaussianAvatars"), made_subject.train[0]
    exact = session.render(frame.params, frame.camera, (0.2, 0.4, 0.6), "float32")
    whole = session.render(frame.params, frame.camera, torch.tensor([0.2, 0.4, 0.6]))
    assert torch.equal(whole, (exact.clamp(0, 1) * 255).round().to(torch.uint8))


def test_gaussians_are_those_of_the_pose(opened, made_subject) -> None:
    session, frame = opened("GaussianAvatars"), made_subject.train[0]
    found = session.gaussians(frame.params)
    drawn = session.rasterizer(found, frame.camera, torch.ones(1, 3)).image
    assert torch.equal(drawn, session.render(frame.params, frame.camera, "white", "float32"))
    with pytest.raises(BenchError, match="shows pictures and has no Gaussians"):
        opened("nearest-frame").gaussians(frame.params)


def test_a_picture_is_drawn_from_a_pose_or_its_gaussians_and_read_later(opened, made_subject, monkeypatch) -> None:
    session, frame = opened("GaussianAvatars"), made_subject.train[0]
    rendered = session.render(frame.params, frame.camera, "green")[0].permute(1, 2, 0).numpy()
    assert session.draws_gaussians and not session.replays
    for shown in (frame.params, session.gaussians(frame.params)):
        drawn = session.draw(shown, frame.camera, "green")
        assert (drawn.width, drawn.height) == (32, 32) and (drawn.read() == rendered).all()
    assert torch.equal(session.carrier(frame.params), session.loaded.portrait.carrier(frame.params))
    with pytest.raises(BenchError, match="of head model flame2020, the checkpoint is of openhead"):
        session.draw(replace(frame.params, head="flame2020"), frame.camera)
    with monkeypatch.context() as patch:
        patch.setattr(session.portrait, "render", lambda *inputs: torch.full((1, 3, 32, 32), torch.inf))
        drawn = session.draw(frame.params, frame.camera)
        with pytest.raises(BenchError, match="not finite"):
            drawn.read()
    pictures = opened("nearest-frame")
    assert not pictures.draws_gaussians and pictures.carrier(frame.params) is None
    assert pictures.draw(frame.params, frame.camera).read().shape == (32, 32, 3)


def test_views_are_written_in_order_whole_and_counted(opened, made_subject, tmp_path) -> None:
    from headbench.harness.image import read_rgb

    session = opened("GaussianAvatars")
    driven = [view._replace(name=f"driven-{view.name}") for view in driven_views(made_subject.train[:2])]
    views = [*driven, *orbit_views(session.loaded, 9)]
    seen: list[tuple[int, int]] = []
    session.write(views, tmp_path, "white", lambda done, total: seen.append((done, total)))
    assert seen == [(k, 11) for k in range(1, 12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{view.name}.png" for view in views)
    last = read_rgb(tmp_path / f"{views[-1].name}.png")
    shown = session.render(views[-1].params, views[-1].camera)[0]
    assert (last == shown.permute(1, 2, 0).numpy()).all()


def test_a_picture_that_cannot_be_written_is_told(opened, made_subject, tmp_path) -> None:
    """Pictures are written in other threads, whose faults must not be lost."""
    session, frame = opened("GaussianAvatars"), made_subject.train[0]
    (tmp_path / "b.png" / "in the way").mkdir(parents=True)
    seen: list[int] = []
    with pytest.raises(BenchError, match=r"b\.png: expected a file, found a folder"):
        views = [View(name, frame.params, frame.camera) for name in "abc"]
        session.write(views, tmp_path, "white", lambda done, total: seen.append(done))
    assert seen in ([1], []) and not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_what_cannot_be_rendered_is_said(opened, made_subject, tmp_path, monkeypatch) -> None:
    session, frame = opened("GaussianAvatars"), made_subject.train[0]
    with pytest.raises(BenchError, match="of head model flame2020, the checkpoint is of openhead"):
        session.render(replace(frame.params, head="flame2020"), frame.camera)
    with pytest.raises(BenchError, match="background 'pink'"):
        session.render(frame.params, frame.camera, "pink")
    with monkeypatch.context() as patch:
        patch.setattr(session.portrait, "render", lambda *inputs: torch.full((1, 3, 32, 32), torch.nan))
        with pytest.raises(BenchError, match="frame x: the render has values that are not finite"):
            session.write([View("x", frame.params, frame.camera)], tmp_path, "white")
        patch.setattr(session.portrait, "render", lambda *inputs: torch.zeros(1, 3, 8, 8))
        with pytest.raises(BenchError, match=r"frame x: render\(\) gave shape"):
            session.write([View("x", frame.params, frame.camera)], tmp_path, "white")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BenchError, match="is no checkpoint and holds none"):
        open_checkpoint(tmp_path)
    again = open_checkpoint(session.path, "cpu")
    again.close()
    again.close()
    with pytest.raises(BenchError, match="the session is closed"):
        again.render(frame.params, frame.camera)
