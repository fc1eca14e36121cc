"""Label ids as whole numbers, whatever numbers a file holds them in."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.problems import FileError


def as_ids(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of integers; FileError for fractions, and for ids that are too large for its numbers."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    limit = 2**63
    if array.dtype.kind == "f":
        array, limit = _rounded(path, array), 2**53  # above which floats skip whole numbers
    largest = max(int(array.max(initial=0)), int(array.min(initial=0)), key=abs)
    if not -limit < largest < limit:
        what = f"holds the label id {largest}, and {limit - 1} is the largest that is read"
        raise FileError(path, what, "Give the labels smaller ids.")
    return array.astype(np.int64) if array.dtype.kind == "f" else array


def _rounded(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return whole numbers; those that a float has missed by a little are taken, as NIfTI's scl_slope leaves them."""
    with np.errstate(invalid="ignore"):
        whole = np.rint(array)
        wrong = ~(np.abs(array - whole) <= 1e-3 + 2.4e-7 * np.abs(whole))  # the slope is a 32-bit float
    if wrong.any():
        raise FileError(
            path,
            f"a label map holds whole numbers, this one holds {array[wrong].flat[0]}",
            "Save the ids as integers, and resample labels with nearest neighbour only.",
        )
    rounded: npt.NDArray[Any] = whole
    return rounded
