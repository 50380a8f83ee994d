"""The torch oracle against finite differences, and its parts against independent code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.harness.splat.project import covariances, project
from headbench.harness.splat.rasterizer import ALPHA_CUT, ALPHA_MAX, LOW_PASS, NEAR, TRANSMITTANCE_STOP
from headbench.harness.splat.sh import sh_basis, sh_to_rgb
from headbench.harness.splat.torch_backend import TorchRasterizer
from headbench.harness.types import Camera, Gaussians

FIELDS = ("means", "quats", "scales", "opacities", "colours")


@pytest.mark.parametrize(
    ("options", "widen"),
    [
        ({"centre": (4.0, 6.5)}, 1.0),
        ({"batch": 2, "shared": True}, 1.0),
        pytest.param({"sh_degree": 3}, 1.0, marks=pytest.mark.slow),
        ({"centre": (-6.0, 3.0)}, 3.0),
    ],
    ids=["RGB", "two cameras", "harmonics", "clamped slope"],
)
def test_every_gradient_of_the_oracle_is_that_of_finite_differences(make_scene, options, widen):
    scene = make_scene(count=5, width=12, height=9, **options)
    gaussians, camera = scene.gaussians, scene.camera
    K = camera.K * torch.tensor([[0.25], [0.25], [1.0]])
    K[..., 2] = camera.K[..., 2]
    values = [getattr(gaussians, name) for name in FIELDS] + [camera.w2c, K, scene.background]
    values[2] = values[2] * 2 * widen

    def draw(*values):
        moved = replace(gaussians, **dict(zip(FIELDS, values[:5], strict=True)))
        w2c, K, background = values[5:]
        rendering = TorchRasterizer()(moved, Camera(w2c, K, camera.width, camera.height), background)
        return torch.cat([rendering.image, rendering.alpha, rendering.depth], 1)

    leaves = [value.clone().requires_grad_() for value in values]
    drawn = draw(*leaves)
    assert (drawn[:, 3] > 0.05).double().mean() > 0.3, "the scene must cover enough to say something"
    weights = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = torch.autograd.grad((drawn * weights).sum(), leaves)

    step = 1e-6
    for k, (name, gradient) in enumerate(zip((*FIELDS, "w2c", "K", "background"), gradients, strict=True)):
        numeric = torch.zeros_like(gradient)
        for place in range(gradient.numel()):
            for sign in (1, -1):
                with torch.no_grad():
                    moved = [value.clone() for value in values]
                    moved[k].view(-1)[place] += sign * step
                    numeric.view(-1)[place] += sign * (draw(*moved) * weights).sum() / (2 * step)
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(
            gradient, numeric, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def _one(opacity: float, sigma: float = 0.05, z: float = 1.0, count: int = 1) -> Gaussians:
    means = torch.tensor([[0.0, 0.0, z]], dtype=torch.float64).repeat(count, 1)
    means[:, 2] += 0.001 * torch.arange(count)
    quats = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64).repeat(count, 1)
    ones = torch.ones(count, 3, dtype=torch.float64)
    return Gaussians(means, quats, ones * sigma, torch.full((count,), opacity, dtype=torch.float64), ones)


def _camera(size: int = 15, focal: float = 40.0) -> Camera:
    K = torch.tensor([[[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]], dtype=torch.float64)
    return Camera(torch.eye(4, dtype=torch.float64)[None], K, size, size)


def test_one_round_gaussian_is_the_textbook_formula():
    rendering = TorchRasterizer()(_one(0.8), _camera(), torch.zeros(3, dtype=torch.float64))
    offsets = torch.arange(15, dtype=torch.float64) + 0.5 - 7.5
    # On the axis the Jacobian is f / z times the identity.
    variance = (40.0 * 0.05) ** 2 + LOW_PASS
    expected = 0.8 * torch.exp(-0.5 * (offsets[:, None] ** 2 + offsets[None] ** 2) / variance)
    expected = torch.where(expected >= ALPHA_CUT, expected, torch.zeros_like(expected))
    assert (expected == 0).any() and (expected > 0).any()
    torch.testing.assert_close(rendering.alpha[0, 0], expected)
    torch.testing.assert_close(rendering.depth[0, 0], expected)
    assert rendering.radii.item() == torch.ceil(3 * torch.tensor(variance + 0.1**0.5).sqrt())


def test_coverage_is_clamped_and_a_pixel_stops_before_it_is_full():
    black = torch.zeros(3, dtype=torch.float64)
    centre = (0, 0, 7, 7)
    one = TorchRasterizer()(_one(1.0), _camera(), black)
    torch.testing.assert_close(one.alpha[centre].item(), ALPHA_MAX)
    # 0.01² is the stop itself or just above it in floating point, so take a clamp that leaves no doubt.
    rasterizer = TorchRasterizer(alpha_max=0.95)
    many = rasterizer(_one(1.0, count=9), _camera(), black)
    drawn = 0
    while 0.05 ** (drawn + 1) > TRANSMITTANCE_STOP:
        drawn += 1
    torch.testing.assert_close(many.alpha[centre].item(), 1 - 0.05**drawn)


def test_the_near_plane_culls():
    black = torch.zeros(3, dtype=torch.float64)
    assert TorchRasterizer()(_one(0.8, z=NEAR + 1e-6), _camera(), black).radii.item() > 0
    culled = TorchRasterizer()(_one(0.8, z=NEAR - 1e-6), _camera(), black)
    assert culled.radii.item() == 0 and culled.alpha.max() == 0


def test_nearer_gaussians_cover_farther_ones_whatever_their_order():
    two = _one(0.9, count=2)
    colours = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    straight = TorchRasterizer()(replace(two, colours=colours), _camera(), torch.zeros(3, dtype=torch.float64))
    assert straight.image[0, 0, 7, 7] > 5 * straight.image[0, 1, 7, 7] > 0
    turned = replace(two, means=two.means.flip(0), colours=colours.flip(0))
    swapped = TorchRasterizer()(turned, _camera(), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(swapped.image, straight.image)


def test_projection_agrees_with_gsplats_reference(make_scene):
    reference = pytest.importorskip("gsplat.cuda._torch_impl")
    scene = make_scene(count=200, batch=3, width=50, height=34, centre=(11.0, 20.0), shared=True)
    g, camera = scene.gaussians, scene.camera
    g = replace(g, scales=g.scales * 4)
    means = g.means * 2.5  # some beyond the image's edge, where the slope is clamped
    mine = project(
        *(v.expand(3, *v.shape) for v in (means, g.quats, g.scales, g.opacities)), camera.w2c, camera.K, 50, 34
    )
    _, means2d, depths, conics, _ = reference._fully_fused_projection(
        means, covariances(g.quats, g.scales), camera.w2c, camera.K, 50, 34, eps2d=LOW_PASS, near_plane=NEAR
    )
    x = (camera.w2c[:, None, :3, :3] @ means[None, ..., None])[..., 0, 0] + camera.w2c[:, None, 0, 3]
    seen = mine.visible
    assert (x / depths > (50 - 11) / 70 + 0.3 * 25 / 70)[seen].any(), "the clamp must be exercised"
    assert 0 < seen.sum() < seen.numel()
    torch.testing.assert_close(mine.means2d[seen], means2d[seen])
    torch.testing.assert_close(mine.conics[seen], conics[seen])
    torch.testing.assert_close(mine.depths[seen], depths[seen])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics_agree_with_gsplats_reference(degree):
    reference = pytest.importorskip("gsplat.cuda._torch_impl")
    generator = torch.Generator().manual_seed(degree)
    directions = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    coefficients = torch.randn(50, 16, 3, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize(directions, dim=-1)
    expected = reference._spherical_harmonics(degree, unit, coefficients)
    torch.testing.assert_close(sh_to_rgb(degree, directions, coefficients), (expected + 0.5).clamp_min(0))
    assert (expected < -0.5).any(), "the clamp must be exercised"


def test_harmonics_are_orthonormal_on_the_sphere():
    generator = torch.Generator().manual_seed(0)
    # Gauss-Legendre in z times equal steps in angle integrates polynomials of this degree exactly.
    z, weights = (torch.tensor(v) for v in np.polynomial.legendre.leggauss(8))
    angle = torch.arange(16, dtype=torch.float64) * (2 * torch.pi / 16) + torch.rand(1, generator=generator).item()
    radius = (1 - z * z).sqrt()
    points = torch.stack([radius[:, None] * angle.cos(), radius[:, None] * angle.sin(), z[:, None].expand(-1, 16)], -1)
    basis = sh_basis(3, points).reshape(-1, 16)
    area = (weights[:, None] * torch.full((16,), 2 * torch.pi / 16, dtype=torch.float64)).reshape(-1, 1)
    torch.testing.assert_close(basis.T @ (basis * area), torch.eye(16, dtype=torch.float64))
