// Two maps joined with their correlation, and the gradients. The maps have a multiple of 8 channels.

#include "exports.hpp"
#include "threads.hpp"

namespace {

// [x1, correlation, x2]: (batch, height, width, 2 channels + 9) of two maps of any multiple of 8 channels; of x1, samples
// are `first_stride` floats apart. The correlation is the mean over channels of x1 times the 3x3 neighbours in x2.
void join(int64_t batch, int64_t height, int64_t width, int channels, const float* x1, int64_t first_stride,
          const float* x2, float* joined) {
    int all_channels = 2 * channels + 9;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < batch * height; row++) {
        int64_t y = row % height;
        const float* of_x1 = x1 + row / height * first_stride + y * width * channels;
        const float* of_x2 = x2 + row * width * channels;
        float* to = joined + row * width * all_channels;
        for (int64_t x = 0; x < width; x++, to += all_channels) {
            const float* here = of_x1 + x * channels;
            const float* there = of_x2 + x * channels;
            memcpy(to, here, sizeof(float) * channels);
            memcpy(to + channels + 9, there, sizeof(float) * channels);
            for (int shift = 0; shift < 9; shift++) {
                int64_t down = shift / 3 - 1, right = shift % 3 - 1;
                float product = 0;
                if (y + down >= 0 && y + down < height && x + right >= 0 && x + right < width) {
                    const float* neighbour = there + (down * width + right) * channels;
                    Lanes8 total{};
                    for (int c = 0; c < channels; c += LANES8) total += load8(here + c) * load8(neighbour + c);
                    product = sum(total) / channels;
                }
                to[channels + shift] = product;
            }
        }
    }
}

// The gradients of x1, one for each sample, and of x2.
void join_backward(int64_t batch, int64_t height, int64_t width, int channels, const float* x1, int64_t first_stride,
                   const float* x2, const float* grad, float* grad_x1, float* grad_x2) {
    int all_channels = 2 * channels + 9;
    float share = 1.0f / channels;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < batch * height; row++) {
        int64_t y = row % height;
        const float* of_x1 = x1 + row / height * first_stride + y * width * channels;
        const float* of_x2 = x2 + row * width * channels;
        for (int64_t x = 0; x < width; x++) {
            const float* here = grad + (row * width + x) * all_channels;
            int64_t at = x * channels, to = (row * width + x) * channels, neighbour[9];
            float to_first[9], to_second[9];
            for (int shift = 0; shift < 9; shift++) {
                int64_t down = shift / 3 - 1, right = shift % 3 - 1, pixels = down * width + right;
                bool inside = y + down >= 0 && y + down < height && x + right >= 0 && x + right < width;
                neighbour[shift] = inside ? pixels * channels : 0;
                to_first[shift] = inside ? here[channels + shift] * share : 0;
                // What this pixel of x2 is to that neighbour, the opposite one is to it.
                to_second[shift] = inside ? here[pixels * all_channels + channels + 8 - shift] * share : 0;
            }
            for (int c = 0; c < channels; c += LANES8) {
                Lanes8 of_first = load8(here + c), of_second = load8(here + channels + 9 + c);
#pragma GCC unroll 9
                for (int shift = 0; shift < 9; shift++) {
                    of_first += to_first[shift] * load8(of_x2 + at + neighbour[shift] + c);
                    of_second += to_second[shift] * load8(of_x1 + at + neighbour[shift] + c);
                }
                store8(grad_x1 + to + c, of_first);
                store8(grad_x2 + to + c, of_second);
            }
        }
    }
}

EXPORT(join);
EXPORT(join_backward);

}  // namespace
