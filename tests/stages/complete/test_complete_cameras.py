"""Labels of EG3D's family and our cameras, both ways, on numbers that were worked out by hand; FATE's orbit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from headbench.harness.head import load_head
from headbench.stages.complete.cameras import (
    ALIGNED,
    FOCAL,
    RADIUS,
    SCALE,
    Alignment,
    camera_of_label,
    crop_of,
    fate_orbit,
    label_of_pose,
    orbit_pose,
    view_direction,
)
from headbench.stages.complete.points import alignment_of

EYE_MIDDLE = np.array([0.0, 0.03, 0.06])
HALF, MOUTH = np.array([0.031685, 0, 0]), np.array([0.0, -0.0640478, 0.0126126])
HEAD = Alignment.of(EYE_MIDDLE - HALF, EYE_MIDDLE + HALF, EYE_MIDDLE + MOUTH)
"""FLAME's template: eyes 63.37 mm apart; the mouth's corners are 20.5 mm to either side of M."""


def _seen(label, points):  # type: ignore[no-untyped-def]
    """Pixels at 512 of points in generator units."""
    c2w, K = np.asarray(label)[:16].reshape(4, 4), np.asarray(label)[16:].reshape(3, 3)
    seen = (points - c2w[:3, 3]) @ c2w[:3, :3] @ K.T
    return 512 * seen[:, :2] / seen[:, 2:]


@pytest.mark.parametrize(
    ("yaw", "elevation", "rows"),
    [
        (0, 0, [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.7]]),
        (90, 0, [[0, 0, -1, 2.7], [0, -1, 0, 0], [-1, 0, 0, 0]]),
        (180, 0, [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, -2.7]]),
        (
            30,
            10,
            [[0.8660, 0.0868, -0.4924, 1.3295], [0, -0.9848, -0.1736, 0.4689], [-0.5, 0.1504, -0.8529, 2.3027]],
        ),
    ],
)
def test_poses_around_the_generators_origin(yaw: float, elevation: float, rows: list[list[float]]) -> None:
    pose = orbit_pose(yaw, elevation, 2.7)
    assert np.allclose(pose[:3], rows, atol=6e-5)
    assert view_direction(pose[:3, 3]) == pytest.approx((yaw, elevation))
    assert np.allclose(label_of_pose(pose)[16:], [4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1], atol=5e-5)


def test_a_frontal_label_sees_the_template_where_the_sheet_says() -> None:
    points = np.array([[-0.0739, 0.0283, 0.1276], [0.0739, 0.0283, 0.1276], [0, -0.121, 0.157]])
    found = _seen(label_of_pose(orbit_pose(0, 0, 2.7)), points)
    assert np.allclose(found[:2], [[193.3, 232.0], [318.7, 232.0]], atol=0.1)
    assert found[2, 1] == pytest.approx(360.0, abs=0.3)


def test_the_worked_example_of_a_video_frame() -> None:
    w2c = np.diag([1.0, -1.0, -1.0, 1.0])
    w2c[:3, 3] = -w2c[:3, :3] @ (EYE_MIDDLE + np.array([0, 0, 1.0]))  # 1 m before the eyes, at their height
    K = np.array([[1200.0, 0, 256], [0, 1200, 256], [0, 0, 1]])
    crop = crop_of(w2c, K, HEAD, 512)
    rows = [[1, 0, 0, 0], [0, -0.9999, -0.0115, 0.0311], [0, 0.0115, -0.9999, 2.6998]]
    assert np.allclose(crop.nominal[:12].reshape(3, 4), rows, atol=6e-5)
    assert np.allclose(crop.exact[[3, 7, 11]], [0, 0.0283, 2.4586], atol=1e-4)
    assert crop.exact[16] == pytest.approx(3.8837, abs=1e-4) and crop.nominal[16] == pytest.approx(FOCAL)
    assert (crop.near, crop.far) == pytest.approx((2.4588 - 0.35, 2.4588 + 0.6), abs=1e-4)
    eyes = np.array([[218.0, 256, 1], [294.0, 256, 1]]) @ crop.H.T
    assert np.allclose(eyes[:, :2] / eyes[:, 2:], [[193.0, 233.1], [319.0, 233.1]], atol=0.15)
    nominal = _seen(crop.nominal, np.array(ALIGNED) + SCALE * np.array([[-0.031685, 0, 0], [0.031685, 0, 0]]))
    assert np.allclose(nominal, [[193.3, 233.2], [318.7, 233.2]], atol=0.1)


@pytest.mark.parametrize("yaw", [-70.0, -35.0, 0.0, 20.0, 60.0])
def test_the_exact_label_sees_what_the_warped_picture_shows(yaw: float) -> None:
    turn = orbit_pose(yaw, 12.0, 1.0)
    roll = np.eye(4)
    roll[:2, :2] = [[np.cos(0.14), -np.sin(0.14)], [np.sin(0.14), np.cos(0.14)]]
    turn[:3, 3] *= 0.8
    turn[:3, 3] += HEAD.E + np.array([0.03, -0.02, 0.0])
    w2c = np.linalg.inv(turn @ roll)
    K = np.array([[1100.0, 0, 240], [0, 1090, 270], [0, 0, 1]])
    crop = crop_of(w2c, K, HEAD, 512)
    points = HEAD.E + np.random.default_rng(1).normal(0, 0.05, (20, 3))
    seen = (points @ w2c[:3, :3].T + w2c[:3, 3]) @ K.T
    warped = seen / seen[:, 2:] @ crop.H.T
    through = _seen(crop.exact, HEAD.s * (points - HEAD.E) + HEAD.a)
    assert np.allclose(warped[:, :2] / warped[:, 2:], through, atol=1e-8)


@pytest.mark.parametrize("yaw", [0.0, 90.0, 150.0, -120.0])
def test_labels_become_our_cameras(yaw: float) -> None:
    label = label_of_pose(orbit_pose(yaw, 15.0))
    camera = camera_of_label(label, HEAD, 512)
    w2c, K = camera.w2c[0].double().numpy(), camera.K[0].double().numpy()
    points = HEAD.E + np.random.default_rng(2).normal(0, 0.06, (30, 3))
    seen = (points @ w2c[:3, :3].T + w2c[:3, 3]) @ K.T
    assert np.allclose(seen[:, :2] / seen[:, 2:], _seen(label, HEAD.s * (points - HEAD.E) + HEAD.a), atol=2e-3)
    centre = -w2c[:3, :3].T @ w2c[:3, 3]
    assert np.linalg.norm(centre - HEAD.origin) == pytest.approx(RADIUS / SCALE, abs=1e-6)
    assert np.allclose(HEAD.origin - HEAD.E, [0, -0.0121, -0.0547], atol=5e-5)


def test_the_scale_comes_from_the_head_where_metres_are_not_true() -> None:
    double = Alignment.of(2 * HEAD.EL, 2 * HEAD.ER, 2 * HEAD.M, metric=False)
    assert double.s == pytest.approx(SCALE / 2, rel=0.005)


def test_the_orbit_is_that_of_fates_completion() -> None:
    found = fate_orbit(1.05)
    assert len(found) == 30 and np.allclose(found[0], [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 1.05], [0, 0, 0, 1]])
    golden = {
        7: ([0.1233086, 0, -0.9923684, -0.9923684, 0, -0.1233086], [-0.0198474, 0, 1.0498123]),
        21: ([-0.2916379, 0, 0.9565288, 0.9565288, 0, 0.2916379], [0.0191306, 0, 1.0498255]),
    }
    centres = {7: [1.0442479, 0, 0.1097550], 21: [-0.9986092, 0, -0.3244679]}
    for view, (rows, translation) in golden.items():
        pose = found[view]
        assert np.allclose(pose[[0, 2], :3].ravel(), rows, atol=5e-7)
        assert np.allclose(pose[:3, 3], translation, atol=5e-7) and pose[1, 1] == -1
        assert np.allclose(-pose[:3, :3].T @ pose[:3, 3], centres[view], atol=5e-7)


def test_points_of_flame_come_from_its_vertices_where_no_landmarks_are_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    vertices = torch.zeros(5023, 3)
    vertices[[2437, 2383, 2494, 3632, 2278, 2296]] = torch.tensor([-0.03, 0.02, 0.05])
    vertices[[3833, 1343, 1034, 1175, 884, 829]] = torch.tensor([0.03, 0.02, 0.05])
    vertices[2715], vertices[1579] = torch.tensor([-0.02, -0.04, 0.06]), torch.tensor([0.02, -0.04, 0.06])
    found = alignment_of(SimpleNamespace(tag="flame2020"), vertices)  # type: ignore[arg-type]
    assert np.allclose(found.E, [0, 0.02, 0.05]) and np.allclose(found.M, [0, -0.04, 0.06])
    assert found.EL[0] < 0 < found.ER[0]


def test_points_of_the_open_head_lie_on_its_surface() -> None:
    head = load_head("openhead", "open")
    found = alignment_of(head, head.template)  # type: ignore[arg-type]
    assert found.EL[0] < 0 < found.ER[0] and found.E[0] == pytest.approx(0, abs=1e-4)
    assert 0.05 < np.linalg.norm(found.ER - found.EL) < 0.075, "as wide apart as people's eyes"
    assert 0.05 < found.E[1] - found.M[1] < 0.08 and found.M[2] > found.E[2]
