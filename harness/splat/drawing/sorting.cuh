// Stable sorting, and running sums of values in an order: CUB's on a GPU, the standard library's in the emulation.
#pragma once

#include "common.cuh"

#ifndef HEADBENCH_EMULATED
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#endif

namespace headbench {

// Sum of two numbers, neither negative, that stops at the largest int: lists that no memory holds are then too long,
// and not of negative length.
struct Sum {
    __host__ __device__ int operator()(int a, int b) const {
        const unsigned sum = static_cast<unsigned>(a) + static_cast<unsigned>(b);
        return sum > 0x7fffffffu ? 0x7fffffff : static_cast<int>(sum);
    }
};

// Both return an error code of CUDA's. With `scratch` null they only set `bytes` to what they need.
#ifdef HEADBENCH_EMULATED

inline int sort_pairs(
    void* scratch, size_t& bytes, const unsigned* keys, unsigned* sorted_keys, const int* values, int* sorted_values,
    int items, int bits, cudaStream_t) {
    if (!scratch) return bytes = 1, 0;
    const unsigned mask = bits >= 32 ? ~0u : (1u << bits) - 1u;
    std::vector<int> order(items);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return (keys[a] & mask) < (keys[b] & mask); });
    for (int i = 0; i < items; ++i) sorted_keys[i] = keys[order[i]], sorted_values[i] = values[order[i]];
    return 0;
}

inline int running_sum(
    void* scratch, size_t& bytes, const int* rows, const int* values, int* sums, int items, cudaStream_t) {
    if (!scratch) return bytes = 1, 0;
    for (int i = 0, sum = 0; i < items; ++i) sums[i] = sum = Sum{}(sum, values[rows[i]]);
    return 0;
}

inline int failure() { return 0; }

#else

inline int sort_pairs(
    void* scratch, size_t& bytes, const unsigned* keys, unsigned* sorted_keys, const int* values, int* sorted_values,
    int items, int bits, cudaStream_t stream) {
    return cub::DeviceRadixSort::SortPairs(
        scratch, bytes, keys, sorted_keys, values, sorted_values, items, 0, bits, stream);
}

struct Pick {
    const int *rows, *values;
    __host__ __device__ int operator()(int i) const { return values[rows[i]]; }
};

inline int running_sum(
    void* scratch, size_t& bytes, const int* rows, const int* values, int* sums, int items, cudaStream_t stream) {
    const auto picked = thrust::make_transform_iterator(thrust::counting_iterator<int>(0), Pick{rows, values});
    return cub::DeviceScan::InclusiveScan(scratch, bytes, picked, sums, Sum{}, items, stream);
}

inline int failure() { return cudaGetLastError(); }

#endif

}  // namespace headbench
