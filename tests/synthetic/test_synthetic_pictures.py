"""What the pictures of a synthetic subject show: alpha, masks, light, wrinkles, hair and motion."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from headbench.datasets.synthetic import write, write_synthetic
from headbench.datasets.synthetic.around import extras
from headbench.datasets.synthetic.hair import JOINTS, STRANDS
from headbench.datasets.synthetic.motion import LIMITS, make_motion
from headbench.datasets.synthetic.person import make_person
from headbench.datasets.synthetic.picture import sit, take
from headbench.datasets.synthetic.scene import head_params, make_scene
from headbench.datasets.synthetic.surface import shade, wrinkles
from headbench.datasets.synthetic.views import intrinsics, orbit, world_to_camera


@pytest.fixture(scope="module")
def scene():
    return make_scene(3000)


@pytest.fixture(scope="module")
def frontal(scene):
    neutral = head_params(np.zeros((1, 52)), *np.zeros((3, 1, 3)))
    return take(sit(scene, neutral), orbit(4)[0], intrinsics(128), 128)


def _hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".npz"
    }


def _write(out, seed, workers, around):
    """A subject of 4 frames of 24 x 24."""
    return write_synthetic(out, "insta", 1, 4, 24, seed, lambda line: None, workers, 2, around)[0]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_for_any_number_of_workers_and_another_seed_others(
    tmp_path, monkeypatch
) -> None:
    # A process that is started anew imports torch, so one does the work of two; the views below have two, forked.
    monkeypatch.setattr(write, "ProcessPoolExecutor", lambda _, *more: ProcessPoolExecutor(1, *more))
    folders = [_write(tmp_path / name, seed, workers, False) for name, seed, workers in (("a", 3, 1), ("b", 3, 2))]
    first, again = map(_hashes, folders)
    other = _hashes(_write(tmp_path / "c", 4, 1, False))
    assert first == again
    assert all(first[name] != other[name] for name in other if name.startswith(("images", "flame/shape", "flame/exp")))
    truth = [np.load(folder / "truth" / "vertices.npz")["vertices"] for folder in folders]
    assert np.array_equal(*truth)


@pytest.mark.slow
def test_views_from_all_around_are_the_same_files_for_any_number_of_workers(tmp_path, monkeypatch) -> None:
    # A view in six, in forks, which inherit that.
    monkeypatch.setattr(write, "extras", lambda clip, *more: extras(clip, *more)[::6])
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(write, "multiprocessing", SimpleNamespace(get_context=lambda how: fork))
    first, again = (_hashes(_write(tmp_path / str(workers), 3, workers, True)) for workers in (1, 2))
    assert first == again
    assert {Path(name).parts[:2] for name in first} >= {("truth", "around"), ("truth", "folder")}


def test_true_vertices_project_into_the_alpha(written) -> None:
    poses, K = written.cameras()
    vertices = np.load(written.folder / "truth" / "vertices.npz")["vertices"]
    for index in range(written.frames):
        seen = vertices[index] @ np.linalg.inv(poses[index])[:3, :3].T + np.linalg.inv(poses[index])[:3, 3]
        assert (seen[:, 2] > 0).all()
        pixels = (seen @ K.T)[:, :2] / seen[:, 2:]
        column, row = np.floor(pixels).astype(int).T
        inside = (column >= 0) & (column < written.size) & (row >= 0) & (row < written.size)
        alpha = written.image(f"images/{index:05d}.png")[..., 3]
        assert inside.mean() > 0.97 and (alpha[row[inside], column[inside]] > 0).mean() > 0.995


def test_alpha_is_fractional_at_the_silhouette_only(written) -> None:
    for index in range(0, written.frames, 3):
        rgba = written.image(f"images/{index:05d}.png")
        assert rgba.shape == (written.size, written.size, 4) and rgba.dtype == np.uint8
        alpha = rgba[..., 3]
        soft = (alpha > 0) & (alpha < 255)
        assert 50 < soft.sum() < 0.5 * (alpha == 255).sum()
        outside = binary_dilation(alpha == 0, iterations=4)
        labels = written.image(f"seg_mask/{index:05d}.png")[..., 0]
        hair = binary_dilation(labels == 80, iterations=4)
        assert not (soft & ~outside & ~hair).any(), "soft alpha inside the head and not in the hair"
        assert np.array_equal(alpha, written.image(f"alpha/{index:05d}.png"))


def test_colour_is_not_premultiplied(frontal) -> None:
    """Where alpha fades, colour does not: rim pixels are about as bright as their full neighbours below the chin."""
    alpha, grey = frontal.rgba[..., 3], frontal.rgba[..., :3].mean(-1)
    skin = (frontal.labels != 80) & (np.arange(128)[:, None] > 70)
    rim, full = skin & (alpha > 20) & (alpha < 150), skin & (alpha == 255)
    assert rim.sum() > 10
    near = full & binary_dilation(rim, iterations=2)
    assert grey[rim].mean() > 0.8 * grey[near].mean()
    assert not frontal.rgba[alpha == 0].any()


def test_the_mouth_mask_is_where_the_mouth_is(scene) -> None:
    jaw = np.array([[0.25, 0.0, 0.0]])
    closed, opened = (
        take(sit(scene, head_params(np.zeros((1, 52)), turn, *np.zeros((2, 1, 3)))), orbit(1)[0], intrinsics(128), 128)
        for turn in (0 * jaw, jaw)
    )
    assert set(np.unique(opened.mouth)) == {0, 255}
    assert 2 * (closed.mouth > 0).sum() > 20 and (opened.mouth > 0).sum() > 1.3 * (closed.mouth > 0).sum()
    lips = scene.head.regions["lips"].numpy()
    w2c, K = orbit(1)[0], intrinsics(128)
    seen = opened.vertices[lips] @ w2c[:3, :3].T + w2c[:3, 3]
    pixels = (seen @ K.T)[:, :2] / seen[:, 2:]
    rows, columns = np.nonzero(opened.mouth)
    assert (np.abs([columns.mean() + 0.5, rows.mean() + 0.5] - pixels.mean(0)) < 4).all()


def test_depth_is_that_of_the_true_surface(frontal) -> None:
    w2c = orbit(1)[0]
    tip = (frontal.vertices @ w2c[:3, :3].T + w2c[:3, 3])[:, 2].min()
    nearest = frontal.depth[frontal.depth > 0].min() / 1000
    assert abs(nearest - tip) < 0.006


def test_hair_stands_off_the_scalp_with_a_fuzzy_silhouette(scene) -> None:
    vertices, _ = scene.pose(head_params(np.zeros((1, 52)), *np.zeros((3, 1, 3))))
    count = len(scene.head.base)
    strands = vertices[count:].reshape(STRANDS, 2 * (JOINTS + 1), 3)
    centre = vertices[:count][scene.head.regions["scalp"].numpy()].mean(0)
    root, tip = (np.linalg.norm(strands[:, k] - centre, axis=1) for k in (0, -1))
    assert np.median(tip - root) > 0.006
    shown = take(sit(scene, head_params(np.zeros((1, 52)), *np.zeros((3, 1, 3)))), orbit(1)[0], intrinsics(160), 160)
    alpha = shown.rgba[..., 3]
    soft = (alpha > 0) & (alpha < 255)
    rows = np.arange(160)[:, None] + 0 * alpha
    top = rows < 60
    solid = binary_erosion(alpha > 127)
    edge = (alpha > 127) & ~solid
    assert soft[top].sum() / edge[top].sum() > 1.5 * soft[~top].sum() / edge[~top].sum()


def test_the_light_stays_with_the_camera_so_that_shading_changes_with_the_head(scene) -> None:
    albedo, part = np.full((1, 3), 0.5), np.zeros(1, dtype=np.int64)
    normal, away = np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 0.0, -1.0]])

    def seen(yaw):
        c, s = math.cos(yaw), math.sin(yaw)
        turn = np.diag([1.0, -1.0, -1.0]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        return shade(albedo, normal, away, part, turn)[0]

    left, front, right = (seen(yaw).mean() for yaw in (-0.6, 0.0, 0.6))
    assert abs(left - right) > 0.03 and len({round(v, 3) for v in (left, front, right)}) == 3


def test_wrinkles_darken_the_forehead_with_raised_brows_only(scene) -> None:
    names = scene.head.expression_names
    points = scene.rest[: len(scene.head.base)]
    calm = dict.fromkeys(names, 0.0)
    assert (wrinkles(points, scene.eyes, calm) == 1).all()
    raised = wrinkles(points, scene.eyes, {**calm, "browInnerUp": 1.0})
    moved = raised < 0.97
    assert moved.sum() > 5 and raised.min() >= 0.4
    assert (points[moved, 1] > scene.eyes[0, 1] + 0.015).all() and (points[moved, 2] > 0).all()


def test_people_differ_by_seed_and_repeat(scene) -> None:
    one, same, other = (make_person(seed, 72) for seed in (5, 5, 6))
    assert np.array_equal(one.shape, same.shape) and np.array_equal(one.noise, same.noise)
    assert not np.allclose(one.shape, other.shape) and not np.allclose(one.skin, other.skin)
    assert np.abs(one.shape).max() <= 2 and ((one.skin > 0) & (one.skin < 1)).all()


def test_the_head_turns_within_its_limits_and_uses_them(scene) -> None:
    motion = make_motion(0, 400, scene.head.expression_names)
    assert LIMITS["yaw"] == pytest.approx(math.radians(35))
    for name, least in (("yaw", 0.7), ("pitch", 0.6), ("roll", 0.6)):
        values = np.abs(getattr(motion, name))
        assert least * LIMITS[name] < values.max() <= LIMITS[name] + 1e-9
    poses = world_to_camera(motion)
    # The head's own front axis in the camera's frame gives back the yaw.
    front = poses[:, :3, :3] @ [0, 0, 1]
    flat = replace(motion, pitch=0 * motion.pitch, roll=0 * motion.roll)
    axis = world_to_camera(flat)[:, :3, :3] @ [0, 0, 1]
    np.testing.assert_allclose(np.arctan2(axis[:, 0], -axis[:, 2]), motion.yaw, atol=1e-9)
    assert (front[:, 2] < -0.7).all()


def test_motion_is_speech_like_smooth_and_blinks(scene) -> None:
    names = scene.head.expression_names
    motion = make_motion(2, 750, names)  # 30 s at 25 frames per second
    jaw = motion.jaw[:, 0]
    assert jaw.min() > 0 and jaw.max() < 0.3 and np.ptp(jaw) > 0.1
    spectrum = np.abs(np.fft.rfft(jaw - jaw.mean())) ** 2
    rate = np.fft.rfftfreq(750, 1 / 25)
    assert spectrum[(rate > 2) & (rate < 6)].sum() > 0.2 * spectrum.sum(), "syllables come at about 4 Hz"
    assert spectrum[rate > 10].sum() < 0.02 * spectrum.sum()
    blink = motion.expression[:, names.index("eyeBlinkLeft")]
    closings = ((blink[1:] > 0.5) & (blink[:-1] <= 0.5)).sum()
    assert 6 <= closings <= 16 and np.abs(np.diff(blink)).max() < 0.6
    assert (motion.expression >= 0).all() and motion.expression.max() <= 1
    moving = np.ptp(motion.expression, axis=0) > 0.2
    assert moving.sum() > 20
    assert np.abs(np.diff(motion.yaw)).max() < math.radians(3)


def test_testing_poses_are_within_what_training_saw_but_are_not_in_it() -> None:
    names = make_scene(3000).head.expression_names
    motion = make_motion(1000, 100, names)
    angles = np.degrees(np.stack([motion.yaw, motion.pitch], 1))
    train, test = angles[:80], angles[80:]
    assert (test > train.min(0) - 6).all() and (test < train.max(0) + 6).all()
    nearest = np.linalg.norm(test[:, None] - train[None], axis=-1).min(1)
    assert np.median(nearest) > 0.3
    difference = np.abs(motion.expression[80:, None] - motion.expression[None, :80]).sum(-1).min(1)
    assert np.median(difference) > 1, "the nearest expression of training differs"
