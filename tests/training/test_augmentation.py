"""Random variation: what moves with what, by how much, and from which seed."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from regstudio.metrics import one_sided_determinants
from regstudio.training.augmentation import Augmentation, drawn_contrast, drawn_flow

SIZE = (60, 80)
MANY = 400


def images(count: int = MANY, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.zeros(1, 1, 1, 1).expand(count, 1, *size)


def flow_of(augmentation: Augmentation, moving: torch.Tensor, seed: int) -> torch.Tensor | None:
    return drawn_flow(moving, augmentation.draw(moving, default_rng(seed)))


def matrices(strength: float) -> tuple[np.ndarray, np.ndarray]:
    """The linear parts (n, 2, 2), and the shifts of the centre (n, 2) as shares of the size, read off the flows."""
    size = (61, 81)  # which has a pixel at its centre
    flow = flow_of(Augmentation(affine=strength), images(size=size), 0)
    assert flow is not None
    flow = flow.double().numpy()
    linear = np.stack((flow[:, :, 31, 40] - flow[:, :, 30, 40], flow[:, :, 30, 41] - flow[:, :, 30, 40]), axis=2)
    return linear + np.eye(2), flow[:, :, 30, 40] / size


def test_without_strength_nothing_changes_and_nothing_is_drawn() -> None:
    random, moving = default_rng(0), torch.rand(2, 1, *SIZE)
    drawn = Augmentation().draw(moving, random)
    assert drawn_flow(moving, drawn) is None
    assert drawn_contrast(moving, drawn) is moving
    assert random.random() == default_rng(0).random()


@pytest.mark.parametrize("name", ["affine", "smooth"])
def test_a_generator_gives_the_same_flow_again_and_another_an_other(name: str) -> None:
    augmentation = Augmentation(**{name: 1.0})
    flows = [flow_of(augmentation, images(2), seed) for seed in (1, 1, 2)]
    assert torch.equal(flows[0], flows[1])
    assert (flows[0] - flows[2]).abs().max() > 0.1
    assert (flows[0][0] - flows[0][1]).abs().max() > 0.1  # each image has its own


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    augmentation = Augmentation(affine=1, smooth=1, intensity=1)
    drawn_contrast(images(2), augmentation.draw(images(2), default_rng(0)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_affine_maps_are_as_large_as_the_help_says(strength: float) -> None:
    """1: up to 3 % shift, 10 % scale and shear."""
    linear, shift = matrices(strength)
    change = np.abs(linear - np.eye(2)).max(axis=0)
    assert (change <= strength * 0.1 + 1e-4).all()
    assert (change > strength * 0.095).all()
    assert strength * 0.029 < np.abs(shift).max() <= strength * 0.03 + 1e-4
    assert np.abs(shift.mean(axis=0)).max() < strength * 0.005


@pytest.mark.parametrize("strength", [1.0, 5.0])
def test_affine_maps_turn_nothing_inside_out(strength: float) -> None:
    assert np.linalg.det(matrices(strength)[0]).min() > 0


def test_smooth_deformations_are_as_large_as_the_help_says() -> None:
    """1: by 2 % of its size, which is the far end of what is usual."""
    flow = flow_of(Augmentation(smooth=1.0), images(), 0)
    assert flow is not None
    share = flow.numpy() / np.array(SIZE)[:, None, None]
    assert share.std() == pytest.approx(0.01, rel=0.25)
    assert 0.01 < np.quantile(np.abs(share), 0.95) < 0.025
    assert min(one_sided_determinants(each).min() for each in flow[:50].numpy()) > 0.3


def test_contrast_is_a_gamma_as_strong_as_the_help_says() -> None:
    """1: gamma from 0.67 to 1.5."""
    grey = torch.full((MANY, 1, 2, 2), 0.5)
    grey[:, :, 0] = torch.tensor([0.0, 1.0])
    changed = drawn_contrast(grey, Augmentation(intensity=1.0).draw(grey, default_rng(0)))
    assert torch.equal(changed[:, :, 0], grey[:, :, 0])  # black and white stay
    gamma = torch.log(changed[:, 0, 1, 0]) / np.log(0.5)
    assert 0.66 < gamma.min() < 0.69
    assert 1.45 < gamma.max() < 1.51
    assert torch.log(gamma).mean().abs() < 0.05
