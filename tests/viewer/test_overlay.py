"""Overlays show the mesh where it is, and nothing that it hides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.head import load_head, project
from headbench.harness.session.orbit import orbit
from headbench.viewer.overlay import KINDS, Overlay

SIZE = 96


@pytest.fixture(scope="module")
def overlay(session):
    return Overlay.of(session.loaded)


@pytest.fixture(scope="module")
def scene(session):
    """A pose, a camera and the head's vertices (V, 3)."""
    identity = session.loaded.identity
    head = load_head("openhead", session.loaded.config.topology()).bind(identity)
    vertices = head.vertices(identity.first)[0]
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ vertices.mean(0) + torch.tensor([0.0, 0.0, 0.8])
    K = torch.tensor([[[200.0, 0.0, SIZE / 2], [0.0, 200.0, SIZE / 2], [0.0, 0.0, 1.0]]])
    camera = replace(identity.camera, w2c=w2c[None], K=K, width=SIZE, height=SIZE)
    return identity.first, camera, vertices, head


def grey(value: int = 128) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def test_every_overlay_lies_on_the_head_and_leaves_the_rest_and_the_picture_alone(overlay, scene) -> None:
    _, camera, vertices, _ = scene
    pixels = project(vertices[None], camera)[0][0]
    (left, top), (right, bottom) = pixels.amin(0).tolist(), pixels.amax(0).tolist()
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    far = (x < left - 2) | (x > right + 2) | (y < top - 2) | (y > bottom + 2)
    for kind in KINDS:
        picture = grey()
        drawn = overlay.draw(kind, picture, vertices, camera)
        changed = (drawn != picture).any(axis=2)
        assert changed.mean() > 0.05 and not changed[far].any(), kind
        assert (picture == 128).all(), "the picture itself stays"


def test_regions_have_their_colours_where_they_are_seen_and_points_behind_are_hidden(overlay, scene) -> None:
    _, camera, vertices, head = scene
    places = project(vertices[None], camera)[0][0].long()
    nose = places[head.regions["nose"]][vertices[head.regions["nose"]][:, 2].argmax()]
    drawn = overlay.draw("regions", grey(0), vertices, camera)[nose[1], nose[0]].astype(float)
    colour = np.array(overlay.legend["nose"], float)
    assert drawn.max() > 40 and np.allclose(drawn / drawn.max(), colour / colour.max(), atol=0.05)
    tip, back = vertices[vertices[:, 2].argmax()], vertices[vertices[:, 2].argmin()]

    def shows(point: torch.Tensor, view) -> bool:
        picture = overlay.draw("points", grey(), vertices, view, point[None])
        return bool((picture != grey()).any())

    behind = list(orbit(camera, vertices.mean(0), 2))[1]
    assert shows(tip, camera) and not shows(back, camera)
    assert shows(back, behind) and not shows(tip, behind)
    assert not shows(tip + torch.tensor([9.0, 0.0, 0.0]), camera), "beside the picture"


def test_lines_lie_on_edges_of_the_mesh(overlay, scene) -> None:
    _, camera, vertices, head = scene
    close = replace(camera, K=camera.K * torch.tensor([[30.0], [30.0], [1.0]]))
    close.K[0, :2, 2] -= project(vertices[vertices[:, 2].argmax()][None, None], close)[0][0, 0] - SIZE / 2
    on = overlay.draw("mesh", grey(0), vertices, close).max(axis=2) > 0
    assert 0.05 < on.mean() < 0.6, "near by there is skin between the lines"
    corners = project(vertices[None], close)[0][0].numpy()[head.faces.numpy()]
    corners = corners[((corners > -SIZE) & (corners < 2 * SIZE)).all(axis=(1, 2))]
    starts, ends = corners.reshape(-1, 2), np.roll(corners, -1, axis=1).reshape(-1, 2)
    places = np.argwhere(on)[::23, None, ::-1] + 0.5
    along = ((places - starts) * (ends - starts)).sum(2) / np.maximum(((ends - starts) ** 2).sum(1), 1e-9)
    nearest = starts + along.clip(0, 1)[..., None] * (ends - starts)
    assert len(places) > 50 and np.linalg.norm(places - nearest, axis=2).min(axis=1).max() < 0.86


def test_what_cannot_be_overlaid_is_said(overlay, session, scene) -> None:
    _, camera, vertices, _ = scene
    with pytest.raises(BenchError, match="expected a picture of 96 x 96 pixels, found 96 x 48"):
        overlay.draw("mesh", grey()[:48], vertices, camera)
    head = load_head("openhead", session.loaded.config.topology())
    for name in head.regions:
        delattr(head, f"region_{name}")
    nameless = Overlay(session.loaded.identity, head)
    assert nameless.kinds == ("mesh", "points") and nameless.legend == {}
    with pytest.raises(BenchError, match="no regions of its mesh are named"):
        nameless.draw("regions", grey(), vertices, camera)


def test_the_mesh_is_the_one_that_carries_the_gaussians_and_is_named(checkpoint_of, monkeypatch) -> None:
    from headbench.harness.session import open_checkpoint
    from headbench.viewer.loop_posed import KEPT, Poses

    session = open_checkpoint(checkpoint_of("FateAvatar"), "cpu")
    avatar, params = session.loaded.portrait, session.loaded.identity.first
    with torch.no_grad():
        corrected = avatar.carrier(params)[0] + 0.01
    monkeypatch.setattr(avatar, "carrier", lambda params: corrected[None])
    overlay, poses = Overlay.of(session.loaded), Poses(session)
    assert overlay.says("mesh") == "Lines: the mesh that carries the Gaussians of FateAvatar."
    posed = poses.at(0, {}, lambda: params)
    assert torch.equal(posed.mesh(overlay.tracked), corrected)
    assert float((overlay.tracked(params) - corrected).abs().max()) > 0.005
    free = Overlay(session.loaded.identity, load_head("openhead", session.loaded.config.topology()))
    assert free.says("points") == "Points: what the head model as tracked does not hide."
    monkeypatch.setattr(session, "carrier", lambda params: None)
    assert torch.equal(poses.at(1, {}, lambda: params).mesh(free.tracked), free.tracked(params))
    # The last poses are kept, and no more.
    assert KEPT == 2 and poses.at(0, {}, lambda: params) is posed
    poses.at(0, {"jaw open": 1.0}, lambda: params)
    assert poses.at(0, {}, lambda: params) is posed
    poses.at(2, {}, lambda: params)
    poses.at(3, {}, lambda: params)
    assert poses.at(0, {}, lambda: params) is not posed
