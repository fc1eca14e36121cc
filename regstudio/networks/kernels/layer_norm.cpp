// Layer norms over the channels of each pixel, and their gradients.

#include "parts.hpp"

extern "C" {

void layer_norm(int64_t pixels, int channels, const float* x, const float* weight, const float* bias, float epsilon,
                float* y) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (pixels + MOST - 1) / MOST; block++) {
        int64_t at = block * MOST * channels;
        int rows = int(std::min<int64_t>(pixels - block * MOST, MOST));
        normalise(rows, channels, x + at, Statistics(rows, channels, x + at, epsilon), weight, bias, y + at);
    }
}

void layer_norm_backward(int64_t pixels, int channels, const float* x, const float* weight, float epsilon,
                         const float* grad, float* grad_x, float* grad_weight, float* grad_bias) {
    int threads = omp_get_max_threads();
    int64_t stride = 2 * channels + LANES;
    Room parts(threads * stride);
#pragma omp parallel num_threads(threads)
    {
        float* own = parts + omp_get_thread_num() * stride;
        auto [first, end] = share((pixels + MOST - 1) / MOST, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t block = first; block < end; block++) {
            int64_t at = block * MOST * channels;
            int rows = int(std::min<int64_t>(pixels - block * MOST, MOST));
            normalise_backward(rows, channels, x + at, Statistics(rows, channels, x + at, epsilon), weight, grad + at,
                               grad_x + at, own, own + channels);
        }
    }
    if (weight) {
        add_up(channels, threads, parts, stride, grad_weight);
        add_up(channels, threads, parts + channels, stride, grad_bias);
    }
}

}  // extern "C"
