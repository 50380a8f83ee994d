// Runs the kernels beside this file on a CPU, thread by thread, so that their results can be tested without a GPU.
//
// The threads of a block are fibers of one thread, which change places wherever CUDA's threads would wait for each
// other; blocks run one after another. It is slow, and says nothing about races that only real hardware has.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ inline
#define __restrict__
#define __shared__ static
#define __launch_bounds__(...)

struct float2 { float x, y; };
struct float3 { float x, y, z; };
struct float4 { float x, y, z, w; };
struct int2 { int x, y; };
struct uint3 { unsigned x, y, z; };
using cudaStream_t = void*;

namespace emulation {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 64 * 1024;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
};

struct Block {
    std::vector<Fiber> fibers;
    ucontext_t home;
    unsigned current = 0;
    // Of each warp, and last of the block: how many wait at a barrier, how often it has opened, and what they brought.
    std::vector<unsigned> waiting, opened, members;
    std::vector<std::vector<uint32_t>> brought;
    std::vector<uint32_t> taken;
};

inline Block* block = nullptr;
inline uint3 thread_index, block_index, block_size;

inline void yield() {
    Fiber& fiber = block->fibers[block->current];
    swapcontext(&fiber.context, &block->home);
}

// Waits until every living thread of a group has come; the values that they bring are then the same for all.
inline std::vector<uint32_t> meet(unsigned group, unsigned place, uint32_t value) {
    block->brought[group][place] = value;
    const unsigned generation = block->opened[group];
    if (++block->waiting[group] == block->members[group]) {
        block->waiting[group] = 0;
        ++block->opened[group];
        return block->brought[group];
    }
    while (block->opened[group] == generation) yield();
    return block->brought[group];
}

inline unsigned warp() { return thread_index.x / WARP; }
inline unsigned lane() { return thread_index.x % WARP; }
inline unsigned everyone() { return static_cast<unsigned>(block->opened.size()) - 1; }

// Two meetings, so that nobody brings the next value before everybody has read this one.
inline std::vector<uint32_t> exchange(unsigned group, unsigned place, uint32_t value) {
    auto values = meet(group, place, value);
    meet(group, place, value);
    return values;
}

template <class Kernel, class... Arguments>
void launch(Kernel kernel, unsigned blocks, unsigned threads, Arguments... arguments) {
    static std::function<void()> work;
    block_size = {threads, 1, 1};
    for (unsigned index = 0; index < blocks; ++index) {
        Block now;
        const unsigned warps = (threads + WARP - 1) / WARP;
        now.fibers.resize(threads);
        now.waiting.assign(warps + 1, 0);
        now.opened.assign(warps + 1, 0);
        now.members.assign(warps + 1, 0);
        now.brought.assign(warps + 1, {});
        for (unsigned w = 0; w < warps; ++w) {
            now.members[w] = std::min(WARP, threads - w * WARP);
            now.brought[w].assign(WARP, 0);
        }
        now.members[warps] = threads;
        now.brought[warps].assign(threads, 0);
        block = &now;
        block_index = {index, 0, 0};
        work = [&] { kernel(arguments...); };
        for (unsigned t = 0; t < threads; ++t) {
            Fiber& fiber = now.fibers[t];
            fiber.stack = std::make_unique<char[]>(STACK);
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.get();
            fiber.context.uc_stack.ss_size = STACK;
            fiber.context.uc_link = &now.home;
            makecontext(&fiber.context, reinterpret_cast<void (*)()>(+[] {
                            work();
                            Block& mine = *block;
                            mine.fibers[mine.current].done = true;
                        }), 0);
        }
        for (bool alive = true; alive;) {
            alive = false;
            for (unsigned t = 0; t < threads; ++t) {
                if (now.fibers[t].done) continue;
                now.current = t;
                thread_index = {t, 0, 0};
                swapcontext(&now.home, &now.fibers[t].context);
                alive = true;
                if (now.fibers[t].done) {  // who has left is not waited for
                    for (unsigned group : {t / WARP, warps}) {
                        --now.members[group];
                        if (now.members[group] && now.waiting[group] == now.members[group]) {
                            now.waiting[group] = 0;
                            ++now.opened[group];
                        }
                    }
                }
            }
        }
    }
}

}  // namespace emulation

#define threadIdx (emulation::thread_index)
#define blockIdx (emulation::block_index)
#define blockDim (emulation::block_size)
#define LAUNCH(kernel, blocks, threads, stream, ...) emulation::launch(kernel, blocks, threads, __VA_ARGS__)

inline void __syncthreads() { emulation::meet(emulation::everyone(), threadIdx.x, 0); }
inline void __syncwarp(unsigned = ~0u) { emulation::meet(emulation::warp(), emulation::lane(), 0); }

inline int __syncthreads_count(int predicate) {
    int count = 0;
    for (uint32_t value : emulation::exchange(emulation::everyone(), threadIdx.x, predicate != 0)) count += value;
    return count;
}

inline unsigned __ballot_sync(unsigned, int predicate) {
    unsigned found = 0;
    const auto values = emulation::exchange(emulation::warp(), emulation::lane(), predicate != 0);
    for (unsigned l = 0; l < emulation::WARP; ++l) found |= (values[l] & 1u) << l;
    return found;
}

inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == ~0u; }

// The value of another lane of the warp, whose place `from` computes of one's own.
template <class From>
float shuffled(float value, From from) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const auto values = emulation::exchange(emulation::warp(), emulation::lane(), bits);
    bits = values[from(emulation::lane())];
    std::memcpy(&value, &bits, 4);
    return value;
}

inline float __shfl_up_sync(unsigned, float value, unsigned by) {
    return shuffled(value, [by](unsigned lane) { return lane >= by ? lane - by : lane; });
}

inline float __shfl_xor_sync(unsigned, float value, unsigned by) {
    return shuffled(value, [by](unsigned lane) { return lane ^ by; });
}

inline int __ffs(unsigned bits) { return bits ? __builtin_ctz(bits) + 1 : 0; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline float __expf(float value) { return std::exp(value); }
inline void atomicAdd(float* target, float value) { *target += value; }
inline int atomicAdd(int* target, int value) { return (*target += value) - value; }
inline void atomicMax(int* target, int value) { *target = std::max(*target, value); }
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
using std::ceil;
using std::floor;
using std::max;
using std::min;
