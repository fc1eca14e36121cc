// 3x3 convolutions padded with zeros, and their gradients.

#include "exports.hpp"
#include "products.hpp"
#include "tiles.hpp"

namespace {

constexpr int PANEL = 32;  // columns of a matrix that lie together

inline int64_t padded(int64_t channels) { return (channels + CHANNELS - 1) / CHANNELS * CHANNELS; }

// How far the matrix of the next point is: a vector more than its size, or all would fall into one set of the cache.
inline int64_t spaced(int64_t rows, int64_t columns) { return rows * columns + LANES; }

// A matrix (rows, columns) in panels of 32 columns, the last one perhaps narrower: each lies in one piece.
struct Panels {
    int64_t rows, columns;

    int64_t width(int64_t column) const { return std::min<int64_t>(PANEL, columns - column / PANEL * PANEL); }
    int64_t place(int64_t row, int64_t column) const {
        return column / PANEL * PANEL * rows + row * width(column) + column % PANEL;
    }
};

// sums (rows, columns) = start + left (rows, inner) x right (inner, columns), which lies in panels
inline void product_of_panels(int rows, Matrix start, Matrix left, const float* right, const Panels& panels,
                              float* sums) {
    for (int64_t column = 0; column < panels.columns; column += PANEL) {
        int width = int(panels.width(column));
        Matrix here{start.at + column * start.column, start.row, start.column};
        product(rows, int(panels.rows), width, here, left, right + panels.place(0, column), width, sums + column,
                panels.columns);
    }
}

// Weights (outs, 3, 3, ins) of a convolution, or of that which takes the result's gradient to the input's.
struct Weights {
    const float* at;
    int ins, outs;
    bool transposed;

    int inner() const { return transposed ? outs : ins; }
    int64_t columns() const { return padded(transposed ? ins : outs); }
    int64_t area() const { return spaced(inner(), columns()); }

    // The matrices (inner, columns) of all points; by all threads.
    void to_points(float* points) const {
        Panels panels{inner(), columns()};
#pragma omp for schedule(static) collapse(2)
        for (int64_t column = 0; column < panels.columns; column += LANES)
            for (int row = 0; row < inner(); row += LANES) {
                Vector taps[3][3][LANES];
                for (int tap = 0; tap < 9; tap++) gather(tap, row, int(column), taps[tap / 3][tap % 3]);
                for (int i = 0; i < LANES && row + i < inner(); i++) {
                    Vector half[3][SPAN];
                    for (int y = 0; y < 3; y++) {
                        Vector line[3] = {taps[y][0][i], taps[y][1][i], taps[y][2][i]};
                        weights_to_points(line, half[y]);
                    }
                    float* to = points + panels.place(row + i, column);
                    for (int j = 0; j < SPAN; j++) {
                        Vector line[3] = {half[0][j], half[1][j], half[2][j]}, values[SPAN];
                        weights_to_points(line, values);
                        for (int r = 0; r < SPAN; r++) store(to + (r * SPAN + j) * area(), values[r]);
                    }
                }
            }
    }

  private:
    // A tap's matrix, from `row` and `column` on.
    void gather(int tap, int row, int column, Vector (&rows)[LANES]) const {
        for (int i = 0; i < LANES; i++) {
            int out = transposed ? row + i : column + i, in = transposed ? column : row;
            rows[i] = out < outs ? load_part(at + (out * 9 + (transposed ? 8 - tap : tap)) * ins + in, ins - in) : Vector{};
        }
        if (!transposed) transpose(rows);
    }
};

// Weights (out, 3, 3, in) of the matrices (in, columns) of all points, the sums of `parts`.
void points_to_all_weights(int in, int out, const float* points, int parts, int64_t stride, float* weights) {
    int64_t columns = padded(out), area = spaced(in, columns);
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t column = 0; column < columns; column += LANES)
        for (int row = 0; row < in; row += LANES) {
            Vector taps[9][LANES]{};
            for (int i = 0; i < LANES && row + i < in; i++) {
                const float* from = points + (row + i) * columns + column;
                Vector half[3][SPAN];
                for (int j = 0; j < SPAN; j++) {
                    Vector line[SPAN]{}, transposed[3];
                    for (int r = 0; r < SPAN; r++)
                        for (int part = 0; part < parts; part++)
                            line[r] += load(from + part * stride + (r * SPAN + j) * area);
                    points_to_weights(line, transposed);
                    for (int y = 0; y < 3; y++) half[y][j] = transposed[y];
                }
                for (int y = 0; y < 3; y++) {
                    Vector line[3];
                    points_to_weights(half[y], line);
                    for (int x = 0; x < 3; x++) taps[3 * y + x][i] = line[x];
                }
            }
            for (int tap = 0; tap < 9; tap++) {
                transpose(taps[tap]);
                for (int i = 0; i < LANES && column + i < out; i++)
                    store_part(weights + ((column + i) * 9 + tap) * in + row, taps[tap][i], in - row);
            }
        }
}

// y (batch, height, width, outs) of x (batch, height, width, ins), weights (outs, 3, 3, ins), and perhaps a bias.
// With `transposed`, y is the gradient of the input instead, (.., ins), and x that of the result, (.., outs).
void convolution(int64_t batch, int64_t height, int64_t width, int ins, int outs, const float* x, const float* weights,
                 const float* bias, bool transposed, float* y) {
    Tiles tiles{batch, height, width};
    Weights given{weights, ins, outs, transposed};
    Panels panels{given.inner(), given.columns()};
    int in = given.inner(), out = transposed ? ins : outs;
    int64_t in_row = padded(in), in_point = TILES * in_row, out_point = TILES * panels.columns;
    Buffer matrices(POINTS * given.area(), Buffer::UNSET), start(SIZE * TILES * out);
    for (int64_t i = 0; bias && i < SIZE * TILES * out; i++) start[i] = bias[i % out];
    on_threads(omp_get_max_threads(), [&](int thread, int threads) {
        given.to_points(matrices);  // the threads wait for each other here, so no allocation may come before
        TileRows before(tiles, in), after(tiles, out);
        Buffer inputs(SPAN * in_point), results(SPAN * out_point);
        auto [first, end] = share(tiles.blocks(), thread, threads);
        for (int64_t block = first; block < end; block++) {
            auto runs = tiles.runs(block);
            before.of_input(runs, x);
            for (int row = 0; row < SPAN; row++) {
                before.input_to(runs, row, [&](int j, int tile, int c) {
                    return inputs + j * in_point + tile * in_row + c;
                });
                for (int j = 0; j < SPAN; j++)
                    product_of_panels(tiles.in_block(block), ZERO_MATRIX, {inputs + j * in_point, in_row, 1},
                                      matrices + (row * SPAN + j) * given.area(), panels, results + j * out_point);
                after.result_from(runs, row, [&](int j, int tile, int c) {
                    return results + j * out_point + tile * panels.columns + c;
                });
            }
            after.to_result(runs, start, y);
        }
    });
}

// The gradients of the weights, (out, 3, 3, in), and of the bias.
void convolution_backward(int64_t batch, int64_t height, int64_t width, int in, int out, const float* x,
                          const float* grad, float* grad_weights, float* grad_bias) {
    Tiles tiles{batch, height, width};
    int busy = int(std::min<int64_t>(omp_get_max_threads(), tiles.blocks()));
    int64_t columns = padded(out), in_row = padded(in), in_point = TILES * in_row, out_point = TILES * columns;
    int64_t area = spaced(in, columns), of_bias = POINTS * area, stride = of_bias + columns + LANES;
    Buffer parts(busy * stride, Buffer::UNSET);
    on_threads(busy, [&](int thread, int threads) {
        for (int part = thread; part < busy; part += threads) {  // perhaps fewer threads are there
            float* own = parts + part * stride;
            memset(own + of_bias, 0, sizeof(float) * columns);
            TileRows of_x(tiles, in), of_grad(tiles, out);
            Buffer inputs(SPAN * in_point), grads(SPAN * out_point);
            auto [first, end] = share(tiles.blocks(), part, busy);
            for (int64_t block = first; block < end; block++) {
                auto runs = tiles.runs(block);
                Panels panels{tiles.in_block(block), columns};
                of_x.of_input(runs, x);
                of_grad.of_gradient(runs, grad, own + of_bias);
                for (int row = 0; row < SPAN; row++) {
                    of_x.input_to(runs, row, [&](int j, int tile, int c) {
                        return inputs + j * in_point + tile * in_row + c;
                    });
                    of_grad.gradient_to(runs, row, [&](int j, int tile, int c) {
                        return grads + j * out_point + panels.place(tile, c);
                    });
                    for (int j = 0; j < SPAN; j++) {
                        float* sums = own + (row * SPAN + j) * area;
                        product_of_panels(in, block == first ? ZERO_MATRIX : Matrix{sums, columns, 1},
                                          {inputs + j * in_point, 1, in_row}, grads + j * out_point, panels, sums);
                    }
                }
            }
        }
    });
    points_to_all_weights(in, out, parts, busy, stride, grad_weights);
    add_up(out, busy, parts + of_bias, stride, grad_bias);
}

EXPORT(convolution);
EXPORT(convolution_backward);

}  // namespace
