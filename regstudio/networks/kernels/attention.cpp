// What channel attention does to whole maps. They have a multiple of 8 channels.

#include "exports.hpp"
#include "threads.hpp"

namespace {

// sums (batch, channels) of the pixels of a map, or of its product with `other` if that is there
void channel_sums(int64_t batch, int64_t pixels, int channels, const float* map, const float* other, float* sums) {
    for (int64_t sample = 0; sample < batch; sample++) {
        const float* first = map + sample * pixels * channels;
        const float* second = other ? other + sample * pixels * channels : nullptr;
        sum_pixels<1>(pixels, channels, sums + sample * channels, [&](int64_t at, int, Lanes8* of) {
            of[0] += second ? load8(first + at) * load8(second + at) : load8(first + at);
        });
    }
}

// out = base + factor * map + shift; base, a map, and shift may be missing; factor and shift (batch, channels)
void scale_channels(int64_t batch, int64_t pixels, int channels, const float* base, const float* map,
                    const float* factor, const float* shift, float* out) {
    for (int64_t sample = 0; sample < batch; sample++) {
        int64_t from = sample * pixels * channels;
        const float* factors = factor + sample * channels;
        each_pixel(pixels, channels, [&](int64_t at, int c) {
            Lanes8 value = load8(factors + c) * load8(map + from + at);
            if (base) value += load8(base + from + at);
            if (shift) value += load8(shift + sample * channels + c);
            store8(out + from + at, value);
        });
    }
}

EXPORT(channel_sums);
EXPORT(scale_channels);

}  // namespace
