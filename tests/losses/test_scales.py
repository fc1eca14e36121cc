"""A similarity at several scales is the mean of what it is on images averaged over squares of pixels."""

import pytest
import torch
from torch import Tensor

from regstudio.losses import MSE, NCC, AtScales, Objective


def images(height: int = 64, width: int = 48) -> tuple[Tensor, Tensor]:
    fixed, warped = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(0)).split(1)
    return fixed, warped


def shrunk(image: Tensor, factor: int) -> Tensor:
    height, width = (side // factor for side in image.shape[2:])
    return image.view(1, 1, height, factor, width, factor).mean(dim=(3, 5))


def test_it_is_the_mean_over_full_half_and_quarter_size() -> None:
    fixed, warped = images()
    each = [MSE()(shrunk(fixed, factor), shrunk(warped, factor)) for factor in (1, 2, 4)]
    torch.testing.assert_close(AtScales(MSE(), 3, min_side=8)(fixed, warped), torch.stack(each).mean())


def test_one_scale_is_the_similarity_itself() -> None:
    fixed, warped = images()
    torch.testing.assert_close(AtScales(NCC(5), 1)(fixed, warped), NCC(5)(fixed, warped))


def test_scales_too_small_are_left_out() -> None:
    fixed, warped = images(height=40, width=70)
    two = (MSE()(fixed, warped) + MSE()(shrunk(fixed, 2), shrunk(warped, 2))) / 2
    torch.testing.assert_close(AtScales(MSE(), 4, min_side=16)(fixed, warped), two)
    torch.testing.assert_close(AtScales(MSE(), 4, min_side=99)(fixed, warped), MSE()(fixed, warped))


def test_less_than_one_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1; got 0"):
        AtScales(MSE(), 0)


def test_the_setting_changes_the_objective_s_ncc() -> None:
    fixed, warped = images()
    field = torch.zeros(1, 2, 64, 48)
    terms = Objective(ncc_win=5, ncc_scales=2)(fixed, warped, field, field)
    torch.testing.assert_close(terms["ncc"], (NCC(5)(fixed, warped) + NCC(5)(shrunk(fixed, 2), shrunk(warped, 2))) / 2)
