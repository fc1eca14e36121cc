"""Integrated velocities and affine maps against closed forms and SciPy."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter, map_coordinates

from regstudio.methods.affine import affine_flow
from regstudio.metrics import njd, njd_one_sided
from regstudio.networks.warp import affine_after, integrate, inverse_affine_after

HEIGHT, WIDTH = 61, 48
SIZE = (HEIGHT, WIDTH)
GRID = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
INSIDE = (slice(8, -8), slice(8, -8))
MATRIX = np.array([[1.1, 0.15, -4.0], [-0.2, 0.95, 6.0]])


def smooth(largest: float, sigma: float = 6, seed: int = 0) -> np.ndarray:
    """A smooth field (2, H, W), 0 at the border, of up to `largest` pixels."""
    noise = np.random.default_rng(seed).standard_normal((2, *SIZE))
    field = np.stack([gaussian_filter(component, sigma) for component in noise])
    field *= np.outer(np.hanning(HEIGHT), np.hanning(WIDTH))
    return largest * field / np.hypot(*field).max()


def integrated(velocity: np.ndarray) -> np.ndarray:
    return integrate(torch.from_numpy(velocity)[None])[0].numpy()


def at(flow: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """flow(p + displacement(p)), by SciPy."""
    return np.stack([map_coordinates(component, GRID + displacement, order=1, mode="nearest") for component in flow])


def test_a_constant_velocity_is_a_shift() -> None:
    velocity = np.broadcast_to(np.array([3.0, -5.0])[:, None, None], (2, *SIZE)).copy()
    np.testing.assert_allclose(integrated(velocity), velocity, atol=1e-9)


def test_a_linear_velocity_is_the_matrix_exponential() -> None:
    generator = np.array([[0.10, 0.15], [-0.20, -0.05]])
    centred = GRID - np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])[:, None, None]
    flow = integrated(np.tensordot(generator, centred, axes=1))
    expected = np.tensordot(expm(generator) - np.eye(2), centred, axes=1)
    middle = np.hypot(*centred) < 15  # whose way leaves the image nowhere
    assert np.hypot(*expected)[middle].max() > 3
    np.testing.assert_allclose(flow[:, middle], expected[:, middle], atol=0.01)


def test_integrating_there_and_back_is_the_identity() -> None:
    velocity = smooth(5, sigma=8)
    there, back = integrated(velocity), integrated(-velocity)
    assert np.hypot(*there).max() > 4
    for first, second in ((there, back), (back, there)):
        assert np.hypot(*(first + at(second, first))).max() < 0.05
    assert np.hypot(*(there + at(-there, there))).max() > 0.5  # where taking the negative would not do


def test_a_strong_velocity_folds_nothing_where_the_displacement_does() -> None:
    velocity = smooth(16)
    assert njd(velocity).percent > 1
    assert njd_one_sided(velocity).percent > 1
    flow = integrated(velocity)
    assert njd(flow).count == njd_one_sided(flow).count == 0
    assert np.hypot(*flow).max() > 10


def test_a_batch_is_integrated_one_by_one() -> None:
    fields = torch.from_numpy(np.stack([smooth(5, seed=1), smooth(9, seed=2)]))
    torch.testing.assert_close(integrate(fields), torch.cat([integrate(field[None]) for field in fields]))


def test_zero_flow_after_which_an_affine_map_comes_is_the_maps_own() -> None:
    matrices = torch.from_numpy(np.stack([MATRIX, np.eye(2, 3)]))
    flow = affine_after(matrices, torch.zeros(2, 2, *SIZE, dtype=torch.float64))
    np.testing.assert_allclose(flow[0], affine_flow(MATRIX, SIZE), atol=1e-5)
    assert flow[1].abs().max() == 0


def test_a_flow_then_an_affine_map_as_composed_by_scipy() -> None:
    """Warping with the composed flow is warping with the affine map, and then with the flow."""
    deformation = smooth(5)
    total = affine_after(torch.from_numpy(MATRIX)[None], torch.from_numpy(deformation)[None])[0].numpy()
    expected = deformation + at(affine_flow(MATRIX, SIZE).astype(np.float64), deformation)
    np.testing.assert_allclose(total[:, *INSIDE], expected[:, *INSIDE], atol=1e-4)


def test_the_inverse_undoes_both() -> None:
    velocity = smooth(4, sigma=8)
    matrix = torch.from_numpy(MATRIX)[None]
    there = affine_after(matrix, integrate(torch.from_numpy(velocity)[None]))[0].numpy()
    back = inverse_affine_after(matrix, integrate(torch.from_numpy(-velocity)[None]))[0].numpy()
    for first, second in ((there, back), (back, there)):
        y, x = GRID + first
        within = (y >= 0) & (y <= HEIGHT - 1) & (x >= 0) & (x <= WIDTH - 1)
        assert within.mean() > 0.5
        assert np.hypot(*(first + at(second, first)))[within].max() < 0.05


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_reach_the_velocity(seed: int) -> None:
    velocity = torch.from_numpy(smooth(3, seed=seed))[None, :, :12, :10].requires_grad_()
    assert torch.autograd.gradcheck(lambda v: integrate(v, steps=3), (velocity,), fast_mode=True)
