"""Dice against MONAI, SimpleITK and by hand."""

import math

import numpy as np
import pytest
import SimpleITK
import torch
from monai.metrics import DiceMetric

from regstudio.metrics import dice, shared_labels
from tests.metrics.flows import H, W, random_labels


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


def test_dice_equals_simpleitk() -> None:
    fixed, warped = random_labels(2), random_labels(3)
    measure = SimpleITK.LabelOverlapMeasuresImageFilter()
    measure.Execute(*(SimpleITK.GetImageFromArray(label.astype(np.uint8)) for label in (fixed, warped)))
    expected = {label: measure.GetDiceCoefficient(label) for label in (1, 2, 3)}
    assert dice(fixed, warped).per_label == pytest.approx(expected)


def test_shared_labels_are_those_of_both_but_the_background() -> None:
    assert shared_labels(np.array([0, 1, 2, 7], np.uint8), np.array([[7, 7], [0, 2]], np.int64)) == [2, 7]
    assert shared_labels(np.zeros(4, int), np.zeros(4, int)) == []
    with pytest.raises(ValueError, match="labels are integers"):
        shared_labels(np.zeros(4), np.zeros(4, int))
