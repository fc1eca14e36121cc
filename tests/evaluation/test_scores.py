"""The scores of one pair under flows whose effect is known."""

import dataclasses
import time

import numpy as np
import pytest
import torch

from regstudio.data.pairs.pair import Pair
from regstudio.evaluation.scores import COLUMNS, METRICS, CaseScores, score
from regstudio.methods.network import NetworkMethod
from regstudio.metrics import ncc, ssim, surface_distance
from regstudio.registering.two_images import register
from regstudio.transforms.registration import Registration
from regstudio.transforms.transform import Transform
from tests.known_flows import shifted

SHIFT = np.stack([np.full((40, 36), 2.0), np.full((40, 36), -3.0)]).astype(np.float32)


def scored(pair: Pair, transform: Transform) -> CaseScores:
    return score(Registration(pair=pair, transform=transform))


@pytest.fixture
def pair(image: np.ndarray, label: np.ndarray) -> Pair:
    """A moving image whose content lies 2 rows below and 3 columns to the left of the fixed one's."""
    return Pair(
        id="a", fixed=shifted(image), moving=image, fixed_label=shifted(label), moving_label=label.astype(np.int64)
    )


def test_a_perfect_registration_is_perfect_in_every_score(pair: Pair) -> None:
    scores = scored(pair, Transform(flow=SHIFT, seconds=0.25))
    expected = {"dice": 1, "hd95": 0, "assd": 0, "ncc": ncc(pair.fixed, pair.fixed), "ssim": 1}
    folds = {"njd": 0, "njd_percent": 0, "njd_one_sided": 0, "njd_one_sided_percent": 0, "nda": 0, "nda_percent": 0}
    expected |= {**folds, "sdlogj": 0, "jacobian_min": 1, "quality": 1, "seconds": 0.25}
    after = {name: value for name, value in scores.values.items() if not name.endswith("_before")}
    assert after == pytest.approx(expected, abs=1e-9)
    assert scores.unit == "pixels"
    assert set(scores.values) <= set(COLUMNS)
    assert scores.values["ncc_before"] == ncc(pair.fixed, pair.moving)
    assert scores.values["ssim_before"] == ssim(pair.fixed, pair.moving)


def test_labels_before_registration_by_hand(pair: Pair) -> None:
    scores = scored(pair, Transform(flow=SHIFT, seconds=0))
    # Label 1 is 10 x 12, of which 8 x 9 overlap; label 300 is 8 x 8, of which 6 x 5.
    assert scores.labels[1]["dice_before"] == pytest.approx(72 / 120)
    assert scores.labels[300]["dice_before"] == pytest.approx(30 / 64)
    assert scores.values["dice_before"] == pytest.approx((72 / 120 + 30 / 64) / 2)
    apart = [surface_distance(pair.fixed_label, pair.moving_label, label) for label in (1, 300)]
    assert scores.values["hd95_before"] == pytest.approx((apart[0].hd95 + apart[1].hd95) / 2)
    assert scores.labels[300]["assd_before"] == pytest.approx(apart[1].assd)


def test_spacing_makes_millimetres(pair: Pair) -> None:
    in_pixels = scored(pair, Transform(flow=SHIFT, seconds=0))
    in_mm = scored(dataclasses.replace(pair, spacing=(0.5, 0.5)), Transform(flow=SHIFT, seconds=0))
    assert in_mm.unit == "mm"
    assert in_mm.values["hd95_before"] == pytest.approx(in_pixels.values["hd95_before"] / 2)
    assert in_mm.values["dice_before"] == in_pixels.values["dice_before"]


def test_labels_that_fixed_or_moving_lacks_are_left_out(pair: Pair) -> None:
    fixed, moving = pair.fixed_label.copy(), pair.moving_label.copy()
    fixed[fixed == 300], moving[30:34, 20:24] = 7, 9
    changed = dataclasses.replace(pair, fixed_label=fixed, moving_label=moving)
    scores = scored(changed, Transform(flow=SHIFT, seconds=0))
    assert list(scores.labels) == [1]
    assert scores.left_out == (7, 9, 300)
    assert scores.values["dice"] == 1


def test_a_label_that_the_registration_loses_counts_zero(pair: Pair) -> None:
    flow = SHIFT.copy()
    flow[:, shifted(pair.moving_label) == 300] = 100  # reads outside the image
    scores = scored(pair, Transform(flow=flow, seconds=0))
    assert scores.labels[300]["dice"] == 0
    assert "hd95" not in scores.labels[300]
    assert scores.lost == (300,)
    assert scores.values["dice"] == 0.5
    assert scores.values["hd95"] == scores.labels[1]["hd95"]


def test_the_affine_part_is_scored_between(pair: Pair) -> None:
    half = np.zeros_like(SHIFT)
    half[0] = 2
    scores = scored(pair, Transform(flow=SHIFT, seconds=0, affine_flow=half))
    for better, worse in (("dice", "dice_affine"), ("dice_affine", "dice_before")):
        assert scores.values[better] > scores.values[worse]
    for better, worse in (("assd", "assd_affine"), ("assd_affine", "assd_before")):
        assert scores.values[better] < scores.values[worse]
    assert scores.labels[1]["dice_affine"] == pytest.approx(90 / 120)
    assert {"ncc_affine", "ssim_affine", "hd95_affine"} <= scores.values.keys()


def test_landmarks_and_an_inverse(pair: Pair) -> None:
    fixed_points = np.array([[10.0, 20.0], [25.5, 12.25]])
    given = dataclasses.replace(pair, fixed_points=fixed_points, moving_points=fixed_points + np.array([2.0, -3.0]))
    scores = scored(given, Transform(flow=SHIFT, seconds=0, affine_flow=0 * SHIFT, inverse_flow=-SHIFT))
    assert scores.values["tre_before"] == scores.values["tre_affine"] == pytest.approx(np.sqrt(13))
    assert scores.values["tre"] == pytest.approx(0)
    assert scores.values["inverse_error"] == pytest.approx(0)
    in_mm = dataclasses.replace(given, spacing=(1.0, 1.0), moving_spacing=(0.5, 4.0))
    assert scored(in_mm, Transform(flow=SHIFT, seconds=0)).values["tre_before"] == pytest.approx(np.hypot(1, 12))
    wrong = scored(in_mm, Transform(flow=SHIFT, seconds=0, inverse_flow=0 * SHIFT))
    assert wrong.values["inverse_error"] == pytest.approx(np.hypot(1, 12))


def test_a_pair_of_images_alone(pair: Pair) -> None:
    images = Pair(id="a", fixed=pair.fixed, moving=pair.moving)
    scores = scored(images, Transform(flow=SHIFT, seconds=0))
    assert scores.labels == {}
    assert not {"dice", "dice_before", "hd95", "tre", "inverse_error"} & scores.values.keys()


def test_a_flow_that_is_no_number_is_scored_as_folded(pair: Pair) -> None:
    scores = scored(pair, Transform(flow=np.full((2, 40, 36), np.nan), seconds=0))
    assert scores.values["njd_percent"] == scores.values["njd_one_sided_percent"] == 100
    assert np.isfinite(list(scores.values.values())).all()
    assert "sdlogj" not in scores.values


def test_warping_keeps_the_type_of_labels(image: np.ndarray, label: np.ndarray, shift: NetworkMethod) -> None:
    found = register(shift, shifted(image), image, moving_label=label)
    np.testing.assert_allclose(found.warped, shifted(image), atol=1e-6)
    np.testing.assert_array_equal(found.warped_label, shifted(label))
    assert (found.warped.dtype, found.warped_label.dtype) == (np.float32, label.dtype)


def test_columns_are_told_apart() -> None:
    assert len(COLUMNS) == sum(len(metric.stages) for metric in METRICS)
    assert COLUMNS["dice_before"].higher_is_better
    assert not COLUMNS["hd95_affine"].higher_is_better


def test_a_score_takes_a_fraction_of_the_network(image: np.ndarray) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    label = np.kron(rng.integers(0, 4, (8, 8)), np.ones((32, 32), int))
    picture = rng.random((256, 256), np.float32)
    large = Pair(id="a", fixed=picture, moving=picture, fixed_label=label, moving_label=np.roll(label, 5, axis=0))
    start = time.process_time()
    scored(large, Transform(flow=rng.normal(size=(2, 256, 256)), seconds=0))
    assert time.process_time() - start < 0.6  # 0.08 on an idle machine; the network needs about 0.2


def test_scores_count_where_both_masks_do(pair: Pair) -> None:
    """What is masked may be anything: here the warped label and image are wrong in exactly these columns."""
    transform = Transform(flow=SHIFT, seconds=0)
    mask = np.ones((40, 36), np.float32)
    mask[:, :9] = 0
    wrong = dataclasses.replace(pair, fixed=pair.fixed.copy(), fixed_label=pair.fixed_label.copy())
    wrong.fixed[:, :9], wrong.fixed_label[:, :9] = 1, 1
    plain, masked = scored(wrong, transform), scored(dataclasses.replace(wrong, fixed_mask=mask), transform)
    assert plain.values["dice"] < 0.8
    assert masked.values["dice"] == 1
    assert masked.values["hd95"] == 0
    assert plain.values["ssim"] < 0.9
    assert masked.values["ssim"] == pytest.approx(1)
    assert masked.values["ncc"] > plain.values["ncc"]
    everywhere = dataclasses.replace(wrong, moving_mask=np.zeros_like(mask))
    assert scored(everywhere, transform).values["ncc"] == 0
    assert "dice" not in scored(everywhere, transform).values
