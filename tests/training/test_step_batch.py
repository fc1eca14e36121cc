"""What is done to the images of a step is done to their landmarks and masks."""

from typing import Any

import pytest
import torch
from torch import Tensor

from regstudio.networks.warp import affine_after, at_places, inverse_places
from regstudio.training.step_batch import StepBatch, step_batch

MATRIX = torch.tensor([[[1.05, 0.05, -3.0], [-0.08, 0.95, 2.0]]])
PLACES = torch.tensor([[[20.0, 15.0], [31.5, 40.25], [torch.nan, torch.nan]]])


def affine_flow(matrix: Tensor = MATRIX, size: int = 64) -> Tensor:
    return affine_after(matrix, torch.zeros(1, 2, size, size))


def by_matrix(places: Tensor, matrix: Tensor = MATRIX) -> Tensor:
    return places @ matrix[0, :, :2].T + matrix[0, :, 2]


def batch(**more: Any) -> StepBatch:
    image = torch.rand(1, 1, 64, 64)
    return step_batch({"fixed_image": image, "moving_image": image, **more})


def test_values_at_places_are_linear_in_between() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    maps = torch.stack((2 * y - x, y + 3 * x))[None]
    places = torch.tensor([[[1.5, 2.25], [8.0, 6.0], [0.0, 0.5]]])
    y, x = places[0].T
    torch.testing.assert_close(at_places(maps, places)[0], torch.stack((2 * y - x, y + 3 * x), dim=1))


@pytest.mark.parametrize("amplitude", [0.0, 3.0])
def test_the_inverse_of_a_flow_at_places(amplitude: float) -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    wave = amplitude * torch.stack(((x / 9).sin(), (y / 11).cos()))[None]
    flow = affine_after(MATRIX, wave)
    found = inverse_places(flow, PLACES)
    there = found + at_places(flow, found)
    torch.testing.assert_close(there[:, :2], PLACES[:, :2], atol=0.05, rtol=0)
    assert found[:, 2].isnan().all()
    if not amplitude:
        torch.testing.assert_close(by_matrix(found)[:, :2], PLACES[:, :2], atol=1e-3, rtol=0)


def test_a_flow_that_knows_the_way_has_no_distance_left() -> None:
    """Through the initial affine map, an augmentation, an exchange, and another size."""
    moving = by_matrix(PLACES)
    augmentation = torch.tensor([[[0.9, -0.1, 6.0], [0.05, 1.1, -4.0]]])
    whole = torch.cat((MATRIX, torch.tensor([[[0.0, 0, 1]]])), dim=1)
    seen = torch.linalg.inv(torch.cat((augmentation, torch.tensor([[[0.0, 0, 1]]])), dim=1)) @ whole
    pair = batch(fixed_points=PLACES, moving_points=moving, affine=MATRIX).deformed(affine_flow(augmentation))
    for flow, version in (
        (affine_flow(seen[:, :2]), pair),
        (affine_flow(torch.linalg.inv(seen)[:, :2]), pair.swapped()),
    ):
        points = version.landmarks(flow)
        assert points is not None
        assert points.counted.tolist() == [[True, True, False]]
        torch.testing.assert_close(points.reached[:, :2], points.moving[:, :2], atol=0.02, rtol=0)


@pytest.mark.parametrize("size", [(32, 32), (16, 64)])
def test_distances_are_in_pixels_of_the_working_grid_at_any_size(size: tuple[int, int]) -> None:
    pair = batch(fixed_points=PLACES, moving_points=PLACES + torch.tensor([4.0, -8.0])).resampled(size)
    points = pair.landmarks(torch.zeros(1, 2, *size))
    assert points is not None
    torch.testing.assert_close(points.reached[:, :2] - points.moving[:, :2], torch.tensor([[[-4.0, 8.0]] * 2]))
    step = torch.tensor([4 * size[0] / 64, -8 * size[1] / 64])
    points = pair.landmarks(step[None, :, None, None].expand(1, 2, *size))
    assert points is not None
    torch.testing.assert_close(points.reached[:, :2], points.moving[:, :2])


def test_points_that_leave_the_picture_do_not_count() -> None:
    away = torch.zeros(1, 2, 64, 64)
    away[:, 0] = 25.0  # what is in row 25 is seen in row 0
    pair = batch(fixed_points=PLACES, moving_points=PLACES).deformed(away)
    points = pair.landmarks(torch.zeros(1, 2, 64, 64))
    assert points is not None
    assert points.counted.tolist() == [[False, True, False]]
    torch.testing.assert_close(points.moving[0, 1], PLACES[0, 1] - torch.tensor([25.0, 0.0]))


def test_masks_go_where_their_images_go() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 10:30, 20:40] = 1
    pair = batch(fixed_mask=torch.ones_like(mask), moving_mask=mask)
    shift = torch.tensor([3.0, -2.0])[None, :, None, None].expand(1, 2, 64, 64)
    counted = pair.deformed(shift).mask(-shift)
    assert counted is not None
    torch.testing.assert_close(counted, mask)
    half = pair.swapped().resampled((32, 32)).mask(torch.zeros(1, 2, 32, 32))
    assert half is not None
    torch.testing.assert_close(half, mask[..., ::2, ::2])
    assert batch().mask(shift) is None
