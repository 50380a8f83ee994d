"""The prior `mirror`: symmetry, harmonic filling, what it renders; and the confidence that training frames leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.head import load_head
from headbench.harness.types import Subject
from headbench.stages.complete.mesh import fill_harmonically, fine_mesh, laplacian, mirror_rows
from headbench.stages.complete.priors.appearance import _reach, _sample
from headbench.stages.complete.seen import looks, seen_share
from headbench.stages.complete.storage import read_views


@pytest.mark.parametrize("topology", ["open", "mouth_closed", "teeth"])
def test_the_open_heads_involution_is_exact(topology: str) -> None:
    template = load_head("openhead", topology).template.double().numpy()
    partner = mirror_rows(template)
    assert (partner >= 0).all() and (partner[partner] == np.arange(len(template))).all()
    apart = np.linalg.norm(template[partner] * [-1, 1, 1] - template, axis=1)
    assert apart.max() < 1e-6


def test_a_finer_mesh_keeps_its_symmetry_and_its_places() -> None:
    head = load_head("openhead", "open")
    template, faces = head.template.double().numpy(), head.faces.numpy()
    fine = fine_mesh(template, faces, 1)
    places = fine.pose(template)
    assert len(fine.faces) == 4 * len(faces) and np.allclose(fine.weights.sum(1), 1)
    assert np.array_equal(places[: len(template)], template)
    assert (fine.partner >= 0).mean() > 0.999
    there = fine.partner >= 0
    assert np.abs(places[fine.partner[there]] * [-1, 1, 1] - places[there]).max() < 1e-6
    area = [
        np.linalg.norm(np.cross(p[f[:, 1]] - p[f[:, 0]], p[f[:, 2]] - p[f[:, 0]]), axis=1).sum()
        for p, f in ((template, faces), (places, fine.faces))
    ]
    assert area[0] == pytest.approx(area[1])


def test_harmonic_filling_keeps_linear_functions_and_the_range() -> None:
    x, y = (part.ravel().astype(float) for part in np.meshgrid(np.arange(9), np.arange(7)))
    flat = np.stack([x, y, 0 * x], 1)
    faces = []
    for row in range(6):
        for column in range(8):
            a = row * 9 + column
            faces += [(a, a + 1, a + 10), (a, a + 10, a + 9)]
    stiffness = laplacian(flat, np.array(faces))
    rim = (x == 0) | (x == 8) | (y == 0) | (y == 6)
    filled = fill_harmonically(stiffness, flat, np.where(rim, 2 * x - y, 99.0)[:, None], rim)
    assert np.allclose(filled[:, 0], 2 * x - y, atol=0.02)
    few = (x == 0) & (y == 0) | (x == 8) & (y == 6)
    filled = fill_harmonically(stiffness, flat, np.where(few, y, -5.0)[:, None], few)
    assert filled.min() >= -1e-9 and filled.max() <= 6 + 1e-9
    # A part of the mesh without a known value takes that of the nearest known one.
    moved = flat + np.array([20.0, 0, 0])
    two = np.concatenate([flat, moved])
    apart = laplacian(two, np.concatenate([faces, np.array(faces) + len(flat)]))
    known = np.concatenate([x == 8, np.zeros(len(x), bool)])
    filled = fill_harmonically(apart, two, np.concatenate([y, y])[:, None] + 1, known)
    assert np.allclose(filled[len(x) :, 0], y + 1)


def test_hair_is_measured_to_the_outline_of_the_matte(sample: Subject) -> None:
    camera = sample.train[0].camera
    matte = torch.zeros(1, 1, camera.height, camera.width)
    matte[..., : camera.width // 2] = 1
    pose = camera.w2c[0]
    axes, eye = pose[:3, :3], -pose[:3, :3].T @ pose[:3, 3]
    start = eye + axes[2] - axes[0] * 0.010  # 10 mm to the left of the optical axis, 1 m away
    edge = (camera.width / 2 - float(camera.K[0, 0, 2])) / float(camera.K[0, 0, 0])
    reach = _reach(start[None], axes[0][None], matte, camera, 0.06)
    assert float(reach) == pytest.approx(0.010 + edge, abs=0.012), "a pixel is 9 mm wide there"
    assert bool(_reach(start[None], -axes[0][None], matte, camera, 0.06).isnan()), "it never ends"
    assert _sample(matte, torch.tensor([[1.0, 5.0], [camera.width - 1.0, 5.0]]), camera)[:, 0].tolist() == [1, 0]


def test_a_frontal_video_shows_the_face_and_not_the_back(parents: Callable[..., Any], sample: Subject) -> None:
    loaded = parents()
    seen = seen_share(looks(loaded, sample.train, 3))
    head = loaded.portrait.head
    vertices = head.vertices(sample.train[0].params)[0]
    assert float(seen[head.regions["nose"]].mean()) > 0.7
    assert float(seen[(vertices[:, 2] < -0.06) & (vertices[:, 1] > 0)].mean()) < 0.02


@pytest.mark.slow
def test_mirror_shows_the_head_from_all_around_where_frames_do_not(
    parents: Callable[..., Any], complete: Callable[..., Any]
) -> None:
    options = {"prior_set": {"levels": 0, "finer": 1, "looks": 3}, "looks": 3, "size": 40, "epochs": 0}
    instance = complete(parents(), **options)
    done = instance.run()
    views = read_views(instance.work.folder / "views")
    assert len(views) == 24 and done.step == 0
    front, back = views[0], views[12]
    for view in (front, back):
        assert 0.1 < float(view.matte.mean()) < 0.6
    trusted = [float((view.confidence * view.matte).sum() / view.matte.sum()) for view in (front, back)]
    assert trusted[0] < 0.4 and trusted[1] > 0.7
