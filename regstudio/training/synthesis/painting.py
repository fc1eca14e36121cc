"""What a scanner sees of a map of labels: contrasts, texture, shading, blur, noise, and what is missing."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from regstudio.training.synthesis.anatomy import BACKGROUND, Labels
from regstudio.training.synthesis.noise import Floats, Size, rough_noise, smooth_noise


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """How bright each label is, (labels,), and how strongly the tissue's own texture is seen; it may be negative."""

    brightness: npt.NDArray[np.float64]
    texture: float


def draw_contrasts(random: Generator, labels: int) -> tuple[Contrast, Contrast]:
    """Return the contrasts of two images: the same, nearly the same, a curve of one another, inverted or unrelated."""
    first = _contrast(random, labels)
    kind = random.random()
    if kind < 0.25:
        return first, first
    if kind < 0.45:
        shifted = first.brightness + random.normal(scale=random.uniform(0.02, 0.15), size=labels)
        return first, replace(first, brightness=shifted)
    if kind < 0.55:
        return first, replace(first, brightness=np.clip(first.brightness, 0, 1) ** math.exp(random.normal(scale=0.6)))
    if kind < 0.65:
        return first, Contrast(brightness=1 - first.brightness, texture=-first.texture)
    return first, _contrast(random, labels)


def _contrast(random: Generator, labels: int) -> Contrast:
    brightness = random.random(labels)
    if random.random() < 0.35:  # soft tissue between bone and air: most are nearly alike
        alike = random.random(labels) < 0.7
        brightness[alike] = random.uniform(0.2, 0.8) + random.uniform(0.02, 0.12) * (brightness[alike] - 0.5)
    if random.random() < 0.25:  # what this scanner cannot tell apart
        several = random.random(labels) < random.uniform(0.2, 0.6)
        brightness[several] = random.random()
    if random.random() < 0.8:
        brightness[BACKGROUND] = 0
    texture = random.uniform(-0.2, 0.3) if random.random() < 0.6 else 0.0
    return Contrast(brightness=brightness, texture=texture)


def draw_texture(random: Generator, labels: Labels, side: int) -> Floats:
    """Return the texture (H, W) that tissue has wherever it goes; the background has none."""
    texture: Floats = rough_noise(random, 1, _size(labels), side * random.uniform(0.015, 0.1), octaves=2)[0]
    texture[labels == BACKGROUND] = 0
    return texture


def paint(labels: Labels, texture: Floats, contrast: Contrast) -> Tensor:
    """Return the labels as they would be seen through a perfect scanner: (1, 1, H, W)."""
    image = contrast.brightness.astype(np.float32)[labels]
    if contrast.texture:
        image += np.float32(contrast.texture) * texture
    return torch.from_numpy(image)[None, None]


def acquire(random: Generator, image: Tensor) -> Tensor:
    """Return a perfect image (1, 1, H, W) as a real scanner would give it: in [0, 1]."""
    size = (image.shape[2], image.shape[3])
    side = min(size)
    if random.random() < 0.3:  # what only this image shows: another layer of the body, folds of cloth
        edge = smooth_noise(random, 1, size, side * random.uniform(0.05, 0.3)) > random.uniform(-0.5, 1.5)
        image = image + random.uniform(-0.15, 0.15) * torch.from_numpy(edge).float()
    if random.random() < 0.4:
        image = image + random.uniform(0, 0.08) * _field(random, size, side * random.uniform(0.015, 0.06))
    if random.random() < 0.15:
        image = _dropped(random, image)
    if random.random() < 0.7:
        image = image * torch.exp(random.uniform(0, 0.3) * _field(random, size, side * random.uniform(0.3, 0.9)))
    if random.random() < 0.05:  # what is seen of other scanners' images once edges alone are looked at
        image = _edges(image)
    if random.random() < 0.6:
        image = _blurred(image, random.uniform(0.3, 1.3) * side / 128)
    if random.random() < 0.8:
        image = image + random.uniform(0, 0.07) * torch.from_numpy(random.standard_normal(image.shape, np.float32))
    if random.random() < 0.12:
        image = _cropped(random, image)
    image = image - image.min()
    image = image / image.max().clamp(min=1e-6)
    if random.random() < 0.2:  # a window that cuts the brightest or the darkest off
        low, high = random.uniform(0, 0.2), random.uniform(0.6, 1)
        image = ((image - low) / (high - low)).clamp(0, 1)
    return image ** math.exp(random.normal(scale=0.3))


def _dropped(random: Generator, image: Tensor) -> Tensor:
    """The image with a few patches of one brightness in place of what was there."""
    size = (image.shape[2], image.shape[3])
    patches = _field(random, size, min(size) * random.uniform(0.08, 0.25)) > random.uniform(1.6, 2.2)
    return torch.where(patches, random.random(), image)


def _cropped(random: Generator, image: Tensor) -> Tensor:
    """The image with nothing beyond a smaller field of view, a rectangle or a disc."""
    height, width = image.shape[2:]
    if random.random() < 0.5:
        y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
        return torch.where(y.square() + x.square() < random.uniform(0.9, 1.5), image, 0)
    cropped = torch.zeros_like(image)
    top, left = (int(random.uniform(0, 0.12) * length) for length in (height, width))
    bottom, right = (length - int(random.uniform(0, 0.12) * length) for length in (height, width))
    cropped[:, :, top:bottom, left:right] = image[:, :, top:bottom, left:right]
    return cropped


def _edges(image: Tensor) -> Tensor:
    rows, columns = torch.gradient(_blurred(image, 1.0)[0, 0])
    return torch.hypot(rows, columns)[None, None]


def _blurred(image: Tensor, deviation: float) -> Tensor:
    reach = max(1, math.ceil(2.5 * deviation))
    taps = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    taps = taps / taps.sum()
    image = F.conv2d(F.pad(image, (0, 0, reach, reach), mode="replicate"), taps[None, None, :, None])
    return F.conv2d(F.pad(image, (reach, reach, 0, 0), mode="replicate"), taps[None, None, None, :])


def _field(random: Generator, size: Size, spacing: float) -> Tensor:
    return torch.from_numpy(smooth_noise(random, 1, size, max(1.5, spacing)))[None]


def _size(labels: Labels) -> Size:
    return labels.shape[0], labels.shape[1]
