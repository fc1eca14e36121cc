"""What a flow does to space: Jacobian determinants and folds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regstudio.metrics.shapes import Array, check_flow

BORDER = 2  # pixels that Learn2Reg leaves out on each side


@dataclass(frozen=True, kw_only=True)
class FoldCount:
    """Number of folded pixels and their share of all pixels, in percent."""

    count: int
    percent: float


@dataclass(frozen=True, kw_only=True)
class FoldedArea:
    """Non-diffeomorphic area, in pixels, and its share of the area between the pixels' centres, in percent."""

    area: float
    percent: float


def njd(flow: Array) -> FoldCount:
    """Count the pixels where a flow folds space: Jacobian determinant <= 0 (or not a number).

    `flow` is (2, H, W) in pixels, as for `jacobian_determinant`, whose central differences miss the smallest folds;
    `njd_one_sided` sees them. Raises ValueError for another shape.
    """
    return _count(jacobian_determinant(flow)[None])


def njd_one_sided(flow: Array) -> FoldCount:
    """Count the pixels of which any one-sided Jacobian determinant is <= 0 (or not a number).

    These are the criteria of a digital diffeomorphism: a pixel is folded if any of its `one_sided_determinants` is. The
    central determinant is the mean of the four, so that no fold of `njd` escapes. `flow` is (2, H, W) in pixels.
    Raises ValueError for another shape.
    Source: Liu et al., "On Finite Difference Jacobian Computation in Deformable Image Registration", IJCV 2024.
    """
    return _count(one_sided_determinants(flow))


def nda(flow: Array) -> FoldedArea:
    """Non-diffeomorphic area: how much area a flow turns inside out, which tells large folds from small ones.

    Each one-sided determinant is twice the signed area of the triangle that a pixel and two of its neighbours become.
    The four triangles of all pixels cover the image twice; so the area is that of the inverted triangles, halved:
    1/4 * sum(max(0, -determinant)). A mirrored image has 100 %, a flow that is not a number nan. `flow` is (2, H, W) in
    pixels. Raises ValueError for another shape.
    Source: Liu et al., "On Finite Difference Jacobian Computation in Deformable Image Registration", IJCV 2024.
    """
    forward, backward = slice(None, -1), slice(1, None)  # where such a difference stays within the image
    within = [(rows, columns) for rows in (forward, backward) for columns in (forward, backward)]
    triangles = (each[place] for each, place in zip(one_sided_determinants(flow), within, strict=True))
    area = float(sum(np.maximum(0, -triangle).sum() for triangle in triangles) / 4)
    height, width = flow.shape[1:]
    return FoldedArea(area=area, percent=100 * area / ((height - 1) * (width - 1)))


def log_jacobian_std(flow: Array) -> float:
    """Standard deviation of log-Jacobians, SDlogJ: 0 for a flow that changes all areas alike, larger for rougher ones.

    As Learn2Reg computes it: std(log(clip(det + 3, 1e-9, 1e9))) of the central determinants, two pixels at each border
    left out. The 3 keeps folds in the logarithm's domain, and makes the figure smaller than its name says. `flow` is
    (2, H, W) in pixels, H and W of at least 5. Raises ValueError for another shape.
    Source: Hering et al., "Learn2Reg: Comprehensive Multi-Task Medical Image Registration Challenge", TMI 2022.
    """
    if min(flow.shape[1:]) <= 2 * BORDER:
        raise ValueError(f"SDlogJ needs a flow of at least 5 x 5 pixels; got {flow.shape}")
    inside = jacobian_determinant(flow)[BORDER:-BORDER, BORDER:-BORDER]
    return float(np.log(np.clip(inside + 3, 1e-9, 1e9)).std())


def jacobian_determinant(flow: Array) -> NDArray[np.float64]:
    """Local change of area under p -> p + flow(p): (H, W), 1 for no change, <= 0 where space folds.

    `flow` is (2, H, W) in pixels, channel 0 = dy, channel 1 = dx, H and W of at least 2. Central differences inside,
    where the result equals SimpleITK's DisplacementFieldJacobianDeterminant; one-sided ones on the border, where
    SimpleITK repeats the border pixel instead and so halves the slope: an affine flow here has one determinant
    everywhere. Raises ValueError for another shape.
    """
    check_flow(flow)
    dy, dx = flow.astype(np.float64)
    dy_by_y, dy_by_x = np.gradient(dy)
    dx_by_y, dx_by_x = np.gradient(dx)
    determinant: NDArray[np.float64] = (1 + dy_by_y) * (1 + dx_by_x) - dy_by_x * dx_by_y
    return determinant


def one_sided_determinants(flow: Array) -> NDArray[np.float64]:
    """The four determinants of each pixel by forward and backward differences: (4, H, W).

    Their order is (rows, columns) = forward forward, forward backward, backward forward, backward backward. On the
    border, where a difference would reach outside the image, the one to the inside takes its place: an affine flow has
    one determinant everywhere. `flow` is (2, H, W) in pixels. Raises ValueError for another shape.
    """
    check_flow(flow)
    dy, dx = flow.astype(np.float64)
    by_rows = list(zip(_one_sided(dy, 0), _one_sided(dx, 0), strict=True))
    by_columns = list(zip(_one_sided(dy, 1), _one_sided(dx, 1), strict=True))
    return np.stack(
        [
            (1 + dy_by_y) * (1 + dx_by_x) - dy_by_x * dx_by_y
            for dy_by_y, dx_by_y in by_rows
            for dy_by_x, dx_by_x in by_columns
        ]
    )


def _one_sided(channel: NDArray[np.float64], axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return forward and backward differences (H, W) along an axis."""
    steps = np.diff(channel, axis=axis)
    first, last = np.take(steps, [0], axis), np.take(steps, [-1], axis)
    return np.concatenate((steps, last), axis), np.concatenate((first, steps), axis)


def _count(determinants: NDArray[np.float64]) -> FoldCount:
    """Count the pixels of which not all determinants (n, H, W) are positive; nan is not."""
    count = int((~(determinants > 0)).any(axis=0).sum())
    return FoldCount(count=count, percent=100 * count / determinants[0].size)
