"""Random maps of labels: regions, bodies with shells, organs with walls, strokes, stripes and holes."""

import math

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from regstudio.training.synthesis.noise import Floats, Size, rough_noise

Labels = npt.NDArray[np.int64]
BACKGROUND = 0


class _Canvas:
    """A map of labels that is painted on, each layer over those before, every new structure with a label of its own."""

    def __init__(self, random: Generator, size: Size) -> None:
        self.random, self.size, self.side = random, size, min(size)
        self.labels: Labels = np.zeros(size, np.int64)
        self.count = 1
        axes = (np.linspace(-length / self.side, length / self.side, length, dtype=np.float32) for length in size)
        # Points (y, x) from the centre, with half of the shorter side as the unit.
        self.y, self.x = np.meshgrid(*axes, indexing="ij")
        self.mirrored = random.random() < 0.3

    def noise(self, spacing: float, channels: int = 1) -> Floats:
        """Fields (channels, H, W) that vary over a share of the shorter side; in a mirrored canvas, mirrored."""
        field = rough_noise(self.random, channels, self.size, max(2.0, spacing * self.side))
        return (field + field[:, :, ::-1]) * np.float32(math.sqrt(0.5)) if self.mirrored else field

    def paint(self, where: npt.NDArray[np.bool_], label: int | None = None) -> None:
        """Give the pixels a label, a new one if none is named."""
        if label is None:
            label = self.count
            self.count += 1
        self.labels[where] = label


def draw_anatomy(random: Generator, size: Size) -> Labels:
    """Return a map of labels (H, W), 0 for the background and 1, 2, ... for structures."""
    canvas = _Canvas(random, size)
    _regions(canvas)
    if random.random() < 0.75:
        _body(canvas)
    for _ in range(random.poisson(2.5)):
        _organ(canvas)
    if random.random() < 0.4:
        _strokes(canvas)
    if random.random() < 0.15:
        _stripes(canvas)
    if random.random() < 0.25:
        canvas.paint(canvas.noise(random.uniform(0.05, 0.25))[0] > random.uniform(1.2, 1.8), BACKGROUND)
    return canvas.labels


def _regions(canvas: _Canvas) -> None:
    """Cover everything: with patches that border on one another, with bands one in another, or with one tissue."""
    random = canvas.random
    kind, spacing = random.random(), _log_uniform(random, 0.07, 0.4)
    if kind < 0.6:
        count = int(random.integers(3, 12))
        canvas.labels[:] = 1 + canvas.noise(spacing, count).argmax(axis=0)
    elif kind < 0.8:
        count = int(random.integers(3, 8))
        levels = np.sort(random.uniform(-1.5, 1.5, count - 1))
        canvas.labels[:] = 1 + np.searchsorted(levels, canvas.noise(spacing)[0])
    else:
        count = 1
        canvas.labels[:] = 1
    canvas.count = 1 + count


def _body(canvas: _Canvas) -> None:
    """Leave a round body, often within shells such as skin and bone, on an empty background."""
    random = canvas.random
    roughness = random.uniform(0, 0.12) * canvas.noise(random.uniform(0.2, 0.5))[0]
    depth = 1 - _radius(canvas, (0.0, 0.0), random.uniform(0.5, 0.95, 2), 0.0) + roughness
    if random.random() < 0.6:
        edges = np.cumsum(random.uniform(0.02, 0.12, random.integers(1, 4)))[::-1]
        for edge in edges:
            canvas.paint(depth < edge)
    canvas.paint(depth < 0, BACKGROUND)


def _organ(canvas: _Canvas) -> None:
    """Paint a rounded structure, at times hollow, at times with its mirror image."""
    random = canvas.random
    centre, radii = random.uniform(-0.65, 0.65, 2), _log_uniform(random, 0.05, 0.45) * random.uniform(0.6, 1.4, 2)
    bend = random.uniform(0, 0.25) * canvas.noise(random.uniform(0.08, 0.3))[0]
    radius = _radius(canvas, (centre[0], centre[1]), radii, random.uniform(0, math.pi)) + bend
    if random.random() < 0.25:
        radius = np.minimum(radius, radius[:, ::-1])
    canvas.paint(radius < 1)
    if random.random() < 0.4:
        canvas.paint(radius < random.uniform(0.5, 0.85))


def _strokes(canvas: _Canvas) -> None:
    """Paint winding lines such as vessels: where a field is near 0, as far as another one lets them go."""
    random = canvas.random
    spacing, width = random.uniform(0.1, 0.4), random.uniform(0.006, 0.03)
    near = np.abs(canvas.noise(spacing)[0]) < width / spacing
    canvas.paint(near & (canvas.noise(0.25)[0] > random.uniform(-0.5, 0.8)))


def _stripes(canvas: _Canvas) -> None:
    """Paint a row of bars such as ribs or vertebrae, bent, in a part of the canvas."""
    random = canvas.random
    angle, frequency = random.uniform(0, math.pi), random.uniform(3, 12)
    along = math.cos(angle) * canvas.y + math.sin(angle) * (np.abs(canvas.x) if canvas.mirrored else canvas.x)
    phase = np.mod(frequency * (along + 0.1 * canvas.noise(0.4)[0]), 1)
    canvas.paint((phase < random.uniform(0.2, 0.6)) & (canvas.noise(0.4)[0] > random.uniform(-0.5, 0.8)))


def _radius(canvas: _Canvas, centre: tuple[float, float], radii: npt.NDArray[np.float64], angle: float) -> Floats:
    """Distance from the centre of an ellipse, 1 on its edge."""
    y, x = canvas.y - np.float32(centre[0]), canvas.x - np.float32(centre[1])
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    rows, columns = (cosine * y + sine * x) / np.float32(radii[0]), (cosine * x - sine * y) / np.float32(radii[1])
    distance: Floats = np.sqrt(rows * rows + columns * columns)
    return distance


def _log_uniform(random: Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** random.random())
