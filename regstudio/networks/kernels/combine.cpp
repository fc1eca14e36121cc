// The sum of several maps, each after a dense layer of its own, and its gradients.

#include "exports.hpp"
#include "products.hpp"
#include "threads.hpp"

namespace {

// out = x + bias + sum of maps[i] x matrices[i]: matrices (batch, count, channels, channels), bias (batch, channels)
void combine(int64_t batch, int64_t pixels, int channels, int count, const float* x, const float* const* maps,
             const float* matrices, const float* bias, float* out) {
    constexpr int BLOCK = 4 * ROWS;
    int64_t blocks = (pixels + BLOCK - 1) / BLOCK, area = int64_t(channels) * channels;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < batch * blocks; block++) {
        int64_t sample = block / blocks, first = block % blocks * BLOCK, at = (sample * pixels + first) * channels;
        int rows = int(std::min<int64_t>(pixels - first, BLOCK));
        for (int p = 0; p < rows; p++)
            for (int c = 0; c < channels; c += LANES)
                store(out + at + p * channels + c, load(x + at + p * channels + c) + load(bias + sample * channels + c));
        for (int i = 0; i < count; i++)
            add_product(rows, channels, channels, {maps[i] + at, channels, 1}, matrices + (sample * count + i) * area,
                        channels, out + at, channels);
    }
}

// The gradients of the maps, the matrices and the bias; `matrices_back` are the matrices, transposed.
void combine_backward(int64_t batch, int64_t pixels, int channels, int count, const float* const* maps,
                      const float* matrices_back, const float* grad, float* const* grad_maps, float* grad_matrices,
                      float* grad_bias) {
    constexpr int BLOCK = 4 * ROWS;
    int64_t blocks = (pixels + BLOCK - 1) / BLOCK, area = int64_t(channels) * channels;
    int64_t of_sample = count * area + channels, stride = batch * of_sample + LANES;
    int threads = omp_get_max_threads();
    Buffer parts(threads * stride);
    on_threads(threads, [&](int thread, int threads) {
        float* own = parts + thread * stride;
        auto [begin, end] = share(batch * blocks, thread, threads);
        for (int64_t block = begin; block < end; block++) {
            int64_t sample = block / blocks, first = block % blocks * BLOCK, at = (sample * pixels + first) * channels;
            int rows = int(std::min<int64_t>(pixels - first, BLOCK));
            float* matrix = own + sample * of_sample;
            float* bias = matrix + count * area;
            for (int i = 0; i < count; i++) {
                product(rows, channels, channels, ZERO_MATRIX, {grad + at, channels, 1},
                        matrices_back + (sample * count + i) * area, channels, grad_maps[i] + at, channels);
                add_product(channels, rows, channels, {maps[i] + at, 1, channels}, grad + at, channels,
                            matrix + i * area, channels);
            }
            add_rows(rows, channels, grad + at, bias);
        }
    });
    for (int64_t sample = 0; sample < batch; sample++) {
        add_up(count * area, threads, parts + sample * of_sample, stride, grad_matrices + sample * count * area);
        add_up(channels, threads, parts + sample * of_sample + count * area, stride, grad_bias + sample * channels);
    }
}

EXPORT(combine);
EXPORT(combine_backward);

}  // namespace
