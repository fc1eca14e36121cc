"""Quality without labels: closed forms, and made degradations of which each is worse than the one before."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from regstudio.data.pairs.pair import pair_of_arrays
from regstudio.networks.warp import integrate
from regstudio.transforms.quality import SEARCHES, TYPICAL, quality
from regstudio.transforms.registration import Registration
from regstudio.transforms.resampling import warp
from regstudio.transforms.transform import Transform

SIZE = (128, 144)
ZERO = np.zeros((2, *SIZE), np.float32)
REACH = SEARCHES[0][1]


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random(SIZE)
    image = sum(sigma * gaussian_filter(noise, sigma) for sigma in (2, 5, 10))
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def wave(pixels: float) -> np.ndarray:
    y, x = np.indices(SIZE) / 20
    return pixels * np.stack((np.sin(y + x), np.cos(y - x))).astype(np.float32)


def test_equal_images_have_the_highest_quality() -> None:
    assert quality(texture(), texture(), ZERO) == 1
    assert quality(texture(), texture(), ZERO, ZERO) == 1
    blank = np.full(SIZE, 0.5, np.float32)
    assert quality(blank, blank, ZERO) == 1  # nothing is left to be found, as there is nothing


@pytest.mark.parametrize("inverted", [False, True])
def test_brightness_and_sign_do_not_matter(inverted: bool) -> None:
    fixed = texture()
    assert quality(fixed, (1 - 0.5 * fixed) if inverted else 0.5 * fixed + 0.2, ZERO) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_a_shift_is_doubted_by_its_length(pixels: int) -> None:
    """Both searches find it: the finer one in whole pixels, the other as half of it, rounded."""
    image = texture()
    doubt = TYPICAL * (1 / quality(image, np.roll(image, pixels, axis=1), ZERO) - 1)
    found = np.mean([pixels / SEARCHES[0][1], pixels / 2 / SEARCHES[1][1]])
    assert doubt == pytest.approx(found, abs=0.13)


def test_the_farther_off_the_lower() -> None:
    moving = texture()
    values = [quality(moving, warp(moving, wave(pixels), "bilinear"), wave(pixels)) for pixels in (0, 0.7, 1.5, 2.5, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1
    assert values[-1] < 0.4


def test_a_random_flow_and_another_image_have_a_low_quality() -> None:
    image, flow = texture(), np.random.default_rng(0).normal(0, 6, (2, *SIZE)).astype(np.float32)
    assert quality(image, warp(image, flow, "bilinear"), flow) < 0.3
    assert quality(image, texture(1), ZERO) < 0.35


def test_folds_count_as_wrong_places_even_where_images_agree() -> None:
    image = texture()
    values = []
    for columns in (0, 16, 48, 144):
        flow = ZERO.copy()
        flow[1, :, :columns] = -3 * np.arange(columns)  # x -> -2 x
        values.append(quality(image, image, flow))
    assert values == sorted(values, reverse=True)
    assert values[0] == 1
    assert values[-1] == pytest.approx(1 / (1 + 1 / TYPICAL), rel=0.03)


def test_an_inverse_that_leads_elsewhere_is_doubted() -> None:
    image = texture()
    off = ZERO + np.array([1.5, 0], np.float32)[:, None, None]
    assert quality(image, image, ZERO, off) == pytest.approx(1 / (1 + 1.5 / REACH / TYPICAL), rel=1e-5)
    assert quality(image, image, ZERO, 10 * off) == pytest.approx(1 / (1 + 1 / TYPICAL), rel=1e-5)
    import torch

    velocity = torch.from_numpy(wave(3))[None]
    flow, inverse = (integrate(sign * velocity)[0].numpy() for sign in (1, -1))
    assert quality(image, image, flow, inverse) == pytest.approx(quality(image, image, flow), abs=0.05)


def test_a_flow_that_is_not_finite_is_worth_nothing() -> None:
    assert quality(texture(), texture(), ZERO * np.nan) == 0


@pytest.mark.parametrize("size", [(32, 32), (40, 300), (500, 60)])
def test_any_size_of_images(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(size).astype(np.float32)
    zero = np.zeros((2, *size), np.float32)
    assert quality(image, image, zero) == 1
    assert 0 < quality(image, np.roll(image, 2, axis=0), zero) < 0.5


def test_a_registration_has_it_among_its_metrics() -> None:
    pair = pair_of_arrays(texture(), np.roll(texture(), 2, axis=0))
    good, bad = (
        Registration(pair=pair, transform=Transform(flow=ZERO + np.array([shift, 0])[:, None, None], seconds=0))
        for shift in (2, 0)
    )
    assert good.metrics["quality"] == good.quality > 0.9
    assert bad.quality < 0.6


def test_what_a_mask_covers_is_not_doubted() -> None:
    image, mask = texture(), np.ones(SIZE, np.float32)
    mask[:, 70:] = 0
    spoilt = np.where(mask > 0, image, texture(seed=1))
    assert quality(image, spoilt, ZERO) < 0.7
    assert quality(image, spoilt, ZERO, mask=mask) > 0.95
    assert quality(image, np.roll(spoilt, 2, axis=0), ZERO, mask=mask) < 0.7
    assert quality(image, image, ZERO, mask=np.ones_like(mask)) == 1
    assert quality(image, image, ZERO, mask=np.zeros_like(mask)) == 0


def test_only_places_near_the_outlines_of_a_label_are_asked() -> None:
    image = texture()
    side = len(image)
    spoilt, label = image.copy(), np.zeros(image.shape, np.uint8)
    spoilt[: side // 3] = texture(1)[: side // 3]
    label[3 * side // 4 :] = 2
    assert quality(image, spoilt, ZERO) < 0.7
    assert quality(image, spoilt, ZERO, label=label) > 0.95
    assert quality(image, spoilt, ZERO, label=np.roll(label, side // 2, axis=0)) < 0.7
    assert quality(image, spoilt, ZERO, label=np.zeros_like(label)) == quality(image, spoilt, ZERO)


def test_where_a_mask_leaves_no_outline_all_of_it_is_asked() -> None:
    image = texture()
    label, mask = np.zeros(image.shape, np.uint8), np.ones(image.shape, np.float32)
    label[:4] = 1
    mask[:8] = 0
    rolled = np.roll(image, 2, axis=0)
    assert quality(image, rolled, ZERO, mask=mask, label=label) == quality(image, rolled, ZERO, mask=mask)
