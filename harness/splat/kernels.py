"""CPU kernels that blend projected Gaussians into pixels, tile by tile, and their backward pass.

Each tile of TILE x TILE pixels is the work of one thread from start to end, and sums over tiles run in a fixed order
afterwards, so results are bit-equal for any number of threads. The inner loops run over a whole row of a tile without
branches: that is what lets the compiler turn them into vector instructions.

Limits such as ALPHA_MAX are arguments, since a cached kernel would not notice a changed constant.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from headbench.harness.jit import Scalar, compiled

__all__ = ["TILE", "WIDTH", "bin_tiles", "blend", "blend_backward", "gather_pairs"]

TILE = 16
"""Side of a tile in pixels."""

# Columns of the table of projected Gaussians ("splats"), float32.
MEAN_X, MEAN_Y, CONIC_A, CONIC_B, CONIC_C, OPACITY, RED, GREEN, BLUE, DEPTH = range(10)
REACH = 10  # squared Mahalanobis distance at which coverage falls to the cut
HALF_WIDTH, HALF_HEIGHT = 11, 12  # of the rectangle around that ellipse, pixels; negative when not visible
WIDTH = 13

# Columns of a pair's gradients; RED..DEPTH as above.
ABSOLUTE_X, ABSOLUTE_Y = 10, 11
GRADIENTS = 12

# Per-row working memory of a tile: a flat strip of eight lanes of TILE floats, so that the compiler sees one base
# address and constant distances.
_LANES = 8
_TRANSMITTANCE, _COLUMN = 0, 1 * TILE
_F_LIVE, _F_RED, _F_GREEN, _F_BLUE, _F_DEPTH, _F_LAST = 2 * TILE, 3 * TILE, 4 * TILE, 5 * TILE, 6 * TILE, 7 * TILE
_B_BEHIND, _B_RED, _B_GREEN, _B_BLUE, _B_DEPTH, _B_LAST = 2 * TILE, 3 * TILE, 4 * TILE, 5 * TILE, 6 * TILE, 7 * TILE

# Sums down the columns of a tile for one Gaussian, in the same layout. Those of d loss / d power come in moments of dy;
# dx is constant down a column, so its moments wait for the end.
_SUMS = 10
_S_POWER, _S_POWER_DY, _S_POWER_DY2, _S_OPACITY = 0, TILE, 2 * TILE, 3 * TILE
_S_RED, _S_GREEN, _S_BLUE, _S_DEPTH = 4 * TILE, 5 * TILE, 6 * TILE, 7 * TILE
_S_ABSOLUTE_X, _S_ABSOLUTE_Y = 8 * TILE, 9 * TILE

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_EIGHTH, _FLOOR = np.float32(0.125), np.float32(-8)
# Least-squares fit of exp on [-1, 0], relative error below 3e-8; a polynomial vectorises where a call of exp does not.
_E0, _E1, _E2, _E3 = (np.float32(c) for c in (0.999999975, 0.999997857, 0.499968531, 0.166488382))
_E4, _E5, _E6 = (np.float32(c) for c in (0.0411733757, 0.00761110495, 0.000834911545))


@compiled()
def _falloff(power: Scalar) -> Scalar:
    """Approximate exp(power) for power <= 0 within 1e-6; below -8 it stays at exp(-8), under every cut in use."""
    t = power if power < _ZERO else _ZERO
    t = (t if t > _FLOOR else _FLOOR) * _EIGHTH
    e = _E0 + t * (_E1 + t * (_E2 + t * (_E3 + t * (_E4 + t * (_E5 + t * _E6)))))
    e = e * e
    e = e * e
    return e * e


@compiled()
def _row_is_reached(splat: np.ndarray, left: Scalar, dy: Scalar) -> bool:
    """Whether a Gaussian's ellipse meets any pixel centre of a tile's row; True where values are NaN.

    Args:
        splat: (WIDTH,) the projected Gaussian, a row of the table `splats`.
        left: x of the first pixel's centre; the others follow at 1 to TILE - 1 beyond it.
        dy: y of the row's pixel centres minus that of the Gaussian, pixels.
    """
    skew = splat[CONIC_B] / splat[CONIC_A]
    remaining = splat[REACH] - (splat[CONIC_C] - splat[CONIC_B] * skew) * dy * dy
    start = left - (splat[MEAN_X] - skew * dy)
    end = start + np.float32(TILE - 1)
    nearest = start if start > _ZERO else (end if end < _ZERO else _ZERO)
    return not splat[CONIC_A] * nearest * nearest > remaining


@compiled()
def _tile_range(centre: Scalar, half: Scalar, tiles: int) -> tuple[int, int]:
    """Return the first and one-past-last tile along an axis with pixel centres within `half` pixels of `centre`."""
    first = max(math.ceil(centre - half - _HALF), 0) // TILE
    last = min(math.floor(centre + half - _HALF), tiles * TILE - 1) // TILE
    return int(first), int(last) + 1


@compiled()
def _row_range(centre: Scalar, half: Scalar, top: int) -> tuple[int, int]:
    """Return first and one-past-last row of a tile, from 0 at `top`, with pixel centres within `half` of `centre`."""
    first = max(math.ceil(centre - half - _HALF) - top, 0)
    last = min(math.floor(centre + half - _HALF) - top, TILE - 1)
    return first, last + 1


@compiled()
def bin_tiles(splats: np.ndarray, order: np.ndarray, tiles_x: int, tiles_y: int) -> tuple[np.ndarray, np.ndarray]:
    """List the Gaussians that may reach each tile of each image, front to back.

    Args:
        splats: (B, N, WIDTH) projected Gaussians.
        order: (B, N) int64, Gaussians by depth.
        tiles_x: number of tiles along x.
        tiles_y: number of tiles along y.

    Returns:
        offsets (B * tiles + 1,) int64 into the pairs; ids (pairs,) int64, b * N + n.
    """
    batch, count = splats.shape[0], splats.shape[1]
    tiles = tiles_x * tiles_y
    offsets = np.zeros(batch * tiles + 1, np.int64)
    boxes = np.zeros((batch, count, 4), np.int64)
    for b in range(batch):
        for n in range(count):
            if splats[b, n, HALF_WIDTH] < 0:
                continue
            x0, x1 = _tile_range(splats[b, n, MEAN_X], splats[b, n, HALF_WIDTH], tiles_x)
            y0, y1 = _tile_range(splats[b, n, MEAN_Y], splats[b, n, HALF_HEIGHT], tiles_y)
            boxes[b, n, 0], boxes[b, n, 1], boxes[b, n, 2], boxes[b, n, 3] = x0, x1, y0, y1
            for y in range(y0, y1):
                for x in range(x0, x1):
                    offsets[b * tiles + y * tiles_x + x + 1] += 1
    for k in range(batch * tiles):
        offsets[k + 1] += offsets[k]
    ids = np.empty(offsets[-1], np.int64)
    position = offsets[:-1].copy()
    for b in range(batch):
        for rank in range(count):
            n = order[b, rank]
            for y in range(boxes[b, n, 2], boxes[b, n, 3]):
                for x in range(boxes[b, n, 0], boxes[b, n, 1]):
                    k = b * tiles + y * tiles_x + x
                    ids[position[k]] = b * count + n
                    position[k] += 1
    return offsets, ids


@compiled()
def _blend_row(
    strip: np.ndarray,
    splat: np.ndarray,
    left: Scalar,
    dy: Scalar,
    rank: Scalar,
    alpha_max: Scalar,
    cut: Scalar,
    stop: Scalar,
) -> None:
    """Blend one Gaussian into one row of a tile.

    Args:
        strip: the row's working memory (lanes of TILE values), changed.
        splat: (WIDTH,) the projected Gaussian, a row of the table `splats`.
        left: x of the first pixel's centre, pixels.
        dy: y of the row's pixel centres minus that of the Gaussian, pixels.
        rank: place of the Gaussian in the tile's list.
        alpha_max: limit of a Gaussian's coverage.
        cut: coverage below which a Gaussian is skipped.
        stop: transmittance at or below which a pixel is finished.
    """
    constant = -_HALF * splat[CONIC_C] * dy * dy
    linear = -splat[CONIC_B] * dy
    square = -_HALF * splat[CONIC_A]
    offset = left - splat[MEAN_X]
    opacity = splat[OPACITY]
    red, green, blue, depth = splat[RED], splat[GREEN], splat[BLUE], splat[DEPTH]
    for x in range(TILE):
        dx = strip[_COLUMN + x] + offset
        raw = opacity * _falloff(constant + dx * (linear + square * dx))
        alpha = raw if raw < alpha_max else alpha_max
        alpha = alpha * strip[_F_LIVE + x] if alpha >= cut else _ZERO
        before = strip[_TRANSMITTANCE + x]
        after = before * (_ONE - alpha)
        goes_on = after > stop
        weight = alpha * before if goes_on else _ZERO
        strip[_F_LIVE + x] = strip[_F_LIVE + x] if goes_on else _ZERO
        strip[_TRANSMITTANCE + x] = after if goes_on else before
        strip[_F_RED + x] += weight * red
        strip[_F_GREEN + x] += weight * green
        strip[_F_BLUE + x] += weight * blue
        strip[_F_DEPTH + x] += weight * depth
        strip[_F_LAST + x] = rank if weight > _ZERO else strip[_F_LAST + x]


@compiled()
def _any_live(strips: np.ndarray, rows: int) -> bool:
    """Whether any pixel of a tile's first `rows` rows is unfinished."""
    for y in range(rows):
        total = _ZERO
        for x in range(TILE):
            total += strips[y, _F_LIVE + x]
        if total > _ZERO:
            return True
    return False


@compiled()
def _blend_tile(
    splats: np.ndarray,
    ids: np.ndarray,
    left: int,
    top: int,
    background: np.ndarray,
    alpha_max: Scalar,
    cut: Scalar,
    stop: Scalar,
    image: np.ndarray,
    remaining: np.ndarray,
    depth: np.ndarray,
    last: np.ndarray,
) -> None:
    """Blend the Gaussians of one tile into its pixels, front to back.

    Args:
        splats: (B * N, WIDTH) projected Gaussians of all images.
        ids: (n,) rows of `splats` that may reach the tile, by depth.
        left: first column of the tile in the image.
        top: first row of the tile in the image.
        background: (3,) RGB.
        alpha_max: limit of a Gaussian's coverage.
        cut: coverage below which a Gaussian is skipped.
        stop: transmittance at or below which a pixel is finished.
        image: (3, H, W), written.
        remaining: (H, W) transmittance left for the background, written.
        depth: (H, W) metres, written.
        last: (H, W) place in `ids` of the last Gaussian that reached a pixel, -1 where none did; written.
    """
    height, width = remaining.shape
    rows, columns = min(TILE, height - top), min(TILE, width - left)
    strips = np.zeros((TILE, _LANES * TILE), np.float32)
    for y in range(rows):
        for x in range(TILE):
            strips[y, _TRANSMITTANCE + x] = _ONE
            strips[y, _COLUMN + x] = np.float32(x)
            strips[y, _F_LIVE + x] = _ONE if x < columns else _ZERO
            strips[y, _F_LAST + x] = -_ONE
    first_centre = np.float32(left) + _HALF
    for k in range(ids.shape[0]):
        if k % 8 == 0 and not _any_live(strips, rows):
            break
        splat = splats[ids[k]]
        y0, y1 = _row_range(splat[MEAN_Y], splat[HALF_HEIGHT], top)
        for y in range(y0, min(y1, rows)):
            dy = np.float32(top + y) + _HALF - splat[MEAN_Y]
            if _row_is_reached(splat, first_centre, dy):
                _blend_row(strips[y], splat, first_centre, dy, np.float32(k), alpha_max, cut, stop)
    for y in range(rows):
        for x in range(columns):
            left_over = strips[y, _TRANSMITTANCE + x]
            image[0, top + y, left + x] = strips[y, _F_RED + x] + left_over * background[0]
            image[1, top + y, left + x] = strips[y, _F_GREEN + x] + left_over * background[1]
            image[2, top + y, left + x] = strips[y, _F_BLUE + x] + left_over * background[2]
            remaining[top + y, left + x] = left_over
            depth[top + y, left + x] = strips[y, _F_DEPTH + x]
            last[top + y, left + x] = np.int32(strips[y, _F_LAST + x])


@compiled(parallel=True)
def blend(
    splats: np.ndarray,
    offsets: np.ndarray,
    ids: np.ndarray,
    tiles_x: int,
    tiles_y: int,
    background: np.ndarray,
    alpha_max: Scalar,
    cut: Scalar,
    stop: Scalar,
    image: np.ndarray,
    remaining: np.ndarray,
    depth: np.ndarray,
    last: np.ndarray,
) -> None:
    """Composite projected Gaussians into every tile of every image.

    Args:
        splats: (B, N, WIDTH) float32, projected Gaussians.
        offsets: (B * tiles + 1,) from `bin_tiles`.
        ids: (pairs,) from `bin_tiles`.
        tiles_x: number of tiles along x.
        tiles_y: number of tiles along y.
        background: (B, 3) RGB.
        alpha_max: limit of a Gaussian's coverage.
        cut: coverage below which a Gaussian is skipped.
        stop: transmittance at or below which a pixel is finished.
        image: (B, 3, H, W) float32, written.
        remaining: (B, H, W) float32, transmittance left for the background, written.
        depth: (B, H, W) float32, metres, written.
        last: (B, H, W) int32, place in the tile's list of the last Gaussian that reached a pixel, or -1; written.
    """
    flat = splats.reshape(-1, WIDTH)
    tiles = tiles_x * tiles_y
    for task in prange(background.shape[0] * tiles):
        b, tile = task // tiles, task % tiles
        _blend_tile(
            flat,
            ids[offsets[task] : offsets[task + 1]],
            (tile % tiles_x) * TILE,
            (tile // tiles_x) * TILE,
            background[b],
            alpha_max,
            cut,
            stop,
            image[b],
            remaining[b],
            depth[b],
            last[b],
        )


@compiled()
def _blend_row_backward(
    strip: np.ndarray,
    sums: np.ndarray,
    splat: np.ndarray,
    left: Scalar,
    dy: Scalar,
    rank: Scalar,
    alpha_max: Scalar,
    cut: Scalar,
) -> None:
    """Undo one Gaussian in one row of a tile and add the row's part of its gradients to `sums`, column by column.

    Args:
        strip: the row's working memory (lanes of TILE values), changed.
        sums: (_SUMS * TILE,) sums down the tile's columns, changed.
        splat: (WIDTH,) the projected Gaussian, a row of the table `splats`.
        left: x of the first pixel's centre, pixels.
        dy: y of the row's pixel centres minus that of the Gaussian, pixels.
        rank: place of the Gaussian in the tile's list.
        alpha_max: limit of a Gaussian's coverage.
        cut: coverage below which a Gaussian was skipped.
    """
    a, b, c = splat[CONIC_A], splat[CONIC_B], splat[CONIC_C]
    constant = -_HALF * c * dy * dy
    linear = -b * dy
    square = -_HALF * a
    offset = left - splat[MEAN_X]
    opacity = splat[OPACITY]
    red, green, blue, depth = splat[RED], splat[GREEN], splat[BLUE], splat[DEPTH]
    for x in range(TILE):
        dx = strip[_COLUMN + x] + offset
        falloff = _falloff(constant + dx * (linear + square * dx))
        raw = opacity * falloff
        alpha = raw if raw < alpha_max else alpha_max
        blended = _ONE if alpha >= cut else _ZERO
        blended = blended if rank <= strip[_B_LAST + x] else _ZERO
        alpha = alpha * blended
        inverse = _ONE / (_ONE - alpha)
        before = strip[_TRANSMITTANCE + x] * inverse
        weight = alpha * before
        to_red, to_green, to_blue = strip[_B_RED + x], strip[_B_GREEN + x], strip[_B_BLUE + x]
        to_depth = strip[_B_DEPTH + x]
        own = red * to_red + green * to_green + blue * to_blue + depth * to_depth
        behind = strip[_B_BEHIND + x]
        to_alpha = (own * before - behind * inverse) * blended
        to_alpha = to_alpha if raw <= alpha_max else _ZERO
        to_power = to_alpha * alpha
        to_x, to_y = to_power * (a * dx + b * dy), to_power * (b * dx + c * dy)
        strip[_TRANSMITTANCE + x] = before
        strip[_B_BEHIND + x] = behind + weight * own
        sums[_S_POWER + x] += to_power
        sums[_S_POWER_DY + x] += to_power * dy
        sums[_S_POWER_DY2 + x] += to_power * dy * dy
        sums[_S_OPACITY + x] += to_alpha * falloff
        sums[_S_RED + x] += weight * to_red
        sums[_S_GREEN + x] += weight * to_green
        sums[_S_BLUE + x] += weight * to_blue
        sums[_S_DEPTH + x] += weight * to_depth
        sums[_S_ABSOLUTE_X + x] += to_x if to_x > _ZERO else -to_x
        sums[_S_ABSOLUTE_Y + x] += to_y if to_y > _ZERO else -to_y


@compiled()
def _collect(strip: np.ndarray, sums: np.ndarray, splat: np.ndarray, left: Scalar, gradient: np.ndarray) -> None:
    """Add up the columns' sums of one Gaussian in one tile to its gradient, and clear them.

    Args:
        strip: working memory of any row of the tile, for the columns' positions.
        sums: (_SUMS * TILE,) sums down the tile's columns, cleared.
        splat: (WIDTH,) the projected Gaussian, a row of the table `splats`.
        left: x of the first pixel's centre, pixels.
        gradient: (GRADIENTS,) of the pair of tile and Gaussian, written.
    """
    offset = left - splat[MEAN_X]
    sum_x, sum_y, sum_xx, sum_xy, sum_yy = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    for x in range(TILE):
        dx = strip[_COLUMN + x] + offset
        sum_x += dx * sums[_S_POWER + x]
        sum_xx += dx * dx * sums[_S_POWER + x]
        sum_y += sums[_S_POWER_DY + x]
        sum_xy += dx * sums[_S_POWER_DY + x]
        sum_yy += sums[_S_POWER_DY2 + x]
        gradient[OPACITY] += sums[_S_OPACITY + x]
        gradient[RED] += sums[_S_RED + x]
        gradient[GREEN] += sums[_S_GREEN + x]
        gradient[BLUE] += sums[_S_BLUE + x]
        gradient[DEPTH] += sums[_S_DEPTH + x]
        gradient[ABSOLUTE_X] += sums[_S_ABSOLUTE_X + x]
        gradient[ABSOLUTE_Y] += sums[_S_ABSOLUTE_Y + x]
    a, b, c = splat[CONIC_A], splat[CONIC_B], splat[CONIC_C]
    gradient[MEAN_X], gradient[MEAN_Y] = a * sum_x + b * sum_y, b * sum_x + c * sum_y
    gradient[CONIC_A], gradient[CONIC_B], gradient[CONIC_C] = -_HALF * sum_xx, -sum_xy, -_HALF * sum_yy
    for k in range(sums.shape[0]):
        sums[k] = _ZERO


@compiled()
def _blend_tile_backward(
    splats: np.ndarray,
    ids: np.ndarray,
    left: int,
    top: int,
    background: np.ndarray,
    alpha_max: Scalar,
    cut: Scalar,
    remaining: np.ndarray,
    last: np.ndarray,
    to_image: np.ndarray,
    to_alpha: np.ndarray,
    to_depth: np.ndarray,
    gradients: np.ndarray,
) -> None:
    """Compute the gradients of the Gaussians of one tile, walking back to front.

    Args:
        splats: (B * N, WIDTH) projected Gaussians of all images.
        ids: (n,) rows of `splats` that may reach the tile, by depth.
        left: first column of the tile in the image.
        top: first row of the tile in the image.
        background: (3,) RGB.
        alpha_max: limit of a Gaussian's coverage.
        cut: coverage below which a Gaussian was skipped.
        remaining: (H, W) transmittance left for the background, from the forward pass.
        last: (H, W) place in `ids` of the last Gaussian that reached a pixel, from the forward pass.
        to_image: (3, H, W) gradient of the image.
        to_alpha: (H, W) gradient of alpha.
        to_depth: (H, W) gradient of the depth.
        gradients: (n, GRADIENTS), written for Gaussians that reached a pixel.
    """
    height, width = remaining.shape
    rows, columns = min(TILE, height - top), min(TILE, width - left)
    strips = np.zeros((TILE, _LANES * TILE), np.float32)
    sums = np.zeros(_SUMS * TILE, np.float32)
    furthest = -1
    for y in range(rows):
        for x in range(TILE):
            strips[y, _COLUMN + x] = np.float32(x)
            strips[y, _TRANSMITTANCE + x] = _ONE
            strips[y, _B_LAST + x] = -_ONE
        for x in range(columns):
            left_over = remaining[top + y, left + x]
            strips[y, _TRANSMITTANCE + x] = left_over
            strips[y, _B_RED + x] = to_image[0, top + y, left + x]
            strips[y, _B_GREEN + x] = to_image[1, top + y, left + x]
            strips[y, _B_BLUE + x] = to_image[2, top + y, left + x]
            strips[y, _B_DEPTH + x] = to_depth[top + y, left + x]
            strips[y, _B_LAST + x] = np.float32(last[top + y, left + x])
            # Derivative by the final transmittance: through the background, and through alpha = 1 - transmittance.
            behind = -to_alpha[top + y, left + x]
            for channel in range(3):
                behind += background[channel] * to_image[channel, top + y, left + x]
            strips[y, _B_BEHIND + x] = behind * left_over
            furthest = max(furthest, last[top + y, left + x])
    first_centre = np.float32(left) + _HALF
    for k in range(furthest, -1, -1):
        splat = splats[ids[k]]
        y0, y1 = _row_range(splat[MEAN_Y], splat[HALF_HEIGHT], top)
        for y in range(y0, min(y1, rows)):
            dy = np.float32(top + y) + _HALF - splat[MEAN_Y]
            if _row_is_reached(splat, first_centre, dy):
                _blend_row_backward(strips[y], sums, splat, first_centre, dy, np.float32(k), alpha_max, cut)
        _collect(strips[0], sums, splat, first_centre, gradients[k])


@compiled(parallel=True)
def blend_backward(
    splats: np.ndarray,
    offsets: np.ndarray,
    ids: np.ndarray,
    tiles_x: int,
    tiles_y: int,
    background: np.ndarray,
    alpha_max: Scalar,
    cut: Scalar,
    remaining: np.ndarray,
    last: np.ndarray,
    to_image: np.ndarray,
    to_alpha: np.ndarray,
    to_depth: np.ndarray,
    pairs: np.ndarray,
) -> None:
    """Compute the gradients of every pair of a tile and a Gaussian: the backward pass of `blend`.

    Args:
        splats: (B, N, WIDTH) float32, projected Gaussians.
        offsets: (B * tiles + 1,) from `bin_tiles`.
        ids: (pairs,) from `bin_tiles`.
        tiles_x: number of tiles along x.
        tiles_y: number of tiles along y.
        background: (B, 3) RGB.
        alpha_max: limit of a Gaussian's coverage.
        cut: coverage below which a Gaussian was skipped.
        remaining: (B, H, W) transmittance, from `blend`.
        last: (B, H, W) from `blend`.
        to_image: (B, 3, H, W) gradient of the image.
        to_alpha: (B, H, W) gradient of alpha.
        to_depth: (B, H, W) gradient of the depth.
        pairs: (pairs, GRADIENTS) zeros, written.
    """
    flat = splats.reshape(-1, WIDTH)
    tiles = tiles_x * tiles_y
    for task in prange(background.shape[0] * tiles):
        b, tile = task // tiles, task % tiles
        _blend_tile_backward(
            flat,
            ids[offsets[task] : offsets[task + 1]],
            (tile % tiles_x) * TILE,
            (tile // tiles_x) * TILE,
            background[b],
            alpha_max,
            cut,
            remaining[b],
            last[b],
            to_image[b],
            to_alpha[b],
            to_depth[b],
            pairs[offsets[task] : offsets[task + 1]],
        )


@compiled()
def gather_pairs(pairs: np.ndarray, ids: np.ndarray, count: int) -> np.ndarray:
    """Sum gradients of tile and Gaussian pairs (pairs, GRADIENTS) per Gaussian (count, GRADIENTS), in tile order."""
    total = np.zeros((count, GRADIENTS), np.float32)
    for k in range(ids.shape[0]):
        for column in range(GRADIENTS):
            total[ids[k], column] += pairs[k, column]
    return total
