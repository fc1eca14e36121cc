"""Metrics against MONAI, SimpleITK, the torch loss and closed forms."""

import math

import numpy as np
import pytest
import SimpleITK
import torch
from monai.metrics import DiceMetric

from regstudio.losses import NCC
from regstudio.metrics import FoldCount, dice, jacobian_determinant, ncc, njd

H, W = 9, 13


def affine_flow(matrix: list[list[float]], offset: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """The flow of p -> matrix p + offset, with p = (y, x)."""
    grid = np.mgrid[:H, :W].astype(float)
    return np.tensordot(np.array(matrix) - np.eye(2), grid, axes=1) + np.reshape(offset, (2, 1, 1))


def random_labels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (H, W))


def test_dice_equals_monai() -> None:
    fixed, warped = random_labels(0), random_labels(1)

    def one_hot(label: np.ndarray) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.from_numpy(label)).movedim(-1, 0)[None]

    expected = DiceMetric(include_background=False, reduction="none")(one_hot(warped), one_hot(fixed))[0]
    score = dice(fixed, warped)
    assert list(score.per_label) == [1, 2, 3]
    assert list(score.per_label.values()) == pytest.approx(expected.tolist())
    assert score.mean == pytest.approx(expected.mean().item())


def test_dice_by_hand() -> None:
    score = dice(np.array([[0, 1, 1], [7, 7, 7]]), np.array([[1, 1, 0], [7, 0, 0]]))
    assert score.per_label == {1: 0.5, 7: 0.5}


def test_dice_leaves_out_what_both_lack_and_gives_zero_for_what_one_lacks() -> None:
    fixed, warped = np.array([0, 1, 1, 2], np.uint8), np.array([0, 1, 1, 5], np.int64)
    assert dice(fixed, warped).per_label == {1: 1.0, 2: 0.0, 5: 0.0}
    assert dice(fixed, warped, labels=[1, 2, 3]).per_label == {1: 1.0, 2: 0.0}
    assert dice(fixed, warped, labels=[0]).per_label == {0: 1.0}


def test_dice_of_nothing_is_nan() -> None:
    nothing = np.zeros((H, W), np.uint8)
    score = dice(nothing, nothing)
    assert score.per_label == {}
    assert math.isnan(score.mean)


def test_dice_takes_any_number_of_axes_and_large_ids() -> None:
    volume = np.arange(24).reshape(2, 3, 4) * 10_000_000_000
    assert dice(volume, volume).mean == 1


def test_dice_refuses_unlike_shapes_and_fractions() -> None:
    with pytest.raises(ValueError, match=r"fixed_label has shape \(2, 2\) and warped_label \(2, 3\)"):
        dice(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="labels are integers; got an array of float32"):
        dice(np.zeros((2, 2), int), np.zeros((2, 2), np.float32))


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


def test_a_fold_placed_by_hand() -> None:
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


@pytest.mark.parametrize("win", [3, 9])
def test_ncc_is_the_negative_of_the_loss(win: int) -> None:
    fixed, warped = np.random.default_rng(0).random((2, 30, 22), np.float32)
    fixed[:8] = 0.7
    loss = NCC(win)(torch.from_numpy(fixed)[None, None], torch.from_numpy(warped)[None, None])
    assert ncc(fixed, warped, win) == pytest.approx(-loss.item(), abs=1e-6)
    assert ncc(warped, warped, win) == pytest.approx(1, abs=1e-3)


def test_ncc_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="must be the same"):
        ncc(np.zeros((8, 8)), np.zeros((8, 9)))
    with pytest.raises(ValueError, match=r"images are \(H, W\)"):
        ncc(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))
    with pytest.raises(ValueError, match="odd number"):
        ncc(np.zeros((8, 8)), np.zeros((8, 8)), win=4)
