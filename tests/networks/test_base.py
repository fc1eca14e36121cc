"""What every network has in common, seen with networks whose field is given."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from regstudio.networks.base import RegistrationNetwork, start_from_zero
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.warp import SpatialTransformer, affine_after, integrate

SIZE = (45, 38)
MATRIX = torch.tensor([[[1.05, 0.1, -2.0], [-0.15, 0.9, 5.0]]], dtype=torch.float64)


class Given(RegistrationNetwork):
    """A network with one answer, which remembers what it saw."""

    multiple = 8

    def __init__(self, field: Tensor, transform: str = "displacement") -> None:
        super().__init__(transform)  # type: ignore[arg-type]
        self.answer = field

    def compute_field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        self.seen = moving
        return self.answer.expand(len(moving), -1, -1, -1)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(0)
    fixed, moving = (torch.from_numpy(gaussian_filter(random.random(SIZE), 1.5))[None, None] for _ in range(2))
    return fixed, moving


@pytest.fixture
def field() -> Tensor:
    """A smooth field of up to 4 pixels, as large as the padded images."""
    noise = np.random.default_rng(1).standard_normal((2, 48, 40))
    smooth = np.stack([gaussian_filter(component, 5) for component in noise])
    return torch.from_numpy(4 * smooth / np.abs(smooth).max())[None]


def test_the_moving_image_is_resampled_once(images: tuple[Tensor, Tensor], field: Tensor) -> None:
    fixed, moving = images
    prediction = Given(field).predict(fixed, moving, MATRIX)
    grid = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    places = grid + field[0, :, : SIZE[0], : SIZE[1]].numpy()
    places = np.tensordot(MATRIX[0, :, :2].numpy(), places, axes=1) + MATRIX[0, :, 2, None, None].numpy()
    np.testing.assert_allclose(prediction.flow[0], places - grid, atol=1e-9)
    expected = map_coordinates(moving[0, 0].numpy(), places, order=1, mode="grid-constant", cval=0)
    np.testing.assert_allclose(prediction.warped[0, 0], expected, atol=1e-9)
    twice = SpatialTransformer()(seen(moving), crop(field))
    assert (twice - prediction.warped).abs().max() > 0.01  # resampling twice blurs


def seen(moving: Tensor) -> Tensor:
    return SpatialTransformer()(moving, affine_after(MATRIX, torch.zeros(1, 2, *SIZE, dtype=torch.float64)))


def crop(field: Tensor) -> Tensor:
    return field[:, :, : SIZE[0], : SIZE[1]]


def test_the_network_sees_the_moving_image_through_the_affine_map(images: tuple[Tensor, Tensor], field: Tensor) -> None:
    network = Given(field)
    network.predict(*images, MATRIX)
    torch.testing.assert_close(network.seen[:, :, : SIZE[0], : SIZE[1]], seen(images[1]))
    network.predict(*images)
    torch.testing.assert_close(network.seen[:, :, : SIZE[0], : SIZE[1]], images[1])


def test_displacements_are_the_field_and_velocities_are_integrated(
    images: tuple[Tensor, Tensor], field: Tensor
) -> None:
    plain, svf = (Given(field, transform).predict(*images) for transform in ("displacement", "svf"))
    for tensor in (plain.field, plain.deformation, plain.flow, svf.field):
        torch.testing.assert_close(tensor, crop(field))
    torch.testing.assert_close(svf.flow, integrate(crop(field)))
    torch.testing.assert_close(svf.deformation, svf.flow)
    assert (svf.flow - plain.flow).abs().max() > 0.1


def test_the_affine_map_is_not_part_of_the_deformation(images: tuple[Tensor, Tensor], field: Tensor) -> None:
    network = Given(field, "svf")
    with_map, without = network.predict(*images, MATRIX), network.predict(*images)
    torch.testing.assert_close(with_map.deformation, without.flow)
    torch.testing.assert_close(with_map.flow, affine_after(MATRIX, without.flow))


def test_only_velocities_have_an_inverse(field: Tensor) -> None:
    assert Given(field).inverse(field) is None
    inverse = Given(field, "svf").inverse(field)
    assert inverse is not None
    torch.testing.assert_close(inverse, integrate(-field))


def test_svf_networks_start_as_the_identity_too(images: tuple[Tensor, Tensor]) -> None:
    fixed, moving = (image.float() for image in images)
    warped, flow = CorrMLP(2, 4, transform="svf")(fixed, moving)
    assert flow.abs().max() < 0.01
    torch.testing.assert_close(warped, moving, atol=0.01, rtol=0)


def test_unknown_transforms_and_other_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="'rigid'; it must be 'displacement' or 'svf'"):
        CorrMLP(transform="rigid")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a head is a convolution with a bias"):
        start_from_zero(torch.nn.Linear(2, 2))
