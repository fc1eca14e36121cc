// What the kernels are made of: vectors, GELU, matrix products, layer norms, and the shares of threads.
//
// Maps are float32, (pixels, channels), with the channels next to each other, a multiple of 16 of them unless said
// otherwise. Sums are taken in an order that depends on nothing but the number of threads.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <omp.h>

namespace {

constexpr int CHANNELS = 16;  // what is a multiple of 16 of them is so for the vectors of any processor

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

// A vector as wide as the processor's, and the ROWS x COLUMNS vectors of sums that fit into its registers.
#ifdef __AVX512F__
constexpr int LANES = 16, ROWS = 10, COLUMNS = 2;
typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline float sum(Vector v) {
    typedef int32_t Order __attribute__((vector_size(4 * LANES)));
    v += __builtin_shuffle(v, Order{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
    v += __builtin_shuffle(v, Order{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
    v += __builtin_shuffle(v, Order{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
    return v[0] + v[1];
}
#else
constexpr int LANES = HALF, ROWS = 6, COLUMNS = 2;
typedef Half Vector;
#endif
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
inline Vector all(float value) { return Vector{} + value; }

// As much of a vector as there is, zero beyond.
inline Vector load_part(const float* from, int64_t count) {
    if (count >= LANES) return load(from);
    Vector value{};
    memcpy(&value, from, sizeof(float) * count);
    return value;
}
inline void store_part(float* to, Vector value, int64_t count) {
    if (count >= LANES) return store(to, value);
    memcpy(to, &value, sizeof(float) * count);
}

// Exchange the rows and columns of LANES vectors: of blocks of STEP x STEP, those beside the diagonal of each four.
template <int STEP = 1, size_t... I>
void transpose(Vector (&rows)[LANES], std::index_sequence<I...> lanes) {
    if constexpr (STEP < LANES) {
        for (int i = 0; i < LANES; i++)
            if (!(i & STEP)) {
                Vector above = rows[i], below = rows[i + STEP];
                rows[i] = __builtin_shuffle(above, below, Integers{(I & STEP ? LANES + I - STEP : I)...});
                rows[i + STEP] = __builtin_shuffle(above, below, Integers{(I & STEP ? LANES + I : I + STEP)...});
            }
        transpose<2 * STEP>(rows, lanes);
    }
}
inline void transpose(Vector (&rows)[LANES]) { transpose(rows, std::make_index_sequence<LANES>()); }

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

// A matrix, or what repeats one value along a row (column 0) or one row over and over (row 0).
struct Matrix {
    const float* at;
    int64_t row, column;  // how far the next one is
};

constexpr float ZERO = 0;
constexpr Matrix NOTHING{&ZERO, 0, 0};

// sums (R, LANES N) = start + left (R, inner) x right (inner, LANES N); the start comes last: long sums stay more precise
template <int R, int N>
void tile(int inner, Matrix start, Matrix left, const float* right, int64_t right_row, float* sums, int64_t sums_row) {
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
            const float* first = start.at + i * start.row + n * LANES * start.column;
            store(sums + i * sums_row + n * LANES, total[i][n] + (start.column ? load(first) : all(*first)));
        }
}

template <int R, int N>
void tiles(int rows, int inner, Matrix start, Matrix left, const float* right, int64_t right_row, float* sums,
           int64_t sums_row) {
    if constexpr (R > 0) {
        if (rows == R) return tile<R, N>(inner, start, left, right, right_row, sums, sums_row);
        tiles<R - 1, N>(rows, inner, start, left, right, right_row, sums, sums_row);
    }
}

// sums (rows, columns) = start + left (rows, inner) x right (inner, columns), where columns is a multiple of LANES
inline void product(int rows, int inner, int columns, Matrix start, Matrix left, const float* right, int64_t right_row,
                    float* sums, int64_t sums_row) {
    int parts = (rows + ROWS - 1) / ROWS;
    for (int column = 0; column < columns;) {
        bool wide = column + COLUMNS * LANES <= columns;
        for (int part = 0, first = 0; part < parts; part++) {
            int count = rows / parts + (part < rows % parts);  // all as large as each other
            Matrix begin{start.at + first * start.row + column * start.column, start.row, start.column};
            Matrix here{left.at + first * left.row, left.row, left.column};
            float* to = sums + first * sums_row + column;
            if (wide)
                tiles<ROWS, COLUMNS>(count, inner, begin, here, right + column, right_row, to, sums_row);
            else
                tiles<ROWS, 1>(count, inner, begin, here, right + column, right_row, to, sums_row);
            first += count;
        }
        column += wide ? COLUMNS * LANES : LANES;
    }
}

inline void add_product(int rows, int inner, int columns, Matrix left, const float* right, int64_t right_row,
                        float* sums, int64_t sums_row) {
    product(rows, inner, columns, {sums, sums_row, 1}, left, right, right_row, sums, sums_row);
}

// to (columns) += the sums of (rows, columns)
inline void add_rows(int rows, int columns, const float* from, float* to) {
    int c = 0;
    for (; c + LANES <= columns; c += LANES) {
        Vector total{};
        for (int i = 0; i < rows; i++) total += load(from + i * columns + c);
        store(to + c, load(to + c) + total);
    }
    for (; c < columns; c++) {
        float total = 0;
        for (int i = 0; i < rows; i++) total += from[i * columns + c];
        to[c] += total;
    }
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

inline void normalise(int rows, int channels, const float* x, const Statistics& of, const float* weight,
                      const float* bias, float* y) {
    for (int c = 0; c < channels; c += LANES) {
        Vector factor = weight ? load(weight + c) : all(1.0f), shift = weight ? load(bias + c) : Vector{};
        for (int p = 0; p < rows; p++)
            store(y + p * channels + c, (load(x + p * channels + c) - of.mean[p]) * of.scale[p] * factor + shift);
    }
}

// grad_x; what weight and bias get is added to theirs.
inline void normalise_backward(int rows, int channels, const float* x, const Statistics& of, const float* weight,
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

// Room for floats, on a line of the cache of its own; zero to begin with, unless it is to be left UNSET.
class Room {
  public:
    enum Start { ZEROS, UNSET };

    explicit Room(int64_t count, Start start = ZEROS)
        : floats(static_cast<float*>(std::aligned_alloc(64, (sizeof(float) * count + 127) / 64 * 64))) {
        if (start == ZEROS) memset(floats, 0, sizeof(float) * count);
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
inline void add_up(int64_t count, int threads, const float* parts, int64_t stride, float* to) {
    for (int thread = 0; thread < threads; thread++)
        for (int64_t i = 0; i < count; i++) to[i] += parts[thread * stride + i];
}

// to (N, channels) = sums over pixels: f(place in the map, channel, sums) adds what eight channels of a pixel count.
template <int N, class F>
void sum_pixels(int64_t pixels, int channels, float* to, F f) {
    constexpr int BLOCK = 256;
    int threads = omp_get_max_threads();
    int64_t stride = N * channels + LANES, blocks = (pixels + BLOCK - 1) / BLOCK;
    Room parts(threads * stride);
#pragma omp parallel num_threads(threads)
    {
        float* own = parts + omp_get_thread_num() * stride;
        auto [first, end] = share(blocks, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t block = first; block < end; block++)
            for (int c = 0; c < channels; c += HALF) {
                Half sums[N] = {};
                int64_t last = std::min((block + 1) * BLOCK, pixels);
                for (int64_t p = block * BLOCK; p < last; p++) f(p * channels + c, c, sums);
                for (int n = 0; n < N; n++) {
                    float* sum = own + n * channels + c;
                    store_half(sum, load_half(sum) + sums[n]);
                }
            }
    }
    memset(to, 0, sizeof(float) * N * channels);
    add_up(N * channels, threads, parts, stride, to);
}

// Call f(place in the map, channel) for each eight channels of each pixel.
template <class F>
void each_pixel(int64_t pixels, int channels, F f) {
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < pixels; p++)
        for (int c = 0; c < channels; c += HALF) f(p * channels + c, c);
}

}  // namespace
