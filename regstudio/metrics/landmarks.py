"""Errors at points: target registration error of landmarks, and inverse consistency."""

import numpy as np
from numpy.typing import NDArray

from regstudio.metrics.checks import Array, check_flow, check_same_shape

Points = NDArray[np.float64]


def target_registration_error(
    fixed_points: Array, moving_points: Array, flow: Array | None = None, spacing: tuple[float, float] = (1.0, 1.0)
) -> Points:
    """Return the distances |p + flow(p) - q| between warped fixed landmarks p and moving landmarks q: (n,).

    Points are (n, 2), y and x, in pixels from 0. `flow` is (2, H, W) in pixels, a pull-back on the fixed grid, sampled
    linearly; without it, the distances are those before registration. `spacing` of the moving image sets the unit: mm,
    or pixels for (1, 1). Raises ValueError for other shapes.

    >>> target_registration_error(np.array([[10, 10]]), np.array([[13, 14]]))
    array([5.])
    """
    check_same_shape("fixed_points", fixed_points, "moving_points", moving_points)
    if fixed_points.ndim != 2 or fixed_points.shape[1] != 2:
        raise ValueError(f"points are (n, 2), y and x; got {fixed_points.shape}")
    moved = fixed_points.astype(np.float64)
    if flow is not None:
        moved = moved + sample_flow(flow, moved.T).T
    distances: Points = np.linalg.norm((moved - moving_points.astype(np.float64)) * spacing, axis=1)
    return distances


def inverse_consistency(flow: Array, inverse: Array, spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return the mean distance |phi(phi_inverse(x)) - x| over the moving image's pixels x: 0 for a perfect inverse.

    phi(p) = p + flow(p), and the same for the inverse; both flows are (2, H, W) in pixels. Pixels that the inverse maps
    outside the image are ignored, since the flow is unknown there; nan if all are. `spacing` sets the unit: mm, or
    pixels for (1, 1). Raises ValueError for other shapes.
    """
    check_flow(flow)
    check_same_shape("flow", flow, "inverse", inverse)
    grid = np.indices(flow.shape[1:], np.float64)
    back = grid + inverse.astype(np.float64)
    last = np.reshape(flow.shape[1:], (2, 1, 1)) - 1
    known = ((back >= 0) & (back <= last)).all(axis=0)
    if not known.any():
        return float("nan")
    points = back[:, known]
    errors = (points + sample_flow(flow, points) - grid[:, known]) * np.reshape(spacing, (2, 1))
    return float(np.linalg.norm(errors, axis=0).mean())


def sample_flow(flow: Array, points: Points) -> Points:
    """Sample a flow (2, H, W) linearly at points (2, ...), y and x in pixels; outside, the nearest pixel: (2, ...)."""
    from scipy import ndimage  # imported late: it takes a third of a second, and no training needs it

    check_flow(flow)
    channels = flow.astype(np.float64)
    return np.stack([ndimage.map_coordinates(channel, points, order=1, mode="nearest") for channel in channels])
