"""Errors at points under flows whose answer is known."""

import numpy as np
import pytest
import SimpleITK

from regstudio.metrics import inverse_consistency, target_registration_error
from tests.metrics.flows import H, W, affine_flow

POINTS = np.array([[2.0, 3.0], [4.5, 6.25], [7.0, 11.0]])


def test_a_known_shift_brings_landmarks_home() -> None:
    # warped(p) = moving(p + flow(p)): the moving image shows at p + (2, -3) what the fixed one shows at p.
    moving = POINTS + np.array([2.0, -3.0])
    np.testing.assert_allclose(target_registration_error(POINTS, moving), np.sqrt(13))
    shift = affine_flow([[1, 0], [0, 1]], (2, -3))
    np.testing.assert_allclose(target_registration_error(POINTS, moving, shift), 0, atol=1e-12)
    np.testing.assert_allclose(target_registration_error(POINTS, moving, -shift), 2 * np.sqrt(13))


def test_spacing_gives_millimetres() -> None:
    moving = POINTS + np.array([2.0, -3.0])
    np.testing.assert_allclose(target_registration_error(POINTS, moving, spacing=(0.5, 4.0)), np.hypot(1, 12))


def test_landmarks_between_pixels_move_as_simpleitk_moves_them() -> None:
    flow = np.random.default_rng(0).normal(size=(2, H, W))
    field = SimpleITK.GetImageFromArray(flow[::-1].transpose(1, 2, 0).copy(), isVector=True)
    transform = SimpleITK.DisplacementFieldTransform(field)
    moved = np.array([transform.TransformPoint((x, y))[::-1] for y, x in POINTS])
    np.testing.assert_allclose(target_registration_error(POINTS, moved, flow), 0, atol=1e-9)


def test_points_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be the same"):
        target_registration_error(POINTS, POINTS[:2])
    with pytest.raises(ValueError, match=r"points are \(n, 2\)"):
        target_registration_error(POINTS.T, POINTS.T)


def test_the_inverse_of_an_affine_flow_is_consistent() -> None:
    matrix = np.array([[0.9, 0.1], [-0.05, 0.8]])
    offset = np.array([0.6, 1.0])
    inverse = np.linalg.inv(matrix)
    flow = affine_flow(matrix.tolist(), tuple(offset))
    back = affine_flow(inverse.tolist(), tuple(-inverse @ offset))
    assert inverse_consistency(flow, back) == pytest.approx(0, abs=1e-12)


def test_a_wrong_inverse_is_off_by_what_it_lacks() -> None:
    shift = affine_flow([[1, 0], [0, 1]], (2, -3))
    assert inverse_consistency(shift, np.zeros_like(shift)) == pytest.approx(np.sqrt(13))
    assert inverse_consistency(shift, np.zeros_like(shift), (0.5, 4.0)) == pytest.approx(np.hypot(1, 12))
    assert inverse_consistency(shift, shift) == pytest.approx(2 * np.sqrt(13))


def test_pixels_sent_out_of_the_image_do_not_count() -> None:
    flow = np.zeros((2, H, W))
    flow[1, :, 0] = 100  # read by none: the inverse leaves the image there
    inverse = np.zeros((2, H, W))
    inverse[1, :, 0] = -1
    assert inverse_consistency(flow, inverse) == 0
    assert np.isnan(inverse_consistency(flow, np.full((2, H, W), 1000.0)))
