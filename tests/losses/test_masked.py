"""Masked similarities against plain loops over the pixels that count."""

import numpy as np
import pytest
import torch
from torch import Tensor

from regstudio.losses.masked import masked_global_ncc, masked_information, masked_mean, masked_ncc
from regstudio.losses.similarity import GlobalNCC, MutualInformation


@pytest.fixture
def pair() -> tuple[Tensor, Tensor, Tensor]:
    images = torch.rand(2, 2, 1, 14, 17, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask = (torch.rand(2, 1, 14, 17, generator=torch.Generator().manual_seed(2)) > 0.3).double()
    mask[0, :, :, :5] = 0
    return images[0], (images[0] + images[1]) / 2, mask


def test_ncc_is_that_of_a_loop_over_windows(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    found = masked_ncc(*pair, win=5)
    for number, (fixed, warped, mask) in enumerate(zip(*(part[:, 0].numpy() for part in pair), strict=True)):
        values = []
        for y, x in np.argwhere(mask > 0):
            window = slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3)
            f, w = (image[window][mask[window] > 0] for image in (fixed, warped))
            cross = ((f - f.mean()) * (w - w.mean())).sum()
            values.append(cross**2 / (((f - f.mean()) ** 2).sum() * ((w - w.mean()) ** 2).sum() + 1e-5))
        assert found[number].item() == pytest.approx(np.mean(values), abs=1e-9)


def test_information_and_correlation_are_those_of_the_pixels_that_count(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    """A loop takes these pixels out, as an image of one row."""
    for number, (fixed, warped, mask) in enumerate(zip(*pair, strict=True)):
        f, w = (image[mask > 0].float()[None, None, None] for image in (fixed, warped))
        parts = [part[number : number + 1].float() for part in pair]
        torch.testing.assert_close(masked_information(*parts)[0], -MutualInformation()(f, w))
        torch.testing.assert_close(masked_global_ncc(*parts)[0], -GlobalNCC()(f, w))


@pytest.mark.parametrize("measure", [masked_ncc, masked_global_ncc, masked_information])
def test_what_lies_outside_has_no_value_and_no_gradient(measure, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, warped, mask = pair
    spoilt = torch.where(mask > 0, warped, 1 - warped).requires_grad_()
    value = measure(fixed, spoilt, mask)
    torch.testing.assert_close(value, measure(fixed, warped, mask))
    (gradient,) = torch.autograd.grad(value.sum(), spoilt)
    assert not gradient[mask == 0].any()
    assert gradient.isfinite().all()


def test_an_empty_mask_is_no_match_and_no_nan(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    fixed, warped, mask = pair
    for measure in (masked_ncc, masked_global_ncc, masked_information):
        assert measure(fixed, warped, 0 * mask).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert masked_mean(fixed, 0 * mask).tolist() == [0, 0]
