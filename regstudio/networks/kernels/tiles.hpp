// The way of 3x3 convolutions between maps and the points of winograd.hpp: maps are cut into tiles.

#pragma once

#include <array>

#include "threads.hpp"
#include "winograd.hpp"

namespace {

constexpr int TILES = 32;  // at a time: what they turn into stays in the cache

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

// Tiles that lie side by side in the map; `before` others of their block come first.
struct Run {
    int64_t sample, top, left;
    int count, before;
};

// The runs of a block of tiles.
struct Runs {
    std::array<Run, TILES> items;
    int count = 0;

    const Run* begin() const { return items.data(); }
    const Run* end() const { return items.data() + count; }
};

// Maps (batch, height, width), their tiles numbered, and these in blocks.
struct Tiles {
    int64_t batch, height, width;

    int64_t down() const { return (height + SIZE - 1) / SIZE; }
    int64_t across() const { return (width + SIZE - 1) / SIZE; }
    int64_t count() const { return batch * down() * across(); }
    int64_t blocks() const { return (count() + TILES - 1) / TILES; }
    int in_block(int64_t block) const { return int(std::min<int64_t>(TILES, count() - block * TILES)); }

    Runs runs(int64_t block) const {
        Runs found;
        for (int before = 0; before < in_block(block);) {
            int64_t row = (block * TILES + before) / across(), column = (block * TILES + before) % across();
            int many = int(std::min(in_block(block) - before, int(across() - column)));
            found.items[found.count++] = {row / down(), row % down() * SIZE, column * SIZE, many, before};
            before += many;
        }
        return found;
    }
};

// A block of tiles on its way between a map and the points, one axis after the other. A line is a row of pixels, already
// transformed along the columns: one line for each of the six points of that axis. Maps become lines, and each line
// becomes the points of its row; results go back the same way.
class TileRows {
  public:
    TileRows(const Tiles& tiles, int channels)
        : tiles(tiles), channels(channels), length(SPAN * TILES * channels + 2 * LANES), lines(SPAN * length),
          border(SPAN * length) {}

    void of_input(const Runs& runs, const float* x) {
        for (const Run& run : runs) take<SPAN>(run, x, -1, [](auto& from, auto& to) { input_to_points(from, to); });
    }
    void of_gradient(const Runs& runs, const float* grad, float* sums) {
        for (const Run& run : runs) {
            take<SIZE>(run, grad, 0, [](auto& from, auto& to) { result_to_points(from, to); });
            for (int row = 0; row < rows(run); row++)
                add_rows(columns(run), channels, grad + place(run, row), sums);
        }
    }
    // y = start + what the lines give, both (.., channels); start repeats itself from pixel to pixel
    void to_result(const Runs& runs, const float* start, float* y) {
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
    void input_to(const Runs& runs, int row, F place) {
        to_points<SPAN>(runs, row, place, [](auto& from, auto& to) { input_to_points(from, to); });
    }
    template <class F>
    void gradient_to(const Runs& runs, int row, F place) {
        to_points<SIZE>(runs, row, place, [](auto& from, auto& to) { result_to_points(from, to); });
    }
    template <class F>
    void result_from(const Runs& runs, int row, F place) {
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
    Buffer lines, border;

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
            row[i] = pixels(map, run.sample, run.top + i + shift, run.left + shift, count, border + i * length);
        each(count * channels, [&](int64_t i, auto one) {
            decltype(one) from[ROWS], to[SPAN];
            for (int j = 0; j < ROWS; j++) get(row[j] + i, from[j]);
            to_points(from, to);
            for (int j = 0; j < SPAN; j++) put(line(j, run) + i, to[j]);
        });
    }

    // The pixels of row `y` from `left` on: where they are, or copied into `padded` if some lie beyond the map, which are zero.
    const float* pixels(const float* map, int64_t sample, int64_t y, int64_t left, int64_t count, float* padded) const {
        const float* row = map + (sample * tiles.height + y) * tiles.width * channels;
        int64_t first = std::max<int64_t>(left, 0), end = std::min(left + count, tiles.width);
        if (y < 0 || y >= tiles.height) first = end = left;
        if (first == left && end == left + count) return row + left * channels;
        memset(padded, 0, sizeof(float) * count * channels);
        memcpy(padded + (first - left) * channels, row + first * channels, sizeof(float) * (end - first) * channels);
        return padded;
    }

    template <int PIXELS, class Place, class F>
    void to_points(const Runs& runs, int row, Place place, F to_points) {
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
