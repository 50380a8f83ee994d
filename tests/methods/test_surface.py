"""Avatars as attributes of places on their carrier, and posed again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.surface import canonical_size, pose, without_residual
from headbench.harness.errors import BenchError
from headbench.harness.head import points_on_faces, quat_to_matrix
from headbench.harness.head.canonical import canonical_params
from headbench.harness.surface import OnSurface, Residual, Surface
from headbench.harness.types import Gaussians, HeadParams, Identity, Similarity, map_tensors
from headbench.methods.monogaussianavatar import MonoGaussianAvatar
from headbench.methods.nearestframe import NearestFrame

SPREAD = {"offset": 1.0, "scaling": 0.3, "displacement": 0.02, "position": 0.3, "shift": 0.05, "delta_vertex": 0.003}


def shake(avatar: Avatar, seed: int = 0) -> Avatar:
    """Random values in every parameter; in float64, so that a formula is compared and not its rounding."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in avatar.named_parameters():
            noise = torch.randn(parameter.shape, generator=rng)
            known = SPREAD.get(name.removeprefix("table."), 0.001 if name.startswith("delta") else 0.5)
            parameter.add_(noise * (0.1 if name.startswith("network") else known))
    return avatar.double()


def again(avatar: Any, params: HeadParams, residual: bool = False, **options: Any) -> Gaussians:
    """The avatar's surface, posed."""
    surface = avatar.surface()
    change = surface.residual(params, surface.face_index, surface.bary) if residual else None
    sizes = canonical_size(surface, avatar.head.faces)
    return pose(surface, avatar.carrier(params), avatar.head.faces, sizes, change, **options)


def same(found: Gaussians, expected: Gaussians, atol: float = 1e-9) -> None:
    """Means, shapes, opacities and colours of degree 0 are equal."""
    close = torch.testing.assert_close
    close(found.means, expected.means, atol=atol, rtol=0)
    close(found.scales, expected.scales.expand_as(found.scales), rtol=1e-6, atol=atol)
    close(
        quat_to_matrix(found.quats),
        quat_to_matrix(expected.quats).expand_as(quat_to_matrix(found.quats)),
        atol=1e-6,
        rtol=0,
    )
    close(found.opacities, expected.opacities, atol=1e-7, rtol=0)
    close(found.colours, expected.colours[:, :1], atol=1e-7, rtol=0)
    assert found.sh_degree == 0


def turned(params: HeadParams) -> HeadParams:
    """The same, moved and half as large again."""
    R = quat_to_matrix(torch.tensor([[0.8, 0.3, -0.4, 0.2]]))
    return replace(params, similarity=Similarity(torch.tensor([1.5]), R, torch.tensor([[0.1, 0.2, 0.3]])))


@pytest.fixture
def posed(tiny_params: Callable[[int], HeadParams]) -> HeadParams:
    """A random pose of a head that is turned and larger, in float64."""
    return map_tensors(turned(tiny_params(3)), torch.Tensor.double)


@pytest.mark.parametrize("changes", [{}, {"resize_scale": False}])
def test_fateavatar_is_its_surface_in_every_pose(fate: Any, posed: HeadParams, changes: dict[str, Any]) -> None:
    avatar = shake(fate("fixed", **changes))
    assert avatar.table["offset"].abs().max() > 0.5
    with torch.no_grad():
        same(again(avatar, posed), avatar.gaussians(posed))


def test_fateavatar_as_released_is_its_surface_along_normals_of_the_length_of_areas(
    fate: Any, posed: HeadParams
) -> None:
    avatar = shake(fate())
    surface = avatar.surface()
    faces = avatar.head.faces
    corners = avatar.canonical[faces[surface.face_index]]
    doubled = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    assert float(surface.offset.abs().max()) < 0.05 * float(doubled.max()), "micrometres on a head"
    raw = replace(surface, offset=surface.offset / doubled)
    with torch.no_grad():
        expected = avatar.gaussians(posed)
        found = pose(raw, avatar.carrier(posed), faces, canonical_size(surface, faces), normal="raw")
    same(found, expected)


@pytest.mark.parametrize("which", ["official", "fixed"])
def test_flashavatar_is_its_surface_with_the_residual_in_every_pose(flash: Any, posed: HeadParams, which: str) -> None:
    avatar = shake(flash(which))
    with torch.no_grad():
        found, expected = again(avatar, posed, residual=True), avatar.gaussians(posed)
        # Scales of s ** c have far larger exponents than any Gaussian that is seen; compare logarithms.
        torch.testing.assert_close(found.scales.log(), expected.scales.log(), rtol=1e-5, atol=1e-5)
        # Encoded positions of the avatar are float32, with frequencies up to 128.
        same(replace(found, scales=expected.scales), expected, atol=1e-6)
        bare = again(avatar, posed)
    places = points_on_faces(avatar.carrier(posed), avatar.head.faces, avatar.table["face_index"], avatar.table["bary"])
    torch.testing.assert_close(bare.means, places)
    assert float((bare.means - expected.means).norm(dim=-1).max()) > 1e-3


def test_flashavatar_s_residual_is_there_at_any_place_and_for_many_poses(
    flash: Any, posed: HeadParams, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = shake(flash("fixed"))
    two = HeadParams.join([map_tensors(turned(tiny_params(5)), torch.Tensor.double), posed])
    bary = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64)
    residual = avatar.surface().residual
    found = residual(two, torch.tensor([4, 40]), bary)
    assert found.offset.shape == found.factor.shape == found.added.shape == (2, 2, 3)
    one = residual(posed, torch.tensor([4, 40]), bary)
    torch.testing.assert_close(found.offset[1:], one.offset)
    torch.testing.assert_close(found.frame[1:], one.frame)
    found.offset.sum().backward()
    assert avatar.network.weights[0].grad.abs().max() > 0


def test_without_its_residual_flashavatar_rides_from_where_the_network_put_it_in_one_pose(
    flash: Any, tiny_identity: Identity, posed: HeadParams
) -> None:
    avatar = shake(flash("fixed", offset_bound=0.02))
    canonical = map_tensors(canonical_params(tiny_identity, 0.2), torch.Tensor.double)
    surface, faces = without_residual(avatar, avatar.head, canonical), avatar.head.faces
    assert surface.residual is None
    with torch.no_grad():
        expected = avatar.gaussians(canonical)
        found = pose(surface, avatar.carrier(canonical), faces, canonical_size(surface, faces))
        there = pose(surface, avatar.carrier(posed), faces, canonical_size(surface, faces))
    same(replace(found, means=expected.means), expected)
    inside = surface.bary.min(1).values > 0
    assert inside.float().mean() > 0.4
    torch.testing.assert_close(found.means[:, inside], expected.means[:, inside], atol=1e-7, rtol=0)
    assert float((there.means - avatar.carrier(posed).mean(1)).norm(dim=-1).max()) < 0.3


@pytest.mark.parametrize("which", ["official", "fixed"])
def test_fresh_avatars_of_faces_are_their_surface_in_the_canonical_pose(rigged: Any, embedded: Any, which: str) -> None:
    for avatar in (rigged(which).double(), embedded(which).double()):
        params = map_tensors(avatar.canonical, torch.Tensor.double)
        with torch.no_grad():
            same(again(avatar, params), avatar.gaussians(params))
        # Barycentrics of the table are float32: their sum is not quite 1.
        assert float(avatar.surface().offset.abs().max()) < 1e-8


def test_perturbed_avatars_lose_only_what_is_not_along_a_normal(rigged: Any, embedded: Any) -> None:
    for avatar, reach in ((shake(rigged("fixed")), 0.002), (shake(embedded("fixed")), 0.002)):
        params = map_tensors(avatar.canonical, torch.Tensor.double)
        surface = avatar.surface()
        with torch.no_grad():
            found, expected = again(avatar, params), avatar.gaussians(params)
        same(replace(found, means=expected.means), expected)
        missed = (found.means - expected.means).norm(dim=-1)[0]
        assert surface.offset.abs().max() > 0.002
        inside = surface.bary.min(1).values > 0
        assert inside.float().mean() > 0.4
        assert float(missed[inside].max()) < 1e-7
        assert float(missed.median()) < reach


@pytest.mark.parametrize(("axis", "way", "kept"), [(1, 0.4, 60), (0, 1.5, 15)])
def test_a_gaussian_above_its_triangle_rides_on_it_and_one_beside_it_on_the_closest(
    rigged: Any, axis: int, way: float, kept: int
) -> None:
    avatar = rigged("fixed").double()
    avatar.table["position"].data[:, axis] = way
    params = map_tensors(avatar.canonical, torch.Tensor.double)
    surface = avatar.surface()
    with torch.no_grad():
        off = (again(avatar, params).means - avatar.gaussians(params).means).norm(dim=-1)[0]
    # Beside the dome's rim there is no triangle.
    assert int((surface.face_index == avatar.table["face_index"]).sum()) <= kept
    assert float(off.sort().values[:kept].max()) < 1e-3
    if axis == 1:
        torch.testing.assert_close(surface.face_index, avatar.table["face_index"])
        torch.testing.assert_close(surface.offset, way * canonical_size(surface, avatar.head.faces))


def test_the_carrier_is_the_mesh_of_drive_and_asking_changes_nothing(
    fate: Any, flash: Any, rigged: Any, embedded: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    for make in (fate, flash, rigged, embedded):
        avatar = make("fixed").train()
        assert isinstance(avatar, OnSurface)
        params = HeadParams.join([tiny_params(2), tiny_params(3)])
        before = {name: value.clone() for name, value in avatar.named_buffers()}
        surface = avatar.surface()
        assert avatar.training
        for name, value in avatar.named_buffers():
            assert torch.equal(value, before[name]), name
        tensors = {k: v for k, v in vars(surface).items() if isinstance(v, torch.Tensor)}
        assert not any(v.requires_grad for v in tensors.values())
        count = avatar.count()
        shapes = {name: tuple(value.shape) for name, value in tensors.items() if name != "canonical"}
        assert shapes == {
            "face_index": (count,),
            "bary": (count, 3),
            "uv": (count, 2),
            "offset": (count,),
            "log_scales": (count, 3),
            "quats": (count, 4),
            "opacities": (count,),
            "dc": (count, 3),
        }
        assert surface.uv.min() >= 0
        assert surface.uv.max() <= 1
        assert surface.bary.min() >= 0
        torch.testing.assert_close(surface.quats.norm(dim=1), torch.ones(count))
        assert torch.equal(avatar.carrier(params), avatar.drive(params).vertices)
        assert surface.canonical.shape == avatar.carrier(params).shape[1:]


def test_posing_passes_gradients_to_attributes_and_vertices(fate: Any, posed: HeadParams) -> None:
    avatar = shake(fate("fixed"))
    faces, vertices = avatar.head.faces, avatar.carrier(posed).detach()
    rows = slice(0, 2)
    whole = avatar.surface()
    names = ("offset", "log_scales", "quats", "opacities", "dc")
    inputs = [getattr(whole, name)[rows].clone().requires_grad_() for name in names]
    sizes = canonical_size(whole, faces)
    change = [torch.randn(1, 2, width, dtype=torch.float64).requires_grad_() for width in (3, 4, 3, 3)]

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        attributes = dict(zip(names, values[:5], strict=True))
        surface = Surface(whole.face_index[rows], whole.bary[rows], whole.uv[rows], whole.canonical, **attributes)
        g = pose(surface, values[5], faces, sizes, Residual(*values[6:]))
        return g.means, g.quats, g.scales, g.opacities, g.colours

    assert torch.autograd.gradcheck(run, (*inputs, vertices.requires_grad_(), *change), fast_mode=True)


def test_two_methods_have_no_carrier(growing: Any) -> None:
    for kind in (MonoGaussianAvatar, NearestFrame):
        assert not issubclass(kind, OnSurface)
        assert not hasattr(kind, "carrier")


def test_a_head_without_texture_coordinates_is_refused_by_name(rigged: Any, embedded: Any) -> None:
    for avatar in (rigged(), embedded()):
        avatar.head.uvs = None
        with pytest.raises(BenchError, match="head model openhead has none"):
            avatar.surface()
