"""MIND descriptors against a plain loop over pixels, and what the loss ignores and sees."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses import MIND, mind_descriptors
from tests.losses.gradients import with_gradient


def texture(seed: int, batch: int = 1, height: int = 20, width: int = 14) -> Tensor:
    noise = torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(F.pad(noise, (1, 1, 1, 1), mode="replicate"), 3, 1)


def by_loops(image: npt.NDArray[np.float64], win: int, dilation: int) -> npt.NDArray[np.float64]:
    """The definition, pixel by pixel: (H, W) -> (6, H, W)."""
    height, width = image.shape
    radius = win // 2

    def value(row: int, column: int) -> float:
        return float(image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)])

    neighbours = ((-dilation, 0), (dilation, 0), (0, -dilation), (0, dilation))
    distances = np.zeros((6, height, width))
    for number, (one, other) in enumerate(combinations(neighbours, 2)):
        for row, column in np.ndindex(height, width):
            differences = [
                value(row + one[0] + i, column + one[1] + j) - value(row + other[0] + i, column + other[1] + j)
                for i in range(-radius, radius + 1)
                for j in range(-radius, radius + 1)
            ]
            distances[number, row, column] = np.mean(np.square(differences))
    distances -= distances.min(axis=0)
    variance = distances.mean(axis=0)
    return np.exp(-distances / np.clip(variance, 1e-3 * variance.mean(), 1e3 * variance.mean()))


@pytest.mark.parametrize(("win", "dilation"), [(3, 2), (5, 1), (1, 3)])
def test_descriptors_equal_a_plain_loop(win: int, dilation: int) -> None:
    image = texture(0)
    image[:, :, :9, :8] = 0.25  # where the variance is clamped
    expected = by_loops(image[0, 0].double().numpy(), win, dilation)
    np.testing.assert_allclose(mind_descriptors(image, win, dilation)[0].numpy(), expected, atol=2e-4)


def test_descriptors_of_a_batch_are_those_of_each_image() -> None:
    images = torch.cat((texture(0), 0.1 * texture(1)))
    alone = torch.cat([mind_descriptors(image[None]) for image in images])
    torch.testing.assert_close(mind_descriptors(images), alone)


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.25), (-1.0, 1.0), (-0.3, 0.4)])
def test_mind_ignores_brightness_contrast_and_its_sign(gain: float, offset: float) -> None:
    image = texture(0)
    assert MIND()(image, gain * image + offset).item() == pytest.approx(0, abs=1e-4)


def test_mind_of_an_inverted_image_is_least_where_it_lies_right() -> None:
    image = texture(0, height=40, width=40)
    inverted = 1 - image.square()
    values = [MIND()(image, inverted.roll(shift, 3)).item() for shift in (-3, -2, -1, 0, 1, 2, 3)]
    assert int(np.argmin(values)) == 3


def test_mind_of_constant_images_is_zero_with_finite_gradients() -> None:
    flat = torch.full((1, 1, 20, 14), 0.7)
    value, gradient = with_gradient(MIND(), flat, flat)
    assert value == 0
    assert gradient.isfinite().all()
    value, gradient = with_gradient(MIND(), texture(0), flat)
    assert 0 < value <= 1
    assert gradient.isfinite().all()


def test_mind_gradient_against_finite_differences() -> None:
    fixed, warped = texture(0, height=9, width=8), texture(1, height=9, width=8)
    _, gradient = with_gradient(MIND(), fixed, warped)
    direction = torch.randn(warped.shape, generator=torch.Generator().manual_seed(2))
    step = 1e-3
    slope = (MIND()(fixed, warped + step * direction) - MIND()(fixed, warped - step * direction)).item() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=0.05)


def test_mind_repeats_a_single_fixed_image_over_the_batch() -> None:
    fixed, warped = texture(0), texture(1, batch=3)
    torch.testing.assert_close(MIND()(fixed, warped), MIND()(fixed.expand(3, -1, -1, -1), warped))


@pytest.mark.parametrize(("win", "dilation"), [(2, 1), (0, 1), (3, 0)])
def test_mind_refuses_patches_that_do_not_exist(win: int, dilation: int) -> None:
    with pytest.raises(ValueError, match=f"got {win} and {dilation}"):
        MIND(win, dilation)
