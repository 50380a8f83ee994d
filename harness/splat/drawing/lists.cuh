// Lists of the Gaussians of each tile, front to back, in memory of a fixed size.
#pragma once

#include "common.cuh"

namespace headbench {

// Tiles [x0, x1) x [y0, y1) that a Gaussian's rectangle meets; none where it is culled.
//
// This and `covers` are never inlined: `measure` counts what `emit` writes, and a compiler that fuses multiplications
// and additions differently in two kernels lets them disagree about a tile on the rim.
struct Tiles {
    int x0, y0, x1, y1;
};

__device__ __noinline__ Tiles tiles_of(
    Frame frame, int2 radius, float2 mean, float3 conic, float opacity, float cut) {
    if (radius.x <= 0 || radius.y <= 0) return {0, 0, 0, 0};
    const float2 half = half_sizes(conic, opacity, cut);
    if (half.x < 0.0f) return {0, 0, 0, 0};
    const int rows = frame.tiles / frame.tiles_x;
    // Pixel centres lie at halves, so a tile's first is half a pixel inside.
    const float x0 = floorf((mean.x - half.x - 0.5f) / TILE), x1 = floorf((mean.x + half.x - 0.5f) / TILE) + 1.0f;
    const float y0 = floorf((mean.y - half.y - 0.5f) / TILE), y1 = floorf((mean.y + half.y - 0.5f) / TILE) + 1.0f;
    // Clamped as floats: what is far outside does not fit an int.
    return {
        static_cast<int>(fminf(fmaxf(x0, 0.0f), static_cast<float>(frame.tiles_x))),
        static_cast<int>(fminf(fmaxf(y0, 0.0f), static_cast<float>(rows))),
        static_cast<int>(fminf(fmaxf(x1, 0.0f), static_cast<float>(frame.tiles_x))),
        static_cast<int>(fminf(fmaxf(y1, 0.0f), static_cast<float>(rows)))};
}

// Whether an ellipse around `mean` covers any point of a tile's rectangle of pixel centres.
__device__ __noinline__ bool covers(float2 mean, Ellipse of, int tile_x, int tile_y) {
    const float left = tile_x * TILE + 0.5f - mean.x, top = tile_y * TILE + 0.5f - mean.y;
    return touches(of, left, left + TILE - 1, top, top + TILE - 1);
}

// For each Gaussian: the number of tiles that it covers, and a key that sorts by depth with the culled ones last.
__global__ void measure(
    int items, Frame frame, float cut, const int2* __restrict__ radii, const float2* __restrict__ means,
    const float* __restrict__ depths, const float3* __restrict__ conics, const float* __restrict__ opacities,
    unsigned* __restrict__ keys, int* __restrict__ rows, int* __restrict__ counts) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= items) return;
    rows[i] = i;
    const int2 radius = radii[i];
    int count = 0;
    if (radius.x > 0 && radius.y > 0) {
        const float3 conic = conics[i];
        const float2 mean = means[i];
        const Tiles found = tiles_of(frame, radius, mean, conic, opacities[i], cut);
        const Ellipse of = ellipse_of(conic, opacities[i], cut);
        for (int y = found.y0; y < found.y1; ++y)
            for (int x = found.x0; x < found.x1; ++x) count += covers(mean, of, x, y);
    }
    counts[i] = count;
    keys[i] = count ? __float_as_uint(depths[i]) : ALL;  // depths are positive, so their bits are in their order
}

// Writes the tiles of each Gaussian, nearest Gaussian first; what is beyond `capacity` is left out, and `wanted`, if it
// is there, is raised to what would have been enough. Places that stay unused sort behind all tiles; tiles have no
// entries yet, and there are no buckets.
__global__ void emit(
    int items, int per_image, int capacity, int all, Frame frame, float cut, const int* __restrict__ rows,
    const int* __restrict__ ends, const int* __restrict__ counts, const int2* __restrict__ radii,
    const float2* __restrict__ means, const float3* __restrict__ conics, const float* __restrict__ opacities,
    unsigned* __restrict__ tiles, int* __restrict__ ids, int2* __restrict__ ranges, int* __restrict__ buckets,
    int* __restrict__ wanted) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, total = ends[items - 1];
    if (i == 0) {
        *buckets = 0;
        if (wanted) *wanted = max(*wanted, total);
    }
    if (i < all) ranges[i] = {0, 0};
    if (i >= total && i < capacity) tiles[i] = ALL;
    if (i >= items) return;
    const int row = rows[i], count = counts[row];
    if (!count) return;
    const float3 conic = conics[row];
    const float2 mean = means[row];
    const Tiles found = tiles_of(frame, radii[row], mean, conic, opacities[row], cut);
    const Ellipse of = ellipse_of(conic, opacities[row], cut);
    const int first = row / per_image * frame.tiles;
    // Never more than was counted, which is another Gaussian's place, and never less, which would leave a place as it was.
    const int end = min(ends[i], capacity);
    int place = ends[i] - count;
    for (int y = found.y0; y < found.y1; ++y)
        for (int x = found.x0; x < found.x1; ++x)
            if (place < end && covers(mean, of, x, y)) {
                tiles[place] = first + y * frame.tiles_x + x;
                ids[place++] = row;
            }
    for (; place < end; ++place) tiles[place] = ALL;
}

// Where each tile's part of the sorted list begins and ends; tiles without any keep (0, 0).
__global__ void ranges_of(int capacity, unsigned tiles, const unsigned* __restrict__ sorted, int2* __restrict__ ranges) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= capacity) return;
    const unsigned tile = sorted[i];
    if (tile >= tiles) return;
    if (i == 0 || sorted[i - 1] != tile) ranges[tile].x = i;
    if (i == capacity - 1 || sorted[i + 1] != tile) ranges[tile].y = i + 1;
}

}  // namespace headbench
