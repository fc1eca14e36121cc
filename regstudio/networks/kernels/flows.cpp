// Images seen through a flow, flows integrated by scaling and squaring, and the gradients by the flow.
//
// Maps are planes, (batch, channels, height, width); a flow has two, the displacements down and to the right in pixels.

#include "exports.hpp"
#include "threads.hpp"

namespace {

struct Size {
    int64_t height, width;
    int64_t pixels() const { return height * width; }
};

// Call f(sample, row) for all rows, on all threads where there is enough to do.
template <class F>
void each_row(int64_t batch, Size size, F f) {
    constexpr int64_t MIN_PIXELS = 4096;
#pragma omp parallel for schedule(static) if (batch * size.pixels() >= MIN_PIXELS)
    for (int64_t row = 0; row < batch * size.height; row++) f(row / size.height, row % size.height);
}

// --- Images ---

// Places on one axis: `between` the pixels `low` and `high`, of which `low_in` and `high_in` are inside. `moves` is 0 where
// a place was brought back to the border: there it has no gradient.
struct Places {
    Integers low, high, low_in, high_in;
    Vector between, moves;

    Places(Vector at, int64_t length, bool border) {
        Vector least = all(border ? 0.0f : -1.0f), most = all(border ? length - 1.0f : length + 0.0f);
        moves = (at > least) & (at < most) ? all(1) : all(0);
        at = at > least ? (at < most ? at : most) : least;  // what is no number becomes the least
        low = __builtin_convertvector(at + 1.0f, Integers) - 1;  // rounds down, as nothing is below -1
        between = at - __builtin_convertvector(low, Vector);
        Integers last = Integers{} + static_cast<int32_t>(length - 1);
        low_in = (low >= 0) & (low <= last), high_in = low < last;
        high = high_in ? low + 1 : last;
        low = low >= 0 ? (low <= last ? low : last) : 0;
    }
};

// The values of a plane at the four pixels around places, as many as a vector has lanes; 0 beyond the plane.
struct Corners {
    Places y, x;
    Integers above, below;  // where their rows begin

    Corners(Vector row, Vector column, Size size, bool border) : y(row, size.height, border), x(column, size.width, border) {
        int32_t width = static_cast<int32_t>(size.width);
        above = y.low * width, below = y.high * width;
    }

    struct Values {
        Vector above_left, above_right, below_left, below_right;
    };

    Values of(const float* plane) const {
        return {pick(plane, above + x.low, y.low_in & x.low_in), pick(plane, above + x.high, y.low_in & x.high_in),
                pick(plane, below + x.low, y.high_in & x.low_in), pick(plane, below + x.high, y.high_in & x.high_in)};
    }

    Vector value(const float* plane) const {
        Values v = of(plane);
        Vector above = v.above_left + x.between * (v.above_right - v.above_left);
        return above + y.between * (v.below_left + x.between * (v.below_right - v.below_left) - above);
    }

    // Adds to the slopes how the value, times `grad`, changes as the places go down and to the right.
    void add_slopes(const float* plane, Vector grad, Vector& down, Vector& right) const {
        Values v = of(plane);
        Vector left = v.below_left - v.above_left, above = v.above_right - v.above_left;
        down += grad * y.moves * (left + x.between * (v.below_right - v.above_right - left));
        right += grad * x.moves * (above + y.between * (v.below_right - v.below_left - above));
    }

  private:
    static Vector pick(const float* plane, Integers at, Integers inside) {
        Vector values;
        for (int lane = 0; lane < LANES; lane++) values[lane] = plane[at[lane]];
        return inside ? values : all(0);
    }
};

// Call f(first pixel, how many pixels, corners) along a row of a flow through images of a size.
template <class F>
inline void along(const float* flow, int64_t row, Size size, Size of_image, bool border, F f) {
    Vector lanes;
    for (int lane = 0; lane < LANES; lane++) lanes[lane] = lane;
    for (int64_t x = 0; x < size.width; x += LANES) {
        int64_t at = row * size.width + x, count = std::min<int64_t>(LANES, size.width - x);
        Vector down = load_part(flow + at, count), right = load_part(flow + size.pixels() + at, count);
        f(at, count, Corners(down + float(row), right + lanes + float(x), of_image, border));
    }
}

// warped (batch, channels, the flow's size) = image(p + flow(p)); beyond the image its border, or 0
void warp(int64_t batch, int64_t channels, int64_t height, int64_t width, int64_t flow_height, int64_t flow_width,
          const float* image, const float* flow, bool border, float* warped) {
    Size from{height, width}, to{flow_height, flow_width};
    each_row(batch, to, [&](int64_t sample, int64_t row) {
        const float* planes = image + sample * channels * from.pixels();
        float* out = warped + sample * channels * to.pixels();
        along(flow + sample * 2 * to.pixels(), row, to, from, border, [&](int64_t at, int64_t count, const Corners& corners) {
            for (int64_t c = 0; c < channels; c++)
                store_part(out + c * to.pixels() + at, corners.value(planes + c * from.pixels()), count);
        });
    });
}

// The gradient by the flow.
void warp_backward(int64_t batch, int64_t channels, int64_t height, int64_t width, int64_t flow_height,
                   int64_t flow_width, const float* image, const float* flow, bool border, const float* grad,
                   float* grad_flow) {
    Size from{height, width}, to{flow_height, flow_width};
    each_row(batch, to, [&](int64_t sample, int64_t row) {
        const float* planes = image + sample * channels * from.pixels();
        const float* grads = grad + sample * channels * to.pixels();
        float *down = grad_flow + sample * 2 * to.pixels(), *right = down + to.pixels();
        along(flow + sample * 2 * to.pixels(), row, to, from, border, [&](int64_t at, int64_t count, const Corners& corners) {
            Vector down_slope{}, right_slope{};
            for (int64_t c = 0; c < channels; c++) {
                Vector of = load_part(grads + c * to.pixels() + at, count);
                corners.add_slopes(planes + c * from.pixels(), of, down_slope, right_slope);
            }
            store_part(down + at, down_slope, count);
            store_part(right + at, right_slope, count);
        });
    });
}

// --- Flows ---

// Here the two displacements of a pixel lie side by side: (height, width, 2). Four floats are two neighbours in a row.
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

inline Four load4(const float* from) { return *reinterpret_cast<const Four*>(from); }
inline void store4(float* to, Four value) { *reinterpret_cast<Four*>(to) = value; }

// Where a flow (height, width, 2), of at least two pixels each way, leads from a pixel: brought back to its border.
struct Target {
    int64_t at, below;  // of the pixel above and left of it, and of the one below that
    float y, x, y_moves, x_moves;

    Target(const float* displacement, int64_t row, int64_t column, Size size) {
        int64_t top = place(row + displacement[0], size.height, y, y_moves);
        int64_t left = place(column + displacement[1], size.width, x, x_moves);
        at = 2 * (top * size.width + left), below = at + 2 * size.width;
    }

  private:
    static int64_t place(float at, int64_t length, float& between, float& moves) {
        float last = static_cast<float>(length - 1);
        moves = at > 0 && at < last ? 1.0f : 0.0f;
        at = at > 0 ? (at < last ? at : last) : 0.0f;  // what is no number becomes 0
        int64_t low = std::min<int64_t>(static_cast<int32_t>(at), length - 2);
        between = at - low;
        return low;
    }
};

// The flows before the last `kept` compositions are left in `history` (kept, batch, height, width, 2), two at least; if all
// are, in their order. The result is planes again.
void integrate(int64_t batch, int64_t height, int64_t width, int64_t steps, int64_t kept, const float* velocity,
               float* history, float* flow) {
    Size size{height, width};
    int64_t pixels = size.pixels(), floats = 2 * pixels;
    float scale = std::ldexp(1.0f, -static_cast<int>(steps));
    each_row(batch, size, [&](int64_t sample, int64_t row) {
        const float* from = velocity + sample * floats;
        float* to = history + sample * floats;
        for (int64_t p = row * width; p < (row + 1) * width; p++)
            to[2 * p] = from[p] * scale, to[2 * p + 1] = from[pixels + p] * scale;
    });
    for (int64_t step = 0; step < steps; step++) {
        bool last = step + 1 == steps;
        each_row(batch, size, [&](int64_t sample, int64_t row) {
            const float* from = history + (step % kept * batch + sample) * floats;
            float* to = last ? flow + sample * floats : history + ((step + 1) % kept * batch + sample) * floats;
            for (int64_t column = 0; column < width; column++) {
                int64_t p = row * width + column;
                Target target(from + 2 * p, row, column, size);
                Four above = load4(from + target.at), below = load4(from + target.below);
                above += target.y * (below - above);
                float down = from[2 * p] + above[0] + target.x * (above[2] - above[0]);
                float right = from[2 * p + 1] + above[1] + target.x * (above[3] - above[1]);
                if (last)
                    to[p] = down, to[pixels + p] = right;
                else
                    to[2 * p] = down, to[2 * p + 1] = right;
            }
        });
    }
}

// Add to `earlier`, the gradient by a flow, what a pixel's share of `grads`, that by the flow composed with itself, gives.
inline void step_back(const float* flow, const float* grads, int64_t row, int64_t column, Size size, float* earlier) {
    int64_t p = 2 * (row * size.width + column);
    Target target(flow + p, row, column, size);
    Four above = load4(flow + target.at), down = load4(flow + target.below) - above;
    Four middle = above + target.y * down, of{grads[p], grads[p + 1], grads[p], grads[p + 1]};
    Four along_y = of * down, along_x = of * middle;
    float left = along_y[0] + along_y[1], right = along_y[2] + along_y[3];
    earlier[p] += target.y_moves * (left + target.x * (right - left));
    earlier[p + 1] += target.x_moves * (along_x[2] + along_x[3] - along_x[0] - along_x[1]);
    Four share = of * Four{1 - target.x, 1 - target.x, target.x, target.x}, lower = target.y * share;
    store4(earlier + target.at, load4(earlier + target.at) + (share - lower));
    store4(earlier + target.below, load4(earlier + target.below) + lower);
}

// The gradient by the velocity, of one sample after the other on each thread: what is added to overlaps.
void integrate_backward(int64_t batch, int64_t height, int64_t width, int64_t steps, const float* history,
                        const float* grad, float* grad_velocity) {
    Size size{height, width};
    int64_t pixels = size.pixels(), floats = 2 * pixels;
    float scale = std::ldexp(1.0f, -static_cast<int>(steps));
    int threads = static_cast<int>(std::min<int64_t>(omp_get_max_threads(), batch));
    on_threads(threads, [&](int thread, int threads) {
        Buffer spare(2 * floats, Buffer::UNSET);
        float *grads = spare, *earlier = spare + floats;
        auto [first, end] = share(batch, thread, threads);
        for (int64_t sample = first; sample < end; sample++) {
            const float* from = grad + sample * floats;
            for (int64_t p = 0; p < pixels; p++) grads[2 * p] = from[p], grads[2 * p + 1] = from[pixels + p];
            for (int64_t step = steps; step-- > 0; std::swap(grads, earlier)) {
                const float* flow = history + (step * batch + sample) * floats;
                memcpy(earlier, grads, sizeof(float) * floats);
                // Neighbours add to the same pixels, and would wait for each other: so four parts of the image take turns.
                int64_t part = (height + 3) / 4;
                for (int64_t top = 0; top < part; top++)
                    for (int64_t column = 0; column < width; column++)
                        for (int64_t row = top; row < height; row += part) step_back(flow, grads, row, column, size, earlier);
            }
            float* to = grad_velocity + sample * floats;
            for (int64_t p = 0; p < pixels; p++) to[p] = grads[2 * p] * scale, to[pixels + p] = grads[2 * p + 1] * scale;
        }
    });
}

EXPORT(warp);
EXPORT(warp_backward);
EXPORT(integrate);
EXPORT(integrate_backward);

}  // namespace
