"""Spherical harmonics to RGB, as 3D Gaussian splatting uses them: world directions from the camera's centre."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["camera_centres", "sh_basis", "sh_to_rgb", "view_colours"]

_C0 = 0.28209479177387814
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)


def sh_basis(degree: int, directions: Tensor) -> Tensor:
    """Return the real spherical harmonics up to `degree` (0 to 3) at unit directions (..., 3): (..., (degree + 1)²)."""
    x, y, z = directions.unbind(-1)
    terms = [torch.full_like(x, _C0)]
    if degree >= 1:
        terms += [-_C1 * y, _C1 * z, -_C1 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        terms += [
            _C2[0] * x * y,
            -_C2[0] * y * z,
            _C2[1] * (2 * zz - xx - yy),
            -_C2[0] * x * z,
            _C2[2] * (xx - yy),
        ]
    if degree >= 3:
        terms += [
            -_C3[0] * y * (3 * xx - yy),
            _C3[1] * x * y * z,
            -_C3[2] * y * (4 * zz - xx - yy),
            _C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            -_C3[2] * x * (4 * zz - xx - yy),
            _C3[4] * z * (xx - yy),
            -_C3[0] * x * (xx - 3 * yy),
        ]
    return torch.stack(terms, -1)


def sh_to_rgb(degree: int, directions: Tensor, coefficients: Tensor) -> Tensor:
    """Evaluate spherical harmonics as RGB (..., 3): max(0, SH + 0.5).

    Args:
        degree: 0 to 3.
        directions: (..., 3) from the camera, of any length but 0.
        coefficients: (..., K, 3) with K >= (degree + 1)².
    """
    if degree == 0:
        colour = _C0 * coefficients[..., 0, :]
    else:
        basis = sh_basis(degree, torch.nn.functional.normalize(directions, dim=-1))
        colour = (basis[..., None] * coefficients[..., : basis.shape[-1], :]).sum(-2)
    return (colour + 0.5).clamp_min(0.0)


def camera_centres(w2c: Tensor) -> Tensor:
    """Return the world positions (B, 3) of cameras w2c (B, 4, 4), whose upper left part is a rotation."""
    return -(w2c[:, :3, :3].transpose(1, 2) @ w2c[:, :3, 3:])[..., 0]


def view_colours(means: Tensor, colours: Tensor, degree: int | None, w2c: Tensor) -> Tensor:
    """Return the RGB (B, N, 3) of Gaussians as each camera sees them.

    Args:
        means: (B, N, 3) metres.
        colours: (B, N, K, 3) spherical-harmonics coefficients, or (B, N, 3) RGB, which is returned as it is.
        degree: of the spherical harmonics, 0 to 3; None for RGB.
        w2c: (B, 4, 4) world to camera.
    """
    if degree is None:
        return colours
    return sh_to_rgb(degree, means - camera_centres(w2c)[:, None], colours)
