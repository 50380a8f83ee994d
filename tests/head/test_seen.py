"""Which surface of the built-in head frames show, against rays cast by embree, and which pixels of views show it."""

import numpy as np
import pytest
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from headbench.datasets.synthetic.motion import make_motion
from headbench.datasets.synthetic.scene import make_scene, params_of
from headbench.datasets.synthetic.views import intrinsics, view
from headbench.harness.head.seen import seen_pixels, seen_vertices
from headbench.harness.types import Camera, Frame

SIZE = 48


@pytest.fixture(scope="module")
def scene():
    return make_scene(5)


def frame(scene, azimuth: float, elevation: float = 0, row: int = 0) -> Frame:
    params = params_of(make_motion(5, 4, scene.head.expression_names)).rows(slice(row, row + 1))
    w2c, K = (torch.tensor(each, dtype=torch.float32)[None] for each in (view(azimuth, elevation), intrinsics(SIZE)))

    def no_pixels():
        raise AssertionError("images are not read")

    return Frame(f"a{azimuth}-{row}", Camera(w2c, K, SIZE, SIZE), params, no_pixels)


def reference(scene, shown: Frame) -> np.ndarray:
    """Cosine between normal and way to the camera for each vertex, 0 where a ray to the camera meets another face."""
    vertices = scene.head.vertices(shown.params)[0].double().numpy()
    mesh = trimesh.Trimesh(vertices, scene.head.faces.numpy(), process=False, validate=False)
    w2c = shown.camera.w2c[0].double().numpy()
    way = -w2c[:3, :3].T @ w2c[:3, 3] - vertices
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    across = np.zeros_like(vertices)
    np.add.at(across, mesh.faces, np.cross(*(np.diff(vertices[mesh.faces], axis=1).transpose(1, 0, 2)))[:, None])
    cosine = (across / np.linalg.norm(across, axis=1, keepdims=True) * way).sum(1)
    blocked = RayMeshIntersector(mesh).intersects_any(vertices + 3e-3 * way, way)
    return np.where(blocked, 0, cosine)


def test_a_vertex_is_seen_where_rays_reach_the_camera_at_less_than_70_degrees(scene) -> None:
    shots = [frame(scene, 0), frame(scene, 40, row=2)]
    seen = seen_vertices(scene.head, shots).numpy()
    best = np.maximum(*(reference(scene, shot) for shot in shots))
    # Within the two degrees around the limit, and for creases of some millimetres, the two may differ.
    clear = np.abs(np.degrees(np.arccos(best.clip(-1, 1))) - 70) > 1
    assert (seen == (best >= np.cos(np.radians(70))))[clear].mean() > 0.98
    assert 0.2 < seen.mean() < 0.6


def test_more_frames_never_show_less(scene) -> None:
    few, more = (seen_vertices(scene.head, [frame(scene, a) for a in angles]) for angles in ((0,), (0, 90, 180)))
    assert (more | ~few).all() and more.sum() > few.sum()


def test_views_from_the_side_of_training_show_seen_surface_and_views_from_behind_hidden(scene) -> None:
    seen = seen_vertices(scene.head, [frame(scene, a) for a in (-30, 0, 30)])
    share = {a: seen_pixels(scene.head, frame(scene, a, row=1), seen).float().mean().item() for a in (0, 90, 180)}
    assert share[0] > 0.8 and 0.2 < share[90] < 0.8 and share[180] < 0.05


def test_pixels_beside_the_mesh_are_as_the_nearest_on_it_and_a_mesh_out_of_sight_shows_nothing(scene) -> None:
    seen = torch.ones(int(scene.head.faces.max()) + 1, dtype=torch.bool)
    shown = frame(scene, 0)
    assert seen_pixels(scene.head, shown, seen).float().mean() > 0.98
    away = Camera(shown.camera.w2c + torch.tensor([0.0, 0, 0, 9.0]), shown.camera.K, SIZE, SIZE)
    gone = Frame("gone", away, shown.params, shown.pixels)
    assert not seen_pixels(scene.head, gone, seen).any()
