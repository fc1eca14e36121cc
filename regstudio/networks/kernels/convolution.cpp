// 3x3 convolutions padded with zeros, and their gradients.

#include <vector>

#include "parts.hpp"
#include "winograd.hpp"

namespace {

constexpr int TILES = 32;  // at a time: what comes of so many stays in the cache
constexpr int PANEL = 32;  // columns of a matrix that lie together

inline int64_t padded(int64_t channels) { return (channels + CHANNELS - 1) / CHANNELS * CHANNELS; }

// How far the matrix of the next point is: a vector more than its size, or all would fall into one set of the cache.
inline int64_t spaced(int64_t rows, int64_t columns) { return rows * columns + LANES; }

// Call f(i, Vector{}) for each whole vector of `count` floats, and f(i, float{}) for each of the rest.
template <class F>
void each(int64_t count, F f) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) f(i, Vector{});
    for (; i < count; i++) f(i, float{});
}
// Overloads, not templates: as a template's argument, a vector would lose that it may lie at any float.
inline void get(const float* from, Vector& to) { to = load(from); }
inline void get(const float* from, float& to) { to = *from; }
inline void put(float* to, Vector value) { store(to, value); }
inline void put(float* to, float value) { *to = value; }

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
    bool turned;

    int inner() const { return turned ? outs : ins; }
    int64_t columns() const { return padded(turned ? ins : outs); }
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
            int out = turned ? row + i : column + i, in = turned ? column : row;
            rows[i] = out < outs ? load_part(at + (out * 9 + (turned ? 8 - tap : tap)) * ins + in, ins - in) : Vector{};
        }
        if (!turned) transpose(rows);
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
                    Vector line[SPAN]{}, turned[3];
                    for (int r = 0; r < SPAN; r++)
                        for (int part = 0; part < parts; part++)
                            line[r] += load(from + part * stride + (r * SPAN + j) * area);
                    points_to_weights(line, turned);
                    for (int y = 0; y < 3; y++) half[y][j] = turned[y];
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

// Tiles that lie side by side in the map; `before` others of their block come first.
struct Run {
    int64_t sample, top, left;
    int count, before;
};

// Maps (batch, height, width), their tiles numbered, and these in blocks.
struct Tiles {
    int64_t batch, height, width;

    int64_t down() const { return (height + SIZE - 1) / SIZE; }
    int64_t across() const { return (width + SIZE - 1) / SIZE; }
    int64_t count() const { return batch * down() * across(); }
    int64_t blocks() const { return (count() + TILES - 1) / TILES; }
    int in_block(int64_t block) const { return int(std::min<int64_t>(TILES, count() - block * TILES)); }

    std::vector<Run> runs(int64_t block) const {
        std::vector<Run> found;
        for (int before = 0; before < in_block(block);) {
            int64_t row = (block * TILES + before) / across(), column = (block * TILES + before) % across();
            int many = int(std::min(in_block(block) - before, int(across() - column)));
            found.push_back({row / down(), row % down() * SIZE, column * SIZE, many, before});
            before += many;
        }
        return found;
    }
};

// A block of tiles on its way between a map and the points, one axis after the other: a line is a row of pixels at one
// point of the other axis. From maps come lines, and from each line the points of its row; and back.
class Lines {
  public:
    Lines(const Tiles& tiles, int channels)
        : tiles(tiles), channels(channels), length(SPAN * TILES * channels + 2 * LANES), lines(SPAN * length),
          edge(SPAN * length) {}

    void of_input(const std::vector<Run>& runs, const float* x) {
        for (const Run& run : runs) take<SPAN>(run, x, -1, [](auto& from, auto& to) { input_to_points(from, to); });
    }
    void of_gradient(const std::vector<Run>& runs, const float* grad, float* sums) {
        for (const Run& run : runs) {
            take<SIZE>(run, grad, 0, [](auto& from, auto& to) { result_to_points(from, to); });
            for (int row = 0; row < rows(run); row++)
                add_rows(columns(run), channels, grad + place(run, row), sums);
        }
    }
    // y = start + what the lines give, both (.., channels); start repeats itself from pixel to pixel
    void to_result(const std::vector<Run>& runs, const float* start, float* y) {
        for (const Run& run : runs)
            each(columns(run) * channels, [&](int64_t i, auto one) {
                decltype(one) from[SPAN], to[SIZE], first;
                for (int j = 0; j < SPAN; j++) get(line(j, run) + i, from[j]);
                points_to_result(from, to);
                get(start + i, first);
                for (int row = 0; row < rows(run); row++) put(y + place(run, row) + i, first + to[row]);
            });
    }

    // place(point, tile, channel) says where a vector belongs.
    template <class F>
    void input_to(const std::vector<Run>& runs, int row, F place) {
        to_points<SPAN>(runs, row, place, [](auto& from, auto& to) { input_to_points(from, to); });
    }
    template <class F>
    void gradient_to(const std::vector<Run>& runs, int row, F place) {
        to_points<SIZE>(runs, row, place, [](auto& from, auto& to) { result_to_points(from, to); });
    }
    template <class F>
    void result_from(const std::vector<Run>& runs, int row, F place) {
        for (const Run& run : runs)
            for (int tile = 0; tile < run.count; tile++)
                // The last channels first: what a vector holds beyond them is overwritten.
                for (int c = (channels - 1) / LANES * LANES; c >= 0; c -= LANES) {
                    Vector from[SPAN], to[SIZE];
                    for (int j = 0; j < SPAN; j++) from[j] = load(place(j, run.before + tile, c));
                    points_to_result(from, to);
                    for (int j = 0; j < SIZE; j++)
                        store(line(row, run) + (SIZE * tile + j) * channels + c, to[j]);
                }
    }

  private:
    const Tiles& tiles;
    int channels;
    int64_t length;
    Room lines, edge;

    float* line(int row, const Run& run) { return lines + row * length + run.before * SPAN * channels; }
    int64_t place(const Run& run, int64_t row) const {
        return ((run.sample * tiles.height + run.top + row) * tiles.width + run.left) * channels;
    }
    // How much of a run lies inside the map.
    int columns(const Run& run) const { return int(std::min<int64_t>(SIZE * run.count, tiles.width - run.left)); }
    int rows(const Run& run) const { return int(std::min<int64_t>(SIZE, tiles.height - run.top)); }

    // The lines of a run from `ROWS` rows of pixels, of which the first is `shift` rows and columns off the tiles'.
    template <int ROWS, class F>
    void take(const Run& run, const float* map, int shift, F to_points) {
        int64_t count = SIZE * (run.count - 1) + ROWS;
        const float* row[ROWS];
        for (int i = 0; i < ROWS; i++)
            row[i] = pixels(map, run.sample, run.top + i + shift, run.left + shift, count, edge + i * length);
        each(count * channels, [&](int64_t i, auto one) {
            decltype(one) from[ROWS], to[SPAN];
            for (int j = 0; j < ROWS; j++) get(row[j] + i, from[j]);
            to_points(from, to);
            for (int j = 0; j < SPAN; j++) put(line(j, run) + i, to[j]);
        });
    }

    // The pixels of row `y` from `left` on: where they are, or in `room` if some lie beyond the map, which are zero.
    const float* pixels(const float* map, int64_t sample, int64_t y, int64_t left, int64_t count, float* room) const {
        const float* row = map + (sample * tiles.height + y) * tiles.width * channels;
        int64_t first = std::max<int64_t>(left, 0), end = std::min(left + count, tiles.width);
        if (y < 0 || y >= tiles.height) first = end = left;
        if (first == left && end == left + count) return row + left * channels;
        memset(room, 0, sizeof(float) * count * channels);
        memcpy(room + (first - left) * channels, row + first * channels, sizeof(float) * (end - first) * channels);
        return room;
    }

    template <int PIXELS, class Place, class F>
    void to_points(const std::vector<Run>& runs, int row, Place place, F to_points) {
        for (const Run& run : runs)
            for (int tile = 0; tile < run.count; tile++)
                for (int c = 0; c < channels; c += LANES) {
                    Vector from[PIXELS], to[SPAN];
                    for (int j = 0; j < PIXELS; j++)
                        from[j] = load(line(row, run) + (SIZE * tile + j) * channels + c);
                    to_points(from, to);
                    for (int j = 0; j < SPAN; j++) store(place(j, run.before + tile, c), to[j]);
                }
    }
};

}  // namespace

extern "C" {

// y (batch, height, width, outs) of x (batch, height, width, ins), weights (outs, 3, 3, ins), and perhaps a bias.
// With `turned`, y is the gradient of the input instead, (.., ins), and x that of the result, (.., outs).
void convolution(int64_t batch, int64_t height, int64_t width, int ins, int outs, const float* x, const float* weights,
                 const float* bias, bool turned, float* y) {
    Tiles tiles{batch, height, width};
    Weights given{weights, ins, outs, turned};
    Panels panels{given.inner(), given.columns()};
    int in = given.inner(), out = turned ? ins : outs;
    int64_t in_row = padded(in), in_point = TILES * in_row, out_point = TILES * panels.columns;
    Room matrices(POINTS * given.area(), Room::UNSET), start(SIZE * TILES * out);
    for (int64_t i = 0; bias && i < SIZE * TILES * out; i++) start[i] = bias[i % out];
#pragma omp parallel
    {
        given.to_points(matrices);
        Lines before(tiles, in), after(tiles, out);
        Room inputs(SPAN * in_point), results(SPAN * out_point);
        auto [first, end] = share(tiles.blocks(), omp_get_thread_num(), omp_get_num_threads());
        for (int64_t block = first; block < end; block++) {
            auto runs = tiles.runs(block);
            before.of_input(runs, x);
            for (int row = 0; row < SPAN; row++) {
                before.input_to(runs, row, [&](int j, int tile, int c) {
                    return inputs + j * in_point + tile * in_row + c;
                });
                for (int j = 0; j < SPAN; j++)
                    product_of_panels(tiles.in_block(block), NOTHING, {inputs + j * in_point, in_row, 1},
                                      matrices + (row * SPAN + j) * given.area(), panels, results + j * out_point);
                after.result_from(runs, row, [&](int j, int tile, int c) {
                    return results + j * out_point + tile * panels.columns + c;
                });
            }
            after.to_result(runs, start, y);
        }
    }
}

// The gradients of the weights, (out, 3, 3, in), and of the bias.
void convolution_backward(int64_t batch, int64_t height, int64_t width, int in, int out, const float* x,
                          const float* grad, float* grad_weights, float* grad_bias) {
    Tiles tiles{batch, height, width};
    int threads = omp_get_max_threads(), busy = int(std::min<int64_t>(threads, tiles.blocks()));
    int64_t columns = padded(out), in_row = padded(in), in_point = TILES * in_row, out_point = TILES * columns;
    int64_t area = spaced(in, columns), of_bias = POINTS * area, stride = of_bias + columns + LANES;
    Room parts(busy * stride, Room::UNSET);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int thread = 0; thread < busy; thread++) {
        float* own = parts + thread * stride;
        memset(own + of_bias, 0, sizeof(float) * columns);
        Lines of_x(tiles, in), of_grad(tiles, out);
        Room inputs(SPAN * in_point), grads(SPAN * out_point);
        auto [first, end] = share(tiles.blocks(), thread, busy);
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
                    product_of_panels(in, block == first ? NOTHING : Matrix{sums, columns, 1},
                                      {inputs + j * in_point, 1, in_row}, grads + j * out_point, panels, sums);
                }
            }
        }
    }
    points_to_all_weights(in, out, parts, busy, stride, grad_weights);
    add_up(out, busy, parts + of_bias, stride, grad_bias);
}

}  // extern "C"
