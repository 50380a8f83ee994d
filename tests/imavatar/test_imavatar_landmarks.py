"""The landmarks of real data against those of the registered embedding, projected by the authors' own formula."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.datasets.imavatar.reader import ImavatarReader
from headbench.harness.assets import register
from headbench.harness.head import load_head
from headbench.harness.types import HeadParams, Identity


@pytest.fixture
def home(flame_home, tmp_path, monkeypatch):
    """The synthetic FLAME in a home of this test's own."""
    for file in (flame_home / "assets").rglob("*"):
        if file.is_file():
            link = tmp_path / "home" / "assets" / file.relative_to(flame_home / "assets")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))


def _store_landmarks(author, tables, faces, shift: float) -> None:
    """What IMAvatar's optimize.py stores: the contour at the head's yaw, the inner points and two irises."""
    head = load_head("flame2020")
    for path in (author.train / "flame_params.json", author.test / "flame_params.json"):
        content = json.loads(path.read_text())
        fx, fy, cx, cy = content["intrinsics"]
        for frame in content["frames"]:
            # Turned by 20 degrees to the head's left, so that the contour is none of the middle.
            frame["pose"] = [0.0, np.deg2rad(20.0), *[0.0] * 13]
            frame["world_mat"] = np.c_[np.eye(3), [0.0, 0.0, -4.0]].tolist()
            joints = torch.tensor(frame["pose"], dtype=torch.float32).reshape(5, 1, 3)
            expression = torch.tensor([frame["expression"]], dtype=torch.float32)
            zero = torch.zeros(1, 3)
            params = HeadParams("flame2020", expression, *joints, translation=zero, eyelids=None, similarity=None)
            shape = torch.tensor([content["shape_params"]], dtype=torch.float32)
            still = torch.zeros_like(expression)
            vertices = head(params, Identity("flame2020", shape, still, still, None, None))[0].numpy()
            rows = np.concatenate([tables["dynamic_lmk_faces_idx"][20], tables["static_lmk_faces_idx"]])
            bary = np.concatenate([tables["dynamic_lmk_bary_coords"][20], tables["static_lmk_bary_coords"]])
            x, y, z = np.einsum("nc,ncx->xn", bary, 4 * vertices[faces[rows]]) - np.array([[0.0], [0.0], [4.0]])
            points = np.stack([2 * (fx * x / z + cx) - 1, 2 * (fy * y / -z * -1 + cy) - 1], 1)
            frame["flame_keypoints"] = (points + shift).tolist()
        path.write_text(json.dumps(content))


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_stored_landmarks_are_compared_point_by_point(author, home, flame_format, made_flame, tmp_path, shift) -> None:
    tables = flame_format.landmark_tables(irises=2)
    _store_landmarks(author, tables, made_flame.faces, shift)

    def told() -> list[str]:
        return [p.line() for p in ImavatarReader().check(author.folder, {}) if "landmark" in p.line()]

    assert any("flame/landmarks is not registered" in line for line in told())
    register("flame/landmarks", flame_format.write_landmarks(tmp_path / "x.npy", tables), source="made by the tests")
    lines = told()
    if shift:
        assert len(lines) == 3 and "between stored and projected landmarks, found 18.1" in lines[0], lines
    else:
        assert not lines, lines


def test_the_twenty_degrees_of_the_test_are_a_yaw() -> None:
    turn = Rotation.from_rotvec([0.0, np.deg2rad(20.0), 0.0]).as_matrix()
    assert np.rad2deg(np.arctan2(-turn[2, 0], np.hypot(turn[0, 0], turn[1, 0]))) == pytest.approx(20.0)
