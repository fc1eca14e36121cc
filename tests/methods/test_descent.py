"""Descent on energies whose least value is known."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from regstudio.methods.descent import Energy, Level, descend, descend_levels, level_sizes, smoothed

GOALS = torch.tensor([[1.5, -2.0], [0.3, 4.0]])


def distance_to(goals: Tensor) -> Energy:
    """Squared distance of constant fields from `goals` (B, 2): zero there."""
    return lambda field: (field - goals[:, :, None, None]).square().mean(dim=(1, 2, 3))


@pytest.fixture
def start() -> Tensor:
    return torch.randn(2, 2, 12, 9, generator=torch.Generator().manual_seed(0))


def test_it_finds_the_least_energy() -> None:
    found = descend(distance_to(GOALS), torch.zeros(2, 2, 8, 8), steps=150, step_size=0.05, min_gain=1e-9)
    torch.testing.assert_close(found.field, GOALS[:, :, None, None].expand(2, 2, 8, 8), atol=0.1, rtol=0)
    assert found.energy.max() < 1e-2


def test_no_steps_return_the_start(start: Tensor) -> None:
    found = descend(distance_to(GOALS), start, steps=0)
    assert torch.equal(found.field, start)
    level = Level(energy=distance_to(GOALS), grid=(6, 5), steps=0)
    assert torch.equal(descend_levels([level], start).field, start)


@pytest.mark.parametrize("step_size", [0.1, 1e3])
def test_it_is_never_worse_than_its_start(start: Tensor, step_size: float) -> None:
    energy = distance_to(GOALS)
    found = descend(energy, start, steps=7, step_size=step_size)
    assert (found.energy <= energy(start)).all()
    torch.testing.assert_close(energy(found.field), found.energy)


def test_a_level_that_leads_astray_is_undone(start: Tensor) -> None:
    """A coarse level leads away from what the last one wants, which has no steps to return."""
    levels = [
        Level(energy=distance_to(goals), grid=(12, 9), steps=steps) for goals, steps in ((-GOALS, 50), (GOALS, 0))
    ]
    here = GOALS[:, :, None, None].expand(2, 2, 12, 9)
    assert torch.equal(descend_levels(levels, here).field, here)


def test_an_energy_that_is_no_number_changes_nothing(start: Tensor) -> None:
    found = descend(lambda field: field.mean(dim=(1, 2, 3)) * torch.nan, start, steps=3)
    assert torch.equal(found.field, start)


def test_a_gradient_that_is_no_number_ends_a_pair_and_no_other(start: Tensor) -> None:
    """The root of a square of zero has none."""

    def energy(field: Tensor) -> Tensor:
        far = (field - GOALS[:, :, None, None]).square().mean(dim=(1, 2, 3))
        return torch.stack((far[0], field[1].square().sum().mul(0).sqrt()))

    found = descend(energy, start, steps=40)
    assert torch.equal(found.field[1], start[1])
    alone = descend(distance_to(GOALS[:1]), start[:1], steps=40)
    torch.testing.assert_close(found.field[:1], alone.field)


def test_each_pair_of_a_batch_descends_as_alone(start: Tensor) -> None:
    """The second pair is at its goal from the start and stops first."""
    start[1] = GOALS[1, :, None, None]
    both = descend(distance_to(GOALS), start, steps=60)
    for number in range(2):
        alone = descend(distance_to(GOALS[number, None]), start[number, None], steps=60)
        torch.testing.assert_close(both.field[number, None], alone.field)
        torch.testing.assert_close(both.curve[: len(alone.curve), number], alone.curve[:, 0])
        assert (both.curve[len(alone.curve) :, number] == alone.energy).all()


def test_it_stops_when_nothing_is_gained() -> None:
    calls = []

    def energy(field: Tensor) -> Tensor:
        calls.append(field)
        return (0 * field).sum(dim=(1, 2, 3))

    descend(energy, torch.zeros(1, 2, 8, 8), steps=500)
    assert len(calls) < 20


def test_what_is_added_passes_from_grid_to_grid_in_its_pixels() -> None:
    """(1, -2) pixels of a grid of half the size are (2, -4) of the whole."""
    coarse = Level(energy=distance_to(torch.tensor([[1.0, -2.0]])), grid=(8, 8), steps=300)
    fine = Level(energy=distance_to(torch.tensor([[2.0, -4.0]])), grid=(16, 16), steps=0)
    found = descend_levels([coarse, fine], torch.zeros(1, 2, 32, 32), step_size=0.05, min_gain=1e-9)
    torch.testing.assert_close(found.field[0, :, 9, 9], torch.tensor([4.0, -8.0]), atol=0.1, rtol=0)
    assert found.energy.item() == pytest.approx(0, abs=1e-3)


def test_smoothing_is_scipys_gaussian() -> None:
    field = torch.randn(2, 2, 20, 17, generator=torch.Generator().manual_seed(1))
    expected = gaussian_filter(field.numpy(), (0, 0, 1.5, 1.5), mode="nearest", radius=4)
    np.testing.assert_allclose(smoothed(field, 1.5)[:, :, 5:-5, 5:-5].numpy(), expected[:, :, 5:-5, 5:-5], atol=1e-5)
    constant = torch.full((1, 2, 9, 5), 3.0)
    torch.testing.assert_close(smoothed(constant, 4.0), constant)
    assert smoothed(field, 0) is field


@pytest.mark.parametrize(
    ("size", "finest", "expected"),
    [
        ((256, 256), 128, [(32, 32), (64, 64), (128, 128)]),
        ((320, 256), 128, [(40, 32), (80, 64), (160, 128)]),
        ((100, 60), 128, [(50, 30), (100, 60)]),
        ((32, 40), 128, [(32, 40)]),
        ((128, 96), 96, [(32, 24), (64, 48), (128, 96)]),
    ],
)
def test_sizes_halve_down_to_the_coarsest(size: tuple[int, int], finest: int, expected: list[tuple[int, int]]) -> None:
    assert level_sizes(size, finest, coarsest=24) == expected
