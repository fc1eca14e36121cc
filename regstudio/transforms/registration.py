"""What a registration takes and gives: the checks of its arrays, its result, and the metrics that come with it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.errors import DataError
from regstudio.metrics import dice, ncc, njd, shared_labels
from regstudio.networks.base import MIN_SIDE

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """What registering one moving image to a fixed one gave; everything lies on the fixed image's grid.

    `warped` (H, W) float32 in [0, 1]. `flow` (2, H, W) float32 in pixels (dy, dx): warped(p) = moving(p + flow(p)).
    `warped_label` (H, W) in the moving label's own dtype, or None. What lies outside the moving image is 0 in both.

    `affine_flow` is the part of `flow` that the affine map did before the network, None where there was none;
    `inverse_flow` leads back, from the moving grid, and is None where the network's transform has no inverse.

    `metrics` holds njd (pixels), njd_percent, ncc_before and ncc (in [0, 1], 1 for a perfect match); `measure` computes
    them when they are first asked for. Where both labels were given and there is a label to score it also holds
    dice_before and dice, the means over the labels, and dice_before_ID and dice_ID of each label.

    After a refinement it also holds ncc_unrefined, dice_unrefined where there is a dice, and refine_seconds.

    `seconds` is the time of affine map, network, refinement and warping alone: no reading, no metrics. A Registrar's
    first call of each image size takes longer than those that follow, and so does one of several at the same time.
    """

    warped: npt.NDArray[np.float32]
    flow: npt.NDArray[np.float32]
    warped_label: Array | None
    measure: Callable[[], dict[str, float]]
    seconds: float
    affine_flow: npt.NDArray[np.float32] | None = None
    inverse_flow: npt.NDArray[np.float32] | None = None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics by name; asked for by another thread, they do not hold up the next registration."""
        return self.measure()


def check_arrays(arrays: dict[str, Array]) -> None:
    """Raise DataError where one of fixed, moving, fixed_label and moving_label, by name, cannot be registered."""
    for name, array in arrays.items():
        is_label = name.endswith("label")
        if array.ndim != 2:
            raise DataError(f"{name} has the shape {array.shape}; it must be a 2-D array of rows and columns.")
        if array.dtype.kind not in ("bui" if is_label else "buif"):
            wanted = "whole numbers, the ids" if is_label else "real numbers"
            raise DataError(f"{name} holds {array.dtype} values; it must hold {wanted}.")
        if not np.isfinite(array).all():
            raise DataError(f"{name} holds NaN or infinity. Replace them, for instance by 0.")
        if array.shape != arrays["fixed"].shape:
            sizes = f"{name} is {size_of(array)} pixels and fixed is {size_of(arrays['fixed'])}"
            raise DataError(f"{sizes}; they must have one size. Resample one of them first.")
    if min(arrays["fixed"].shape) < MIN_SIDE:
        least = f"{MIN_SIDE} x {MIN_SIDE}"
        raise DataError(f"The images are {size_of(arrays['fixed'])} pixels; at least {least} are needed.")


def size_of(array: Array) -> str:
    """Return the size of an image for a message."""
    return f"{array.shape[0]} x {array.shape[1]}"


def image_metrics(fixed: Array, moving: Array, warped: Array, flow: Array) -> dict[str, float]:
    """Return the metrics of a Registration that need no labels."""
    folds = njd(flow)
    return {
        "njd": folds.count,
        "njd_percent": folds.percent,
        "ncc_before": ncc(fixed, moving),
        "ncc": ncc(fixed, warped),
    }


def label_metrics(fixed: Array | None, moving: Array | None, warped: Array | None) -> dict[str, float]:
    """Return the metrics of a Registration that need labels; none where one is missing."""
    metrics: dict[str, float] = {}
    if fixed is None or moving is None or warped is None:
        return metrics
    scored = shared_labels(fixed, moving)
    for name, score in (("dice_before", dice(fixed, moving, scored)), ("dice", dice(fixed, warped, scored))):
        if score.per_label:
            metrics[name] = score.mean
            metrics |= {f"{name}_{int(label)}": value for label, value in score.per_label.items()}
    return metrics
