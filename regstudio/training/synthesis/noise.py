"""Smooth random fields, which shapes, motions and shades are all made of."""

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

Floats = npt.NDArray[np.float32]
Size = tuple[int, int]

_SPLINE_STD = 0.479  # of a cubic B-spline in two dimensions whose coefficients have variance 1, averaged over places


def smooth_noise(random: Generator, channels: int, size: Size, spacing: float) -> Floats:
    """Return independent fields (channels, H, W) of mean 0 and variance 1 that vary over `spacing` pixels.

    They are cubic B-splines with random coefficients, and so have two continuous derivatives.
    """
    rows, columns = (_spline_weights(length, spacing, random.random()) for length in size)
    shape = (channels, rows.shape[1], columns.shape[1])
    coefficients = random.standard_normal(shape, dtype=np.float32)
    field: Floats = np.matmul(rows @ coefficients, columns.T)
    return field


def rough_noise(random: Generator, channels: int, size: Size, spacing: float, octaves: int = 2) -> Floats:
    """Return the sum of smooth noise at `spacing`, and at half of it with half the strength, and so on; variance 1."""
    total = smooth_noise(random, channels, size, spacing)
    strengths = [2.0**-octave for octave in range(octaves)]
    for octave in range(1, octaves):
        total += strengths[octave] * smooth_noise(random, channels, size, spacing * strengths[octave])
    total /= np.float32(np.linalg.norm(strengths))
    return total


def _spline_weights(length: int, spacing: float, phase: float) -> Floats:
    """Cubic B-splines at knots `spacing` apart, the first `phase` of it before the first pixel: (length, knots)."""
    place = np.arange(length) / spacing + phase
    knot = place.astype(int)
    t = place - knot
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    matrix: Floats = np.zeros((length, knot[-1] + 4), np.float32)
    np.put_along_axis(matrix, knot[:, None] + np.arange(4), weights / np.sqrt(_SPLINE_STD), axis=1)
    return matrix
