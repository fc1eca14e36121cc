"""Similarities against MONAI, NumPy, float64 references, finite differences and closed forms."""

import numpy as np
import pytest
import torch
from monai.losses import GlobalMutualInformationLoss, LocalNormalizedCrossCorrelationLoss
from torch import Tensor

from regstudio.losses import MIND, MSE, NCC, GlobalNCC, Grad, MutualInformation
from regstudio.networks.local_ncc import box_sum, local_ncc
from tests.losses.gradients import with_gradient


def texture(seed: int, batch: int = 1, height: int = 40, width: int = 28) -> Tensor:
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed))


def naive_ncc(fixed: Tensor, warped: Tensor, win: int) -> Tensor:
    """The formula window by window, centred on each window's mean, in float64."""

    def windows(image: Tensor) -> Tensor:
        radius = win // 2
        padded = torch.nn.functional.pad(image.double(), (radius,) * 4)
        patches = padded.unfold(2, win, 1).unfold(3, win, 1)
        return patches - patches.mean((-2, -1), keepdim=True)

    f, w = windows(fixed), windows(warped)
    cross, var_f, var_w = ((a * b).sum((-2, -1)) for a, b in ((f, w), (f, f), (w, w)))
    return -(cross**2 / (var_f * var_w + 1e-5)).mean()


@pytest.mark.parametrize("win", [3, 9, 11])
def test_ncc_equals_monai_where_no_window_is_flat(win: int) -> None:
    # MONAI floors each variance at smooth_dr where we add 1e-5 to their product: the same on textured windows.
    monai = LocalNormalizedCrossCorrelationLoss(spatial_dims=2, kernel_size=win, smooth_nr=0.0, smooth_dr=1e-5)
    fixed, warped = texture(0, batch=2), texture(1, batch=2)
    ours, our_gradient = with_gradient(NCC(win), fixed, warped)
    theirs, their_gradient = with_gradient(lambda f, w: monai(w.double(), f.double()), fixed, warped)
    torch.testing.assert_close(ours, theirs.float(), rtol=2e-4, atol=0)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=0, atol=2e-4 * float(their_gradient.abs().max()))


@pytest.mark.parametrize("win", [3, 9, 31])
def test_ncc_equals_the_formula_even_on_flat_windows(win: int) -> None:
    fixed, warped = texture(0), texture(1)
    fixed[..., :12, :] = 0.7
    warped[..., :9] = 0.31
    warped[..., -6:] = 0
    value, gradient = with_gradient(NCC(win), fixed, warped)
    expected, expected_gradient = with_gradient(lambda f, w: naive_ncc(f, w, win), fixed, warped)
    torch.testing.assert_close(value, expected.float())
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-8)


def test_ncc_gradient_of_both_images_against_finite_differences() -> None:
    inputs = [texture(seed, height=6, width=5).double().requires_grad_() for seed in (0, 1)]
    gradients = torch.autograd.grad(NCC(3)(*inputs), inputs)
    step = 1e-2  # wide, since the value comes back in float32
    for which, gradient in enumerate(gradients):
        nudge = torch.zeros_like(gradient)
        nudge[0, 0, 2, 3] = step
        up, down = ([t + sign * nudge if i == which else t for i, t in enumerate(inputs)] for sign in (1, -1))
        slope = (NCC(3)(*up) - NCC(3)(*down)).item() / (2 * step)
        assert gradient[0, 0, 2, 3].item() == pytest.approx(slope, rel=1e-2)


def test_box_sum_passes_gradcheck_twice() -> None:
    x = texture(0, height=5, width=4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: box_sum(t, 3), x)
    assert torch.autograd.gradgradcheck(lambda t: box_sum(t, 3) ** 2, x)


def test_ncc_of_an_image_with_itself_is_minus_one() -> None:
    assert NCC()(texture(0), texture(0)).item() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.25), (-1.0, 1.0)])
def test_ncc_ignores_contrast_and_brightness(gain: float, offset: float) -> None:
    # Inside, that is: a window over the border sees the brightness against the zeros outside.
    fixed, warped = texture(0).double(), texture(1).double()
    before, after = (local_ncc(fixed, image, 9)[..., 4:-4, 4:-4] for image in (warped, gain * warped + offset))
    torch.testing.assert_close(before, after, rtol=1e-5, atol=0)


def test_ncc_of_a_constant_image_is_zero_with_finite_gradients() -> None:
    flat = torch.full((1, 1, 40, 28), 0.7)
    assert local_ncc(texture(0).double(), flat.double(), 9)[..., 4:-4, 4:-4].max() < 1e-12
    _, gradient = with_gradient(NCC(), texture(0), flat)
    assert gradient.isfinite().all()
    assert NCC()(texture(0), torch.zeros_like(flat)).item() == 0


def test_ncc_stays_in_range_far_outside_the_unit_interval() -> None:
    flat, noisy = torch.full((1, 1, 40, 28), 4095.0), texture(0) * 1e-3 + 4095.0
    value, gradient = with_gradient(NCC(), noisy, flat)
    assert -1 <= value.item() <= 0
    assert gradient.isfinite().all()


def test_ncc_repeats_a_single_fixed_image_over_the_batch() -> None:
    fixed, warped = texture(0), texture(1, batch=3)
    value, gradient = with_gradient(NCC(), fixed, warped)
    expected, expected_gradient = with_gradient(NCC(), fixed.expand(3, -1, -1, -1), warped)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_losses_are_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    fixed, warped, flow = texture(0).to(dtype), texture(1).to(dtype), torch.ones(1, 2, 8, 8, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, roughness = NCC()(fixed, warped), Grad()(flow)
    assert value.dtype == roughness.dtype == torch.float32
    torch.testing.assert_close(value, naive_ncc(fixed, warped, 9).float())


@pytest.mark.parametrize("win", [1, 8, 0, -9])
def test_ncc_refuses_a_window_without_a_centre(win: int) -> None:
    with pytest.raises(ValueError, match=f"odd number of at least 3; got {win}"):
        NCC(win)


@pytest.mark.parametrize("fixed_shape", [(2, 1, 40, 28), (1, 1, 28, 40), (40, 28)])
def test_ncc_names_shapes_that_do_not_fit(fixed_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"fixed has shape \(.*\) and warped \(3, 1, 40, 28\)"):
        NCC()(torch.zeros(fixed_shape), texture(0, batch=3))


def test_mutual_information_equals_monai() -> None:
    fixed, warped = texture(0, batch=2), texture(0, batch=2) ** 2
    monai = GlobalMutualInformationLoss(kernel_type="gaussian", num_bins=32, smooth_nr=1e-20, smooth_dr=1e-20)
    ours, our_gradient = with_gradient(MutualInformation(32), fixed, warped)
    theirs, their_gradient = with_gradient(lambda f, w: monai(w, f), fixed, warped)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=0, atol=1e-3 * float(their_gradient.abs().max()))


def test_mutual_information_ignores_how_grey_values_are_mapped() -> None:
    fixed = texture(0)
    inverted, other, flat = 1 - fixed, texture(1), torch.full_like(fixed, 0.5)
    loss = MutualInformation()
    assert loss(fixed, inverted).item() == pytest.approx(loss(fixed, fixed).item(), rel=1e-4)
    assert loss(fixed, inverted) < loss(fixed, other) < loss(fixed, flat) + 1e-6
    assert loss(fixed, flat).item() == pytest.approx(0, abs=1e-5)


def test_mutual_information_has_finite_gradients_for_binary_images() -> None:
    fixed = texture(0).round()
    _, gradient = with_gradient(MutualInformation(), fixed, fixed.clone())
    assert gradient.isfinite().all()


def test_mutual_information_repeats_a_single_fixed_image_over_the_batch() -> None:
    fixed, warped = texture(0), texture(1, batch=3)
    expected = MutualInformation()(fixed.expand(3, -1, -1, -1), warped)
    torch.testing.assert_close(MutualInformation()(fixed, warped), expected)


def test_mutual_information_refuses_a_single_bin() -> None:
    with pytest.raises(ValueError, match="at least 2; got 1"):
        MutualInformation(1)


def test_global_ncc_is_minus_the_correlation_of_the_grey_values() -> None:
    fixed, warped = texture(0), texture(1, batch=2) + texture(0)
    expected = -np.mean([np.corrcoef(fixed.ravel(), one.ravel())[0, 1] for one in warped])
    assert GlobalNCC()(fixed, warped).item() == pytest.approx(expected, abs=1e-5)
    assert GlobalNCC()(fixed, 3 - 2 * fixed).item() == pytest.approx(1, abs=1e-5)


def test_global_ncc_of_a_constant_image_is_zero_with_finite_gradients() -> None:
    value, gradient = with_gradient(GlobalNCC(), texture(0), torch.full((1, 1, 40, 28), 0.7))
    assert value.item() == pytest.approx(0, abs=1e-4)
    assert gradient.isfinite().all()


def test_mse_is_the_mean_squared_difference() -> None:
    fixed, warped = texture(0), texture(1, batch=2)
    expected = np.mean((fixed.numpy() - warped.numpy()) ** 2)
    assert MSE()(fixed, warped).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [GlobalNCC(), MSE(), MutualInformation(), MIND()])
def test_every_similarity_names_shapes_that_do_not_fit(loss: torch.nn.Module) -> None:
    with pytest.raises(ValueError, match=r"fixed has shape \(2, 1, 40, 28\) and warped \(3, 1, 40, 28\)"):
        loss(texture(0, batch=2), texture(0, batch=3))
