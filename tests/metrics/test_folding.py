"""Jacobians and folds against SimpleITK, closed forms and folds made by hand."""

import numpy as np
import pytest
import SimpleITK

from regstudio.metrics import (
    FoldCount,
    FoldedArea,
    jacobian_determinant,
    log_jacobian_std,
    nda,
    njd,
    njd_one_sided,
    one_sided_determinants,
)
from tests.metrics.flows import H, W, affine_flow

MIRROR = affine_flow([[1, 0], [0, -1]], (0, W - 1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_motion_and_a_shift_fold_nothing(dtype: type) -> None:
    for offset in ((0, 0), (-7.25, 3.5)):
        flow = affine_flow([[1, 0], [0, 1]], offset).astype(dtype)
        assert (jacobian_determinant(flow) == 1).all()
        assert njd(flow) == FoldCount(count=0, percent=0.0)


@pytest.mark.parametrize("matrix", [[[2, 0], [0, 3]], [[1, 0.5], [-0.25, 1]], [[0, -1], [1, 0]]])
def test_an_affine_flow_has_one_determinant_everywhere(matrix: list[list[float]]) -> None:
    flow = affine_flow(matrix, (3.0, -2.0))
    np.testing.assert_allclose(jacobian_determinant(flow), np.linalg.det(matrix), rtol=1e-12)


def test_a_mirror_folds_every_pixel() -> None:
    assert njd(affine_flow([[1, 0], [0, -1]], (0, W - 1))) == FoldCount(count=H * W, percent=100.0)


def test_a_fold_made_by_hand_is_counted() -> None:
    # In two rows, columns 5 and 7 trade places: x + dx reads 3 4 7 6 5 8 9, so space runs backwards at column 6 alone.
    flow = np.zeros((2, H, W))
    flow[1, 3:5, 5], flow[1, 3:5, 7] = 2, -2
    expected = np.ones((H, W))
    expected[3:5, [4, 6, 8]] = 2, -1, 2
    np.testing.assert_array_equal(jacobian_determinant(flow), expected)
    assert njd(flow) == FoldCount(count=2, percent=200 / (H * W))


def test_a_collapse_and_a_broken_flow_count_as_folds() -> None:
    assert njd(affine_flow([[0, 0], [0, 0]])).percent == 100
    assert njd(np.full((2, H, W), np.nan)).percent == 100


def test_jacobian_equals_simpleitk_inside() -> None:
    flow = np.random.default_rng(0).normal(size=(2, H, W))
    field = SimpleITK.GetImageFromArray(flow[::-1].transpose(1, 2, 0).copy(), isVector=True)  # vectors are (x, y) there
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.DisplacementFieldJacobianDeterminant(field))
    np.testing.assert_allclose(jacobian_determinant(flow)[1:-1, 1:-1], theirs[1:-1, 1:-1], rtol=1e-12)
    # On the border it repeats the edge pixel. Spelled out, so that a change of theirs is noticed.
    padded = np.pad(flow, ((0, 0), (1, 1), (1, 1)), mode="edge")
    np.testing.assert_allclose(jacobian_determinant(padded)[1:-1, 1:-1], theirs, rtol=1e-12)


@pytest.mark.parametrize("shape", [(H, W), (3, H, W), (1, 2, H, W), (2, 1, W)])
def test_flow_metrics_name_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a flow is \(2, H, W\)"):
        njd(np.zeros(shape))


def one_pixel_jump(jump: float) -> np.ndarray:
    """Pixel (4, 6) jumps to the right, over its neighbour."""
    flow = np.zeros((2, H, W))
    flow[1, 4, 6] = jump
    return flow


def test_a_fold_that_central_differences_miss_is_counted() -> None:
    # The pixel's own motion has no part in its central differences, and its neighbours see half of it: 1 - 1.5 / 2 > 0.
    flow = one_pixel_jump(1.5)
    assert njd(flow).count == 0
    # By hand: forward columns of (4, 6) and backward columns of (4, 7) have 1 - 1.5, whatever the rows.
    determinants = one_sided_determinants(flow)
    assert determinants[:, 4, 6].tolist() == [-0.5, 2.5, -0.5, 2.5]
    assert determinants[:, 4, 7].tolist() == [1, -0.5, 1, -0.5]
    assert njd_one_sided(flow) == FoldCount(count=2, percent=200 / (H * W))
    assert nda(flow) == FoldedArea(area=4 * 0.5 / 4, percent=50 / ((H - 1) * (W - 1)))


def test_the_one_inverted_triangle_of_a_pixel_that_jumps_aside() -> None:
    # Up and to the right by one: the triangle to the upper right, of area 1/2, lies the other way round; it is counted
    # once, and all triangles cover the image twice. That of (3, 6), below and to the right, collapses to a line.
    flow = np.zeros((2, H, W))
    flow[:, 4, 6] = -1, 1
    assert one_sided_determinants(flow)[:, 4, 6].tolist() == [1, 3, -1, 1]
    assert nda(flow).area == 1 / 4


def test_a_pixel_beside_its_own_row_folds_against_the_triangles_of_the_next() -> None:
    # One pixel moves two rows down: forward rows give 1 - 2 = -1, whatever the columns.
    flow = np.zeros((2, H, W))
    flow[0, 4, 6] = 2
    assert one_sided_determinants(flow)[:, 4, 6].tolist() == [-1, -1, 3, 3]
    assert one_sided_determinants(flow)[:, 5, 6].tolist() == [1, 1, -1, -1]
    assert njd_one_sided(flow).count == 2


def test_a_larger_fold_has_more_area() -> None:
    near, far = one_pixel_jump(1.5), one_pixel_jump(3)
    assert njd_one_sided(near).count == njd_one_sided(far).count
    assert nda(far).area == 4 * nda(near).area


def test_the_non_diffeomorphic_area_is_that_of_inverted_triangles() -> None:
    # Against the shoelace formula for each corner triangle of each cell, over a rough flow.
    flow = np.random.default_rng(0).normal(0, 0.8, (2, H, W))
    y, x = np.mgrid[:H, :W] + flow
    inverted = 0.0
    for row in range(H - 1):
        for column in range(W - 1):
            corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
            for left_out in range(4):
                (y0, x0), (y1, x1), (y2, x2) = (
                    (y[place], x[place]) for i, place in enumerate(corners) if i != left_out
                )
                signed = ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2
                inverted += max(0.0, -signed)
    assert inverted > 1
    assert nda(flow).area == pytest.approx(inverted / 2, rel=1e-12)


def test_a_mirror_is_folded_to_the_last_pixel_by_every_measure() -> None:
    assert njd_one_sided(MIRROR) == FoldCount(count=H * W, percent=100.0)
    assert nda(MIRROR) == FoldedArea(area=(H - 1) * (W - 1), percent=100.0)


@pytest.mark.parametrize("matrix", [[[2, 0], [0, 3]], [[1, 0.5], [-0.25, 1]], [[0, -1], [1, 0]]])
def test_an_affine_flow_has_one_one_sided_determinant_and_no_fold(matrix: list[list[float]]) -> None:
    flow = affine_flow(matrix, (3.0, -2.0))
    np.testing.assert_allclose(one_sided_determinants(flow), np.linalg.det(matrix), rtol=1e-12)
    assert njd_one_sided(flow).count == nda(flow).area == 0


def test_the_central_determinant_is_the_mean_of_the_one_sided_ones() -> None:
    flow = np.random.default_rng(1).normal(size=(2, H, W))
    np.testing.assert_allclose(one_sided_determinants(flow).mean(axis=0), jacobian_determinant(flow), atol=1e-12)
    assert njd_one_sided(flow).count >= njd(flow).count > 0


def test_a_broken_flow_is_folded_and_has_no_area() -> None:
    broken = np.full((2, H, W), np.nan)
    assert njd_one_sided(broken).percent == 100
    assert np.isnan(nda(broken).area)


def test_sdlogj_by_hand() -> None:
    # Columns are stretched to 3 in the left half and left alone in the right one: determinants 3, 2 between them and 1.
    flow = np.zeros((2, 10, 11))
    flow[1] = np.where(np.arange(11) < 5, 2 * np.arange(11) - 10, 0)
    inside = np.array([3, 3, 3, 2, 1, 1, 1])  # columns 2 to 8: two at each border are left out
    assert log_jacobian_std(flow) == pytest.approx(np.log(inside + 3).std())


def test_sdlogj_of_a_change_of_scale_is_zero_and_of_a_deep_fold_finite() -> None:
    assert log_jacobian_std(affine_flow([[2, 0], [0, 3]])) == pytest.approx(0, abs=1e-12)
    flow = np.zeros((2, H, W))
    flow[1, 4, 6], flow[1, 4, 4] = -40, 40
    assert np.isfinite(log_jacobian_std(flow))


def test_sdlogj_leaves_out_the_border() -> None:
    flow = np.zeros((2, H, W))
    flow[0, 0], flow[1, :, 0] = 0.3, -0.4
    assert log_jacobian_std(flow) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="at least 5 x 5"):
        log_jacobian_std(np.zeros((2, 4, 9)))


@pytest.mark.parametrize("measure", [njd_one_sided, nda, one_sided_determinants, log_jacobian_std])
def test_every_measure_of_a_flow_names_a_wrong_shape(measure: object) -> None:
    with pytest.raises(ValueError, match=r"a flow is \(2, H, W\)"):
        measure(np.zeros((3, H, W)))
