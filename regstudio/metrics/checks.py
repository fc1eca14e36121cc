"""Checks of arrays that several families of metrics share."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def check_same_shape(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise ValueError, which names both, if two arrays differ in shape."""
    if array.shape != other.shape:
        raise ValueError(f"{name} has shape {array.shape} and {other_name} {other.shape}; they must be the same")


def check_images(fixed: Array, warped: Array) -> None:
    """Raise ValueError unless both are (H, W), of one size."""
    check_same_shape("fixed", fixed, "warped", warped)
    if fixed.ndim != 2:
        raise ValueError(f"images are (H, W); got {fixed.shape}")


def check_flow(flow: Array) -> None:
    """Raise ValueError unless `flow` is (2, H, W), with H and W of at least 2."""
    if flow.ndim != 3 or flow.shape[0] != 2 or min(flow.shape[1:]) < 2:
        raise ValueError(f"a flow is (2, H, W) with H and W of at least 2; got {flow.shape}")


def check_labels(label: Array) -> None:
    """Raise ValueError unless a label image has an integer type."""
    if label.dtype.kind not in "iub":
        raise ValueError(f"labels are integers; got an array of {label.dtype}")
