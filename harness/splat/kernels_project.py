"""CPU kernels that project Gaussians to the image plane, and their backward pass.

The arithmetic is that of `project.project` in float64. Backward works in chunks of fixed size, whose camera gradients
are summed in order afterwards, so results are bit-equal for any number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from headbench.harness.jit import Scalar, compiled

__all__ = ["CHUNK", "project", "project_backward"]

CHUNK = 256
"""Number of Gaussians per unit of parallel work."""

_ENDLESS = 1e9  # pixels; beyond any image, and it still fits an integer


@compiled()
def _rotation(quat: np.ndarray, out: np.ndarray) -> Scalar:
    """Write the matrix of a quaternion (w, x, y, z) of any length into out (3, 3); return the length."""
    length = math.sqrt(quat[0] ** 2.0 + quat[1] ** 2.0 + quat[2] ** 2.0 + quat[3] ** 2.0)
    w, x, y, z = quat[0] / length, quat[1] / length, quat[2] / length, quat[3] / length
    out[0, 0], out[0, 1], out[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[1, 0], out[1, 1], out[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[2, 0], out[2, 1], out[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return length


@compiled()
def _multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write the matrix product of a (m, 3) and b (3, n) into out (m, n)."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@compiled()
def _clamp(value: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """Return `value` limited to the range from `low` to `high`."""
    return min(max(value, low), high)


@compiled()
def _project_chunk(
    means: np.ndarray,
    quats: np.ndarray,
    scales: np.ndarray,
    opacities: np.ndarray,
    colours: np.ndarray,
    w2c: np.ndarray,
    K: np.ndarray,
    width: Scalar,
    height: Scalar,
    low_pass: Scalar,
    margin: Scalar,
    near: Scalar,
    cut: Scalar,
    sigmas: Scalar,
    splats: np.ndarray,
    radii: np.ndarray,
) -> None:
    """Project n Gaussians into one camera's image, in float64.

    Args:
        means: (n, 3) metres.
        quats: (n, 4) (w, x, y, z), of any length.
        scales: (n, 3) metres, standard deviations.
        opacities: (n,) in [0, 1].
        colours: (n, 3) RGB.
        w2c: (4, 4) world to camera.
        K: (3, 3) intrinsics in pixels.
        width: of the image in pixels.
        height: of the image in pixels.
        low_pass: added to the diagonal of projected covariances, pixels squared.
        margin: how far beyond the image the Jacobian follows a mean, in parts of half the field of view.
        near: depth below which Gaussians are culled, metres.
        cut: coverage below which a Gaussian does not count.
        sigmas: standard deviations of the reported radii.
        splats: (n, kernels.WIDTH), written; a negative half width marks a culled Gaussian.
        radii: (n,) pixels, written; 0 where culled.
    """
    rotation, to_camera, half = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    jacobian = np.zeros((2, 3))
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = margin * width / 2 / fx, margin * height / 2 / fy
    for n in range(means.shape[0]):
        splats[n, :] = 0.0
        splats[n, 11] = -1.0
        radii[n] = 0.0
        px, py, pz = np.float64(means[n, 0]), np.float64(means[n, 1]), np.float64(means[n, 2])
        x = w2c[0, 0] * px + w2c[0, 1] * py + w2c[0, 2] * pz + w2c[0, 3]
        y = w2c[1, 0] * px + w2c[1, 1] * py + w2c[1, 2] * pz + w2c[1, 3]
        z = w2c[2, 0] * px + w2c[2, 1] * py + w2c[2, 2] * pz + w2c[2, 3]
        # Written so that NaN fails every test and the Gaussian is culled.
        if not (z >= near and opacities[n] >= cut):
            continue
        _rotation(quats[n].astype(np.float64), rotation)
        _multiply(w2c[:3, :3], rotation, to_camera)
        jacobian[0, 0], jacobian[1, 1] = fx / z, fy / z
        jacobian[0, 2] = -fx / z * _clamp(x / z, -cx / fx - margin_x, (width - cx) / fx + margin_x)
        jacobian[1, 2] = -fy / z * _clamp(y / z, -cy / fy - margin_y, (height - cy) / fy + margin_y)
        _multiply(jacobian, to_camera, half)
        xx, xy, yy = low_pass, 0.0, low_pass
        for k in range(3):
            u, v = half[0, k] * scales[n, k], half[1, k] * scales[n, k]
            xx, xy, yy = xx + u * u, xy + u * v, yy + v * v
        determinant = xx * yy - xy * xy
        u, v = fx * x / z + cx, fy * y / z + cy
        reach = 2 * math.log(np.float64(opacities[n]) / cut)
        half_width, half_height = math.sqrt(reach * xx), math.sqrt(reach * yy)
        box_x, box_y = math.ceil(half_width) * 1.0, math.ceil(half_height) * 1.0
        if not (determinant > 0 and box_x > 0 and box_y > 0):
            continue
        if not (u + box_x > 0 and u - box_x < width and v + box_y > 0 and v - box_y < height):
            continue
        middle = 0.5 * (xx + yy)
        radii[n] = math.ceil(sigmas * math.sqrt(middle + math.sqrt(max(middle * middle - determinant, 0.1))))
        splats[n, 0], splats[n, 1] = u, v
        splats[n, 2], splats[n, 3], splats[n, 4] = yy / determinant, -xy / determinant, xx / determinant
        splats[n, 5] = opacities[n]
        splats[n, 6], splats[n, 7], splats[n, 8], splats[n, 9] = colours[n, 0], colours[n, 1], colours[n, 2], z
        # Slightly wider than exact: the kernels test coverage itself, these only bound where they look.
        splats[n, 10] = reach * 1.001 + 1e-3
        splats[n, 11] = min(half_width * 1.001 + 1e-2, _ENDLESS)
        splats[n, 12] = min(half_height * 1.001 + 1e-2, _ENDLESS)


@compiled(parallel=True)
def project(
    means: np.ndarray,
    quats: np.ndarray,
    scales: np.ndarray,
    opacities: np.ndarray,
    colours: np.ndarray,
    w2c: np.ndarray,
    K: np.ndarray,
    width: Scalar,
    height: Scalar,
    low_pass: Scalar,
    margin: Scalar,
    near: Scalar,
    cut: Scalar,
    sigmas: Scalar,
    splats: np.ndarray,
    radii: np.ndarray,
) -> None:
    """Project B x N Gaussians into B cameras' images.

    Args:
        means: (B, N, 3) float32, metres.
        quats: (B, N, 4) float32 (w, x, y, z), of any length.
        scales: (B, N, 3) float32, metres, standard deviations.
        opacities: (B, N) float32 in [0, 1].
        colours: (B, N, 3) float32 RGB.
        w2c: (B, 4, 4) float64, world to camera.
        K: (B, 3, 3) float64, intrinsics in pixels.
        width: of the images in pixels.
        height: of the images in pixels.
        low_pass: LOW_PASS of `rasterizer`.
        margin: FRUSTUM_MARGIN of `rasterizer`.
        near: NEAR of `rasterizer`, metres.
        cut: ALPHA_CUT of `rasterizer`.
        sigmas: RADIUS_SIGMAS of `rasterizer`.
        splats: (B, N, kernels.WIDTH) float32, written.
        radii: (B, N) float32, pixels, written; 0 where culled.
    """
    count = means.shape[1]
    chunks = (count + CHUNK - 1) // CHUNK
    for task in prange(means.shape[0] * chunks):
        b, start = task // chunks, task % chunks * CHUNK
        end = min(start + CHUNK, count)
        _project_chunk(
            means[b, start:end],
            quats[b, start:end],
            scales[b, start:end],
            opacities[b, start:end],
            colours[b, start:end],
            w2c[b],
            K[b],
            width,
            height,
            low_pass,
            margin,
            near,
            cut,
            sigmas,
            splats[b, start:end],
            radii[b, start:end],
        )


@compiled()
def _quaternion_gradient(quat: np.ndarray, length: Scalar, to_rotation: np.ndarray, out: np.ndarray) -> None:
    """Write the gradient of a quaternion, given the gradient of its rotation matrix.

    Args:
        quat: (4,) (w, x, y, z).
        length: of the quaternion.
        to_rotation: (3, 3) gradient of the matrix.
        out: (4,), written.
    """
    w, x, y, z = quat[0] / length, quat[1] / length, quat[2] / length, quat[3] / length
    g = to_rotation
    to_w = 2 * (z * (g[1, 0] - g[0, 1]) + y * (g[0, 2] - g[2, 0]) + x * (g[2, 1] - g[1, 2]))
    to_x = 2 * (y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]) + w * (g[2, 1] - g[1, 2]))
    to_y = 2 * (x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]) + w * (g[0, 2] - g[2, 0]))
    to_z = 2 * (x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]) + w * (g[1, 0] - g[0, 1]))
    to_x -= 4 * x * (g[1, 1] + g[2, 2])
    to_y -= 4 * y * (g[0, 0] + g[2, 2])
    to_z -= 4 * z * (g[0, 0] + g[1, 1])
    along = to_w * w + to_x * x + to_y * y + to_z * z
    out[0], out[1] = (to_w - along * w) / length, (to_x - along * x) / length
    out[2], out[3] = (to_y - along * y) / length, (to_z - along * z) / length


@compiled()
def _project_chunk_backward(
    means: np.ndarray,
    quats: np.ndarray,
    scales: np.ndarray,
    splats: np.ndarray,
    gradients: np.ndarray,
    w2c: np.ndarray,
    K: np.ndarray,
    width: Scalar,
    height: Scalar,
    margin: Scalar,
    to_means: np.ndarray,
    to_quats: np.ndarray,
    to_scales: np.ndarray,
    to_camera: np.ndarray,
) -> None:
    """Compute the gradients of n Gaussians and of the camera that sees them: the backward pass of `_project_chunk`.

    Args:
        means: (n, 3) metres.
        quats: (n, 4) (w, x, y, z), of any length.
        scales: (n, 3) metres, standard deviations.
        splats: (n, kernels.WIDTH) projected Gaussians, from the forward pass.
        gradients: (n, kernels.GRADIENTS) of the columns of `splats`.
        w2c: (4, 4) world to camera.
        K: (3, 3) intrinsics in pixels.
        width: of the image in pixels.
        height: of the image in pixels.
        margin: how far beyond the image the Jacobian follows a mean, in parts of half the field of view.
        to_means: (n, 3), written.
        to_quats: (n, 4), written.
        to_scales: (n, 3), written.
        to_camera: (16,), added to: rotation row by row, translation, fx, fy, cx, cy.
    """
    rotation, turned, half = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    to_half, to_turned, to_rotation = np.empty((2, 3)), np.empty((3, 3)), np.empty((3, 3))
    jacobian, to_jacobian = np.zeros((2, 3)), np.zeros((2, 3))
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = margin * width / 2 / fx, margin * height / 2 / fy
    for n in range(means.shape[0]):
        if splats[n, 11] < 0:
            continue
        px, py, pz = np.float64(means[n, 0]), np.float64(means[n, 1]), np.float64(means[n, 2])
        x = w2c[0, 0] * px + w2c[0, 1] * py + w2c[0, 2] * pz + w2c[0, 3]
        y = w2c[1, 0] * px + w2c[1, 1] * py + w2c[1, 2] * pz + w2c[1, 3]
        z = w2c[2, 0] * px + w2c[2, 1] * py + w2c[2, 2] * pz + w2c[2, 3]
        quat = quats[n].astype(np.float64)
        length = _rotation(quat, rotation)
        _multiply(w2c[:3, :3], rotation, turned)
        slope_x = _clamp(x / z, -cx / fx - margin_x, (width - cx) / fx + margin_x)
        slope_y = _clamp(y / z, -cy / fy - margin_y, (height - cy) / fy + margin_y)
        jacobian[0, 0], jacobian[0, 2] = fx / z, -fx * slope_x / z
        jacobian[1, 1], jacobian[1, 2] = fy / z, -fy * slope_y / z
        _multiply(jacobian, turned, half)

        # Inverse: d loss / d covariance = -conic (d loss / d conic) conic; b stands for both off-diagonal entries.
        a, b, c = np.float64(splats[n, 2]), np.float64(splats[n, 3]), np.float64(splats[n, 4])
        to_a, to_b, to_c = np.float64(gradients[n, 2]), 0.5 * gradients[n, 3], np.float64(gradients[n, 4])
        left_xx, left_xy = a * to_a + b * to_b, a * to_b + b * to_c
        left_yx, left_yy = b * to_a + c * to_b, b * to_b + c * to_c
        to_xx, to_xy = -(left_xx * a + left_xy * b), -(left_xx * b + left_xy * c)
        to_yy = -(left_yx * b + left_yy * c)

        # covariance = (half scales)(half scales)^T + low pass
        for k in range(3):
            s = np.float64(scales[n, k])
            to_u = 2 * (to_xx * half[0, k] + to_xy * half[1, k])
            to_v = 2 * (to_xy * half[0, k] + to_yy * half[1, k])
            to_scales[n, k] = s * (to_u * half[0, k] + to_v * half[1, k])
            to_half[0, k], to_half[1, k] = to_u * s * s, to_v * s * s
        for i in range(3):
            for k in range(3):
                to_turned[i, k] = jacobian[0, i] * to_half[0, k] + jacobian[1, i] * to_half[1, k]
            for r in range(2):
                to_jacobian[r, i] = (
                    to_half[r, 0] * turned[i, 0] + to_half[r, 1] * turned[i, 1] + to_half[r, 2] * turned[i, 2]
                )
        for j in range(3):
            for k in range(3):
                to_rotation[j, k] = (
                    w2c[0, j] * to_turned[0, k] + w2c[1, j] * to_turned[1, k] + w2c[2, j] * to_turned[2, k]
                )
        _quaternion_gradient(quat, length, to_rotation, to_quats[n])

        # Perspective: the mean, and the Jacobian through depth and through the clamped slopes.
        to_u, to_v = np.float64(gradients[n, 0]), np.float64(gradients[n, 1])
        to_slope_x, to_slope_y = -fx / z * to_jacobian[0, 2], -fy / z * to_jacobian[1, 2]
        to_x, to_y = to_u * fx / z, to_v * fy / z
        to_z = gradients[n, 9] - (to_u * fx * x + to_v * fy * y + to_jacobian[0, 0] * fx + to_jacobian[1, 1] * fy) / (
            z * z
        )
        to_z += (to_jacobian[0, 2] * fx * slope_x + to_jacobian[1, 2] * fy * slope_y) / (z * z)
        to_fx = (to_u * x + to_jacobian[0, 0] - to_jacobian[0, 2] * slope_x) / z
        to_fy = (to_v * y + to_jacobian[1, 1] - to_jacobian[1, 2] * slope_y) / z
        to_cx, to_cy = to_u, to_v
        if slope_x == x / z:
            to_x += to_slope_x / z
            to_z -= to_slope_x * x / (z * z)
        else:  # the limit itself moves with the intrinsics
            to_cx -= to_slope_x / fx
            to_fx -= to_slope_x * slope_x / fx
        if slope_y == y / z:
            to_y += to_slope_y / z
            to_z -= to_slope_y * y / (z * z)
        else:
            to_cy -= to_slope_y / fy
            to_fy -= to_slope_y * slope_y / fy

        for j in range(3):
            to_means[n, j] = w2c[0, j] * to_x + w2c[1, j] * to_y + w2c[2, j] * to_z
            for i in range(3):
                to_camera[3 * i + j] += (
                    to_turned[i, 0] * rotation[j, 0]
                    + to_turned[i, 1] * rotation[j, 1]
                    + to_turned[i, 2] * rotation[j, 2]
                )
        to_centre = (to_x, to_y, to_z)
        for i in range(3):
            to_camera[3 * i] += to_centre[i] * px
            to_camera[3 * i + 1] += to_centre[i] * py
            to_camera[3 * i + 2] += to_centre[i] * pz
            to_camera[9 + i] += to_centre[i]
        to_camera[12] += to_fx
        to_camera[13] += to_fy
        to_camera[14] += to_cx
        to_camera[15] += to_cy


@compiled(parallel=True)
def project_backward(
    means: np.ndarray,
    quats: np.ndarray,
    scales: np.ndarray,
    splats: np.ndarray,
    gradients: np.ndarray,
    w2c: np.ndarray,
    K: np.ndarray,
    width: Scalar,
    height: Scalar,
    margin: Scalar,
    to_means: np.ndarray,
    to_quats: np.ndarray,
    to_scales: np.ndarray,
    to_camera: np.ndarray,
) -> None:
    """Compute the gradients of Gaussians and cameras: the backward pass of `project`.

    Args:
        means: (B, N, 3) float32, metres.
        quats: (B, N, 4) float32 (w, x, y, z), of any length.
        scales: (B, N, 3) float32, metres, standard deviations.
        splats: (B, N, kernels.WIDTH) float32, from `project`.
        gradients: (B, N, kernels.GRADIENTS) of the columns of `splats`.
        w2c: (B, 4, 4) float64, world to camera.
        K: (B, 3, 3) float64, intrinsics in pixels.
        width: of the images in pixels.
        height: of the images in pixels.
        margin: FRUSTUM_MARGIN of `rasterizer`.
        to_means: (B, N, 3) float32 zeros, written.
        to_quats: (B, N, 4) float32 zeros, written.
        to_scales: (B, N, 3) float32 zeros, written.
        to_camera: (B, chunks, 16) float64 zeros, written: rotation row by row, translation, fx, fy, cx, cy.
    """
    count = means.shape[1]
    chunks = (count + CHUNK - 1) // CHUNK
    for task in prange(means.shape[0] * chunks):
        b, chunk = task // chunks, task % chunks
        start, end = chunk * CHUNK, min(chunk * CHUNK + CHUNK, count)
        _project_chunk_backward(
            means[b, start:end],
            quats[b, start:end],
            scales[b, start:end],
            splats[b, start:end],
            gradients[b, start:end],
            w2c[b],
            K[b],
            width,
            height,
            margin,
            to_means[b, start:end],
            to_quats[b, start:end],
            to_scales[b, start:end],
            to_camera[b, chunk],
        )
