// Blending: one block per tile, one thread per pixel, Gaussians front to back.
#pragma once

#include "common.cuh"

namespace headbench {

// Composites C channels, and the coverage by all Gaussians. With STATE, what each pixel held before each bucket of 32 Gaussians is kept for `gradient`.
template <int C, bool STATE>
__global__ void __launch_bounds__(PIXELS) blend(
    Frame frame, Limits limits, const int2* __restrict__ ranges, const int* __restrict__ ids,
    const float2* __restrict__ means, const float3* __restrict__ conics, const float* __restrict__ opacities,
    const float* __restrict__ colours, const float* __restrict__ background, float* __restrict__ image,
    float* __restrict__ alphas, float* __restrict__ remaining, int* __restrict__ last, float* __restrict__ state,
    int* __restrict__ all_buckets, int* __restrict__ bucket_ends, int* __restrict__ bucket_tiles) {
    __shared__ float4 shapes[PIXELS];   // mean x, mean y, conic xx, conic xy
    __shared__ float4 extents[PIXELS];  // conic yy, opacity, slopes of the ellipse
    __shared__ float reaches[PIXELS];   // of the ellipse
    __shared__ float4 painted[PIXELS];  // the three or four channels, read at one go
    __shared__ int bucket_end;

    const int tile = blockIdx.x, p = threadIdx.x, lane = p % LANES;
    const int picture = tile / frame.tiles, local = tile % frame.tiles;
    const int left = local % frame.tiles_x * TILE, top = local / frame.tiles_x * TILE;
    const int x = left + pixel_x(p), y = top + pixel_y(p);
    const bool inside = x < frame.width && y < frame.height;
    const float u = x + 0.5f, v = y + 0.5f;
    // Pixel centres of this warp's patch.
    const float patch_x = left + pixel_x(p - lane) + 0.5f, patch_y = top + pixel_y(p - lane) + 0.5f;

    const int2 range = ranges[tile];
    int bucket = 0;
    if (STATE) {
        const int buckets = (range.y - range.x + LANES - 1) / LANES;
        // Tiles take their buckets as they come: which they are makes no difference.
        if (p == 0) bucket_ends[tile] = bucket_end = atomicAdd(all_buckets, buckets) + buckets;
        __syncthreads();
        bucket = bucket_end - buckets;
        for (int k = p; k < buckets; k += PIXELS) bucket_tiles[bucket + k] = tile;
    }

    bool done = !inside;
    float transmittance = 1.0f, sum[C] = {};
    int reached = 0;
    for (int base = range.x; base < range.y; base += PIXELS) {
        if (__syncthreads_count(done) == PIXELS) break;
        if (base + p < range.y) {
            const int id = ids[base + p];
            const float2 mean = means[id];
            const float3 conic = conics[id];
            const float opacity = opacities[id];
            const float* colour = colours + static_cast<size_t>(id) * C;
            shapes[p] = {mean.x, mean.y, conic.x, conic.y};
            const Ellipse of = ellipse_of(conic, opacity, limits.cut);
            extents[p] = {conic.z, opacity, of.along_y, of.along_x};
            reaches[p] = of.reach;
            painted[p] = {colour[0], colour[1], colour[2], C == 4 ? colour[C - 1] : 0.0f};
        }
        __syncthreads();
        const int loaded = min(PIXELS, range.y - base);
        for (int group = 0; group < loaded; group += LANES, ++bucket) {
            if (__all_sync(ALL, done)) continue;
            if (STATE && !done) {
                float* place = state + static_cast<size_t>(bucket) * PIXELS * (C + 1) + p;
                place[0] = transmittance;
                for (int c = 0; c < C; ++c) place[(c + 1) * PIXELS] = sum[c];
            }
            bool here = false;
            if (group + lane < loaded) {
                const float4 shape = shapes[group + lane], extent = extents[group + lane];
                const float x0 = patch_x - shape.x, y0 = patch_y - shape.y;
                here = touches({shape.z, shape.w, extent.x, extent.z, extent.w, reaches[group + lane]}, x0,
                    x0 + PATCH_WIDTH - 1, y0, y0 + PATCH_HEIGHT - 1);
            }
            unsigned left_over = __ballot_sync(ALL, here);
            for (; left_over; left_over &= left_over - 1) {
                const int k = group + __ffs(left_over) - 1;
                if (done) continue;
                const float4 shape = shapes[k], extent = extents[k];
                const float dx = u - shape.x, dy = v - shape.y;
                const float power = -0.5f * (shape.z * dx * dx + extent.x * dy * dy) - shape.w * dx * dy;
                if (power > 0.0f) continue;
                const float alpha = fminf(limits.alpha_max, extent.y * __expf(power));
                if (alpha < limits.cut) continue;
                const float after = transmittance * (1.0f - alpha);
                if (after <= limits.stop) {
                    done = true;
                    continue;
                }
                const float weight = alpha * transmittance;
                const float4 colour = painted[k];
                sum[0] += weight * colour.x;
                sum[1] += weight * colour.y;
                sum[2] += weight * colour.z;
                if (C == 4) sum[C - 1] += weight * colour.w;
                transmittance = after;
                reached = base - range.x + k + 1;
            }
        }
    }
    if (!inside) return;
    const size_t area = static_cast<size_t>(frame.width) * frame.height;
    const size_t pixel = static_cast<size_t>(y) * frame.width + x;
    for (int c = 0; c < C; ++c)
        image[(static_cast<size_t>(picture) * C + c) * area + pixel] = sum[c] + transmittance * background[picture * C + c];
    alphas[picture * area + pixel] = 1.0f - transmittance;
    if (STATE) remaining[picture * area + pixel] = transmittance;
    if (STATE) last[picture * area + pixel] = reached;
}

}  // namespace headbench
