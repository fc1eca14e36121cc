"""Distances of outlines against MONAI, SimpleITK and closed forms."""

import warnings

import numpy as np
import pytest
import SimpleITK
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage

from regstudio.metrics import SurfaceDistance, surface_distance


def blobs(seed: int, size: tuple[int, int] = (40, 52)) -> np.ndarray:
    """Label images of three ids with rough outlines, some at the border of the image."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((4, *size)), (0, 4, 4))
    return noise.argmax(axis=0)


def square(row: int, column: int, side: int = 10) -> np.ndarray:
    label = np.zeros((40, 50), np.uint8)
    label[row : row + side, column : column + side] = 3
    return label


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.5), (2.5, 0.7)])
@pytest.mark.parametrize("seed", [0, 2])
def test_surface_distances_equal_monai(seed: int, spacing: tuple[float, float]) -> None:
    fixed, warped = blobs(seed), blobs(seed + 1)
    for label in (1, 2, 3):
        masks = [torch.from_numpy(image == label)[None, None].float() for image in (warped, fixed)]
        options = {"include_background": True, "spacing": spacing}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI warns of its own arguments
            hd95 = compute_hausdorff_distance(*masks, percentile=95, **options).item()
            assd = compute_average_surface_distance(*masks, symmetric=True, **options).item()
        ours = surface_distance(fixed, warped, label, spacing)
        assert (ours.hd95, ours.assd) == pytest.approx((hd95, assd), rel=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.5, 0.7)])
def test_surface_distances_equal_a_distance_map_of_simpleitk(spacing: tuple[float, float]) -> None:
    fixed, warped = blobs(4), blobs(5)

    def outline(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mask = SimpleITK.GetImageFromArray((image == 1).astype(np.uint8))
        contour = SimpleITK.LabelContour(mask, fullyConnected=False)  # leaves out pixels of the image's border
        mask.SetSpacing(spacing[::-1])
        contour.SetSpacing(spacing[::-1])
        distances = SimpleITK.SignedMaurerDistanceMap(contour, squaredDistance=False, useImageSpacing=True)
        return SimpleITK.GetArrayFromImage(contour) > 0, SimpleITK.GetArrayFromImage(distances)

    for image in (fixed, warped):
        image[[0, -1]] = image[:, [0, -1]] = 0
    (fixed_outline, to_fixed), (warped_outline, to_warped) = outline(fixed), outline(warped)
    there, back = (to_warped[fixed_outline].clip(0), to_fixed[warped_outline].clip(0))
    ours = surface_distance(fixed, warped, 1, spacing)
    assert ours.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
    assert ours.assd == pytest.approx(np.concatenate((there, back)).mean(), abs=1e-4)


def test_a_thin_line_moved_sideways_is_as_far_as_it_moved() -> None:
    line = np.zeros((40, 50), int)
    line[5:35, 20] = 1
    for spacing, expected in (((1.0, 1.0), 4.0), ((1.0, 0.25), 1.0), ((3.0, 0.25), 1.0)):
        assert surface_distance(line, np.roll(line, 4, axis=1), 1, spacing) == SurfaceDistance(
            hd95=pytest.approx(expected), assd=pytest.approx(expected)
        )


def test_a_square_in_a_square_by_hand() -> None:
    # Sides of 10 in sides of 16: each of the 36 inner points has 3 to the outer outline. Of the 60 outer points, 10 a
    # side have 3 to the inner outline; the others lie beyond its corners, 3 across and 1, 2 or 3 along.
    inner, outer = square(10, 10, 10), square(7, 7, 16)
    corner = [np.hypot(3, 1), np.hypot(3, 1), np.hypot(3, 2), np.hypot(3, 2), np.hypot(3, 3)]
    outward = np.array([3.0] * 40 + corner * 4)
    ours = surface_distance(inner, outer, 3)
    assert ours.assd == pytest.approx((36 * 3 + outward.sum()) / (36 + 60))
    assert ours.hd95 == pytest.approx(np.percentile(outward, 95))
    mm = surface_distance(inner, outer, 3, (0.5, 0.5))
    assert (mm.hd95, mm.assd) == pytest.approx((ours.hd95 / 2, ours.assd / 2))


def test_equal_labels_are_no_distance_apart_and_the_order_does_not_matter() -> None:
    fixed, warped = blobs(6), blobs(7)
    assert surface_distance(fixed, fixed, 1) == SurfaceDistance(hd95=0, assd=0)
    one, other = surface_distance(fixed, warped, 2), surface_distance(warped, fixed, 2)
    assert (one.hd95, one.assd) == pytest.approx((other.hd95, other.assd))


def test_a_label_that_fills_the_image_ends_at_its_border() -> None:
    full, part = np.ones((32, 32), int), np.ones((32, 32), int)
    part[:, :4] = 0
    assert surface_distance(full, part, 1).assd > 0


def test_a_label_that_one_image_lacks_has_no_distance() -> None:
    assert surface_distance(square(3, 3), np.zeros((40, 50), np.uint8), 3) is None
    assert surface_distance(np.zeros((40, 50), np.uint8), square(3, 3), 3) is None


def test_bad_shapes_and_types_are_refused() -> None:
    with pytest.raises(ValueError, match="must be the same"):
        surface_distance(np.zeros((4, 4), int), np.zeros((4, 5), int), 1)
    with pytest.raises(ValueError, match="labels are integers"):
        surface_distance(np.zeros((4, 4), int), np.zeros((4, 4)), 1)
    with pytest.raises(ValueError, match=r"label images are \(H, W\)"):
        surface_distance(np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int), 1)
