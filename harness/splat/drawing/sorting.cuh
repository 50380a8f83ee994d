// Stable sorting and running sums: CUB's on a GPU, the standard library's in the emulation.
#pragma once

#include "common.cuh"

#ifndef HEADBENCH_EMULATED
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#endif

namespace headbench {

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

inline int running_sum(void* scratch, size_t& bytes, const int* values, int* sums, int items, cudaStream_t) {
    if (!scratch) return bytes = 1, 0;
    std::partial_sum(values, values + items, sums);
    return 0;
}

inline int clear(void* memory, int byte, size_t bytes, cudaStream_t) { return std::memset(memory, byte, bytes), 0; }
inline int failure() { return 0; }

#else

inline int sort_pairs(
    void* scratch, size_t& bytes, const unsigned* keys, unsigned* sorted_keys, const int* values, int* sorted_values,
    int items, int bits, cudaStream_t stream) {
    return cub::DeviceRadixSort::SortPairs(
        scratch, bytes, keys, sorted_keys, values, sorted_values, items, 0, bits, stream);
}

inline int running_sum(void* scratch, size_t& bytes, const int* values, int* sums, int items, cudaStream_t stream) {
    return cub::DeviceScan::InclusiveSum(scratch, bytes, values, sums, items, stream);
}

inline int clear(void* memory, int byte, size_t bytes, cudaStream_t stream) {
    return cudaMemsetAsync(memory, byte, bytes, stream);
}
inline int failure() { return cudaGetLastError(); }

#endif

}  // namespace headbench
