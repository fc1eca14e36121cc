// Leaky ReLU and instance norm, one after the other, and their gradients. The maps have a multiple of 8 channels.

#include "parts.hpp"

namespace {

inline Half leaky(Half x, float slope) { return x > 0.0f ? x : slope * x; }

}  // namespace

extern "C" {

// y, and the mean and 1 / deviation of each channel after the leaky ReLU, (batch, channels)
void leaky_instance_norm(int64_t batch, int64_t pixels, int channels, const float* x, float slope, float epsilon,
                         float* y, float* mean, float* scale) {
    for (int64_t sample = 0; sample < batch; sample++) {
        const float* from = x + sample * pixels * channels;
        float* to = y + sample * pixels * channels;
        float *means = mean + sample * channels, *scales = scale + sample * channels;
        sum_pixels<1>(pixels, channels, means,
                      [&](int64_t at, int, Half* sums) { sums[0] += leaky(load_half(from + at), slope); });
        for (int c = 0; c < channels; c++) means[c] /= pixels;
        sum_pixels<1>(pixels, channels, scales, [&](int64_t at, int c, Half* sums) {
            Half centred = leaky(load_half(from + at), slope) - load_half(means + c);
            sums[0] += centred * centred;
        });
        for (int c = 0; c < channels; c++) scales[c] = 1.0f / std::sqrt(scales[c] / pixels + epsilon);
        each_pixel(pixels, channels, [&](int64_t at, int c) {
            store_half(to + at, (leaky(load_half(from + at), slope) - load_half(means + c)) * load_half(scales + c));
        });
    }
}

void leaky_instance_norm_backward(int64_t batch, int64_t pixels, int channels, const float* x, float slope,
                                  const float* mean, const float* scale, const float* grad, float* grad_x) {
    Room sums(2 * channels);
    for (int64_t sample = 0; sample < batch; sample++) {
        const float* from = x + sample * pixels * channels;
        const float* grads = grad + sample * pixels * channels;
        const float *means = mean + sample * channels, *scales = scale + sample * channels;
        float *to = grad_x + sample * pixels * channels, *mean_grad = sums, *mean_along = sums + channels;
        auto normalised = [&](int64_t at, int c) {
            return (leaky(load_half(from + at), slope) - load_half(means + c)) * load_half(scales + c);
        };
        sum_pixels<2>(pixels, channels, sums, [&](int64_t at, int c, Half* of) {
            Half here = load_half(grads + at);
            of[0] += here;
            of[1] += here * normalised(at, c);
        });
        for (int c = 0; c < 2 * channels; c++) sums[c] /= pixels;
        each_pixel(pixels, channels, [&](int64_t at, int c) {
            Half rest = load_half(grads + at) - load_half(mean_grad + c) - normalised(at, c) * load_half(mean_along + c);
            Half value = rest * load_half(scales + c);
            store_half(to + at, load_half(from + at) > 0.0f ? value : slope * value);
        });
    }
}

}  // extern "C"
