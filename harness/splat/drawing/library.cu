// What Python calls, through ctypes: four stages over one table of pointers. Each returns an error code of CUDA's.
#include "blend.cuh"
#include "gradient.cuh"
#include "lists.cuh"
#include "project.cuh"
#include "shading.cuh"
#include "sorting.cuh"

using namespace headbench;

extern "C" {

// Sizes, limits, and device memory of one call; library.py declares the same in the same order and says what is what.
struct Work {
    int images, per_image, channels, width, height, capacity, through, absolute;
    float alpha_max, cut, stop;
    size_t scratch_bytes;
    void* scratch;
    const int2* radii;
    const float2* means;
    const float* depths;
    const float3* conics;
    const float *opacities, *colours, *background;
    unsigned *keys, *sorted_keys;
    int *rows, *sorted_rows, *counts, *ends;
    unsigned *tiles, *sorted_tiles;
    int *ids, *sorted_ids;
    int2* ranges;
    int *buckets, *bucket_ends, *bucket_tiles, *wanted;
    float *image, *alpha, *remaining, *state;
    int* last;
    const float *to_image, *to_alpha;
    float *to_means, *to_conics, *to_opacities, *to_colours, *to_absolute;
};

// The same for the projection.
struct Projection {
    int images, per_image, width, height, own_means, own_quats, own_scales, own_opacities;
    float margin, low_pass, near, cut;
    const float *means, *quats, *scales, *opacities, *w2c, *K;
    int2* radii;
    float2* means2d;
    float* depths;
    float3* conics;
    const float2* to_means2d;
    const float* to_depths;
    const float3* to_conics;
    float *to_means, *to_quats, *to_scales, *to_cameras, *gradient_sums, *visits;
};

// The same for colours by spherical harmonics.
struct Shading {
    int images, per_image, degree, stored, channels, own_means, own_colours;
    const float *means, *coefficients, *w2c, *depths;
    float* colours;
    const float* to_colours;
    float *to_means, *to_coefficients, *to_cameras;
};

}  // extern "C"

namespace {

constexpr int THREADS = 256;

int blocks_for(int items) { return (items + THREADS - 1) / THREADS; }
int items_of(const Work& work) { return work.images * work.per_image; }
Limits limits_of(const Work& work) { return {work.alpha_max, work.cut, work.stop, work.through != 0}; }

template <class Sizes>
Frame frame_of(const Sizes& of) {
    const int across = (of.width + TILE - 1) / TILE, down = (of.height + TILE - 1) / TILE;
    return {of.width, of.height, across, across * down};
}

Fields fields_of(const Projection& of) {
    return {of.means, of.quats, of.scales, of.opacities,
        of.own_means != 0, of.own_quats != 0, of.own_scales != 0, of.own_opacities != 0};
}

int tiles_of_all(const Work& work) { return work.images * frame_of(work).tiles; }

// Bits that tell all tiles apart, and from unused places, which have every bit set.
int bits_of(int tiles) {
    int bits = 1;
    while ((1 << bits) <= tiles) ++bits;
    return bits;
}

template <int C, bool STATE>
void draw(const Work& work, cudaStream_t stream) {
    LAUNCH((blend<C, STATE>), tiles_of_all(work), PIXELS, stream, frame_of(work), limits_of(work), work.ranges,
        work.sorted_ids, work.means, work.conics, work.opacities, work.colours, work.background, work.image, work.alpha,
        work.remaining, work.last, work.state, work.buckets, work.bucket_ends, work.bucket_tiles);
}

template <int C, bool ABSOLUTE>
void undo(const Work& work, cudaStream_t stream) {
    const int tiles = tiles_of_all(work), most = work.capacity / LANES + tiles;
    LAUNCH((gradient<C, ABSOLUTE>), (most + WARPS - 1) / WARPS, WARPS * LANES, stream, frame_of(work),
        limits_of(work), work.ranges, work.sorted_ids, work.buckets, work.bucket_ends, work.bucket_tiles, work.means, work.conics,
        work.opacities, work.colours, work.image, work.remaining, work.last, work.state, work.to_image, work.to_alpha,
        work.to_means, work.to_conics, work.to_opacities, work.to_colours, work.to_absolute);
}

}  // namespace

extern "C" {

// Projects all Gaussians into all images.
int headbench_project(const Projection* given, cudaStream_t stream) {
    const Projection& of = *given;
    LAUNCH(project, blocks_for(of.images * of.per_image), THREADS, stream, of.images, of.per_image, frame_of(of),
        fields_of(of), of.w2c, of.K, of.margin, of.low_pass, of.near, of.cut, of.radii, of.means2d, of.depths, of.conics);
    return failure();
}

// Adds the gradients of what `headbench_project` projected to `to_means` and the others.
int headbench_project_back(const Projection* given, cudaStream_t stream) {
    const Projection& of = *given;
    LAUNCH(project_back, blocks_for(of.per_image), THREADS, stream, of.images, of.per_image, frame_of(of), fields_of(of),
        of.w2c, of.K, of.margin, of.low_pass, of.radii, of.to_means2d, of.to_depths, of.to_conics, of.to_means,
        of.to_quats, of.to_scales, of.to_cameras, of.gradient_sums, of.visits);
    return failure();
}

// Evaluates the colours of all Gaussians in all images.
int headbench_shade(const Shading* given, cudaStream_t stream) {
    const Shading& of = *given;
    LAUNCH(shade, blocks_for(of.images * of.per_image), THREADS, stream, of.images, of.per_image, of.degree, of.stored,
        of.channels, of.own_means != 0, of.own_colours != 0, of.means, of.coefficients, of.w2c, of.depths, of.colours);
    return failure();
}

// Adds the gradients of what `headbench_shade` evaluated to `to_means` and the others; that of depths is a channel.
int headbench_shade_back(const Shading* given, cudaStream_t stream) {
    const Shading& of = *given;
    LAUNCH(shade_back, blocks_for(of.per_image), THREADS, stream, of.images, of.per_image, of.degree, of.stored,
        of.channels, of.own_means != 0, of.own_colours != 0, of.means, of.coefficients, of.w2c, of.to_colours,
        of.to_means, of.to_coefficients, of.to_cameras);
    return failure();
}

// The bytes of scratch memory that the other stages need.
int headbench_scratch(const Work* given, size_t* bytes) {
    const Work& work = *given;
    size_t most = 1, now = 0;
    if (int error = running_sum(nullptr, most, nullptr, nullptr, nullptr, items_of(work), nullptr)) return error;
    for (int items : {items_of(work), work.capacity}) {
        int error = sort_pairs(nullptr, now, nullptr, nullptr, nullptr, nullptr, items, 32, nullptr);
        most = std::max(most, now);
        if (error) return error;
    }
    *bytes = most;
    return 0;
}

// Orders Gaussians by depth and counts their tiles; the last of `ends` is the length that the lists need.
int headbench_measure(const Work* given, cudaStream_t stream) {
    const Work& work = *given;
    const int items = items_of(work);
    size_t bytes = work.scratch_bytes;
    LAUNCH(measure, blocks_for(items), THREADS, stream, items, frame_of(work), work.cut, work.radii, work.means,
        work.depths, work.conics, work.opacities, work.keys, work.rows, work.counts);
    if (int error = sort_pairs(
            work.scratch, bytes, work.keys, work.sorted_keys, work.rows, work.sorted_rows, items, 32, stream))
        return error;
    if (int error = running_sum(work.scratch, bytes, work.sorted_rows, work.counts, work.ends, items, stream))
        return error;
    return failure();
}

// Lists each tile's Gaussians, front to back, as far as `capacity` goes; raises `wanted` to the length they need.
int headbench_lists(const Work* given, cudaStream_t stream) {
    const Work& work = *given;
    const int items = items_of(work), tiles = tiles_of_all(work);
    size_t bytes = work.scratch_bytes;
    LAUNCH(emit, blocks_for(std::max(std::max(items, work.capacity), tiles)), THREADS, stream, items, work.per_image,
        work.capacity, tiles, frame_of(work), work.cut, work.sorted_rows, work.ends, work.counts, work.radii, work.means,
        work.conics, work.opacities, work.tiles, work.ids, work.ranges, work.buckets, work.wanted);
    if (work.capacity) {
        if (int error = sort_pairs(work.scratch, bytes, work.tiles, work.sorted_tiles, work.ids, work.sorted_ids,
                work.capacity, bits_of(tiles), stream))
            return error;
        LAUNCH(ranges_of, blocks_for(work.capacity), THREADS, stream, work.capacity, static_cast<unsigned>(tiles),
            work.sorted_tiles, work.ranges);
    }
    return failure();
}

// Draws; without `state` nothing is kept for `headbench_gradient`.
int headbench_blend(const Work* given, cudaStream_t stream) {
    const Work& work = *given;
    if (work.channels == 3)
        work.state ? draw<3, true>(work, stream) : draw<3, false>(work, stream);
    else
        work.state ? draw<4, true>(work, stream) : draw<4, false>(work, stream);
    return failure();
}

// Adds the gradients of what `headbench_blend` drew to `to_means` and the others.
int headbench_gradient(const Work* given, cudaStream_t stream) {
    const Work& work = *given;
    if (work.channels == 3)
        work.absolute ? undo<3, true>(work, stream) : undo<3, false>(work, stream);
    else
        work.absolute ? undo<4, true>(work, stream) : undo<4, false>(work, stream);
    return failure();
}

}  // extern "C"
