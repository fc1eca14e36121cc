"""Folds of a flow and its Jacobian determinants."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regstudio.metrics.checks import Array, check_flow

BORDER = 2  # pixels on each side that Learn2Reg ignores


@dataclass(frozen=True, kw_only=True)
class FoldCount:
    """Number of folded pixels, and their percentage of all pixels."""

    count: int
    percent: float


@dataclass(frozen=True, kw_only=True)
class FoldedArea:
    """Non-diffeomorphic area in pixels, and its percentage of the area between the pixel centres."""

    area: float
    percent: float


def njd(flow: Array) -> FoldCount:
    """Count the pixels where a flow folds space: Jacobian determinant <= 0 (or not a number).

    `flow` is (2, H, W) in pixels. The central differences of `jacobian_determinant` miss the smallest folds;
    `njd_one_sided` counts them. Raises ValueError for another shape.

    >>> njd(np.zeros((2, 64, 64)))
    FoldCount(count=0, percent=0.0)
    """
    return _count_folds(jacobian_determinant(flow)[None])


def njd_one_sided(flow: Array) -> FoldCount:
    """Count the pixels with a one-sided Jacobian determinant <= 0 (or not a number).

    This is the criterion of a digital diffeomorphism: a pixel folds if any of its `one_sided_determinants` does. The
    central determinant is the mean of the four, so every fold of `njd` is counted here, too. `flow` is (2, H, W) in
    pixels. Raises ValueError for another shape.
    Source: Liu et al., "On Finite Difference Jacobian Computation in Deformable Image Registration", IJCV 2024.
    """
    return _count_folds(one_sided_determinants(flow))


def nda(flow: Array) -> FoldedArea:
    """Return the non-diffeomorphic area: the area that a flow inverts, larger for larger folds.

    Each one-sided determinant is twice the signed area of the warped triangle of a pixel and two of its neighbours. The
    triangles of all pixels cover the image twice, so the inverted area is 1/4 * sum(max(0, -determinant)). It is 100 %
    for a mirrored image, and nan for a flow that is not a number. `flow` is (2, H, W) in pixels. Raises ValueError for
    another shape.
    Source: Liu et al., "On Finite Difference Jacobian Computation in Deformable Image Registration", IJCV 2024.
    """
    forward, backward = slice(None, -1), slice(1, None)  # the pixels whose difference stays inside the image
    inside = [(rows, columns) for rows in (forward, backward) for columns in (forward, backward)]
    triangles = (determinant[place] for determinant, place in zip(one_sided_determinants(flow), inside, strict=True))
    area = float(sum(np.maximum(0, -triangle).sum() for triangle in triangles) / 4)
    height, width = flow.shape[1:]
    return FoldedArea(area=area, percent=100 * area / ((height - 1) * (width - 1)))


def log_jacobian_std(flow: Array) -> float:
    """Return SDlogJ, the standard deviation of log-Jacobians: 0 if all areas change alike, larger for rougher flows.

    As in Learn2Reg, it is std(log(clip(det + 3, 1e-9, 1e9))) of the central determinants without two pixels at each
    border. The 3 keeps folds in the domain of the logarithm, and makes the value smaller than the name says. `flow` is
    (2, H, W) in pixels, H and W at least 5. Raises ValueError for another shape.
    Source: Hering et al., "Learn2Reg: Comprehensive Multi-Task Medical Image Registration Challenge", TMI 2022.
    """
    if min(flow.shape[1:]) <= 2 * BORDER:
        raise ValueError(f"SDlogJ needs a flow of at least 5 x 5 pixels; got {flow.shape}")
    inside = jacobian_determinant(flow)[BORDER:-BORDER, BORDER:-BORDER]
    return float(np.log(np.clip(inside + 3, 1e-9, 1e9)).std())


def jacobian_determinant(flow: Array) -> NDArray[np.float64]:
    """Return the Jacobian determinant of p -> p + flow(p): (H, W), 1 if the area does not change, <= 0 for a fold.

    `flow` is (2, H, W) in pixels, channel 0 = dy, channel 1 = dx, H and W at least 2. Inside, differences are central,
    as in SimpleITK's DisplacementFieldJacobianDeterminant. On the border they are one-sided, so that an affine flow has
    the same determinant everywhere; SimpleITK repeats the border pixel, which halves the slope. Raises ValueError for
    another shape.
    """
    check_flow(flow)
    dy, dx = flow.astype(np.float64)
    dy_by_y, dy_by_x = np.gradient(dy)
    dx_by_y, dx_by_x = np.gradient(dx)
    determinant: NDArray[np.float64] = (1 + dy_by_y) * (1 + dx_by_x) - dy_by_x * dx_by_y
    return determinant


def one_sided_determinants(flow: Array) -> NDArray[np.float64]:
    """Return the four Jacobian determinants of each pixel from forward and backward differences: (4, H, W).

    Their order is (rows, columns) = forward forward, forward backward, backward forward, backward backward. On the
    border, a difference to the inside replaces one to the outside, so that an affine flow has the same determinant
    everywhere. `flow` is (2, H, W) in pixels. Raises ValueError for another shape.
    """
    check_flow(flow)
    dy, dx = flow.astype(np.float64)
    by_rows = list(zip(_one_sided_differences(dy, 0), _one_sided_differences(dx, 0), strict=True))
    by_columns = list(zip(_one_sided_differences(dy, 1), _one_sided_differences(dx, 1), strict=True))
    return np.stack(
        [
            (1 + dy_by_y) * (1 + dx_by_x) - dy_by_x * dx_by_y
            for dy_by_y, dx_by_y in by_rows
            for dy_by_x, dx_by_x in by_columns
        ]
    )


def _one_sided_differences(channel: NDArray[np.float64], axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return forward and backward differences (H, W) along an axis."""
    steps = np.diff(channel, axis=axis)
    first, last = np.take(steps, [0], axis), np.take(steps, [-1], axis)
    return np.concatenate((steps, last), axis), np.concatenate((first, steps), axis)


def _count_folds(determinants: NDArray[np.float64]) -> FoldCount:
    """Count the pixels with a determinant (n, H, W) that is not positive; nan is not positive."""
    count = int((~(determinants > 0)).any(axis=0).sum())
    return FoldCount(count=count, percent=100 * count / determinants[0].size)
