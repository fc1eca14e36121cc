"""NCC against the torch loss, SSIM against MONAI and closed forms."""

import numpy as np
import pytest
import torch
from monai.metrics import SSIMMetric
from scipy import ndimage

from regstudio.losses import NCC
from regstudio.metrics import ncc, ssim


@pytest.mark.parametrize("win", [3, 9])
def test_ncc_is_the_negative_of_the_loss(win: int) -> None:
    fixed, warped = np.random.default_rng(0).random((2, 30, 22), np.float32)
    fixed[:8] = 0.7
    loss = NCC(win)(torch.from_numpy(fixed)[None, None], torch.from_numpy(warped)[None, None])
    assert ncc(fixed, warped, win) == pytest.approx(-loss.item(), abs=1e-6)
    assert ncc(warped, warped, win) == pytest.approx(1, abs=1e-3)


def test_ncc_refuses_bad_shapes_and_windows() -> None:
    with pytest.raises(ValueError, match="must be the same"):
        ncc(np.zeros((8, 8)), np.zeros((8, 9)))
    with pytest.raises(ValueError, match=r"images are \(H, W\)"):
        ncc(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))
    with pytest.raises(ValueError, match="odd number"):
        ncc(np.zeros((8, 8)), np.zeros((8, 8)), win=4)


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two smooth images (40, 52) in [0, 1] that have something in common."""
    noise = np.random.default_rng(seed).random((3, 40, 52))
    smooth = [ndimage.gaussian_filter(each, 2) for each in noise]
    images = [smooth[0] + 0.5 * other for other in smooth[1:]]
    first, second = ((image - image.min()) / np.ptp(image) for image in images)
    return first, second


def test_ssim_equals_monai() -> None:
    fixed, warped = pictures(0)
    measure = SSIMMetric(spatial_dims=2, data_range=1.0, kernel_type="gaussian", win_size=11, kernel_sigma=1.5)
    expected = measure(*(torch.from_numpy(image)[None, None] for image in (fixed, warped))).item()
    assert ssim(fixed, warped) == pytest.approx(expected, abs=1e-5)  # MONAI works in float32
    assert 0.1 < expected < 0.95


def test_ssim_by_closed_forms() -> None:
    fixed, _ = pictures(1)
    assert ssim(fixed, fixed) == pytest.approx(1)
    # Two constant images differ in brightness alone.
    light, dark = np.full((32, 32), 0.8), np.full((32, 32), 0.2)
    assert ssim(light, dark) == pytest.approx((2 * 0.16 + 1e-4) / (0.64 + 0.04 + 1e-4))


def test_ssim_refuses_bad_shapes() -> None:
    with pytest.raises(ValueError, match="must be the same"):
        ssim(np.zeros((32, 32)), np.zeros((32, 33)))
    with pytest.raises(ValueError, match=r"images are \(H, W\)"):
        ssim(np.zeros((1, 32, 32)), np.zeros((1, 32, 32)))
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(np.zeros((10, 32)), np.zeros((10, 32)))


def test_a_masked_ncc_is_that_of_a_loop_over_the_pixels_that_count() -> None:
    random = np.random.default_rng(4)
    fixed, warped, mask = random.random((13, 15)), random.random((13, 15)), random.random((13, 15)) > 0.4
    values = []
    for y, x in np.argwhere(mask):
        window = slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3)
        f, w = (image[window][mask[window]] for image in (fixed, warped))
        f, w = f - f.mean(), w - w.mean()
        values.append((f * w).sum() ** 2 / ((f * f).sum() * (w * w).sum() + 1e-5))
    assert ncc(fixed, warped, 5, mask) == pytest.approx(np.mean(values))
    assert ncc(fixed, warped, 5, 0 * mask) == 0


def test_a_masked_ssim_knows_only_the_pixels_that_count() -> None:
    fixed, warped = np.random.default_rng(5).random((2, 24, 30))
    mask = np.ones((24, 30))
    assert ssim(fixed, warped, mask) == pytest.approx(ssim(fixed, warped))
    mask[:, :12] = 0
    spoilt = np.where(mask > 0, warped, 1 - warped)
    assert ssim(fixed, spoilt, mask) == pytest.approx(ssim(fixed, warped, mask), abs=1e-12)
    assert ssim(fixed, np.where(mask > 0, fixed, 0), mask) == pytest.approx(1)
    assert ssim(fixed, warped, 0 * mask) == 0
