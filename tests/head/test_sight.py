"""What a camera sees of the built-in head, against rays cast by embree."""

import numpy as np
import pytest
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from headbench.harness.head import load_head, project, uv_raster
from headbench.harness.head import sight as module
from headbench.harness.head.frames import points_on_faces
from headbench.harness.head.sight import first_hits, visible
from headbench.harness.types import Camera

SIZE = 96


@pytest.fixture(scope="module")
def head():
    return load_head("openhead", "teeth")


def turned(head, angle: float, fill: float = 0.8) -> Camera:
    """One metre from the middle of the head, `angle` degrees to its side; a `fill` above 1 lets it leave the image."""
    low, high = head.template.amin(0), head.template.amax(0)
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    R = torch.tensor([[cosine, 0, -sine], [0, -1, 0], [-sine, 0, -cosine]], dtype=torch.float32)
    w2c = torch.eye(4)
    w2c[:3, :3] = R
    w2c[:3, 3] = -R @ ((low + high) / 2) + torch.tensor([0.0, 0.0, 1.0])
    f = fill * SIZE / float((high - low)[1])
    K = torch.tensor([[f, 0, SIZE / 2 + 3], [0, f, SIZE / 2], [0, 0, 1]])
    return Camera(w2c[None], K[None], SIZE, SIZE)


def embree(head, camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """The faces (M,) that rays through pixels (M, 2) hit first, -1 for none."""
    tree = RayMeshIntersector(trimesh.Trimesh(head.template.double().numpy(), head.faces.numpy(), process=False))
    w2c, K = camera.w2c[0].double().numpy(), camera.K[0].double().numpy()
    rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(K).T @ w2c[:3, :3]
    eye = -w2c[:3, :3].T @ w2c[:3, 3]
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return np.asarray(tree.intersects_first(np.broadcast_to(eye, rays.shape), rays))


@pytest.mark.parametrize(("angle", "fill"), [(0, 0.8), (75, 0.8), (160, 3.0)])
def test_first_hits_are_embree_s(head, angle: float, fill: float) -> None:
    camera = turned(head, angle, fill)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    pixels = np.column_stack([x.ravel(), y.ravel()])
    hits = first_hits(torch.from_numpy(pixels).float(), head.template, head.faces, camera)
    expected = embree(head, camera, pixels)
    assert 0.2 < (expected >= 0).mean() < (1.01 if fill > 1 else 0.9)
    # Rays within rounding of an edge may take either face.
    assert (hits.face_index.numpy() == expected).mean() > 0.998
    hit = hits.face_index >= 0
    places = points_on_faces(head.template[None], head.faces, hits.face_index[hit], hits.bary[hit])
    found, depth = project(places, camera)
    torch.testing.assert_close(found[0], torch.from_numpy(pixels).float()[hit], atol=2e-4, rtol=0)
    torch.testing.assert_close(depth[0], hits.depth[hit])
    assert torch.isinf(hits.depth[~hit]).all()
    assert hits.bary[~hit].abs().max() == 0 if (~hit).any() else fill > 1


def test_little_memory_gives_the_same_hits(head, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = turned(head, 30)
    pixels = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) * SIZE
    whole = first_hits(pixels, head.template, head.faces, camera)
    monkeypatch.setattr(module, "_PAIRS", 20_000)
    assert torch.equal(first_hits(pixels, head.template, head.faces, camera).face_index, whole.face_index)


@pytest.mark.parametrize("angle", [0, 100])
def test_a_texel_is_visible_where_embree_hits_its_face_or_nothing_before_it(head, angle: float) -> None:
    camera = turned(head, angle)
    faces, bary = uv_raster(head.uvs, head.uv_faces, 64)
    points = points_on_faces(head.template[None], head.faces, faces, bary)[0]
    found = visible(points, head.template, head.faces, camera, tolerance=1e-4)
    assert torch.equal(found.pixels, project(points[None], camera)[0][0])
    first = embree(head, camera, found.pixels.double().numpy())
    assert (first >= 0).mean() > 0.99
    assert 0.2 < float(found.visible.float().mean()) < 0.7
    assert (found.visible.numpy() == (first == faces.numpy())).mean() > 0.985, "but for points near edges"
    assert found.visible[torch.from_numpy(first == faces.numpy())].all()


def test_points_outside_of_the_image_behind_the_camera_and_behind_the_mesh_are_not_seen(head) -> None:
    camera = turned(head, 0)
    middle = (head.template.amin(0) + head.template.amax(0)) / 2
    around = torch.tensor([[0, 0, 0.3], [0, 0, 0], [0, 0, -0.5], [0.0, 0, 2.0], [0.6, 0, 0]])
    assert visible(middle + around, head.template, head.faces, camera).visible.tolist() == [True, *[False] * 4]
    alone = visible(middle + around, head.template, head.faces[:0], camera)
    assert alone.visible.tolist() == [True, True, True, False, False]


def test_a_tolerance_sees_through_skin(head) -> None:
    camera = turned(head, 0)
    hits = first_hits(torch.tensor([[SIZE / 2, SIZE / 2]]), head.template, head.faces, camera)
    place = points_on_faces(head.template[None], head.faces, hits.face_index, hits.bary)[0]
    behind = place + camera.w2c[0, 2, :3] * torch.tensor([[0.0], [0.002], [0.004]])
    seen = visible(behind, head.template, head.faces, camera, tolerance=0.003)
    assert seen.visible.tolist() == [True, True, False]


def test_faces_that_reach_behind_the_camera_do_not_count() -> None:
    camera = Camera(torch.eye(4)[None], torch.eye(3)[None], 4, 4)
    vertices = torch.tensor([[0.0, 0, 1], [4, 0, 1], [0, 4, -1]])
    assert first_hits(torch.tensor([[0.1, 0.1]]), vertices, torch.tensor([[0, 1, 2]]), camera).face_index.tolist() == [
        -1
    ]
