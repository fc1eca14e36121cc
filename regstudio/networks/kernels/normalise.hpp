// Layer norm of a few pixels, and its gradients.

#pragma once

#include "vectors.hpp"

namespace {

constexpr int MAX_ROWS = 64;  // rows at a time: a window of 7 x 7 pixels, and a whole number of vectors

// The mean of each row, and 1 / its standard deviation. All rows take each step together: alone, a row's steps would wait
// for each other.
struct Statistics {
    float mean[MAX_ROWS], scale[MAX_ROWS];

    Statistics() {}
    Statistics(int rows, int channels, const float* x, float epsilon) { compute(rows, channels, x, epsilon); }

    void compute(int rows, int channels, const float* x, float epsilon) {
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

// Set grad_x, and add to the gradients of weight and bias.
inline void normalise_backward(int rows, int channels, const float* x, const Statistics& of, const float* weight,
                               const float* grad, float* grad_x, float* grad_weight, float* grad_bias) {
    float mean[MAX_ROWS], along[MAX_ROWS];
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

}  // namespace
