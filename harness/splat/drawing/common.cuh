// What the kernels share: the tile, its pixels, and how far a projected Gaussian reaches.
#pragma once

#ifdef HEADBENCH_EMULATED
#include "emulation.hpp"
#else
#include <cuda_runtime.h>
// CUDA refuses a grid of no blocks, which is what no Gaussians ask for.
#define LAUNCH(kernel, blocks, threads, stream, ...)                                \
    do {                                                                            \
        if ((blocks) > 0) kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__);       \
    } while (false)
#endif

namespace headbench {

constexpr int TILE = 16;                // side of a tile, pixels
constexpr int PIXELS = TILE * TILE;     // threads of a block that draws a tile
constexpr int LANES = 32;               // threads of a warp, and Gaussians of a bucket
constexpr unsigned ALL = 0xffffffffu;
constexpr int PATCH_WIDTH = 8, PATCH_HEIGHT = 4;  // the pixels of one warp

// Image geometry, the same for all images of a batch.
struct Frame {
    int width, height;    // pixels
    int tiles_x, tiles;   // tiles along x, and of one image
};

// Limits of the blending: see rasterizer.py, which has their sources.
struct Limits {
    float alpha_max, cut, stop;
    bool through;  // whether a coverage at its limit passes its gradient on, as the 2023 rasterizer does
};

// Where pixel `p` of a tile lies in it: warps own patches of 8 x 4 pixels.
__device__ __forceinline__ int pixel_x(int p) { return (p / LANES % 2) * PATCH_WIDTH + p % LANES % PATCH_WIDTH; }
__device__ __forceinline__ int pixel_y(int p) { return (p / LANES / 2) * PATCH_HEIGHT + p % LANES / PATCH_WIDTH; }

// Half sizes of the rectangle outside of which a Gaussian's coverage is below `cut`; negative where it always is.
__device__ __forceinline__ float2 half_sizes(float3 conic, float opacity, float cut) {
    const float reach = 2.0f * logf(opacity / cut);
    const float determinant = conic.x * conic.z - conic.y * conic.y;
    if (!(reach >= 0.0f) || !(determinant > 0.0f)) return {-1.0f, -1.0f};
    // A little more than exact, so that rounding here never hides a pixel that the blending would touch.
    const float scale = 1.0001f * reach / determinant;
    return {sqrtf(scale * conic.z) + 1e-3f, sqrtf(scale * conic.x) + 1e-3f};
}

// The ellipse within which a Gaussian's coverage is `cut` or more, relative to its centre.
struct Ellipse {
    float xx, xy, yy;        // the conic
    float along_y, along_x;  // slopes: where the ellipse is nearest along y for an x, and along x for a y
    float reach;             // squared radius in the conic's own measure
};

__device__ __forceinline__ Ellipse ellipse_of(float3 conic, float opacity, float cut) {
    return {conic.x, conic.y, conic.z, -conic.y / conic.z, -conic.y / conic.x, 2.0f * logf(opacity / cut)};
}

// Whether an ellipse covers any point of a rectangle; a little more than exact, so that rounding never hides a point.
__device__ __forceinline__ bool touches(const Ellipse& of, float left, float right, float top, float bottom) {
    const bool beside = left > 0.0f || right < 0.0f, above = top > 0.0f || bottom < 0.0f;
    // The squared distance is convex, so its least value on the rectangle lies on an edge that the centre can see.
    const float x = left > 0.0f ? left : right, y = top > 0.0f ? top : bottom;
    const float best_y = fminf(fmaxf(of.along_y * x, top), bottom), best_x = fminf(fmaxf(of.along_x * y, left), right);
    const float by_x = of.xx * x * x + 2.0f * of.xy * x * best_y + of.yy * best_y * best_y;
    const float by_y = of.xx * best_x * best_x + 2.0f * of.xy * best_x * y + of.yy * y * y;
    const float least = fminf(beside ? by_x : 3.4e38f, above ? by_y : 3.4e38f);
    return (!beside && !above) || least <= of.reach * 1.0001f + 1e-4f;
}

}  // namespace headbench
