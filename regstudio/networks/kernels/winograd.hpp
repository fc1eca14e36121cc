// Winograd's F(4x4, 3x3): 3x3 convolutions with a quarter of the multiplications.
//
// Source: Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A tile of 4 x 4 pixels of the
// result needs 6 x 6 of the input. Both, and the weights, are seen as polynomials along each axis: what is a
// convolution of their coefficients is, at each of 6 x 6 points, a product of their values. So the channels of all tiles
// at a point are one matrix product. The points are 0, +-a, +-b and infinity; with a = sqrt(1/2) and b = sqrt(2), the
// rounding errors are 0.4 of those with the usual 1 and 2, and about those of a direct sum.

#pragma once

namespace {

constexpr int SIZE = 4, SPAN = SIZE + 2, POINTS = SPAN * SPAN;
constexpr float a = 0.70710678f, b = 1.41421356f;

// The values at +-a and +-b of a polynomial, from the sums of its even and of its odd terms.
template <class T>
void set_pairs(T even_a, T odd_a, T even_b, T odd_b, T (&points)[SPAN]) {
    points[1] = even_a + odd_a;
    points[2] = even_a - odd_a;
    points[3] = even_b + odd_b;
    points[4] = even_b - odd_b;
}

// Each of these takes one axis; T is a vector or a float.
template <class T>
void input_to_points(const T (&x)[SPAN], T (&points)[SPAN]) {
    T even_a = x[4] - 2 * x[2], odd_a = a * (x[3] - 2 * x[1]);
    T even_b = x[4] - 0.5f * x[2], odd_b = b * (x[3] - 0.5f * x[1]);
    points[0] = x[0] - 2.5f * x[2] + x[4];
    set_pairs(even_a, odd_a, even_b, odd_b, points);
    points[5] = x[1] - 2.5f * x[3] + x[5];
}

template <class T>
void weights_to_points(const T (&w)[3], T (&points)[SPAN]) {
    T even_a = (w[0] + 0.5f * w[2]) * (-2.0f / 3), odd_a = w[1] * (-2.0f / 3 * a);
    T even_b = (w[0] + 2 * w[2]) * (1.0f / 6), odd_b = w[1] * (1.0f / 6 * b);
    points[0] = w[0];
    set_pairs(even_a, odd_a, even_b, odd_b, points);
    points[5] = w[2];
}

template <class T>
void points_to_result(const T (&points)[SPAN], T (&y)[SIZE]) {
    T even_a = points[1] + points[2], odd_a = a * (points[1] - points[2]);
    T even_b = points[3] + points[4], odd_b = b * (points[3] - points[4]);
    y[0] = points[0] + even_a + even_b;
    y[1] = odd_a + odd_b;
    y[2] = 0.5f * even_a + 2 * even_b;
    y[3] = 0.5f * odd_a + 2 * odd_b + points[5];
}

// The gradients of the last two.
template <class T>
void points_to_weights(const T (&points)[SPAN], T (&w)[3]) {
    T even_a = (points[1] + points[2]) * (-2.0f / 3), odd_a = (points[1] - points[2]) * (-2.0f / 3 * a);
    T even_b = (points[3] + points[4]) * (1.0f / 6), odd_b = (points[3] - points[4]) * (1.0f / 6 * b);
    w[0] = points[0] + even_a + even_b;
    w[1] = odd_a + odd_b;
    w[2] = 0.5f * even_a + 2 * even_b + points[5];
}

template <class T>
void result_to_points(const T (&y)[SIZE], T (&points)[SPAN]) {
    T even_a = y[0] + 0.5f * y[2], odd_a = a * (y[1] + 0.5f * y[3]);
    T even_b = y[0] + 2 * y[2], odd_b = b * (y[1] + 2 * y[3]);
    points[0] = y[0];
    set_pairs(even_a, odd_a, even_b, odd_b, points);
    points[5] = y[3];
}

}  // namespace
