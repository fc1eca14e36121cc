// Leaky ReLU and instance norm, one after the other, and their gradients. The maps have a multiple of 8 channels.

#include "exports.hpp"
#include "threads.hpp"

namespace {

// to (N, channels) = sums over pixels: f(place in the map, channel, sums) adds what eight channels of a pixel contribute.
template <int N, class F>
void sum_pixels(int64_t pixels, int channels, float* to, F f) {
    constexpr int BLOCK = 256;
    int threads = omp_get_max_threads();
    int64_t stride = N * channels + LANES, blocks = (pixels + BLOCK - 1) / BLOCK;
    Buffer parts(threads * stride);
    on_threads(threads, [&](int thread, int threads) {
        float* own = parts + thread * stride;
        auto [first, end] = share(blocks, thread, threads);
        for (int64_t block = first; block < end; block++)
            for (int c = 0; c < channels; c += LANES8) {
                Lanes8 sums[N] = {};
                int64_t last = std::min((block + 1) * BLOCK, pixels);
                for (int64_t p = block * BLOCK; p < last; p++) f(p * channels + c, c, sums);
                for (int n = 0; n < N; n++) {
                    float* sum = own + n * channels + c;
                    store8(sum, load8(sum) + sums[n]);
                }
            }
    });
    memset(to, 0, sizeof(float) * N * channels);
    add_up(N * channels, threads, parts, stride, to);
}

// Call f(place in the map, channel) for each eight channels of each pixel.
template <class F>
void each_pixel(int64_t pixels, int channels, F f) {
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < pixels; p++)
        for (int c = 0; c < channels; c += LANES8) f(p * channels + c, c);
}

inline Lanes8 leaky(Lanes8 x, float slope) { return x > 0.0f ? x : slope * x; }

// y, and the mean and 1 / deviation of each channel after the leaky ReLU, (batch, channels)
void leaky_instance_norm(int64_t batch, int64_t pixels, int channels, const float* x, float slope, float epsilon,
                         float* y, float* mean, float* scale) {
    for (int64_t sample = 0; sample < batch; sample++) {
        const float* from = x + sample * pixels * channels;
        float* to = y + sample * pixels * channels;
        float *means = mean + sample * channels, *scales = scale + sample * channels;
        sum_pixels<1>(pixels, channels, means,
                      [&](int64_t at, int, Lanes8* sums) { sums[0] += leaky(load8(from + at), slope); });
        for (int c = 0; c < channels; c++) means[c] /= pixels;
        sum_pixels<1>(pixels, channels, scales, [&](int64_t at, int c, Lanes8* sums) {
            Lanes8 centred = leaky(load8(from + at), slope) - load8(means + c);
            sums[0] += centred * centred;
        });
        for (int c = 0; c < channels; c++) scales[c] = 1.0f / std::sqrt(scales[c] / pixels + epsilon);
        each_pixel(pixels, channels, [&](int64_t at, int c) {
            store8(to + at, (leaky(load8(from + at), slope) - load8(means + c)) * load8(scales + c));
        });
    }
}

void leaky_instance_norm_backward(int64_t batch, int64_t pixels, int channels, const float* x, float slope,
                                  const float* mean, const float* scale, const float* grad, float* grad_x) {
    Buffer sums(2 * channels);
    for (int64_t sample = 0; sample < batch; sample++) {
        const float* from = x + sample * pixels * channels;
        const float* grads = grad + sample * pixels * channels;
        const float *means = mean + sample * channels, *scales = scale + sample * channels;
        float *to = grad_x + sample * pixels * channels, *mean_grad = sums, *mean_along = sums + channels;
        auto normalised = [&](int64_t at, int c) {
            return (leaky(load8(from + at), slope) - load8(means + c)) * load8(scales + c);
        };
        sum_pixels<2>(pixels, channels, sums, [&](int64_t at, int c, Lanes8* of) {
            Lanes8 here = load8(grads + at);
            of[0] += here;
            of[1] += here * normalised(at, c);
        });
        for (int c = 0; c < 2 * channels; c++) sums[c] /= pixels;
        each_pixel(pixels, channels, [&](int64_t at, int c) {
            Lanes8 rest = load8(grads + at) - load8(mean_grad + c) - normalised(at, c) * load8(mean_along + c);
            Lanes8 value = rest * load8(scales + c);
            store8(to + at, load8(from + at) > 0.0f ? value : slope * value);
        });
    }
}

EXPORT(leaky_instance_norm);
EXPORT(leaky_instance_norm_backward);

}  // namespace
