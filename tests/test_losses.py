"""Losses against MONAI, float64 references, finite differences and closed forms."""

import pytest
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch import Tensor

from regstudio.losses import NCC, Grad, _box_sum, _local_ncc


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


def with_gradient(loss, fixed: Tensor, warped: Tensor) -> tuple[Tensor, Tensor]:
    leaf = warped.clone().requires_grad_()
    value = loss(fixed, leaf)
    value.backward()
    return value.detach(), leaf.grad


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
    assert torch.autograd.gradcheck(lambda t: _box_sum(t, 3), x)
    assert torch.autograd.gradgradcheck(lambda t: _box_sum(t, 3) ** 2, x)


def test_ncc_of_an_image_with_itself_is_minus_one() -> None:
    assert NCC()(texture(0), texture(0)).item() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.25), (-1.0, 1.0)])
def test_ncc_ignores_contrast_and_brightness(gain: float, offset: float) -> None:
    # Inside, that is: a window over the border sees the brightness against the zeros outside.
    fixed, warped = texture(0).double(), texture(1).double()
    before, after = (_local_ncc(fixed, image, 9)[..., 4:-4, 4:-4] for image in (warped, gain * warped + offset))
    torch.testing.assert_close(before, after, rtol=1e-5, atol=0)


def test_ncc_of_a_constant_image_is_zero_with_finite_gradients() -> None:
    flat = torch.full((1, 1, 40, 28), 0.7)
    assert _local_ncc(texture(0).double(), flat.double(), 9)[..., 4:-4, 4:-4].max() < 1e-12
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


def test_grad_of_a_constant_flow_is_zero() -> None:
    assert Grad("l2")(torch.full((2, 2, 5, 7), 3.0)).item() == 0


@pytest.mark.parametrize(("penalty", "expected"), [("l2", (9 + 0.25) / 4), ("l1", (3 + 0.5) / 4)])
def test_grad_of_a_ramp(penalty: Grad.Penalty, expected: float) -> None:
    # dy rises by 3 along rows, dx falls by 0.5 along columns: each slope is one of two channels on one of two axes.
    flow = torch.stack((3 * torch.arange(5.0)[:, None].expand(5, 7), -0.5 * torch.arange(7.0).expand(5, 7)))[None]
    assert Grad(penalty)(flow).item() == pytest.approx(expected)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_grad_gradient_against_float64_autograd(penalty: Grad.Penalty) -> None:
    def reference(flow: Tensor) -> Tensor:
        power = {"l1": 1, "l2": 2}[penalty]
        rows = (flow[:, :, 1:] - flow[:, :, :-1]).abs() ** power
        columns = (flow[..., 1:] - flow[..., :-1]).abs() ** power
        return (rows.mean() + columns.mean()) / 2

    flow = torch.randn(2, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    value, gradient = with_gradient(lambda _, f: Grad(penalty)(f), flow, flow)
    expected, expected_gradient = with_gradient(lambda _, f: reference(f.double()), flow, flow)
    torch.testing.assert_close(value, expected.float())
    torch.testing.assert_close(gradient, expected_gradient)


def test_grad_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="'l1' or 'l2'; got 'l3'"):
        Grad("l3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a flow is \(2, H, W\)|a flow is \(B, 2, H, W\)"):
        Grad()(torch.zeros(2, 8, 8))
