// Colours of Gaussians as cameras see them, by spherical harmonics, and their gradients; the formulas of sh.py.
#pragma once

#include "common.cuh"
#include "project.cuh"

namespace headbench {

constexpr int MOST_HARMONICS = 16;
constexpr float C0 = 0.28209479177387814f, C1 = 0.4886025119029199f;
constexpr float C2[3] = {1.0925484305920792f, 0.31539156525252005f, 0.5462742152960396f};
constexpr float C3[5] = {
    0.5900435899266435f, 2.890611442640554f, 0.4570457994644658f, 0.3731763325901154f, 1.445305721320277f};

// Values of the basis in a direction of length 1.
__device__ __forceinline__ void basis_of(int degree, float x, float y, float z, float* b) {
    const float c2[3] = {C2[0], C2[1], C2[2]}, c3[5] = {C3[0], C3[1], C3[2], C3[3], C3[4]};
    b[0] = C0;
    if (degree < 1) return;
    b[1] = -C1 * y, b[2] = C1 * z, b[3] = -C1 * x;
    if (degree < 2) return;
    const float xx = x * x, yy = y * y, zz = z * z;
    b[4] = c2[0] * x * y, b[5] = -c2[0] * y * z, b[6] = c2[1] * (2 * zz - xx - yy);
    b[7] = -c2[0] * x * z, b[8] = c2[2] * (xx - yy);
    if (degree < 3) return;
    b[9] = -c3[0] * y * (3 * xx - yy), b[10] = c3[1] * x * y * z, b[11] = -c3[2] * y * (4 * zz - xx - yy);
    b[12] = c3[3] * z * (2 * zz - 3 * xx - 3 * yy), b[13] = -c3[2] * x * (4 * zz - xx - yy);
    b[14] = c3[4] * z * (xx - yy), b[15] = -c3[0] * x * (xx - 3 * yy);
}

// Gradient with respect to the direction, where w are those of the basis' values.
__device__ __forceinline__ float3 slope_of(int degree, float x, float y, float z, const float* w) {
    const float c2[3] = {C2[0], C2[1], C2[2]}, c3[5] = {C3[0], C3[1], C3[2], C3[3], C3[4]};
    float3 g = {0.0f, 0.0f, 0.0f};
    if (degree >= 1) g = {-C1 * w[3], -C1 * w[1], C1 * w[2]};
    if (degree >= 2) {
        g.x += c2[0] * (y * w[4] - z * w[7]) - 2 * x * c2[1] * w[6] + 2 * x * c2[2] * w[8];
        g.y += c2[0] * (x * w[4] - z * w[5]) - 2 * y * c2[1] * w[6] - 2 * y * c2[2] * w[8];
        g.z += -c2[0] * (y * w[5] + x * w[7]) + 4 * z * c2[1] * w[6];
    }
    if (degree >= 3) {
        const float xx = x * x, yy = y * y, zz = z * z;
        g.x += -c3[0] * (6 * x * y * w[9] + 3 * (xx - yy) * w[15]) + c3[1] * y * z * w[10] +
               c3[2] * (2 * x * y * w[11] - (4 * zz - 3 * xx - yy) * w[13]) - 6 * x * z * c3[3] * w[12] +
               2 * x * z * c3[4] * w[14];
        g.y += -c3[0] * (3 * (xx - yy) * w[9] - 6 * x * y * w[15]) + c3[1] * x * z * w[10] +
               c3[2] * (2 * x * y * w[13] - (4 * zz - xx - 3 * yy) * w[11]) - 6 * y * z * c3[3] * w[12] -
               2 * y * z * c3[4] * w[14];
        g.z += c3[1] * x * y * w[10] - 8 * c3[2] * z * (y * w[11] + x * w[13]) +
               3 * c3[3] * (2 * zz - xx - yy) * w[12] + c3[4] * (xx - yy) * w[14];
    }
    return g;
}

// Direction from a camera to a mean, of length 1, and the length that it had.
__device__ __forceinline__ float4 direction_of(const float* w2c, const float* mean) {
    float v[3];
    for (int j = 0; j < 3; ++j) {  // the camera's centre is -R^T t
        v[j] = mean[j];
        for (int i = 0; i < 3; ++i) v[j] += w2c[4 * i + j] * w2c[4 * i + 3];
    }
    const float length = fmaxf(sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]), 1e-12f);
    return {v[0] / length, v[1] / length, v[2] / length, length};
}

// Writes colours of images x per_image Gaussians, with the depth behind them where there are four channels.
__global__ void shade(
    int images, int per_image, int degree, int stored, int channels, bool own_means, bool own_colours,
    const float* __restrict__ means, const float* __restrict__ coefficients, const float* __restrict__ w2c,
    const float* __restrict__ depths, float* __restrict__ colours) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= images * per_image) return;
    const int image = i / per_image, n = i % per_image, used = (degree + 1) * (degree + 1);
    float4 d = {0.0f, 0.0f, 0.0f, 1.0f};
    if (degree) d = direction_of(w2c + 16 * image, means + 3 * row_of(own_means, image, n, per_image));
    float basis[MOST_HARMONICS], sum[3] = {0.5f, 0.5f, 0.5f};
    basis_of(degree, d.x, d.y, d.z, basis);
    const float* mine = coefficients + static_cast<size_t>(3 * stored) * row_of(own_colours, image, n, per_image);
    for (int k = 0; k < used; ++k)
        for (int c = 0; c < 3; ++c) sum[c] += basis[k] * mine[3 * k + c];
    float* target = colours + static_cast<size_t>(i) * channels;
    for (int c = 0; c < 3; ++c) target[c] = fmaxf(sum[c], 0.0f);
    if (channels == 4) target[3] = depths[i];
}

// Adds the gradients of means and coefficients, one thread per Gaussian over all images, and those of the cameras.
__global__ void shade_back(
    int images, int per_image, int degree, int stored, int channels, bool own_means, bool own_colours,
    const float* __restrict__ means, const float* __restrict__ coefficients, const float* __restrict__ w2c,
    const float* __restrict__ to_colours, float* __restrict__ to_means, float* __restrict__ to_coefficients,
    float* __restrict__ to_cameras) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x, used = (degree + 1) * (degree + 1);
    for (int image = 0; image < images; ++image) {
        const float* pose = w2c + 16 * image;
        float3 to_mean = {0.0f, 0.0f, 0.0f};
        if (n < per_image) {
            const int m = row_of(own_means, image, n, per_image);
            const size_t place = static_cast<size_t>(3 * stored) * row_of(own_colours, image, n, per_image);
            const size_t i = (static_cast<size_t>(image) * per_image + n) * channels;
            float4 d = {0.0f, 0.0f, 0.0f, 1.0f};
            if (degree) d = direction_of(pose, means + 3 * m);
            float basis[MOST_HARMONICS], along[MOST_HARMONICS];
            basis_of(degree, d.x, d.y, d.z, basis);
            float sum[3] = {0.5f, 0.5f, 0.5f}, g[3];
            for (int k = 0; k < used; ++k)
                for (int c = 0; c < 3; ++c) sum[c] += basis[k] * coefficients[place + 3 * k + c];
            for (int c = 0; c < 3; ++c) g[c] = sum[c] >= 0.0f ? to_colours[i + c] : 0.0f;  // as clamp_min has it
            for (int k = 0; k < used; ++k) {
                along[k] = 0.0f;
                for (int c = 0; c < 3; ++c) {
                    along[k] += g[c] * coefficients[place + 3 * k + c];
                    to_coefficients[place + 3 * k + c] += basis[k] * g[c];
                }
            }
            if (degree) {
                const float3 s = slope_of(degree, d.x, d.y, d.z, along);
                const float radial = d.x * s.x + d.y * s.y + d.z * s.z;
                to_mean = {(s.x - d.x * radial) / d.w, (s.y - d.y * radial) / d.w, (s.z - d.z * radial) / d.w};
                to_means[3 * m] += to_mean.x;
                to_means[3 * m + 1] += to_mean.y;
                to_means[3 * m + 2] += to_mean.z;
            }
        }
        if (to_cameras && degree) {
            float sums[3] = {to_mean.x, to_mean.y, to_mean.z};
            for (int j = 0; j < 3; ++j)
                for (int by = LANES / 2; by; by /= 2) sums[j] += __shfl_xor_sync(ALL, sums[j], by);
            if (threadIdx.x % LANES == 0)
                for (int i = 0; i < 3; ++i) {
                    float to_shift = 0.0f;
                    for (int j = 0; j < 3; ++j) {  // a direction is mean + R^T t
                        atomicAdd(to_cameras + 16 * image + 4 * i + j, pose[4 * i + 3] * sums[j]);
                        to_shift += pose[4 * i + j] * sums[j];
                    }
                    atomicAdd(to_cameras + 16 * image + 4 * i + 3, to_shift);
                }
        }
    }
}

}  // namespace headbench
