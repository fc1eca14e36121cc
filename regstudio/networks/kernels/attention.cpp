// What channel attention does to whole maps. They have a multiple of 8 channels.

#include "parts.hpp"

extern "C" {

// sums (batch, channels) of the pixels of a map, or of its product with `other` if that is there
void channel_sums(int64_t batch, int64_t pixels, int channels, const float* map, const float* other, float* sums) {
    for (int64_t sample = 0; sample < batch; sample++) {
        const float* first = map + sample * pixels * channels;
        const float* second = other ? other + sample * pixels * channels : nullptr;
        sum_pixels<1>(pixels, channels, sums + sample * channels, [&](int64_t at, int, Half* of) {
            of[0] += second ? load_half(first + at) * load_half(second + at) : load_half(first + at);
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
            Half value = load_half(factors + c) * load_half(map + from + at);
            if (base) value += load_half(base + from + at);
            if (shift) value += load_half(shift + sample * channels + c);
            store_half(out + from + at, value);
        });
    }
}

}  // extern "C"
