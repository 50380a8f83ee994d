"""Numbers of methods' starts that belong to FLAME's own template, which only a user may have."""

import math

import pytest
import torch

from headbench.harness.assets import asset, record
from headbench.harness.assets.templates import read_template
from headbench.harness.blocks.placement import mean_neighbour_distance, neighbour_distances, random_barycentrics
from headbench.harness.head import face_frames, uv_raster
from headbench.methods.splattingavatar.model import random_places

OPEN = 9_976
"""Faces before the mouth's cap."""


@pytest.fixture
def template() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vertices (5023, 3), faces (10006, 3), texture coordinates and their faces."""
    if record("flame/mouth_closed_template") is None:
        pytest.skip("flame/mouth_closed_template is not registered (set HEADBENCH_TEST_ASSETS to a folder that has it)")
    mesh = read_template(asset("flame/mouth_closed_template"), 10_006)
    assert mesh.vertices is not None and mesh.faces is not None
    assert mesh.uvs is not None and mesh.uv_faces is not None
    return tuple(torch.as_tensor(part) for part in (mesh.vertices, mesh.faces, mesh.uvs, mesh.uv_faces))  # type: ignore[return-value]


def test_fateavatar_starts_at_a_log_scale_of_about_minus_6_74(template) -> None:
    vertices, faces, uvs, uv_faces = template
    face, bary = uv_raster(uvs, uv_faces, 256)
    generator = torch.Generator().manual_seed(42)
    missing = 256 * 256 - len(face)
    assert 6_000 < missing < 7_000
    face = torch.cat([face, face[torch.randint(len(face), (missing,), generator=generator)]])
    bary = torch.cat([bary, random_barycentrics(missing, "rand_over_sum", generator)])
    spacing = mean_neighbour_distance((vertices[faces[face]] * bary[..., None]).sum(1))
    assert spacing == pytest.approx(0.00119, abs=0.00001)
    assert math.log(spacing) == pytest.approx(-6.736, abs=0.005)


def test_fateavatar_s_released_offset_ends_at_22_micrometres(template) -> None:
    vertices, faces, uvs, uv_faces = template
    length = face_frames(vertices[None], faces).raw_normal[0].norm(dim=1)
    assert float(length.mean()) == pytest.approx(3.4e-5, abs=0.1e-5)
    assert float(0.05 * length.max()) == pytest.approx(22e-6, abs=1e-6)
    assert float(0.05 * length.mean()) == pytest.approx(1.7e-6, abs=0.1e-6)
    missed = torch.bincount(uv_raster(uvs, uv_faces, 256)[0], minlength=10_006) == 0
    assert int(missed.sum()) == 3_033
    assert float(length[missed].sum() / length.sum()) == pytest.approx(0.036, abs=0.001)


def test_gaussianavatars_triangle_scale_averages_4_5_millimetres(template) -> None:
    vertices, faces, _, _ = template
    size = 1000 * face_frames(vertices[None], faces[:OPEN]).size[0]
    assert float(size.mean()) == pytest.approx(4.5, abs=0.2)
    assert float(size.median()) == pytest.approx(2.7, abs=0.2)
    assert float(size.min()) == pytest.approx(0.4, abs=0.1)
    assert float(size.max()) == pytest.approx(22, abs=1.5)
    corners = vertices[faces[:OPEN]]
    edges = 1000 * (corners - corners.roll(1, 1)).norm(dim=2)
    assert float(edges.mean()) == pytest.approx(5.0, abs=0.3)


def test_fateavatar_s_template_is_flame_with_thirty_faces_more(template) -> None:
    vertices, faces, uvs, uv_faces = template
    assert (len(vertices), len(uvs), len(faces)) == (5023, 5150, OPEN + 30)
    low, high = vertices.amin(0), vertices.amax(0)
    assert [*low.tolist(), *high.tolist()] == pytest.approx([-0.1036, 1.313, -0.132, 0.1036, 1.627, 0.090], abs=6e-4)
    assert (float(uvs.min()), float(uvs.max())) == pytest.approx((0.0075, 0.9953), abs=1e-3)
    corners = uvs[uv_faces]
    (ax, ay), (bx, by) = ((corners[:, k] - corners[:, 0]).unbind(1) for k in (1, 2))
    area = (ax * by - ay * bx) / 2
    assert (area < 0).nonzero()[:, 0].tolist() == [9977, 9978, 9983, 9998, 10_003]
    assert float(area.abs().sum()) == pytest.approx(0.906, abs=0.005)


def test_splattingavatar_s_thresholds_fit_a_fourfold_head_and_not_metres(template) -> None:
    vertices, faces, _, _ = template
    area = face_frames(vertices[None], faces[:OPEN]).raw_normal[0].norm(dim=1) / 2
    assert float(area.mean()) == pytest.approx(1.7e-5, abs=0.1e-5)
    assert float(area.median()) == pytest.approx(3.0e-6, abs=0.1e-6)
    assert float((16 * area < 1e-4).float().mean()) == pytest.approx(0.65, abs=0.01)
    face, bary = random_places(OPEN, 10_000, torch.Generator().manual_seed(9061))
    points = (vertices[faces[face]] * bary[..., None]).sum(1)
    scale = 4 * neighbour_distances(points, 3).square().mean(1).sqrt()
    assert float(scale.mean()) == pytest.approx(8.9e-3, rel=0.05)
    assert float(scale.median()) == pytest.approx(5.3e-3, rel=0.05)
    assert float((scale > 0.02).float().mean()) == pytest.approx(0.12, abs=0.02)
    assert float((scale / 4 > 0.02).float().mean()) < 0.01, "in metres practically nothing is large enough to split"
