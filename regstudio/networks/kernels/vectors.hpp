// Vectors of floats, and GELU of them.
//
// Maps are float32, (pixels, channels), with the channels next to each other: a multiple of 16 of them, or of 8 where a
// file says so.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

namespace {

constexpr int CHANNELS = 16;  // what is a multiple of 16 of them is so for the vectors of any processor

constexpr int LANES8 = 8;
typedef float Lanes8 __attribute__((vector_size(4 * LANES8), aligned(4), may_alias));

inline Lanes8 load8(const float* from) { return *reinterpret_cast<const Lanes8*>(from); }
inline void store8(float* to, Lanes8 value) { *reinterpret_cast<Lanes8*>(to) = value; }

inline float sum(Lanes8 v) {
    typedef int32_t Order __attribute__((vector_size(4 * LANES8)));
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
constexpr int LANES = LANES8, ROWS = 6, COLUMNS = 2;
typedef Lanes8 Vector;
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

}  // namespace
