// Bilinear warping of maps of any number of channels, and its gradients.

#include "exports.hpp"
#include "threads.hpp"

namespace {

constexpr int MAX_THREADS = 8;  // each needs a map of its own to scatter gradients into

// Where a map's values lie: how many floats apart samples, channels and pixels are.
struct Layout {
    int64_t sample, channel, pixel;
};

struct Sizes {
    int64_t batch, channels, height, width, out_height, out_width;
};

// The four pixels around a place, those that are inside the image, and how much each counts.
struct Place {
    bool inside[2][2] = {};
    int64_t row = 0, column = 0;
    float down = 0, right = 0;
    bool moves_down = true, moves_right = true;  // rather than along the border

    Place(float y, float x, int64_t height, int64_t width, bool border) {
        if (border) {
            moves_down = y > 0 && y < height - 1;
            moves_right = x > 0 && x < width - 1;
            y = y < 0 ? 0 : y > height - 1 ? height - 1 : y;
            x = x < 0 ? 0 : x > width - 1 ? width - 1 : x;
        }
        if (!(y > -1 && y < height && x > -1 && x < width)) return;
        row = int64_t(std::floor(y));
        column = int64_t(std::floor(x));
        down = y - row;
        right = x - column;
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++)
                inside[i][j] = row + i >= 0 && row + i < height && column + j >= 0 && column + j < width;
    }

    float weight(int i, int j) const { return (i ? down : 1 - down) * (j ? right : 1 - right); }
    int64_t pixel(int i, int j, int64_t width) const { return (row + i) * width + column + j; }
};

// Values of one channel, or of eight that lie next to each other.
template <class V>
V take(const float* from) {
    return *reinterpret_cast<const V*>(from);
}

template <class V>
void put(float* to, V value) {
    *reinterpret_cast<V*>(to) = value;
}

inline float total(float value) { return value; }
inline float total(Lanes8 value) { return sum(value); }

template <class V>
void sample_row(const Sizes& of, int64_t number, const float* image, Layout layout, const float* flow, Layout vectors,
                bool border, float* out, Layout layout_out) {
    constexpr int STEP = sizeof(V) / sizeof(float);
    int64_t sample = number / of.out_height, y = number % of.out_height;
    for (int64_t x = 0; x < of.out_width; x++) {
        int64_t pixel = y * of.out_width + x;
        const float* vector = flow + sample * vectors.sample + pixel * vectors.pixel;
        float to_y = y + vector[0], to_x = x + vector[vectors.channel];
        Place place(to_y, to_x, of.height, of.width, border);
        float nothing = to_y + to_x == to_y + to_x ? 0 : NAN;  // what is lost must not look like background
        for (int64_t c = 0; c < of.channels; c += STEP) {
            V value = V{} + nothing;
            for (int i = 0; i < 2; i++)
                for (int j = 0; j < 2; j++)
                    if (place.inside[i][j])
                        value += place.weight(i, j) * take<V>(image + sample * layout.sample + c * layout.channel +
                                                              place.pixel(i, j, of.width) * layout.pixel);
            put(out + sample * layout_out.sample + c * layout_out.channel + pixel * layout_out.pixel, value);
        }
    }
}

template <class V>
void sample_row_backward(const Sizes& of, int64_t number, const float* image, Layout layout, const float* flow,
                         Layout vectors, bool border, const float* grad, Layout layout_grad, float* grad_image,
                         Layout layout_image, float* grad_flow) {
    constexpr int STEP = sizeof(V) / sizeof(float);
    int64_t sample = number / of.out_height, y = number % of.out_height, area = of.out_height * of.out_width;
    for (int64_t x = 0; x < of.out_width; x++) {
        int64_t pixel = y * of.out_width + x;
        const float* vector = flow + sample * vectors.sample + pixel * vectors.pixel;
        Place place(y + vector[0], x + vector[vectors.channel], of.height, of.width, border);
        V along_y{}, along_x{};
        for (int64_t c = 0; c < of.channels; c += STEP) {
            V slope = take<V>(grad + sample * layout_grad.sample + c * layout_grad.channel + pixel * layout_grad.pixel);
            for (int i = 0; i < 2; i++)
                for (int j = 0; j < 2; j++) {
                    if (!place.inside[i][j]) continue;
                    int64_t there = place.pixel(i, j, of.width);
                    V value = slope * take<V>(image + sample * layout.sample + c * layout.channel +
                                              there * layout.pixel);
                    along_y += (i ? 1 : -1) * (j ? place.right : 1 - place.right) * value;
                    along_x += (j ? 1 : -1) * (i ? place.down : 1 - place.down) * value;
                    if (!grad_image) continue;
                    float* to = grad_image + sample * layout_image.sample + c * layout_image.channel +
                                there * layout_image.pixel;
                    put(to, take<V>(to) + place.weight(i, j) * slope);
                }
        }
        float* to = grad_flow + sample * 2 * area + pixel;
        to[0] = place.moves_down ? total(along_y) : 0;
        to[area] = place.moves_right ? total(along_x) : 0;
    }
}

inline bool in_eights(const Sizes& of, Layout first, Layout second) {
    return of.channels % LANES8 == 0 && first.channel == 1 && second.channel == 1;
}

// out(p) = image(p + flow(p)), the flow in pixels, rows first; beyond the image 0, or with `border` its outermost pixels
void warp(const Sizes* of, const float* image, const Layout* layout, const float* flow, const Layout* vectors,
          bool border, float* out, const Layout* layout_out) {
    bool eights = in_eights(*of, *layout, *layout_out);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < of->batch * of->out_height; row++)
        (eights ? sample_row<Lanes8> : sample_row<float>)(*of, row, image, *layout, flow, *vectors, border, out,
                                                        *layout_out);
}

// The gradients of the flow, (batch, 2, height, width), and of the image if `grad_image` is there, all 0 as yet.
void warp_backward(const Sizes* of, const float* image, const Layout* layout, const float* flow, const Layout* vectors,
                   bool border, const float* grad, const Layout* layout_grad, float* grad_image,
                   const Layout* layout_image, float* grad_flow) {
    bool eights = in_eights(*of, *layout, *layout_grad) && (!grad_image || layout_image->channel == 1);
    int64_t size = grad_image ? of->batch * of->channels * of->height * of->width : 0;
    int threads = std::min(omp_get_max_threads(), MAX_THREADS);
    Buffer others((threads - 1) * size);
    on_threads(threads, [&](int thread, int used) {
        float* own = !grad_image || thread == 0 ? grad_image : others + (thread - 1) * size;
        auto [first, end] = share(of->batch * of->out_height, thread, used);
        for (int64_t row = first; row < end; row++)
            (eights ? sample_row_backward<Lanes8> : sample_row_backward<float>)(*of, row, image, *layout, flow, *vectors,
                                                                              border, grad, *layout_grad, own,
                                                                              *layout_image, grad_flow);
#pragma omp barrier
        auto [begin, last] = share(size, thread, used);
        for (int other = 0; other < used - 1; other++)
            for (int64_t i = begin; i < last; i++) grad_image[i] += others[other * size + i];
    });
}

EXPORT(warp);
EXPORT(warp_backward);

}  // namespace
