// The gate of CorrMLP's windows, and its gradients.

#include "exports.hpp"
#include "normalise.hpp"
#include "products.hpp"
#include "threads.hpp"

namespace {

// The windows of maps (batch, height, width, channels), numbered; those at the border go beyond the map.
struct Windows {
    int64_t batch, height, width;
    int channels, size;

    int64_t down() const { return (height + size - 1) / size; }
    int64_t across() const { return (width + size - 1) / size; }
    int64_t count() const { return batch * down() * across(); }

    int64_t sample(int64_t number) const { return number / (down() * across()); }

    // Call f(place in the map, place in the window, pixels inside the map) for each row of a window.
    template <class F>
    void rows(int64_t number, F f) const {
        int64_t top = number / across() % down() * size, left = number % across() * size;
        int inside = int(std::min<int64_t>(width - left, size));
        for (int i = 0; i < size; i++)
            f(((sample(number) * height + top + i) * width + left) * channels, i * size * channels,
              top + i < height ? inside : 0);
    }

    // The values of a window, zero beyond the map.
    void gather(int64_t number, const float* map, float* window) const {
        rows(number, [&](int64_t from, int to, int inside) {
            for (int i = 0; i < inside * channels; i += LANES) store(window + to + i, load(map + from + i));
            for (int i = inside * channels; i < size * channels; i += LANES) store(window + to + i, Vector{});
        });
    }
};

// A gate's weights, or their gradients, in the order in which Python lists them.
template <class Pointer>
struct GateTensors {
    Pointer scale, shift;         // (channels), of the pixels before all else
    Pointer expand, expand_bias;  // (2 channels, channels), (2 channels)
    Pointer norm, norm_bias;      // (channels)
    Pointer mix, mix_bias;        // (n, n), (n)

    explicit GateTensors(const Pointer* list)
        : scale(list[0]), shift(list[1]), expand(list[2]), expand_bias(list[3]), norm(list[4]), norm_bias(list[5]),
          mix(list[6]), mix_bias(list[7]) {}
};
typedef GateTensors<const float*> GateWeights;
typedef GateTensors<float*> GateGradients;

// The weights as the gates use them: scale and shift are part of the expansion, and v's 1 of the mixing.
struct Folded {
    const GateWeights& given;
    float epsilon;
    Buffer expand, expand_bias, back, mix_bias;  // (channels, 2 channels), (2 channels), `expand` transposed, (n)

    Folded(const GateWeights& given, float epsilon, int channels, int n)
        : given(given), epsilon(epsilon), expand(2 * channels * channels), expand_bias(2 * channels), back(2 * channels * channels),
          mix_bias(n) {
        for (int o = 0; o < 2 * channels; o++) {
            const float* row = given.expand + o * channels;
            float along = 0;
            for (int i = 0; i < channels; i++) {
                along += row[i] * given.shift[i];
                back[o * channels + i] = row[i] * given.scale[i];
                expand[i * 2 * channels + o] = back[o * channels + i];
            }
            expand_bias[o] = given.expand_bias[o] + along;
        }
        for (int p = 0; p < n; p++) mix_bias[p] = given.mix_bias[p] + 1;
    }
};

// What the gates of a few windows are made of: u and v before and after their GELU, v normalised, v mixed.
struct Gate {
    const Windows& windows;
    const Folded& weights;
    int channels, n, rows;
    Buffer x, before, u, v, normalised, mixed, slopes;
    Statistics statistics;

    Gate(const Windows& windows, const Folded& weights)
        : windows(windows), weights(weights), channels(windows.channels), n(windows.size * windows.size),
          x(MAX_ROWS * channels), before(2 * MAX_ROWS * channels), u(MAX_ROWS * channels), v(MAX_ROWS * channels),
          normalised((MAX_ROWS + CHANNELS) * channels),  // so that whole vectors of rows can be read
          mixed(MAX_ROWS * channels), slopes(2 * MAX_ROWS * channels) {}

    template <bool SLOPES>
    void compute(int64_t first, int64_t end, const float* map) {
        rows = int(end - first) * n;
        for (int64_t number = first; number < end; number++)
            windows.gather(number, map, x + (number - first) * n * channels);
        product(rows, channels, 2 * channels, {weights.expand_bias, 0, 1}, {x, channels, 1}, weights.expand,
                2 * channels, before, 2 * channels);
        for (int p = 0; p < rows; p++) {
            const float* from = before + p * 2 * channels;
            float* slope = slopes + p * 2 * channels;
            for (int c = 0; c < channels; c += LANES) {
                Gelu of_u = gelu(load(from + c)), of_v = gelu(load(from + channels + c));
                store(u + p * channels + c, of_u.value);
                store(v + p * channels + c, of_v.value);
                if (SLOPES) {
                    store(slope + c, of_u.slope);
                    store(slope + channels + c, of_v.slope);
                }
            }
        }
        statistics.compute(rows, channels, v, weights.epsilon);
        normalise(rows, channels, v, statistics, weights.given.norm, weights.given.norm_bias, normalised);
        for (int window = 0; window < rows; window += n)
            product(n, n, channels, {weights.mix_bias, 1, 0}, {weights.given.mix, n, 1}, normalised + window * channels,
                    channels, mixed + window * channels, channels);
    }
};

// transposed (channels, rows) = map (rows, channels), `rows` a multiple of LANES
void transpose_map(const float* map, int channels, int rows, float* transposed) {
    for (int c = 0; c < channels; c += LANES)
        for (int p = 0; p < rows; p += LANES) {
            Vector block[LANES];
            for (int i = 0; i < LANES; i++) block[i] = load(map + (p + i) * channels + c);
            transpose(block);
            for (int i = 0; i < LANES; i++) store(transposed + (c + i) * rows + p, block[i]);
        }
}

// The gradients of scale, shift and expansion from those of the folded expansion, (channels, 2 channels), and its bias.
void unfold(const GateWeights& weights, int channels, const float* folded, const float* bias,
            const GateGradients& grads) {
    memcpy(grads.expand_bias, bias, sizeof(float) * 2 * channels);
    for (int i = 0; i < channels; i++) {
        float of_scale = 0, of_shift = 0;
        for (int o = 0; o < 2 * channels; o++) {
            int at = o * channels + i;
            float slope = folded[i * 2 * channels + o];
            of_scale += slope * weights.expand[at];
            of_shift += bias[o] * weights.expand[at];
            grads.expand[at] = slope * weights.scale[i] + bias[o] * weights.shift[i];
        }
        grads.scale[i] = of_scale;
        grads.shift[i] = of_shift;
    }
}

// h = u * (mixed v + 1), and its sums over the pixels of each sample, (batch, channels)
void gate(int64_t batch, int64_t height, int64_t width, int channels, int size, const float* x,
          const float* const* weight_list, float epsilon, float* h, float* sums) {
    Windows windows{batch, height, width, channels, size};
    GateWeights weights(weight_list);
    Folded folded(weights, epsilon, channels, size * size);
    int threads = omp_get_max_threads();
    int64_t stride = batch * channels + LANES;
    Buffer parts(threads * stride);
    on_threads(threads, [&](int thread, int threads) {
        Gate gate(windows, folded);
        float* own = parts + thread * stride;
        auto [begin, end] = share(windows.count(), thread, threads);
        for (int64_t first = begin; first < end; first += MAX_ROWS / gate.n) {
            int64_t last = std::min(first + MAX_ROWS / gate.n, end);
            gate.compute<false>(first, last, x);
            for (int64_t number = first; number < last; number++) {
                float* total = own + windows.sample(number) * channels;
                windows.rows(number, [&](int64_t to, int at, int inside) {
                    int from = int(number - first) * gate.n * channels + at;
                    for (int c = 0; c < channels; c += LANES) {
                        Vector along_row = load(total + c);
                        for (int i = c; i < inside * channels; i += channels) {
                            Vector value = load(gate.u + from + i) * load(gate.mixed + from + i);
                            store(h + to + i, value);
                            along_row += value;
                        }
                        store(total + c, along_row);
                    }
                });
            }
        }
    });
    memset(sums, 0, sizeof(float) * batch * channels);
    add_up(batch * channels, threads, parts, stride, sums);
}

// The gradients of all weights, and that of x, which is added to `grad_x`.
void gate_backward(int64_t batch, int64_t height, int64_t width, int channels, int size, const float* x,
                   const float* const* weight_list, float epsilon, const float* grad_h, const float* grad_sums,
                   float* grad_x, float* const* grad_list) {
    Windows windows{batch, height, width, channels, size};
    GateWeights weights(weight_list);
    GateGradients grads(grad_list);
    int n = size * size, padded = (n + LANES - 1) / LANES * LANES, threads = omp_get_max_threads();
    int64_t of_bias = int64_t(channels) * 2 * channels, of_norm = of_bias + 2 * channels,
            of_norm_bias = of_norm + channels, of_mix = of_norm_bias + channels, of_mix_bias = of_mix + n * padded,
            stride = of_mix_bias + padded + LANES;
    Folded folded(weights, epsilon, channels, n);
    Buffer parts(threads * stride);
    on_threads(threads, [&](int thread, int threads) {
        Gate gate(windows, folded);
        Buffer grad_mixed(MAX_ROWS * channels), grad_normalised(MAX_ROWS * channels), grad_v(MAX_ROWS * channels),
            grad_before(2 * MAX_ROWS * channels), grad_window(MAX_ROWS * channels), transposed(channels * MAX_ROWS);
        float* own = parts + thread * stride;
        auto [begin, end] = share(windows.count(), thread, threads);
        for (int64_t first = begin; first < end; first += MAX_ROWS / n) {
            int64_t last = std::min(first + MAX_ROWS / n, end);
            gate.compute<true>(first, last, x);
            for (int64_t number = first; number < last; number++) {
                const float* same = grad_sums + windows.sample(number) * channels;
                windows.rows(number, [&](int64_t from, int at, int inside) {
                    at += int(number - first) * n * channels;
                    for (int i = 0; i < size; i++)
                        for (int c = 0; c < channels; c += LANES) {
                            int here = at + i * channels + c, before = here + at + i * channels;
                            Vector grad =
                                i < inside ? load(grad_h + from + i * channels + c) + load(same + c) : Vector{};
                            store(grad_mixed + here, grad * load(gate.u + here));
                            store(grad_before + before, grad * load(gate.mixed + here) * load(gate.slopes + before));
                        }
                });
            }
            for (int window = 0; window < gate.rows; window += n) {
                const float* grad = grad_mixed + window * channels;
                for (int p = 0; p < n; p++) {
                    Vector total{};
                    for (int c = 0; c < channels; c += LANES) total += load(grad + p * channels + c);
                    own[of_mix_bias + p] += sum(total);
                }
                transpose_map(gate.normalised + window * channels, channels, padded, transposed);
                product(n, n, channels, ZERO_MATRIX, {weights.mix, 1, n}, grad, channels,
                        grad_normalised + window * channels, channels);
                add_product(n, channels, padded, {grad, channels, 1}, transposed, padded, own + of_mix, padded);
            }
            normalise_backward(gate.rows, channels, gate.v, gate.statistics, weights.norm, grad_normalised, grad_v,
                               own + of_norm, own + of_norm_bias);
            for (int c = 0; c < channels; c += LANES) {
                Vector bias_u = load(own + of_bias + c), bias_v = load(own + of_bias + channels + c);
                for (int p = 0; p < gate.rows; p++) {
                    int at = 2 * p * channels + c;
                    Vector of_v = load(grad_v + p * channels + c) * load(gate.slopes + at + channels);
                    store(grad_before + at + channels, of_v);
                    bias_u += load(grad_before + at);
                    bias_v += of_v;
                }
                store(own + of_bias + c, bias_u);
                store(own + of_bias + channels + c, bias_v);
            }
            add_product(channels, gate.rows, 2 * channels, {gate.x, 1, channels}, grad_before, 2 * channels, own,
                        2 * channels);
            product(gate.rows, 2 * channels, channels, ZERO_MATRIX, {grad_before, 2 * channels, 1}, folded.back, channels,
                    grad_window, channels);
            for (int64_t number = first; number < last; number++)
                windows.rows(number, [&](int64_t to, int at, int inside) {
                    const float* from = grad_window + int(number - first) * n * channels + at;
                    for (int i = 0; i < inside * channels; i += LANES)
                        store(grad_x + to + i, load(grad_x + to + i) + load(from + i));
                });
        }
    });
    Buffer sums(stride);
    add_up(stride, threads, parts, stride, sums);
    unfold(weights, channels, sums, sums + of_bias, grads);
    memcpy(grads.norm, sums + of_norm, sizeof(float) * channels);
    memcpy(grads.norm_bias, sums + of_norm_bias, sizeof(float) * channels);
    for (int i = 0; i < n; i++) memcpy(grads.mix + i * n, sums + of_mix + i * padded, sizeof(float) * n);
    memcpy(grads.mix_bias, sums + of_mix_bias, sizeof(float) * n);
}

EXPORT(gate);
EXPORT(gate_backward);

}  // namespace
