"""Regularity terms against float64 autograd and closed forms."""

import math

import pytest
import torch
from torch import Tensor

from regstudio.losses import Folding, Grad, Nearness
from tests.losses.gradients import with_gradient


def test_grad_of_a_constant_flow_is_zero() -> None:
    assert Grad("l2")(torch.full((2, 2, 5, 7), 3.0)).item() == 0


@pytest.mark.parametrize(("penalty", "expected"), [("l2", (9 + 0.25) / 4), ("l1", (3 + 0.5) / 4)])
def test_grad_of_a_ramp_in_closed_form(penalty: Grad.Penalty, expected: float) -> None:
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


def test_grad_refuses_another_penalty_and_another_shape() -> None:
    with pytest.raises(ValueError, match="'l1' or 'l2'; got 'l3'"):
        Grad("l3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a flow is \(2, H, W\)|a flow is \(B, 2, H, W\)"):
        Grad()(torch.zeros(2, 8, 8))


def affine(matrix: list[list[float]], size: tuple[int, int] = (6, 9)) -> Tensor:
    """The flow p -> A p - p."""
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")
    grid = torch.stack((rows, columns)).flatten(1)
    return ((torch.tensor(matrix) - torch.eye(2)) @ grid).view(1, 2, *size)


@pytest.mark.parametrize(
    ("matrix", "determinant"),
    [([[1, 0], [0, 1]], 1), ([[-1, 0], [0, 1]], -1), ([[0.2, 0], [0, 0.2]], 0.04), ([[1, 3], [0.5, 1]], -0.5)],
)
def test_folding_of_an_affine_flow_is_the_margin_minus_its_determinant(
    matrix: list[list[float]], determinant: float
) -> None:
    assert Folding(margin=0.1)(affine(matrix)).item() == pytest.approx(max(0, 0.1 - determinant), abs=1e-5)


def test_folding_finds_a_fold_that_central_differences_miss() -> None:
    # Every other row is moved by 1.5 pixels: neighbours two apart keep their distance.
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0, ::2] = 1.5
    central = 1 + (flow[0, 0, 2:] - flow[0, 0, :-2]) / 2
    assert central.min() == 1
    assert Folding()(flow) > 0.2


def test_descending_the_folding_term_unfolds() -> None:
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0, 4] = -1.5
    for _ in range(200):
        value, gradient = with_gradient(lambda _, f: Folding()(f), flow, flow)
        flow -= 2 * gradient
    assert value == 0


def test_nearness_grows_with_the_square_nearby_and_gives_way_far_off() -> None:
    """On 200 pixels a hundredth is 2: at that distance, log 2; the direction does not matter."""
    near = Nearness()
    zero = torch.zeros(1, 2, 200, 300)
    assert near(zero, zero) == 0
    shift = torch.tensor([1.2, -1.6]).view(1, 2, 1, 1).expand_as(zero)
    assert near(zero, shift).item() == pytest.approx(math.log(2))
    assert near(shift / 100, zero).item() == pytest.approx(1e-4, rel=1e-3)
    assert near(100 * shift, zero).item() == pytest.approx(math.log(1 + 1e4), rel=1e-3)
