// Local squared normalised cross-correlation of pairs of images, and its gradient.
//
// All sums are in double: on a flat bright area the rounding errors of float sums have gradients as large as true ones.

#include <vector>

#include "exports.hpp"
#include "threads.hpp"

namespace {

constexpr int64_t STRIP = 32;  // rows that are one task: a fixed number, so that the sums depend on nothing else

// N rows of sums over the window above and below each pixel, as the window moves down; `radius` zeros on both sides.
template <int N>
class Windows {
  public:
    Windows(int64_t width, int window)
        : width(width), window(window), padded(width + window - 1), sums(N * padded), halves(padded) {}

    double* of(int n) { return sums.data() + n * padded + window / 2; }
    void clear() { std::fill(sums.begin(), sums.end(), 0.0); }

    // to (width) = the sums over whole windows of one of the N, from half-windows: the additions grow with log2(window)
    void add_up(int n, double* __restrict to) {
        const double* __restrict row = sums.data() + n * padded;
        double* __restrict half = halves.data();
        for (int64_t x = 0; x < width; x++) to[x] = row[x];
        for (int64_t x = 0; x + 1 < padded; x++) half[x] = row[x] + row[x + 1];
        int64_t done = 1;  // a window is odd
        for (int64_t size = 2; size <= window; size *= 2) {
            if (window & size) {
                for (int64_t x = 0; x < width; x++) to[x] += half[x + done];
                done += size;
            }
            if (2 * size <= window)
                for (int64_t x = 0; x + size < padded; x++) half[x] += half[x + size];
        }
    }

  private:
    int64_t width, window, padded;
    std::vector<double> sums, halves;
};

// means (pairs): of cross^2 / (var_fixed * var_warped + epsilon) over the windows around all pixels, zeros outside. The fixed
// images are `fixed_stride` floats apart: 0 if they are one. `grads` (pairs, height, width), if not null, is the gradient of
// each pair's mean by its warped image.
void local_ncc(int64_t pairs, int64_t height, int64_t width, int window, float epsilon, const float* fixed,
               int64_t fixed_stride, const float* warped, float* means, float* grads) {
    int64_t size = height * width, strips = (height + STRIP - 1) / STRIP, radius = window / 2;
    int threads = size * pairs < 4096 ? 1 : omp_get_max_threads();
    double pixels = window * window;
    std::vector<double> sums(pairs * strips), slopes(grads ? 3 * pairs * size : 0);
    on_threads(threads, [&](int thread, int threads) {
        Windows<5> windows(width, window);
        std::vector<double> rows(5 * width);
        double *f = rows.data(), *w = f + width, *ff = w + width, *ww = ff + width, *fw = ww + width;
        auto [first, end] = share(pairs * strips, thread, threads);
        for (int64_t task = first; task < end; task++) {
            int64_t pair = task / strips, top = task % strips * STRIP, bottom = std::min(top + STRIP, height);
            const float *fixed_image = fixed + pair * fixed_stride, *warped_image = warped + pair * size;
            windows.clear();
            auto add = [&](int64_t row, double sign) {
                if (row < 0 || row >= height) return;
                const float *of_f = fixed_image + row * width, *of_w = warped_image + row * width;
                double *to_f = windows.of(0), *to_w = windows.of(1), *to_ff = windows.of(2), *to_ww = windows.of(3);
                double* to_fw = windows.of(4);
                for (int64_t x = 0; x < width; x++) {
                    double a = of_f[x], b = of_w[x], signed_a = sign * a, signed_b = sign * b;
                    to_f[x] += signed_a;
                    to_w[x] += signed_b;
                    to_ff[x] += signed_a * a;
                    to_ww[x] += signed_b * b;
                    to_fw[x] += signed_a * b;
                }
            };
            for (int64_t row = top - radius; row < top + radius; row++) add(row, 1);
            double total = 0;
            for (int64_t row = top; row < bottom; row++) {
                add(row + radius, 1);
                for (int n = 0; n < 5; n++) windows.add_up(n, f + n * width);
                double* slope = grads ? slopes.data() + 3 * pair * size + row * width : nullptr;
                for (int64_t x = 0; x < width; x++) {
                    double cross = fw[x] - f[x] * w[x] / pixels;
                    double var_f = ff[x] - f[x] * f[x] / pixels, var_w = ww[x] - w[x] * w[x] / pixels;
                    double positive_f = std::max(var_f, 0.0), positive_w = std::max(var_w, 0.0);
                    double scale = 1 / (positive_f * positive_w + epsilon), squared = cross * cross * scale;
                    total += std::min(squared, 1.0);
                    if (slope) {
                        double counts = squared <= 1 ? 2 : 0;
                        double by_cross = counts * cross * scale;
                        double by_var = var_w > 0 ? counts * squared * positive_f * scale : 0;
                        slope[x] = by_cross;
                        slope[size + x] = by_var;
                        slope[2 * size + x] = (by_cross * f[x] - by_var * w[x]) / pixels;
                    }
                }
                add(row - radius, -1);
            }
            sums[task] = total;
        }
    });
    for (int64_t pair = 0; pair < pairs; pair++) {
        double total = 0;
        for (int64_t strip = 0; strip < strips; strip++) total += sums[pair * strips + strip];
        means[pair] = total / size;
    }
    if (!grads) return;
    // Each pixel is in the windows around it: the sums of their slopes are sums over windows again.
    on_threads(threads, [&](int thread, int threads) {
        Windows<3> windows(width, window);
        std::vector<double> rows(3 * width);
        double *by_cross = rows.data(), *by_var = by_cross + width, *by_means = by_var + width;
        auto [first, end] = share(pairs * strips, thread, threads);
        for (int64_t task = first; task < end; task++) {
            int64_t pair = task / strips, top = task % strips * STRIP, bottom = std::min(top + STRIP, height);
            windows.clear();
            auto add = [&](int64_t row, double sign) {
                if (row < 0 || row >= height) return;
                for (int n = 0; n < 3; n++) {
                    const double* from = slopes.data() + (3 * pair + n) * size + row * width;
                    double* to = windows.of(n);
                    for (int64_t x = 0; x < width; x++) to[x] += sign * from[x];
                }
            };
            for (int64_t row = top - radius; row < top + radius; row++) add(row, 1);
            for (int64_t row = top; row < bottom; row++) {
                add(row + radius, 1);
                for (int n = 0; n < 3; n++) windows.add_up(n, by_cross + n * width);
                const float* of_f = fixed + pair * fixed_stride + row * width;
                const float* of_w = warped + pair * size + row * width;
                float* to = grads + pair * size + row * width;
                for (int64_t x = 0; x < width; x++)
                    to[x] = (of_f[x] * by_cross[x] - of_w[x] * by_var[x] - by_means[x]) / size;
                add(row - radius, -1);
            }
        }
    });
}

EXPORT(local_ncc);

}  // namespace
