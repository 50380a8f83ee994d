"""EWA projection of 3D Gaussians in plain torch: the readable reference, differentiable in every input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.rotations import quat_to_matrix
from headbench.harness.splat.rasterizer import ALPHA_CUT, FRUSTUM_MARGIN, LOW_PASS, NEAR, RADIUS_SIGMAS

__all__ = ["Projected", "covariances", "project", "upstream_radii"]


@dataclass(frozen=True)
class Projected:
    """Gaussians projected to the image plane; rows that are not visible hold finite placeholders."""

    means2d: Tensor
    """(B, N, 2) projected means in pixels."""
    conics: Tensor
    """(B, N, 3) upper triangles (xx, xy, yy) of the inverse 2D covariances, per pixel squared."""
    depths: Tensor
    """(B, N) depths in metres along the optical axis."""
    visible: Tensor
    """(B, N) bool, False where a Gaussian was culled."""
    radii: Tensor
    """(B, N) radii in whole pixels, 0 where not visible."""


def covariances(quats: Tensor, scales: Tensor) -> Tensor:
    """Return the 3D covariances (..., 3, 3) of Gaussians with quaternions (..., 4) and standard deviations (..., 3)."""
    half = quat_to_matrix(quats) * scales[..., None, :]
    return half @ half.transpose(-1, -2)


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    w2c: Tensor,
    K: Tensor,
    width: int,
    height: int,
) -> Projected:
    """Project B x N Gaussians into B cameras' images.

    A Gaussian is not visible when it is nearer than NEAR, when its opacity is below ALPHA_CUT, or when the rectangle
    within which it stays above ALPHA_CUT misses the image.

    Args:
        means: (B, N, 3) metres.
        quats: (B, N, 4) (w, x, y, z), of any length.
        scales: (B, N, 3) metres, standard deviations.
        opacities: (B, N) in [0, 1].
        w2c: (B, 4, 4) world to camera.
        K: (B, 3, 3) intrinsics in pixels.
        width: of the images in pixels.
        height: of the images in pixels.
    """
    rotation = w2c[:, None, :3, :3]
    centre = (rotation @ means[..., None])[..., 0] + w2c[:, None, :3, 3]
    in_front = centre[..., 2] >= NEAR
    # Placeholders keep infinities out of the backward pass of rows that are culled.
    centre = torch.where(in_front[..., None], centre, centre.new_tensor([0.0, 0.0, 1.0]))
    x, y, z = centre.unbind(-1)
    fx, fy, cx, cy = (K[:, None, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)

    margin_x, margin_y = FRUSTUM_MARGIN * width / 2 / fx, FRUSTUM_MARGIN * height / 2 / fy
    slope_x = torch.minimum(torch.maximum(x / z, -cx / fx - margin_x), (width - cx) / fx + margin_x)
    slope_y = torch.minimum(torch.maximum(y / z, -cy / fy - margin_y), (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], -1)
    half = jacobian.unflatten(-1, (2, 3)) @ rotation @ (quat_to_matrix(quats) * scales[..., None, :])
    covariance = half @ half.transpose(-1, -2)
    xx, xy, yy = covariance[..., 0, 0] + LOW_PASS, covariance[..., 0, 1], covariance[..., 1, 1] + LOW_PASS
    determinant = xx * yy - xy * xy
    regular = determinant > 0
    determinant = torch.where(regular, determinant, torch.ones_like(determinant))
    conics = torch.stack([yy, -xy, xx], -1) / determinant[..., None]

    with torch.no_grad():
        reach = torch.sqrt(2 * torch.log((opacities / ALPHA_CUT).clamp_min(1.0)))
        reach_x, reach_y = torch.ceil(reach * xx.sqrt()), torch.ceil(reach * yy.sqrt())
        u, v = means2d.unbind(-1)
        inside = (u + reach_x > 0) & (u - reach_x < width) & (v + reach_y > 0) & (v - reach_y < height)
        visible = in_front & regular & inside & (opacities >= ALPHA_CUT) & (reach_x > 0) & (reach_y > 0)
        radii = upstream_radii(conics, visible)
    return Projected(means2d, conics, z, visible, radii)


def upstream_radii(conics: Tensor, visible: Tensor) -> Tensor:
    """Return radii (B, N) in pixels as the 2023 rasterizer reports them: 3 standard deviations, rounded up.

    Its eigenvalue has a floor, sqrt(max(0.1, mid² - det)), which matters for round Gaussians only.

    Args:
        conics: (B, N, 3) upper triangle of the inverse 2D covariances.
        visible: (B, N) bool; the radius is 0 where False.
    """
    a, b, c = conics.unbind(-1)
    determinant = a * c - b * b
    middle = 0.5 * (a + c) / determinant
    largest = middle + torch.sqrt((middle * middle - 1 / determinant).clamp_min(0.1))
    radii = torch.ceil(RADIUS_SIGMAS * torch.sqrt(largest))
    return torch.where(visible, radii, torch.zeros_like(radii))
