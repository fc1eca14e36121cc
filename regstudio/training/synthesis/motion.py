"""Random maps with an inverse: an affine map after the flow of a smooth velocity field."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from regstudio.networks.warp import affine_after, integrate, inverse_affine_after
from regstudio.training.synthesis.noise import Floats, Size, smooth_noise

# Waves of a velocity: their length and largest standard deviation, as shares of the shorter side.
WAVES = ((1 / 2, 0.10), (1 / 4, 0.05), (1 / 8, 0.02), (1 / 16, 0.006))
COARSE = 2  # velocities are so smooth that they are drawn and integrated at half the size


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """A map on a canvas: `flow` (1, 2, H, W), in pixels, takes each place to where it comes from; `inverse` back."""

    flow: Tensor
    inverse: Tensor


def draw_motion(random: Generator, size: Size, side: int, *, smooth: float, affine: float) -> Motion:
    """Return a random motion of a canvas of `size`, whose field of view has `side` pixels on its shorter side.

    `smooth` and `affine` are strengths: 0 for none, 1 for as large as it gets between two patients.
    """
    coarse = (-(-size[0] // COARSE), -(-size[1] // COARSE))
    velocity = torch.from_numpy(_velocity(random, coarse, side / COARSE, smooth))[None]
    matrix = torch.from_numpy(_matrix(random, size, side, affine).astype(np.float32))[None]
    there, back = (_enlarged(integrate(field), size) for field in (velocity, -velocity))
    return Motion(flow=affine_after(matrix, there), inverse=inverse_affine_after(matrix, back))


def _enlarged(flow: Tensor, size: Size) -> Tensor:
    larger = F.interpolate(flow, scale_factor=COARSE, mode="bilinear", align_corners=False)
    return COARSE * larger[:, :, : size[0], : size[1]]


def _velocity(random: Generator, size: Size, side: float, strength: float) -> Floats:
    velocity = np.zeros((2, *size), np.float32)
    if not strength:
        return velocity
    for length, deviation in WAVES:
        scale = np.float32(strength * random.random() * deviation * side)
        velocity += scale * smooth_noise(random, 2, size, length * side)
    if random.random() < 0.4:
        for _ in range(random.integers(1, 4)):
            velocity += np.float32(strength) * _pulse(random, size, side)
    return velocity


def _pulse(random: Generator, size: Size, side: float) -> Floats:
    """The velocity of a place that swells or shrinks, as a heart does, by up to 2.5 times each way."""
    centre = np.array(size) * random.uniform(0.2, 0.8, 2)
    grid = np.indices(size, np.float32) - centre[:, None, None].astype(np.float32)
    width = side * random.uniform(0.05, 0.25)
    near = np.exp(-np.square(grid).sum(axis=0) / np.float32(2 * width**2))
    pulse: Floats = np.float32(random.uniform(-0.9, 0.9)) * grid * near
    return pulse


def _matrix(random: Generator, size: Size, side: int, strength: float) -> npt.NDArray[np.float64]:
    """A turn, scales, a shear and a shift about the centre of the canvas: (2, 3)."""
    turn, log_rows, log_columns, shear, *shift = strength * random.normal(size=6) * (0.3, 0.15, 0.15, 0.1, 0.1, 0.1)
    scale = math.exp(log_rows)
    linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = linear @ np.array([[scale, shear], [0, scale * math.exp(log_columns / 2)]])
    centre = (np.array(size) - 1) / 2
    return np.column_stack((linear, centre - linear @ centre + side * np.array(shift)))
