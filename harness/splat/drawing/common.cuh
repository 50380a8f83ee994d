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

// Whether a rectangle around `mean` meets the pixel centres from `first` to `last` along one axis.
__device__ __forceinline__ bool meets(float mean, float half, float first, float last) {
    return mean + half >= first && mean - half <= last;
}

}  // namespace headbench
