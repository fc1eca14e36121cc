// Products of small matrices, with as many sums at a time as the processor has registers for.

#pragma once

#include "vectors.hpp"

namespace {

// A matrix, or what repeats one value along a row (column 0) or one row over and over (row 0).
struct Matrix {
    const float* at;
    int64_t row, column;  // how far the next one is
};

constexpr float ZERO = 0;
constexpr Matrix ZERO_MATRIX{&ZERO, 0, 0};

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

}  // namespace
