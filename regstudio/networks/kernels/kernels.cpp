// The CPU's own versions of the layers that torch's general operators are slow at: many pixels of few channels.
//
// All maps are float32 (pixels, channels) with the channels next to each other, a multiple of 16 of them. Sums are taken
// in an order that depends on nothing but the number of threads. Built by the installation where there is a compiler;
// kernels.py loads what was built and says what each function computes.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <omp.h>

namespace {

constexpr int LANES = 16;
#ifdef __AVX512F__
constexpr int ROWS = 10, COLUMNS = 2;  // of sums that fit into the 32 registers
#else
constexpr int ROWS = 4, COLUMNS = 1;
#endif

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
inline Vector all(float value) { return Vector{} + value; }

inline float sum(Vector v) {
    v += __builtin_shuffle(v, Integers{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
    v += __builtin_shuffle(v, Integers{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
    v += __builtin_shuffle(v, Integers{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
    return v[0] + v[1];
}

constexpr int HALF = 8;
typedef float Half __attribute__((vector_size(4 * HALF), aligned(4), may_alias));

inline Half load_half(const float* from) { return *reinterpret_cast<const Half*>(from); }
inline void store_half(float* to, Half value) { *reinterpret_cast<Half*>(to) = value; }

inline float sum(Half v) {
    typedef int32_t Order __attribute__((vector_size(4 * HALF)));
    v += __builtin_shuffle(v, Order{4, 5, 6, 7, 0, 1, 2, 3});
    v += __builtin_shuffle(v, Order{2, 3, 0, 1, 6, 7, 4, 5});
    return v[0] + v[1];
}

struct Gelu {
    Vector value, slope;
};

// x * Phi(x), and its derivative; Phi by Abramowitz and Stegun, 7.1.26, within 2e-7.
inline Gelu gelu(Vector x) {
    // exp(-x^2 / 2) as a power of 2, its whole part as an exponent's bits, the rest by a minimax polynomial.
    Vector power = x * x * -0.72134752f;
    power = power > -126.0f ? power : all(-126.0f);
    Integers whole = __builtin_convertvector(power - 0.5f, Integers);
    Vector rest = power - __builtin_convertvector(whole, Vector);
    Vector bell = rest * 1.53457371e-4f + 1.33999098e-3f;
    bell = bell * rest + 9.61848903e-3f;
    bell = bell * rest + 5.55032883e-2f;
    bell = bell * rest + 2.40226469e-1f;
    bell = bell * rest + 6.93147206e-1f;
    bell = bell * rest + 1.0f;
    bell *= (Vector)((whole + 127) << 23);

    Integers sign = (Integers)x & INT32_MIN;
    Vector size = (Vector)((Integers)x & INT32_MAX);
    Vector t = 1.0f / (1.0f + 0.2316418904f * size);
    Vector series = 0.5307027145f * t - 0.7265760135f;
    series = series * t + 0.7107068705f;
    series = series * t - 0.142248368f;
    series = series * t + 0.127414796f;
    Vector half = 0.5f - series * t * bell;
    Vector phi = 0.5f + (Vector)((Integers)half | sign);
    return {x * phi, phi + x * bell * 0.39894228f};
}

struct Matrix {
    const float* at;
    int64_t row, column;  // how far the next one is
};

// sums (R, 16 N) += left (R, inner) x right (inner, 16 N), added up apart first: long sums stay more precise
template <int R, int N>
void tile(int inner, Matrix left, const float* right, int64_t right_row, float* sums, int64_t sums_row) {
    Vector total[R][N] = {};
    for (int k = 0; k < inner; k++) {
        Vector factors[N];
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) factors[n] = load(right + k * right_row + n * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < R; i++)
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) total[i][n] += left.at[i * left.row + k * left.column] * factors[n];
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            float* to = sums + i * sums_row + n * LANES;
            store(to, load(to) + total[i][n]);
        }
}

template <int R, int N>
void tiles(int rows, int inner, Matrix left, const float* right, int64_t right_row, float* sums, int64_t sums_row) {
    if constexpr (R > 0) {
        if (rows == R) return tile<R, N>(inner, left, right, right_row, sums, sums_row);
        tiles<R - 1, N>(rows, inner, left, right, right_row, sums, sums_row);
    }
}

// sums (rows, columns) += left (rows, inner) x right (inner, columns), where columns is a multiple of 16
void add_product(int rows, int inner, int columns, Matrix left, const float* right, int64_t right_row, float* sums,
                 int64_t sums_row) {
    int parts = (rows + ROWS - 1) / ROWS;
    for (int column = 0; column < columns;) {
        bool wide = column + COLUMNS * LANES <= columns;
        for (int part = 0, first = 0; part < parts; part++) {
            int count = rows / parts + (part < rows % parts);  // all as large as each other
            Matrix here{left.at + first * left.row, left.row, left.column};
            float* to = sums + first * sums_row + column;
            if (wide)
                tiles<ROWS, COLUMNS>(count, inner, here, right + column, right_row, to, sums_row);
            else
                tiles<ROWS, 1>(count, inner, here, right + column, right_row, to, sums_row);
            first += count;
        }
        column += wide ? COLUMNS * LANES : LANES;
    }
}

// to (columns) += the sums of (rows, columns)
void add_rows(int rows, int columns, const float* from, float* to) {
    int c = 0;
    for (; c + LANES <= columns; c += LANES) {
        Vector total{};
        for (int i = 0; i < rows; i++) total += load(from + i * columns + c);
        store(to + c, load(to + c) + total);
    }
    for (; c < columns; c++)
        for (int i = 0; i < rows; i++) to[c] += from[i * columns + c];
}

constexpr int MOST = 64;  // rows at a time: a window of 7 x 7 pixels, and a whole number of vectors

// The mean of each row and 1 / its deviation. Row after row, each step would wait for the one before.
struct Statistics {
    float mean[MOST], scale[MOST];

    Statistics() {}
    Statistics(int rows, int channels, const float* x, float epsilon) { take(rows, channels, x, epsilon); }

    void take(int rows, int channels, const float* x, float epsilon) {
        for (int p = 0; p < rows; p++) {
            Vector total{};
            for (int c = 0; c < channels; c += LANES) total += load(x + p * channels + c);
            mean[p] = sum(total) * (1.0f / channels);
        }
        for (int p = 0; p < rows; p++) {
            Vector squares{};
            for (int c = 0; c < channels; c += LANES) {
                Vector centred = load(x + p * channels + c) - mean[p];
                squares += centred * centred;
            }
            scale[p] = sum(squares) * (1.0f / channels) + epsilon;
        }
        for (int p = 0; p < rows; p++) scale[p] = 1.0f / std::sqrt(scale[p]);
    }
};

void normalise(int rows, int channels, const float* x, const Statistics& of, const float* weight, const float* bias,
               float* y) {
    for (int c = 0; c < channels; c += LANES) {
        Vector factor = weight ? load(weight + c) : all(1.0f), shift = weight ? load(bias + c) : Vector{};
        for (int p = 0; p < rows; p++)
            store(y + p * channels + c, (load(x + p * channels + c) - of.mean[p]) * of.scale[p] * factor + shift);
    }
}

// grad_x; what weight and bias get is added to theirs.
void normalise_backward(int rows, int channels, const float* x, const Statistics& of, const float* weight,
                        const float* grad, float* grad_x, float* grad_weight, float* grad_bias) {
    float mean[MOST], along[MOST];
    for (int p = 0; p < rows; p++) {
        Vector total{}, totals_along{};
        for (int c = 0; c < channels; c += LANES) {
            Vector slope = load(grad + p * channels + c);
            if (weight) slope *= load(weight + c);
            total += slope;
            totals_along += slope * (load(x + p * channels + c) - of.mean[p]);
        }
        mean[p] = sum(total) * (1.0f / channels);
        along[p] = sum(totals_along) * (1.0f / channels) * of.scale[p];
    }
    for (int c = 0; c < channels; c += LANES) {
        Vector factor = weight ? load(weight + c) : all(1.0f), of_weight{}, of_bias{};
        for (int p = 0; p < rows; p++) {
            Vector slope = load(grad + p * channels + c);
            Vector value = (load(x + p * channels + c) - of.mean[p]) * of.scale[p];
            of_weight += slope * value;
            of_bias += slope;
            store(grad_x + p * channels + c, of.scale[p] * (slope * factor - mean[p] - value * along[p]));
        }
        if (weight) {
            store(grad_weight + c, load(grad_weight + c) + of_weight);
            store(grad_bias + c, load(grad_bias + c) + of_bias);
        }
    }
}

// Room for floats, on a line of the cache of its own, zero to begin with.
class Room {
  public:
    explicit Room(int64_t count)
        : floats(static_cast<float*>(std::aligned_alloc(64, (sizeof(float) * count + 127) / 64 * 64))) {
        memset(floats, 0, sizeof(float) * count);
    }
    ~Room() { std::free(floats); }
    Room(const Room&) = delete;
    operator float*() const { return floats; }

  private:
    float* floats;
};

struct Share {
    int64_t first, end;
};

// What thread `thread` of `threads` does of `count` things.
inline Share share(int64_t count, int thread, int threads) {
    return {count * thread / threads, count * (thread + 1) / threads};
}

// to += the sums of all threads, in their order
void add_up(int64_t count, int threads, const float* parts, int64_t stride, float* to) {
    for (int thread = 0; thread < threads; thread++)
        for (int64_t i = 0; i < count; i++) to[i] += parts[thread * stride + i];
}

// The windows of maps (batch, height, width, channels), numbered; those at the edges go beyond it.
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
        int inside = int(width - left < size ? width - left : size);
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

struct GateWeights {
    const float *expand, *expand_bias;  // (channels, 2 channels), (2 channels)
    const float *norm, *norm_bias;      // (channels)
    const float *mix, *mix_bias;        // (n, n), (n), one added
    float epsilon;
};

// What the gates of a few windows are made of: u and v before and after their GELU, v normalised, v mixed.
struct Gate {
    const Windows& windows;
    const GateWeights& weights;
    int channels, n, rows;
    Room x, before, u, v, normalised, mixed, slopes;
    Statistics statistics;

    Gate(const Windows& windows, const GateWeights& weights)
        : windows(windows), weights(weights), channels(windows.channels), n(windows.size * windows.size),
          x(MOST * channels), before(2 * MOST * channels), u(MOST * channels), v(MOST * channels),
          normalised(MOST * channels), mixed(MOST * channels), slopes(2 * MOST * channels) {}

    template <bool SLOPES>
    void compute(int64_t first, int64_t end, const float* map) {
        rows = int(end - first) * n;
        for (int64_t number = first; number < end; number++)
            windows.gather(number, map, x + (number - first) * n * channels);
        for (int p = 0; p < rows; p++) memcpy(before + p * 2 * channels, weights.expand_bias, 8 * channels);
        add_product(rows, channels, 2 * channels, {x, channels, 1}, weights.expand, 2 * channels, before, 2 * channels);
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
        statistics.take(rows, channels, v, weights.epsilon);
        normalise(rows, channels, v, statistics, weights.norm, weights.norm_bias, normalised);
        for (int window = 0; window < rows; window += n) {
            for (int p = 0; p < n; p++)
                for (int c = 0; c < channels; c += LANES)
                    store(mixed + (window + p) * channels + c, all(weights.mix_bias[p]));
            add_product(n, n, channels, {weights.mix, n, 1}, normalised + window * channels, channels,
                        mixed + window * channels, channels);
        }
    }
};

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

void layer_norm(int64_t pixels, int channels, const float* x, const float* weight, const float* bias, float epsilon,
                float* y) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (pixels + MOST - 1) / MOST; block++) {
        int64_t at = block * MOST * channels;
        int rows = int(pixels - block * MOST < MOST ? pixels - block * MOST : MOST);
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
            int rows = int(pixels - block * MOST < MOST ? pixels - block * MOST : MOST);
            normalise_backward(rows, channels, x + at, Statistics(rows, channels, x + at, epsilon), weight, grad + at,
                               grad_x + at, own, own + channels);
        }
    }
    if (weight) {
        add_up(channels, threads, parts, stride, grad_weight);
        add_up(channels, threads, parts + channels, stride, grad_bias);
    }
}

// h = u * (mixed v + 1), and its sums over the pixels of each sample, (batch, channels)
void gate(int64_t batch, int64_t height, int64_t width, int channels, int size, const float* x,
          const GateWeights* weights, float* h, float* sums) {
    Windows windows{batch, height, width, channels, size};
    int threads = omp_get_max_threads();
    int64_t stride = batch * channels + LANES;
    Room parts(threads * stride);
#pragma omp parallel num_threads(threads)
    {
        Gate gate(windows, *weights);
        float* own = parts + omp_get_thread_num() * stride;
        auto [begin, end] = share(windows.count(), omp_get_thread_num(), omp_get_num_threads());
        for (int64_t first = begin; first < end; first += MOST / gate.n) {
            int64_t last = first + MOST / gate.n < end ? first + MOST / gate.n : end;
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
    }
    add_up(batch * channels, threads, parts, stride, sums);
}

// The gradients of x and of all weights; `expand_back` is `expand` turned, (2 channels, channels).
void gate_backward(int64_t batch, int64_t height, int64_t width, int channels, int size, const float* x,
                   const GateWeights* weights, const float* expand_back, const float* grad_h, const float* grad_sums,
                   float* grad_x, float* grad_expand, float* grad_expand_bias, float* grad_norm, float* grad_norm_bias,
                   float* grad_mix, float* grad_mix_bias) {
    Windows windows{batch, height, width, channels, size};
    int n = size * size, padded = (n + LANES - 1) / LANES * LANES, threads = omp_get_max_threads();
    int64_t of_bias = int64_t(channels) * 2 * channels, of_norm = of_bias + 2 * channels,
            of_norm_bias = of_norm + channels, of_mix = of_norm_bias + channels, of_mix_bias = of_mix + n * padded,
            stride = of_mix_bias + padded + LANES;
    Room parts(threads * stride);
#pragma omp parallel num_threads(threads)
    {
        Gate gate(windows, *weights);
        Room grad_mixed(MOST * channels), grad_normalised(MOST * channels), grad_v(MOST * channels),
            grad_before(2 * MOST * channels), grad_window(MOST * channels), turned(channels * padded);
        float* own = parts + omp_get_thread_num() * stride;
        auto [begin, end] = share(windows.count(), omp_get_thread_num(), omp_get_num_threads());
        for (int64_t first = begin; first < end; first += MOST / n) {
            int64_t last = first + MOST / n < end ? first + MOST / n : end;
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
            memset(grad_normalised, 0, sizeof(float) * gate.rows * channels);
            for (int window = 0; window < gate.rows; window += n) {
                const float* grad = grad_mixed + window * channels;
                for (int p = 0; p < n; p++) {
                    Vector total{};
                    for (int c = 0; c < channels; c += LANES) total += load(grad + p * channels + c);
                    own[of_mix_bias + p] += sum(total);
                    for (int c = 0; c < channels; c++)
                        turned[c * padded + p] = gate.normalised[(window + p) * channels + c];
                }
                add_product(n, n, channels, {weights->mix, 1, n}, grad, channels, grad_normalised + window * channels,
                            channels);
                add_product(n, channels, padded, {grad, channels, 1}, turned, padded, own + of_mix, padded);
            }
            normalise_backward(gate.rows, channels, gate.v, gate.statistics, weights->norm, grad_normalised, grad_v,
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
            memset(grad_window, 0, sizeof(float) * gate.rows * channels);
            add_product(gate.rows, 2 * channels, channels, {grad_before, 2 * channels, 1}, expand_back, channels,
                        grad_window, channels);
            for (int64_t number = first; number < last; number++)
                windows.rows(number, [&](int64_t to, int at, int inside) {
                    const float* from = grad_window + int(number - first) * n * channels + at;
                    for (int i = 0; i < inside * channels; i += LANES) store(grad_x + to + i, load(from + i));
                });
        }
    }
    add_up(of_bias, threads, parts, stride, grad_expand);
    add_up(2 * channels, threads, parts + of_bias, stride, grad_expand_bias);
    add_up(channels, threads, parts + of_norm, stride, grad_norm);
    add_up(channels, threads, parts + of_norm_bias, stride, grad_norm_bias);
    for (int i = 0; i < n; i++) add_up(n, threads, parts + of_mix + i * padded, stride, grad_mix + i * n);
    add_up(n, threads, parts + of_mix_bias, stride, grad_mix_bias);
}

// out = x + bias + sum of maps[i] x matrices[i]: matrices (batch, count, channels, channels), bias (batch, channels)
void combine(int64_t batch, int64_t pixels, int channels, int count, const float* x, const float* const* maps,
             const float* matrices, const float* bias, float* out) {
    constexpr int BLOCK = 4 * ROWS;
    int64_t blocks = (pixels + BLOCK - 1) / BLOCK, area = int64_t(channels) * channels;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < batch * blocks; block++) {
        int64_t sample = block / blocks, first = block % blocks * BLOCK, at = (sample * pixels + first) * channels;
        int rows = int(pixels - first < BLOCK ? pixels - first : BLOCK);
        for (int p = 0; p < rows; p++)
            for (int c = 0; c < channels; c += LANES)
                store(out + at + p * channels + c, load(x + at + p * channels + c) + load(bias + sample * channels + c));
        for (int i = 0; i < count; i++)
            add_product(rows, channels, channels, {maps[i] + at, channels, 1}, matrices + (sample * count + i) * area,
                        channels, out + at, channels);
    }
}

// The gradients of the maps, the matrices and the bias; `matrices_back` are the matrices turned.
void combine_backward(int64_t batch, int64_t pixels, int channels, int count, const float* const* maps,
                      const float* matrices_back, const float* grad, float* const* grad_maps, float* grad_matrices,
                      float* grad_bias) {
    constexpr int BLOCK = 4 * ROWS;
    int64_t blocks = (pixels + BLOCK - 1) / BLOCK, area = int64_t(channels) * channels;
    int64_t of_sample = count * area + channels, stride = batch * of_sample + LANES;
    int threads = omp_get_max_threads();
    Room parts(threads * stride);
#pragma omp parallel num_threads(threads)
    {
        float* own = parts + omp_get_thread_num() * stride;
        auto [begin, end] = share(batch * blocks, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t block = begin; block < end; block++) {
            int64_t sample = block / blocks, first = block % blocks * BLOCK, at = (sample * pixels + first) * channels;
            int rows = int(pixels - first < BLOCK ? pixels - first : BLOCK);
            float* matrix = own + sample * of_sample;
            float* bias = matrix + count * area;
            for (int i = 0; i < count; i++) {
                memset(grad_maps[i] + at, 0, sizeof(float) * rows * channels);
                add_product(rows, channels, channels, {grad + at, channels, 1},
                            matrices_back + (sample * count + i) * area, channels, grad_maps[i] + at, channels);
                add_product(channels, rows, channels, {maps[i] + at, 1, channels}, grad + at, channels,
                            matrix + i * area, channels);
            }
            add_rows(rows, channels, grad + at, bias);
        }
    }
    for (int64_t sample = 0; sample < batch; sample++) {
        add_up(count * area, threads, parts + sample * of_sample, stride, grad_matrices + sample * count * area);
        add_up(channels, threads, parts + sample * of_sample + count * area, stride, grad_bias + sample * channels);
    }
}

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
                    Half total{};
                    for (int c = 0; c < channels; c += HALF) total += load_half(here + c) * load_half(neighbour + c);
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
            for (int c = 0; c < channels; c += HALF) {
                Half of_first = load_half(here + c), of_second = load_half(here + channels + 9 + c);
#pragma GCC unroll 9
                for (int shift = 0; shift < 9; shift++) {
                    of_first += to_first[shift] * load_half(of_x2 + at + neighbour[shift] + c);
                    of_second += to_second[shift] * load_half(of_x1 + at + neighbour[shift] + c);
                }
                store_half(grad_x1 + to + c, of_first);
                store_half(grad_x2 + to + c, of_second);
            }
        }
    }
}

// The gradients of a 3x3 convolution from `in` to `out` channels, one of them a multiple of 16; of x only if `grad_x` is
// there. `turned` are the weights, turned round and with room for a multiple of 16 channels: (3, 3, out, room). The
// gradients of the weights are (3, 3, in, out), but (3, 3, out, in) if only `in` is a multiple of 16.
void convolution_backward(int64_t batch, int64_t height, int width, int in, int out, const float* x,
                          const float* turned, const float* grad, float* grad_x, float* grad_weights,
                          float* grad_bias) {
    int threads = omp_get_max_threads(), room = (in + LANES - 1) / LANES * LANES;
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
                if (out % LANES)
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
