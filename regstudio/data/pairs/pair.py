"""A pair of images to register: what a method is given, and how it is made of arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.loading.loaders import rescale
from regstudio.data.loading.working_grid import Placement, Spacing, spanning
from regstudio.data.pairs.dataset import ValidationPair
from regstudio.data.pictures.formats import MIN_SIDE
from regstudio.data.pictures.picture import Picture
from regstudio.errors import DataError

Array = npt.NDArray[Any]
Points = npt.NDArray[np.float64]
PIXELS: Spacing = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """The files of a pair, turned as the fixed one lies: each in its own numbers, colours and size.

    `fixed_place` and `moving_place` say where they lie on the pair's grid; None where their outer edges are its own.
    """

    fixed: Picture
    moving: Picture
    fixed_label: Picture | None = None
    moving_label: Picture | None = None
    fixed_place: Placement | None = None
    moving_place: Placement | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two images to register, (H, W) float32 in [0, 1], on one grid; labels (H, W) and points (n, 2), if there are any.

    Labels are integers. Points are y and x in pixels of this grid. `spacing` (rows, columns) is that of the grid's
    pixels in mm, by the fixed file; it is None where the file has none, and all distances are then in pixels of the
    fixed file. `moving_spacing` is by the moving file, or the same where that has none. `pictures` are the files, for a
    pair that was read from files. Masks (H, W) are 1 where an image counts, and 0 elsewhere. `laid_by_hand` is whether
    a person laid the moving image on the fixed one: deformable methods then look for no affine map before.
    """

    id: str
    fixed: npt.NDArray[np.float32]
    moving: npt.NDArray[np.float32]
    fixed_label: Array | None = None
    moving_label: Array | None = None
    fixed_points: npt.NDArray[np.float64] | None = None
    moving_points: npt.NDArray[np.float64] | None = None
    spacing: Spacing | None = None
    moving_spacing: Spacing | None = None
    pictures: Pictures | None = None
    fixed_mask: npt.NDArray[np.float32] | None = None
    moving_mask: npt.NDArray[np.float32] | None = None
    laid_by_hand: bool = False

    @property
    def unit(self) -> str:
        """The unit of distances: "mm" or "pixels"."""
        return "pixels" if self.spacing is None else "mm"

    @property
    def distance_scale(self) -> Spacing:
        """The height and width of a pixel of the moving image on this grid, in the unit of distances."""
        return self.places[0].step if self.spacing is None else self.moving_spacing or self.spacing

    @property
    def places(self) -> tuple[Placement, Placement]:
        """Where the fixed and the moving file lie on the grid; the grid itself, where there are no files."""
        height, width = self.fixed.shape
        size, files = (height, width), self.pictures
        if files is None:
            return spanning(size, size), spanning(size, size)
        return (
            files.fixed_place or spanning(files.fixed.size, size),
            files.moving_place or spanning(files.moving.size, size),
        )


def pair_of_arrays(
    fixed: Array,
    moving: Array,
    *,
    fixed_label: Array | None = None,
    moving_label: Array | None = None,
    fixed_mask: Array | None = None,
    moving_mask: Array | None = None,
    name: str = "",
) -> Pair:
    """Return the pair of two images (H, W) of any real numbers, each scaled to [0, 1] by its minimum and maximum.

    Labels are (H, W) integers or booleans; an image counts where its mask (H, W) is not 0. Raises DataError, naming
    the argument, for arrays that cannot be registered.
    """
    given = {"fixed": fixed, "moving": moving, "fixed_label": fixed_label, "moving_label": moving_label}
    given |= {"fixed_mask": fixed_mask, "moving_mask": moving_mask}
    arrays = {name: np.asarray(array) for name, array in given.items() if array is not None}
    for argument, array in arrays.items():
        _check_array(argument, array, arrays["fixed"])
    if min(arrays["fixed"].shape) < MIN_SIDE:
        raise DataError(
            f"The images are {shown_size(arrays['fixed'])} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed."
        )
    return Pair(
        id=name,
        fixed=rescale(arrays["fixed"]),
        moving=rescale(arrays["moving"]),
        fixed_label=arrays.get("fixed_label"),
        moving_label=arrays.get("moving_label"),
        fixed_mask=_mask_array(arrays.get("fixed_mask")),
        moving_mask=_mask_array(arrays.get("moving_mask")),
    )


def pair_of_tensors(loaded: ValidationPair) -> Pair:
    """Return the pair that `load_validation_pair` loaded, without files, spacing or points."""
    fixed_label, moving_label = loaded.get("fixed_label"), loaded.get("moving_label")
    fixed_mask, moving_mask = loaded.get("fixed_mask"), loaded.get("moving_mask")
    return Pair(
        id=loaded["id"],
        fixed=loaded["fixed_image"][0].numpy(),
        moving=loaded["moving_image"][0].numpy(),
        fixed_label=None if fixed_label is None else fixed_label[0].long().numpy(),
        moving_label=None if moving_label is None else moving_label[0].long().numpy(),
        fixed_mask=None if fixed_mask is None else fixed_mask[0].numpy(),
        moving_mask=None if moving_mask is None else moving_mask[0].numpy(),
    )


def _mask_array(array: Array | None) -> npt.NDArray[np.float32] | None:
    return None if array is None else (array != 0).astype(np.float32)


def _check_array(name: str, array: Array, fixed: Array) -> None:
    is_label = name.endswith("label")
    if array.ndim != 2:
        raise DataError(f"{name} has the shape {array.shape}; it must be a 2-D array of rows and columns.")
    if array.dtype.kind not in ("bui" if is_label else "buif"):
        wanted = "whole numbers, the ids" if is_label else "real numbers"
        raise DataError(f"{name} holds {array.dtype} values; it must hold {wanted}.")
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinity. Replace them, for instance by 0.")
    if array.shape != fixed.shape:
        sizes = f"{name} is {shown_size(array)} pixels and fixed is {shown_size(fixed)}"
        raise DataError(f"{sizes}; they must have one size. Resample one of them first.")


def shown_size(array: Array) -> str:
    """Return the height and width of an array as messages have them."""
    return f"{array.shape[0]} x {array.shape[1]}"
