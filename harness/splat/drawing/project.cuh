// Projection of 3D Gaussians into images, and its gradients; the formulas are those of project.py.
#pragma once

#include "common.cuh"

namespace headbench {

// A camera's pinhole and image, with the limits of the slopes at which the projection's Jacobian is taken.
struct Pinhole {
    float r[9], t[3];  // world to camera
    float fx, fy, cx, cy;
    float low_x, high_x, low_y, high_y;
};

__device__ __forceinline__ Pinhole pinhole_of(const float* w2c, const float* K, int width, int height, float margin) {
    Pinhole p;
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) p.r[3 * i + j] = w2c[4 * i + j];
        p.t[i] = w2c[4 * i + 3];
    }
    p.fx = K[0], p.fy = K[4], p.cx = K[2], p.cy = K[5];
    const float x = margin * width / 2 / p.fx, y = margin * height / 2 / p.fy;
    p.low_x = -p.cx / p.fx - x, p.high_x = (width - p.cx) / p.fx + x;
    p.low_y = -p.cy / p.fy - y, p.high_y = (height - p.cy) / p.fy + y;
    return p;
}

// Rotation matrix of a unit quaternion (w, x, y, z), row by row.
__device__ __forceinline__ void rotation_of(const float* q, float* R) {
    const float w = q[0], x = q[1], y = q[2], z = q[3];
    R[0] = 1 - 2 * (y * y + z * z), R[1] = 2 * (x * y - w * z), R[2] = 2 * (x * z + w * y);
    R[3] = 2 * (x * y + w * z), R[4] = 1 - 2 * (x * x + z * z), R[5] = 2 * (y * z - w * x);
    R[6] = 2 * (x * z - w * y), R[7] = 2 * (y * z + w * x), R[8] = 1 - 2 * (x * x + y * y);
}

// One Gaussian in one camera: all that forward and backward share.
struct Footprint {
    float length, q[4], rotation[9];  // of the quaternion; the unit quaternion; its matrix
    float x, y, z;                    // centre in camera space
    float slope_x, slope_y;
    bool free_x, free_y;              // whether the slopes are not at their limits
    float W[9], A[6];                 // world-to-camera times rotation times scales; the Jacobian times that
    float xx, xy, yy, determinant;    // covariance on the screen with the low-pass filter
};

__device__ __forceinline__ Footprint footprint_of(
    const Pinhole& p, const float* mean, const float* quat, const float* scale, float low_pass) {
    Footprint f;
    f.length = sqrtf(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]);
    const float inverse = 1.0f / fmaxf(f.length, 1e-12f);
    for (int k = 0; k < 4; ++k) f.q[k] = quat[k] * inverse;
    rotation_of(f.q, f.rotation);
    f.x = p.r[0] * mean[0] + p.r[1] * mean[1] + p.r[2] * mean[2] + p.t[0];
    f.y = p.r[3] * mean[0] + p.r[4] * mean[1] + p.r[5] * mean[2] + p.t[1];
    f.z = p.r[6] * mean[0] + p.r[7] * mean[1] + p.r[8] * mean[2] + p.t[2];
    const float x = f.x / f.z, y = f.y / f.z;
    f.free_x = x >= p.low_x && x <= p.high_x;
    f.free_y = y >= p.low_y && y <= p.high_y;
    f.slope_x = fminf(fmaxf(x, p.low_x), p.high_x);
    f.slope_y = fminf(fmaxf(y, p.low_y), p.high_y);
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) {
            float sum = 0.0f;
            for (int k = 0; k < 3; ++k) sum += p.r[3 * i + k] * f.rotation[3 * k + j];
            f.W[3 * i + j] = sum * scale[j];
        }
    for (int j = 0; j < 3; ++j) {
        f.A[j] = p.fx / f.z * (f.W[j] - f.slope_x * f.W[6 + j]);
        f.A[3 + j] = p.fy / f.z * (f.W[3 + j] - f.slope_y * f.W[6 + j]);
    }
    f.xx = f.A[0] * f.A[0] + f.A[1] * f.A[1] + f.A[2] * f.A[2] + low_pass;
    f.xy = f.A[0] * f.A[3] + f.A[1] * f.A[4] + f.A[2] * f.A[5];
    f.yy = f.A[3] * f.A[3] + f.A[4] * f.A[4] + f.A[5] * f.A[5] + low_pass;
    f.determinant = f.xx * f.yy - f.xy * f.xy;
    return f;
}

// Where each of the three fields of a Gaussian lies: with the batch, or once for all images.
struct Fields {
    const float *means, *quats, *scales, *opacities;
    bool own_means, own_quats, own_scales, own_opacities;  // whether each image has its own
};

__device__ __forceinline__ int row_of(bool own, int image, int n, int per_image) { return own ? image * per_image + n : n; }

// Writes radii, screen positions, depths and conics of images x per_image Gaussians; zeros where one is culled.
__global__ void project(
    int images, int per_image, Frame frame, Fields fields, const float* __restrict__ w2c, const float* __restrict__ K,
    float margin, float low_pass, float near, float cut, int2* __restrict__ radii, float2* __restrict__ means2d,
    float* __restrict__ depths, float3* __restrict__ conics) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= images * per_image) return;
    const int image = i / per_image, n = i % per_image;
    radii[i] = {0, 0};
    means2d[i] = {0.0f, 0.0f};
    depths[i] = 0.0f;
    conics[i] = {0.0f, 0.0f, 0.0f};
    const Pinhole p = pinhole_of(w2c + 16 * image, K + 9 * image, frame.width, frame.height, margin);
    const float* mean = fields.means + 3 * row_of(fields.own_means, image, n, per_image);
    const float z = p.r[6] * mean[0] + p.r[7] * mean[1] + p.r[8] * mean[2] + p.t[2];
    const float opacity = fields.opacities[row_of(fields.own_opacities, image, n, per_image)];
    if (!(z >= near) || !(opacity >= cut)) return;
    const Footprint f = footprint_of(
        p, mean, fields.quats + 4 * row_of(fields.own_quats, image, n, per_image),
        fields.scales + 3 * row_of(fields.own_scales, image, n, per_image), low_pass);
    if (!(f.determinant > 0.0f)) return;
    const float reach = sqrtf(2.0f * logf(fmaxf(opacity / cut, 1.0f)));
    const float reach_x = ceilf(reach * sqrtf(f.xx)), reach_y = ceilf(reach * sqrtf(f.yy));
    const float u = p.fx * f.x / f.z + p.cx, v = p.fy * f.y / f.z + p.cy;
    const bool inside = u + reach_x > 0 && u - reach_x < frame.width && v + reach_y > 0 && v - reach_y < frame.height;
    if (!inside || !(reach_x > 0) || !(reach_y > 0)) return;
    radii[i] = {static_cast<int>(fminf(reach_x, 1e9f)), static_cast<int>(fminf(reach_y, 1e9f))};
    means2d[i] = {u, v};
    depths[i] = f.z;
    conics[i] = {f.yy / f.determinant, -f.xy / f.determinant, f.xx / f.determinant};
}

// Adds the gradients of one Gaussian in one camera to those of its mean, quaternion and scales, and of the camera.
__device__ __forceinline__ void pull_back(
    const Pinhole& p, const float* mean, const float* quat, const float* scale, float low_pass, float2 to_screen,
    float to_depth, float3 to_conic, float* to_mean, float* to_quat, float* to_scale, float* to_camera) {
    const Footprint f = footprint_of(p, mean, quat, scale, low_pass);
    // conic = covariance^-1, so the covariance's gradient is -conic G conic with the symmetric G.
    const float a = f.yy / f.determinant, b = -f.xy / f.determinant, c = f.xx / f.determinant;
    const float half = 0.5f * to_conic.y;
    const float m00 = to_conic.x * a + half * b, m01 = to_conic.x * b + half * c;
    const float m10 = half * a + to_conic.z * b, m11 = half * b + to_conic.z * c;
    const float g_xx = -(a * m00 + b * m10), g_xy = -(a * m01 + b * m11), g_yy = -(b * m01 + c * m11);
    float to_A[6], to_W[9], sums[2] = {0.0f, 0.0f}, deep[2] = {0.0f, 0.0f};
    const float fz_x = p.fx / f.z, fz_y = p.fy / f.z;
    for (int j = 0; j < 3; ++j) {
        to_A[j] = 2.0f * (g_xx * f.A[j] + g_xy * f.A[3 + j]);
        to_A[3 + j] = 2.0f * (g_xy * f.A[j] + g_yy * f.A[3 + j]);
        to_W[j] = fz_x * to_A[j];
        to_W[3 + j] = fz_y * to_A[3 + j];
        to_W[6 + j] = -f.slope_x * to_W[j] - f.slope_y * to_W[3 + j];
        // A's rows are (focal / z) (W_row - slope W_2): what reaches the slopes, and focal / z.
        deep[0] -= to_W[j] * f.W[6 + j];
        deep[1] -= to_W[3 + j] * f.W[6 + j];
        sums[0] += to_A[j] * f.A[j];
        sums[1] += to_A[3 + j] * f.A[3 + j];
    }
    float x = to_screen.x * fz_x, y = to_screen.y * fz_y;
    float z = to_depth - (to_screen.x * fz_x * f.x + to_screen.y * fz_y * f.y) / f.z - (sums[0] + sums[1]) / f.z;
    if (f.free_x) {
        x += deep[0] / f.z;
        z -= deep[0] * f.x / (f.z * f.z);
    }
    if (f.free_y) {
        y += deep[1] / f.z;
        z -= deep[1] * f.y / (f.z * f.z);
    }
    const float to_centre[3] = {x, y, z};
    float to_rotation[9];
    for (int k = 0; k < 3; ++k) {
        to_mean[k] += p.r[k] * x + p.r[3 + k] * y + p.r[6 + k] * z;
        for (int j = 0; j < 3; ++j) {
            float sum = 0.0f;  // gradient of (rotation times scales)[k][j]
            for (int i = 0; i < 3; ++i) sum += p.r[3 * i + k] * to_W[3 * i + j];
            to_scale[j] += sum * f.rotation[3 * k + j];
            to_rotation[3 * k + j] = sum * scale[j];
        }
    }
    if (to_camera)
        for (int i = 0; i < 3; ++i) {
            for (int k = 0; k < 3; ++k) {
                float sum = to_centre[i] * mean[k];
                for (int j = 0; j < 3; ++j) sum += to_W[3 * i + j] * f.rotation[3 * k + j] * scale[j];
                to_camera[4 * i + k] += sum;
            }
            to_camera[4 * i + 3] += to_centre[i];
        }
    const float qw = f.q[0], qx = f.q[1], qy = f.q[2], qz = f.q[3];
    const float* g = to_rotation;
    const float to_unit[4] = {
        2 * (qz * (g[3] - g[1]) + qy * (g[2] - g[6]) + qx * (g[7] - g[5])),
        2 * (qy * (g[1] + g[3]) + qz * (g[2] + g[6]) + qw * (g[7] - g[5])) - 4 * qx * (g[4] + g[8]),
        2 * (qx * (g[1] + g[3]) + qz * (g[5] + g[7]) + qw * (g[2] - g[6])) - 4 * qy * (g[0] + g[8]),
        2 * (qx * (g[2] + g[6]) + qy * (g[5] + g[7]) + qw * (g[3] - g[1])) - 4 * qz * (g[0] + g[4])};
    float along = 0.0f;
    for (int k = 0; k < 4; ++k) along += f.q[k] * to_unit[k];
    for (int k = 0; k < 4; ++k) to_quat[k] += (to_unit[k] - f.q[k] * along) / fmaxf(f.length, 1e-12f);
}

// Gradients of means, quaternions and scales: one thread per Gaussian, over all images where they share it.
//
// A field that images share has its gradient summed over them in a fixed order; where only some fields are shared,
// those of the others are written per image by the same thread. Cameras' gradients are added up over Gaussians.
// Where `gradient_sums` is given, the lengths of a visible Gaussian's gradients on the screen, in half images and as if
// each image were the whole batch, are added to it, and one per image that sees it to `visits`.
__global__ void project_back(
    int images, int per_image, Frame frame, Fields fields, const float* __restrict__ w2c, const float* __restrict__ K,
    float margin, float low_pass, const int2* __restrict__ radii, const float2* __restrict__ to_means2d,
    const float* __restrict__ to_depths, const float3* __restrict__ to_conics, float* __restrict__ to_means,
    float* __restrict__ to_quats, float* __restrict__ to_scales, float* __restrict__ to_cameras,
    float* __restrict__ gradient_sums, float* __restrict__ visits) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    float lengths = 0.0f, seen = 0.0f;
    for (int image = 0; image < images; ++image) {
        float camera[12] = {};
        if (n < per_image) {
            const int i = image * per_image + n;
            if (radii[i].x > 0 && radii[i].y > 0) {
                const Pinhole p = pinhole_of(w2c + 16 * image, K + 9 * image, frame.width, frame.height, margin);
                const int m = row_of(fields.own_means, image, n, per_image);
                const int q = row_of(fields.own_quats, image, n, per_image);
                const int s = row_of(fields.own_scales, image, n, per_image);
                pull_back(
                    p, fields.means + 3 * m, fields.quats + 4 * q, fields.scales + 3 * s, low_pass, to_means2d[i],
                    to_depths ? to_depths[i] : 0.0f, to_conics[i], to_means + 3 * m, to_quats + 4 * q,
                    to_scales + 3 * s, to_cameras ? camera : nullptr);
                const float x = 0.5f * frame.width * to_means2d[i].x, y = 0.5f * frame.height * to_means2d[i].y;
                lengths += images * sqrtf(x * x + y * y);
                seen += 1.0f;
            }
        }
        if (to_cameras)
            for (int k = 0; k < 12; ++k) {
                float sum = camera[k];
                for (int by = LANES / 2; by; by /= 2) sum += __shfl_xor_sync(ALL, sum, by);
                if (threadIdx.x % LANES == 0 && sum != 0.0f) atomicAdd(to_cameras + 16 * image + k, sum);
            }
    }
    if (gradient_sums && seen > 0.0f) {
        gradient_sums[n] += lengths;
        visits[n] += seen;
    }
}

}  // namespace headbench
