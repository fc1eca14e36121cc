// Layer norms over the channels of each pixel, and their gradients.

#include "exports.hpp"
#include "normalise.hpp"
#include "threads.hpp"

namespace {

void layer_norm(int64_t pixels, int channels, const float* x, const float* weight, const float* bias, float epsilon,
                float* y) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (pixels + MAX_ROWS - 1) / MAX_ROWS; block++) {
        int64_t at = block * MAX_ROWS * channels;
        int rows = int(std::min<int64_t>(pixels - block * MAX_ROWS, MAX_ROWS));
        normalise(rows, channels, x + at, Statistics(rows, channels, x + at, epsilon), weight, bias, y + at);
    }
}

void layer_norm_backward(int64_t pixels, int channels, const float* x, const float* weight, float epsilon,
                         const float* grad, float* grad_x, float* grad_weight, float* grad_bias) {
    int threads = omp_get_max_threads();
    int64_t stride = 2 * channels + LANES;
    Buffer parts(threads * stride);
    on_threads(threads, [&](int thread, int threads) {
        float* own = parts + thread * stride;
        auto [first, end] = share((pixels + MAX_ROWS - 1) / MAX_ROWS, thread, threads);
        for (int64_t block = first; block < end; block++) {
            int64_t at = block * MAX_ROWS * channels;
            int rows = int(std::min<int64_t>(pixels - block * MAX_ROWS, MAX_ROWS));
            normalise_backward(rows, channels, x + at, Statistics(rows, channels, x + at, epsilon), weight, grad + at,
                               grad_x + at, own, own + channels);
        }
    });
    if (weight) {
        add_up(channels, threads, parts, stride, grad_weight);
        add_up(channels, threads, parts + channels, stride, grad_bias);
    }
}

EXPORT(layer_norm);
EXPORT(layer_norm_backward);

}  // namespace
