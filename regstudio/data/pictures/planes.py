"""The picture in a decoded file: a plane of its array, where that lies, and what its numbers mean."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.decoded_file import DecodedFile
from regstudio.data.geometry import AxisRule, Geometry, Turn, is_plausible
from regstudio.data.pictures.picture import Picture
from regstudio.data.problems import FileError

NIFTI = (".nii", ".nii.gz")


def take_plane(
    path: Path, content: DecodedFile, slice_axis: int | None, slice_index: int | None, rule: AxisRule = "itk"
) -> tuple[DecodedFile, Geometry | None]:
    """Return a file's content with the array of one picture alone, and where that lies."""
    index, geometry = find_plane(path, content, slice_axis, slice_index, rule)
    array = np.asarray(content.array[index])
    if rule == "nibabel" and _is_nifti(path):
        array = array.swapaxes(0, 1)
    if array.dtype.kind not in "buif":
        raise FileError(path, f"holds {array.dtype} numbers, which are no picture", "Save real numbers.")
    # torch takes only the machine's own byte order
    return replace(content, array=np.ascontiguousarray(array, array.dtype.newbyteorder("="))), geometry


def image_of(path: Path, plane: DecodedFile, geometry: Geometry | None, *, colour: bool = False) -> Picture:
    """Return a plane as an image of finite numbers; colours become grey unless `colour` keeps them."""
    array = plane.array
    if plane.palette is not None:
        is_grey = (plane.palette == plane.palette[:, :1]).all()
        array = plane.palette[:, 0][array] if is_grey else plane.palette[array]
    if plane.white is not None:
        array = (plane.white - array).astype(array.dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise FileError(path, f"holds NaN or infinity in {bad} pixels", "Replace them, for instance by 0.")
    picture = Picture(array=array, path=path, geometry=geometry, header=plane.header, tags=plane.tags)
    return picture if colour else replace(picture, array=picture.grey)


def label_of(path: Path, plane: DecodedFile, geometry: Geometry | None) -> Picture:
    """Return a plane as a label map of integer ids; of a palette image, the indices."""
    array = plane.array
    if plane.colour:
        if array.shape[-1] > 2 and (array[..., 1:3] != array[..., :1]).any():
            raise FileError(
                path,
                "is a colour picture, and colours are no label ids",
                "Save it with a palette, or with one channel that holds the ids 0, 1, 2, ...",
            )
        array = np.ascontiguousarray(array[..., 0])
    return Picture(array=as_ids(path, array), path=path, geometry=geometry, header=plane.header, tags=plane.tags)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI)


def find_plane(
    path: Path, content: DecodedFile, slice_axis: int | None, slice_index: int | None, rule: AxisRule
) -> tuple[tuple[Any, ...], Geometry | None]:
    """Return the index that takes the picture out of a file's array, and the picture's geometry."""
    shape = content.array.shape[:-1] if content.colour else content.array.shape
    axes, indices = _choose_plane(path, shape, slice_axis, slice_index)
    geometry = _plane_geometry(content, axes, indices)
    if geometry is not None and rule == "nibabel" and _is_nifti(path):
        geometry = Turn(swap=True).geometry(geometry, (1, 1))
    return tuple(slice(None) if axis in axes else i for axis, i in enumerate(indices)), geometry


def spatial_axes(path: Path, shape: Sequence[int]) -> list[int]:
    """Return the axes of an array that are longer than 1, in the order in which --slice_axis counts them."""
    axes = [axis for axis, length in enumerate(shape) if length > 1 or len(shape) == 2]
    return axes[::-1] if _is_nifti(path) else axes  # as the format's own library shows them


def _choose_plane(
    path: Path, shape: tuple[int, ...], slice_axis: int | None, slice_index: int | None
) -> tuple[list[int], list[int]]:
    """Return the axes of rows and columns, and the index along each other axis."""
    indices = [0] * len(shape)
    axes = [axis for axis, length in enumerate(shape) if length > 1 or len(shape) == 2]
    counted = spatial_axes(path, shape)
    lengths = [shape[axis] for axis in counted]
    sizes = " x ".join(str(length) for length in lengths or shape)
    if 0 in shape:
        raise FileError(path, f"holds no pixels (its size is {' x '.join(map(str, shape))})", "Export it again.")
    if len(axes) == 3:
        if slice_axis is None or slice_index is None:
            raise FileError(
                path,
                f"is a volume of {sizes} pixels, not a 2-D picture",
                "Take a slice with --slice_axis (0, 1 or 2) and --slice_index (counted from 0).",
            )
        if not 0 <= slice_axis <= 2 or not 0 <= slice_index < lengths[slice_axis]:
            raise FileError(
                path,
                f"its size is {sizes}, so there is no slice {slice_index} along axis {slice_axis}",
                "Choose a --slice_axis of 0, 1 or 2 and a --slice_index below the size along it.",
            )
        indices[counted[slice_axis]] = slice_index
        axes.remove(counted[slice_axis])
    if len(axes) != 2:
        raise FileError(path, f"has the size {sizes or 1}, which is no 2-D picture", "Save one with rows and columns.")
    return axes, indices


def _plane_geometry(content: DecodedFile, axes: list[int], indices: list[int]) -> Geometry | None:
    affine = content.affine
    rows, columns = (len(indices) - 1 - axis for axis in axes)  # of the file: 0 for x, 1 for y, 2 for z
    if affine is None or max(rows, columns) > 2 or not is_plausible(affine):
        return None  # the position of these axes in space is unknown
    across = 3 - rows - columns
    plane = affine[:, [rows, columns, across, 3]]
    if across < len(indices):
        plane[:3, 3] += affine[:3, across] * indices[len(indices) - 1 - across]
    return Geometry(affine=plane, axes=(rows, columns), placed=content.placed, dimension=content.dimension)


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
