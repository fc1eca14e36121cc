// The gradients of 3x3 convolutions padded with zeros.

#include "parts.hpp"

namespace {

// sums (width, columns) += the 3 x 3 pixels around each pixel of row `y` of a map x weights (3, 3 channels, columns)
void add_neighbours(int64_t height, int width, int channels, int columns, const float* map, int64_t y,
                    const float* weights, float* edge, float* sums) {
    for (int64_t down = -1; down <= 1; down++, weights += 3 * channels * columns) {
        if (y + down < 0 || y + down >= height) continue;
        const float* row = map + (y + down) * width * channels;
        // Three neighbours lie next to each other, but at the ends of the row there are but two.
        if (width > 2)
            add_product(width - 2, 3 * channels, columns, {row, channels, 1}, weights, columns, sums + columns, columns);
        memset(edge, 0, sizeof(float) * 3 * channels);
        memcpy(edge + channels, row, sizeof(float) * channels * (width > 1 ? 2 : 1));
        add_product(1, 3 * channels, columns, {edge, 0, 1}, weights, columns, sums, columns);
        if (width == 1) continue;
        memset(edge, 0, sizeof(float) * 3 * channels);
        memcpy(edge, row + (width - 2) * channels, sizeof(float) * channels * 2);
        add_product(1, 3 * channels, columns, {edge, 0, 1}, weights, columns, sums + (width - 1) * columns, columns);
    }
}

}  // namespace

extern "C" {

// The gradients of a 3x3 convolution from `in` to `out` channels, one of them a multiple of 16; of x only if `grad_x` is
// there. `turned` are the weights, turned round and with room for a multiple of 16 channels: (3, 3, out, room). The
// gradients of the weights are (3, 3, in, out), but (3, 3, out, in) if only `in` is a multiple of 16.
void convolution_backward(int64_t batch, int64_t height, int width, int in, int out, const float* x,
                          const float* turned, const float* grad, float* grad_x, float* grad_weights,
                          float* grad_bias) {
    int threads = omp_get_max_threads(), room = (in + CHANNELS - 1) / CHANNELS * CHANNELS;
    int64_t of_bias = int64_t(9) * in * out, stride = of_bias + out + LANES;
    Room parts(threads * stride);
#pragma omp parallel num_threads(threads)
    {
        float* own = parts + omp_get_thread_num() * stride;
        Room edge(3 * out), wide(int64_t(width) * room);
        auto [first, end] = share(batch * height, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t row = first; row < end; row++) {
            int64_t sample = row / height * height * width, y = row % height;
            const float* here = grad + row * width * out;
            add_rows(width, out, here, own + of_bias);
            for (int tap = 0; tap < 9; tap++) {
                int64_t from = y + tap / 3 - 1;
                if (from < 0 || from >= height) continue;
                int right = tap % 3 - 1, pixels = width - (right != 0);
                const float* inside = x + (sample + from * width + (right == 1)) * in;
                const float* outside = here + (right == -1) * out;
                float* to = own + tap * in * out;
                if (out % CHANNELS)
                    add_product(out, pixels, in, {outside, 1, out}, inside, in, to, in);
                else
                    add_product(in, pixels, out, {inside, 1, in}, outside, out, to, out);
            }
            if (!grad_x) continue;
            memset(wide, 0, sizeof(float) * width * room);
            add_neighbours(height, width, out, room, grad + sample * out, y, turned, edge, wide);
            for (int i = 0; i < width; i++) memcpy(grad_x + (row * width + i) * in, wide + i * room, sizeof(float) * in);
        }
    }
    add_up(of_bias, threads, parts, stride, grad_weights);
    add_up(out, threads, parts + of_bias, stride, grad_bias);
}

}  // extern "C"
