"""How good a registration is: plain functions on plain arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.generic]
Counts = dict[int, int]


@dataclass(frozen=True, kw_only=True)
class DiceScore:
    """Dice of each scored label, in [0, 1], and their unweighted mean (nan if no label was scored)."""

    per_label: dict[int, float]
    mean: float


@dataclass(frozen=True, kw_only=True)
class FoldCount:
    """Number of folded pixels and their share of all pixels, in percent."""

    count: int
    percent: float


def dice(fixed_label: Array, warped_label: Array, labels: Iterable[int] | None = None) -> DiceScore:
    """Overlap of two label images, 2 |A and B| / (|A| + |B|), for each label and on average.

    Both are integer arrays of one shape. By default every label but the background, 0, is scored; `labels` names the
    ones to score instead (0 too, if it is named). A label absent from both images is left out; one absent from only
    one of them counts 0. If nothing is left to score, `per_label` is empty and the mean is nan.

    Raises ValueError if the shapes differ or an array holds no integers.
    Source: Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 1945.
    """
    _check_same_shape("fixed_label", fixed_label, "warped_label", warped_label)
    fixed, warped = _pixel_counts(fixed_label), _pixel_counts(warped_label)
    shared = _pixel_counts(fixed_label[fixed_label == warped_label])
    present = fixed.keys() | warped.keys()
    scored = sorted(present - {0} if labels is None else present.intersection(labels))
    per_label = {label: 2 * shared.get(label, 0) / (fixed.get(label, 0) + warped.get(label, 0)) for label in scored}
    return DiceScore(per_label=per_label, mean=float(np.mean(list(per_label.values()))) if per_label else float("nan"))


def njd(flow: Array) -> FoldCount:
    """Count the pixels where a flow folds space: Jacobian determinant <= 0 (or not a number).

    `flow` is (2, H, W) in pixels, as for `jacobian_determinant`. Raises ValueError for another shape.
    """
    folded = ~(jacobian_determinant(flow) > 0)
    count = int(folded.sum())
    return FoldCount(count=count, percent=100 * count / folded.size)


def jacobian_determinant(flow: Array) -> NDArray[np.float64]:
    """Local change of area under p -> p + flow(p): (H, W), 1 for no change, <= 0 where space folds.

    `flow` is (2, H, W) in pixels, channel 0 = dy, channel 1 = dx, H and W of at least 2. Central differences inside,
    where the result equals SimpleITK's DisplacementFieldJacobianDeterminant; one-sided ones on the border, where
    SimpleITK repeats the border pixel instead and so halves the slope: an affine flow here has one determinant
    everywhere. Raises ValueError for another shape.
    """
    if flow.ndim != 3 or flow.shape[0] != 2 or min(flow.shape[1:]) < 2:
        raise ValueError(f"a flow is (2, H, W) with H and W of at least 2; got {flow.shape}")
    dy, dx = flow.astype(np.float64)
    dy_by_y, dy_by_x = np.gradient(dy)
    dx_by_y, dx_by_x = np.gradient(dx)
    determinant: NDArray[np.float64] = (1 + dy_by_y) * (1 + dx_by_x) - dy_by_x * dx_by_y
    return determinant


def ncc(fixed: Array, warped: Array, win: int = 9) -> float:
    """Mean local squared normalised cross-correlation of two (H, W) images: in [0, 1], 1 for a perfect match.

    The negative of `regstudio.losses.NCC`, where the formula and its source are; images in [0, 1].
    Raises ValueError if the shapes differ, the images are not two-dimensional or `win` is not odd and at least 3.
    """
    _check_same_shape("fixed", fixed, "warped", warped)
    if fixed.ndim != 2:
        raise ValueError(f"images are (H, W); got {fixed.shape}")
    if win < 3 or win % 2 == 0:
        raise ValueError(f"win is the side of a window with a centre pixel, an odd number of at least 3; got {win}")

    def window_sum(image: NDArray[np.float64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = ndimage.uniform_filter(image, win, mode="constant") * win**2
        return total

    f, w = fixed.astype(np.float64), warped.astype(np.float64)
    sum_f, sum_w = window_sum(f), window_sum(w)
    cross = window_sum(f * w) - sum_f * sum_w / win**2
    var_f = np.maximum(window_sum(f * f) - sum_f**2 / win**2, 0)
    var_w = np.maximum(window_sum(w * w) - sum_w**2 / win**2, 0)
    return float(np.minimum(cross**2 / (var_f * var_w + 1e-5), 1).mean())


def _check_same_shape(name: str, array: Array, other_name: str, other: Array) -> None:
    if array.shape != other.shape:
        raise ValueError(f"{name} has shape {array.shape} and {other_name} {other.shape}; they must be the same")


def _pixel_counts(label: Array) -> Counts:
    if label.dtype.kind not in "iub":
        raise ValueError(f"labels are integers; got an array of {label.dtype}")
    ids, counts = np.unique(label, return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))
