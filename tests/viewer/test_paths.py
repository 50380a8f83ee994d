"""Camera paths: files there and back, what is between keys, wrong files, and `bench render --path`."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from headbench.harness.cli.render import render
from headbench.harness.errors import BenchError
from headbench.harness.image import read_rgb, to_rgb8
from headbench.harness.reading import Unreadable
from headbench.harness.session import driven_views
from headbench.harness.session.orbit import orbit
from headbench.harness.types import Similarity
from headbench.harness.videos import open_video
from headbench.viewer.paths import CameraPath, Key, Pose, key_of, read_path, write_path
from headbench.viewer.playing import cameras_along, path_views, times_of


@pytest.fixture
def camera(session):
    """A camera whose principal point and focal lengths are not the plain ones."""
    camera = session.loaded.identity.camera
    return replace(
        camera, K=camera.K * torch.tensor([[1.02], [1.0], [1.0]]) + torch.tensor([[0, 0, 1.5], [0] * 3, [0] * 3])
    )


@pytest.fixture
def centre(session):
    return torch.tensor([0.0, 0.02, 0.03])


def around(camera, centre, count: int, seconds: float = 1.0) -> tuple[Key, ...]:
    return tuple(key_of(each, k * seconds) for k, each in enumerate(orbit(camera, centre, count)))


def same(one, other) -> bool:
    return torch.equal(one.w2c, other.w2c) and torch.allclose(one.K, other.K, rtol=1e-6)


def test_a_path_is_read_as_it_was_written_and_its_cameras_are_those_of_its_keys(camera, centre, session, tmp_path):
    file, first = tmp_path / "path.json", session.loaded.identity.first
    similarity = Similarity(torch.tensor([1.1]), torch.eye(3)[None], torch.tensor([[0.1, 0.2, 0.3]]))
    posed = replace(first, eyelids=torch.tensor([[0.25, 0.5]]), similarity=similarity)
    cameras = list(orbit(camera, centre, 5))
    keys = (
        *(key_of(each, k / 10) for k, each in enumerate(cameras[:3])),
        key_of(cameras[3], 0.3, "00002"),
        key_of(cameras[4], 0.4, params=posed),
    )
    path = CameraPath.of(keys, camera.width, camera.height, 10.0, "openhead")
    write_path(path, file)
    assert read_path(file) == path
    stored = json.loads(file.read_text())
    assert "frame" not in stored["keys"][0] and stored["keys"][0]["aspect"] == pytest.approx(1.02)
    found = cameras_along(read_path(file), times_of(path))
    assert len(found.w2c) == 5 and all(same(found.rows(slice(k, k + 1)), each) for k, each in enumerate(cameras))


def test_between_keys_the_camera_goes_around_smoothly_and_where_keys_are_alike_it_stays(camera, centre) -> None:
    path = CameraPath.of((*around(camera, centre, 12), key_of(camera, 12.0)), 32, 32, 25.0)
    times = times_of(path)
    assert len(times) == 301 and times[-1] == 12.0
    found = cameras_along(path, times)
    places = -(found.w2c[:, :3, :3].transpose(1, 2) @ found.w2c[:, :3, 3:])[..., 0]
    radius = (places - centre).norm(dim=1)
    inner = radius[50:-50]  # the spline knows less of its ends
    assert float((inner / inner.mean() - 1).abs().max()) < 0.02
    assert float((found.w2c[:, :3, :3] @ found.w2c[:, :3, :3].transpose(1, 2) - torch.eye(3)).abs().max()) < 1e-5
    step = (places[1:] - places[:-1]).norm(dim=1)
    assert float((step[1:] - step[:-1]).abs().max()) < 0.15 * float(step.mean()), "no jolt at a key"
    other = list(orbit(camera, centre, 4))[1]
    still = [key_of(camera, 0), key_of(camera, 1), key_of(camera, 2), key_of(other, 3), key_of(other, 4)]
    rest = cameras_along(CameraPath.of(tuple(still), 32, 32, 8.0), np.array([0.4, 1.5, 2.0]))
    assert all(torch.allclose(row, camera.w2c[0], atol=1e-6) for row in rest.w2c)
    narrow = replace(camera, K=camera.K * torch.tensor([[2.0], [2.0], [1.0]]))
    middle = cameras_along(CameraPath.of((key_of(camera, 0), key_of(narrow, 2)), 32, 32, 8.0), np.array([1.0])).K[
        0, 1, 1
    ]
    angles = [math.atan(16 / float(each.K[0, 1, 1])) for each in (camera, narrow)]
    assert float(middle) == pytest.approx(16 / math.tan(sum(angles) / 2), rel=1e-5)
    alone = CameraPath.of((key_of(camera, 7.0),), 32, 32, 25.0)
    assert times_of(alone).tolist() == [7.0] and same(cameras_along(alone, times_of(alone)), camera)


def test_keys_pose_the_head_and_between_them_joints_turn(camera, session, made_subject, tmp_path) -> None:
    file, loaded = tmp_path / "path.json", session.loaded
    first, size = loaded.identity.first, loaded.identity.mean_expression.shape[1]
    turned = replace(first, jaw=torch.tensor([[0.4, 0.0, 0.0]]), neck=torch.tensor([[0.0, 0.6, 0.0]]))
    keys = (
        key_of(camera, 0.0),
        replace(key_of(camera, 1.0), pose=Pose(jaw=(0.2, 0.0, 0.0), expression=(1.0,))),
        key_of(camera, 2.0, params=turned),
        key_of(camera, 3.0, made_subject.test[0].id),
        key_of(camera, 4.0),
    )
    path = CameraPath.of(keys, 32, 32, 2.0, "openhead")
    views = path_views(path, loaded, lambda: made_subject, file)
    assert [view.name for view in views] == [f"{k:05d}" for k in range(9)]
    jaws = [float(view.params.jaw[0, 0]) for view in views]
    tested = float(made_subject.test[0].params.jaw[0, 0])
    assert jaws == pytest.approx([0.2, 0.2, 0.2, 0.3, 0.4, (0.4 + tested) / 2, *[tested] * 3], abs=0.05)
    assert torch.equal(views[4].params.neck, turned.neck) and float(views[3].params.neck[0, 1]) == pytest.approx(0.3)
    assert views[2].params.expression.shape[1] == size and views[2].params.expression[0].tolist() == [1.0] + [0.0] * (
        size - 1
    )
    assert torch.equal(views[2].params.root, first.root), "what a pose does not give stands as in the first frame"
    assert torch.equal(views[6].params.expression, made_subject.test[0].params.expression)
    plain = path_views(replace(path, keys=(keys[0], keys[4])), loaded, lambda: pytest.fail("no frame is named"), file)
    assert len(plain) == 9 and torch.equal(plain[5].params.jaw, first.jaw)
    similar = Similarity(torch.tensor([2.0]), torch.eye(3)[None], torch.zeros(1, 3))
    scaled = replace(path, keys=(keys[2], key_of(camera, 3.0, params=replace(turned, similarity=similar))))
    middle = path_views(scaled, loaded, lambda: made_subject, file)[1].params
    assert float(middle.similarity.scale) == pytest.approx(1.5) and torch.equal(middle.similarity.R[0], torch.eye(3))
    for changed, words in (
        (replace(path, head="flame2020"), "head model 'flame2020', the checkpoint is of openhead"),
        (replace(path, keys=(key_of(camera, 0, "0009"),)), r"keys\.0\.frame: Unknown pose, frame or sequence '0009'"),
        (replace(path, keys=(key_of(camera, 0, "train"),)), "keys.0.frame: expected one frame, found sequence 'train'"),
        (
            replace(path, keys=(replace(keys[0], pose=Pose(expression=(0.0,) * (size + 1))),)),
            f"keys.0.pose.expression: expected at most {size} coefficients, found {size + 1}",
        ),
    ):
        with pytest.raises(BenchError, match=words):
            path_views(changed, loaded, lambda: made_subject, file)


def test_a_timeline_with_a_key_per_frame_plays_as_it_was(session, made_subject, tmp_path) -> None:
    frames = made_subject.train
    keys = tuple(key_of(frame.camera, k / 25, frame.id) for k, frame in enumerate(frames))
    path = CameraPath.of(keys, frames[0].camera.width, frames[0].camera.height, 25.0)
    write_path(path, tmp_path / "p.json")
    played = path_views(read_path(tmp_path / "p.json"), session.loaded, lambda: made_subject, tmp_path / "p.json")
    shown = session.stream(played), session.stream(list(driven_views(frames)))
    pairs = list(zip(*shown, strict=True))
    assert len(pairs) == len(frames) and max(int((a.int() - b.int()).abs().max()) for a, b in pairs) <= 1


@pytest.mark.tried("hostile files", "camera paths with missing, strange, unknown, disordered and absurd values")
def test_wrong_files_are_one_sentence_with_file_key_expected_and_found(camera, centre, tmp_path) -> None:
    file = tmp_path / "path.json"
    write_path(CameraPath.of(around(camera, centre, 3), 32, 32, 25.0, "openhead"), file)
    good = json.loads(file.read_text())

    def said(*way: object, value: object = None) -> str:
        values = copy.deepcopy(good)
        inner = values
        for part in way[:-1]:
            inner = inner[part]
        if value is None:
            del inner[way[-1]]
        else:
            inner[way[-1]] = value
        file.write_text(json.dumps(values))
        with pytest.raises(Unreadable) as caught:
            read_path(file)
        text = str(caught.value.args[0])
        assert text.startswith(f"{file}: found ") and text.count("\n") == 0 and caught.value.help
        return text.removeprefix(f"{file}: ")

    mirrored = [[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert said("format", value="a path") == "found 'a path' as format, expected 'headbench camera path'."
    assert said("version", value=2) == "found 2 as version, expected 1, the one that is read here."
    assert said("width", value=9000) == "found 9000 as width, expected 1 to 8192 pixels."
    assert said("width", value=12.5) == "found 12.5 as width, expected a whole number."
    assert said("fps", value=float("nan")) == "found nan as fps, expected a finite number."
    assert said("keys", value=[]) == "found [] as keys, expected 1 to 100000 keys."
    assert said("keys", value={"0": 1}) == "found {'0': 1} as keys, expected a list."
    assert said("keys", 1, "fov") == "found nothing as keys.1.fov, expected a value."
    assert said("keys", 1, "fov", value=180) == "found 180 as keys.1.fov, expected an angle between 0 and 180 degrees."
    assert "an unknown key as keys.2.fofv, expected one of time, w2c, fov" in said("keys", 2, "fofv", value=30.0)
    assert "as keys.0.w2c, expected a rotation and a translation" in said("keys", 0, "w2c", value=mirrored)
    assert "as keys.0.w2c, expected a rotation" in said("keys", 0, "w2c", value=[[1e200] * 4] * 4)
    assert "as keys.0.w2c, expected a rotation" in said("keys", 0, "w2c", value=[[1.0, 0, 0, 0]])
    assert said("keys", 0, "w2c", 1, value=["a"] * 4) == "found 'a' as keys.0.w2c.1.0, expected a finite number."
    assert said("keys", 2, "time", value=1.0) == "found 1 as keys.2.time, expected more than 1."
    assert (
        said("keys", 2, "time", value=9e5)
        == "found 900000 s at 25 frames per second, expected at most 100000 pictures."
    )
    assert said("keys", 0, "pose", value={"jaw": [1, 2]}) == "found [1, 2] as keys.0.pose.jaw, expected 3 numbers."
    assert "an unknown key as keys.0.pose.chin, expected one of expression" in said(
        "keys", 0, "pose", value={"chin": 1}
    )
    both = good["keys"][0] | {"frame": "1", "pose": {}}
    assert said("keys", 0, value=both) == "found frame and pose as keys.0, expected one of them."
    del good["head"]
    assert said("keys", 0, "pose", value={}) == "found a pose as keys.0 and no head, expected the head's tag."
    for content, words in (
        ("[1]", "expected a JSON object, found list"),
        ("{", "no JSON at line 1"),
        ("", "empty file"),
    ):
        file.write_text(content)
        with pytest.raises(Unreadable, match=words):
            read_path(file)
    with pytest.raises(Unreadable, match="expected more than 1"):
        write_path(CameraPath.of(around(camera, centre, 3)[::-1][1:], 32, 32, 25.0), tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


@pytest.fixture
def bench_render(checkpoint):
    """bench_render(*arguments) -> what was printed; errors are raised."""

    def call(*arguments: object) -> str:
        line = [str(checkpoint), "--device", "cpu", *map(str, arguments)]
        return CliRunner().invoke(render, line, catch_exceptions=False, standalone_mode=False).output

    return call


def test_a_path_is_played_without_a_display(bench_render, camera, centre, session, tmp_path) -> None:
    file, out = tmp_path / "tour.json", tmp_path / "shown"
    keys = around(camera, centre, 3, 0.1)
    write_path(CameraPath.of((*keys[:2], replace(keys[2], pose=Pose(jaw=(0.3, 0, 0)))), 32, 24, 20.0, "openhead"), file)
    said = bench_render("--path", file, "--out", out, "--background", "green")
    assert said.endswith(f"5 images and {out / 'path-tour.mp4'}\n")
    views = path_views(read_path(file), session.loaded, lambda: pytest.fail("no frame is named"), file)
    for view in views:
        shown = to_rgb8(session.render(view.params, view.camera, "green")[0])
        assert np.array_equal(read_rgb(out / f"{view.name}.png"), shown) and shown.shape == (24, 32, 3)
    with open_video(out / "path-tour.mp4") as video:
        assert len(list(video.frames())) == 5 and video.rate == 20
    faster = bench_render("--path", file, "--out", tmp_path / "faster", "--fps", 10)
    assert "3 images" in faster, "other frames per second show the same seconds"


@pytest.mark.tried("wrong command lines", "a camera path together with options of an orbit, or one that cannot be read")
def test_options_that_do_not_go_with_a_path_are_refused_before_any_work(bench_render, camera, tmp_path) -> None:
    file = tmp_path / "tour.json"
    write_path(CameraPath.of((key_of(camera, 0.0, "00001"),), 32, 24, 20.0), file)
    long = tmp_path / "long.json"
    write_path(CameraPath.of((key_of(camera, 0.0), key_of(camera, 100.0)), 32, 24, 20.0), long)
    (tmp_path / "-x.json").write_bytes(file.read_bytes())
    (tmp_path / "bad.json").write_text("{}")
    out = tmp_path / "out"
    for arguments, words in (
        (("--path", file, "--frames", 3), "--frames is of an orbit; --path has its own cameras"),
        (("--path", file, "--degrees", 90), "--degrees is of an orbit"),
        (("--path", tmp_path / "bad.json", "--out", out), "found nothing as format"),
        (("--path", tmp_path / "-x.json"), "a name that does not start with -"),
        (("--path", file, "--out", out), "lies in no run, so nobody knows where its frames are"),
        (("--path", tmp_path), "is a directory"),
        (("--path", long, "--fps", 10**9), "100 s at 1e[+]09 frames per second: expected at most 100000 pictures"),
    ):
        with pytest.raises((BenchError, click.UsageError), match=words) as caught:
            bench_render(*arguments)
        if "no run" in words:
            assert caught.value.help == "give the path's keys a pose instead of a frame"
    assert not out.exists()


def test_the_documented_path_is_one(tmp_path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "camera-paths.md").read_text()
    file = tmp_path / "path.json"
    file.write_text(text.split("```json\n")[1].split("```")[0])
    assert len(times_of(read_path(file))) == 51
