// Gradients of the blending, parallel over Gaussians: one warp per bucket of 32 of a tile, one lane per Gaussian.
//
// The tile's pixels pass through the lanes like beads on a string: in step s lane l works on pixel s - l, with the
// transmittance and the light behind that lane l - 1 left. So every Gaussian sums its gradients in registers, and adds
// them to memory once per tile. The principle: Mallick et al., Taming 3DGS, SIGGRAPH Asia 2024, section 5.
#pragma once

#include "common.cuh"

namespace headbench {

constexpr int WARPS = 4;       // warps of a block
constexpr int RING = 2 * LANES;  // pixels whose values are at hand: those of this step's 32 lanes and the next ones

template <int C>
struct Ring {
    float transmittance[RING], behind[RING], to_image[C][RING];
    int last[RING], pixel[RING];
};

// Adds to the gradients of means (2), conics (3), opacities, colours (C) and, with ABSOLUTE, of |means| per pixel.
template <int C, bool ABSOLUTE>
__global__ void __launch_bounds__(WARPS * LANES) gradient(
    Frame frame, Limits limits, const int2* __restrict__ ranges, const int* __restrict__ ids,
    const int* __restrict__ all_buckets, const int* __restrict__ bucket_ends, const int* __restrict__ bucket_tiles, const float2* __restrict__ means,
    const float3* __restrict__ conics, const float* __restrict__ opacities, const float* __restrict__ colours,
    const float* __restrict__ image, const float* __restrict__ remaining, const int* __restrict__ last,
    const float* __restrict__ state, const float* __restrict__ to_image, const float* __restrict__ to_alpha,
    float* __restrict__ to_means, float* __restrict__ to_conics, float* __restrict__ to_opacities,
    float* __restrict__ to_colours, float* __restrict__ to_absolute) {
    __shared__ Ring<C> rings[WARPS];
    __shared__ unsigned char actives[WARPS][PIXELS];
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const int bucket = blockIdx.x * WARPS + warp;
    if (bucket >= *all_buckets) return;
    Ring<C>& ring = rings[warp];
    unsigned char* active = actives[warp];

    const int tile = bucket_tiles[bucket];
    const int picture = tile / frame.tiles, local = tile % frame.tiles;
    const int left = local % frame.tiles_x * TILE, top = local / frame.tiles_x * TILE;
    const int2 range = ranges[tile];
    const int buckets = (range.y - range.x + LANES - 1) / LANES;
    const int first = (bucket - (bucket_ends[tile] - buckets)) * LANES;  // place of lane 0's Gaussian in the tile's list
    const int rank = first + lane;
    const bool exists = range.x + rank < range.y;
    const size_t area = static_cast<size_t>(frame.width) * frame.height;

    int id = 0;
    float2 mean = {0.0f, 0.0f};
    float3 conic = {0.0f, 0.0f, 0.0f};
    float opacity = 0.0f, colour[C] = {};
    Ellipse of = {};
    if (exists) {
        id = ids[range.x + rank];
        mean = means[id];
        conic = conics[id];
        opacity = opacities[id];
        of = ellipse_of(conic, opacity, limits.cut);
        for (int c = 0; c < C; ++c) colour[c] = colours[static_cast<size_t>(id) * C + c];
    }

    // Pixels that any Gaussian of this bucket may have reached.
    int count = 0;
    for (int start = 0; start < PIXELS; start += LANES) {
        const float x0 = left + pixel_x(start) + 0.5f - mean.x, y0 = top + pixel_y(start) + 0.5f - mean.y;
        const bool here = exists && touches(of, x0, x0 + PATCH_WIDTH - 1, y0, y0 + PATCH_HEIGHT - 1);
        if (!__ballot_sync(ALL, here)) continue;
        const int x = left + pixel_x(start + lane), y = top + pixel_y(start + lane);
        const bool live = x < frame.width && y < frame.height &&
                          last[picture * area + static_cast<size_t>(y) * frame.width + x] > first;
        const unsigned lives = __ballot_sync(ALL, live);
        if (live) active[count + __popc(lives & ((1u << lane) - 1u))] = static_cast<unsigned char>(start + lane);
        count += __popc(lives);
    }
    __syncwarp();
    if (!count) return;

    float transmittance = 0.0f, behind = 0.0f;
    float sum_x = 0.0f, sum_y = 0.0f, sum_xx = 0.0f, sum_xy = 0.0f, sum_yy = 0.0f, sum_opacity = 0.0f;
    float absolute_x = 0.0f, absolute_y = 0.0f, sum_colour[C] = {};
    for (int step = 0; step < count + LANES - 1; ++step) {
        if (step % LANES == 0) {
            __syncwarp();
            if (step + lane < count) {
                const int p = active[step + lane], slot = (step + lane) % RING;
                const size_t pixel =
                    static_cast<size_t>(top + pixel_y(p)) * frame.width + left + pixel_x(p);
                const float* before = state + static_cast<size_t>(bucket) * PIXELS * (C + 1) + p;
                // Light from behind the bucket, weighted by the gradients: all of the image but what was there before.
                float light = to_alpha ? -remaining[picture * area + pixel] * to_alpha[picture * area + pixel] : 0.0f;
                for (int c = 0; c < C; ++c) {
                    const size_t place = (static_cast<size_t>(picture) * C + c) * area + pixel;
                    ring.to_image[c][slot] = to_image[place];
                    light += (image[place] - before[(c + 1) * PIXELS]) * to_image[place];
                }
                ring.transmittance[slot] = before[0];
                ring.behind[slot] = light;
                ring.last[slot] = last[picture * area + pixel];
                ring.pixel[slot] = p;
            }
            __syncwarp();
        }
        transmittance = __shfl_up_sync(ALL, transmittance, 1);
        behind = __shfl_up_sync(ALL, behind, 1);
        const int place = step - lane, slot = (place + RING) % RING;
        if (lane == 0 && place < count) {
            transmittance = ring.transmittance[slot];
            behind = ring.behind[slot];
        }
        if (!exists || place < 0 || place >= count || rank >= ring.last[slot]) continue;
        const int p = ring.pixel[slot];
        const float dx = left + pixel_x(p) + 0.5f - mean.x, dy = top + pixel_y(p) + 0.5f - mean.y;
        const float power = -0.5f * (conic.x * dx * dx + conic.z * dy * dy) - conic.y * dx * dy;
        if (power > 0.0f) continue;
        const float falloff = __expf(power), raw = opacity * falloff;
        const float alpha = fminf(limits.alpha_max, raw);
        if (alpha < limits.cut) continue;
        const float weight = alpha * transmittance;
        float own = 0.0f;
        for (int c = 0; c < C; ++c) {
            own += colour[c] * ring.to_image[c][slot];
            sum_colour[c] += weight * ring.to_image[c][slot];
        }
        behind -= weight * own;
        if (raw <= limits.alpha_max || limits.through) {
            const float to_coverage = own * transmittance - behind / (1.0f - alpha);
            const float to_power = to_coverage * raw;
            const float to_x = to_power * (conic.x * dx + conic.y * dy), to_y = to_power * (conic.y * dx + conic.z * dy);
            sum_x += to_x;
            sum_y += to_y;
            sum_xx -= 0.5f * dx * dx * to_power;
            sum_xy -= dx * dy * to_power;
            sum_yy -= 0.5f * dy * dy * to_power;
            sum_opacity += to_coverage * falloff;
            if (ABSOLUTE) {
                absolute_x += fabsf(to_x);
                absolute_y += fabsf(to_y);
            }
        }
        transmittance *= 1.0f - alpha;
    }
    if (!exists) return;
    atomicAdd(to_means + 2 * static_cast<size_t>(id), sum_x);
    atomicAdd(to_means + 2 * static_cast<size_t>(id) + 1, sum_y);
    atomicAdd(to_conics + 3 * static_cast<size_t>(id), sum_xx);
    atomicAdd(to_conics + 3 * static_cast<size_t>(id) + 1, sum_xy);
    atomicAdd(to_conics + 3 * static_cast<size_t>(id) + 2, sum_yy);
    atomicAdd(to_opacities + id, sum_opacity);
    for (int c = 0; c < C; ++c) atomicAdd(to_colours + static_cast<size_t>(id) * C + c, sum_colour[c]);
    if (ABSOLUTE) {
        atomicAdd(to_absolute + 2 * static_cast<size_t>(id), absolute_x);
        atomicAdd(to_absolute + 2 * static_cast<size_t>(id) + 1, absolute_y);
    }
}

}  // namespace headbench
