"""Surface distances: Hausdorff and mean distance between the outlines of two label images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regstudio.metrics.checks import Array, check_labels, check_same_shape

PERCENTILE = 95


@dataclass(frozen=True, kw_only=True)
class SurfaceDistance:
    """Distance between two outlines in the unit of the spacing: 95th percentile (hd95) and mean (assd)."""

    hd95: float
    assd: float


def surface_distance(
    fixed_label: Array, warped_label: Array, label: int, spacing: tuple[float, float] = (1.0, 1.0)
) -> SurfaceDistance | None:
    """Return the distance between the outlines of `label` in two label images; None if either image lacks it.

    The outline is the set of the label's pixels that have one of their four neighbours outside the label or the image.
    Each pixel counts as a point, with the Euclidean distance to the nearest point of the other outline. `hd95` is the
    larger of the 95th percentiles of the two directions, `assd` the mean over both. `spacing` (rows, columns) sets the
    unit: mm, or pixels for (1, 1).

    Definitions and values are those of MONAI's compute_hausdorff_distance(percentile=95) and
    compute_average_surface_distance(symmetric=True), in a fifteenth of the time. Raises ValueError if the shapes
    differ, or if an array has no integer type or is not (H, W).
    """
    check_same_shape("fixed_label", fixed_label, "warped_label", warped_label)
    for image in (fixed_label, warped_label):
        check_labels(image)
    if fixed_label.ndim != 2:
        raise ValueError(f"label images are (H, W); got {fixed_label.shape}")
    fixed, warped = (_outline(image == label) * spacing for image in (fixed_label, warped_label))
    if not len(fixed) or not len(warped):
        return None
    there, back = _nearest_distances(fixed, warped), _nearest_distances(warped, fixed)
    hd95 = max(np.quantile(distances, PERCENTILE / 100) for distances in (there, back))
    return SurfaceDistance(hd95=float(hd95), assd=float(np.concatenate((there, back)).mean()))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the points (n, 2), y and x, of the outline of a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.empty((0, 2))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # a label is often small
    padded = np.pad(box, 1)
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    corner = np.array([rows[0], columns[0]])
    points: NDArray[np.float64] = (np.argwhere(box & ~surrounded) + corner).astype(np.float64)
    return points


def _nearest_distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance (n,) from each point to the nearest of the others."""
    from scipy.spatial import KDTree  # imported late: it takes a third of a second, and no training needs it

    distances: NDArray[np.float64] = KDTree(others).query(points)[0]
    return distances
