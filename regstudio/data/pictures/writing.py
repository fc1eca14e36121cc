"""Write pictures that other programs open; the extension chooses the format, and the header is kept."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs import itk, nifti, npy, pillow, tiff
from regstudio.data.codecs.decoded_file import DecodedFile
from regstudio.data.geometry import Geometry
from regstudio.data.pictures.formats import extension
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.planes import NIFTI
from regstudio.data.problems import FileError
from regstudio.files import atomic_path

_ENCODERS: dict[str, Callable[[Path, str, DecodedFile], None]] = {
    ".png": pillow.encode,
    ".tif": tiff.encode,
    ".tiff": tiff.encode,
    ".bmp": pillow.encode,
    ".jpg": pillow.encode,
    ".jpeg": pillow.encode,
    ".npy": npy.encode,
    ".npz": npy.encode_archive,
    ".nii": nifti.encode,
    ".nii.gz": nifti.encode,
    ".mha": itk.encode,
    ".nrrd": itk.encode,
}
_TIFF = (".tif", ".tiff")
_SIXTEEN_BITS = (".png", *_TIFF)
_EIGHT_BITS = (".bmp", ".jpg", ".jpeg")
_OUTPUT_OF = {".jpg": ".png", ".jpeg": ".png", **dict.fromkeys((".dcm", ".dicom", ".ima", ""), ".mha")}


def output_extension(path: str | Path) -> str:
    """Return the extension for results of this input: the input's own, but .png for .jpg and .mha for DICOM."""
    own = extension(path)
    return _OUTPUT_OF.get(own, own)


def write_image(path: str | Path, array: npt.NDArray[Any], *, like: Picture | None = None, key: str = "img") -> None:
    """Write an image (H, W), or in colour (H, W, C), atomically; the same array gives the same bytes.

    Floats are written as 32-bit floats. In formats of integers they must be in [0, 1], and are scaled to 0 to 65535
    (PNG, and TIFF unless `like` holds floats) or 0 to 255 (BMP, JPEG). Integers are written unchanged. `like` gives
    place and header; a `like` of another size has the same field of view. `key` names the array in an npz file. Raises
    DataError for values that the format cannot hold.

    >>> write_image("warped.nii.gz", warped, like=read_image("moving.nii.gz"))
    """
    path, array = Path(path), np.asarray(array)
    as_it_is = "uif" if like is not None and like.array.dtype.kind == "f" else "ui"
    if extension(path) in _SIXTEEN_BITS and not (extension(path) in _TIFF and array.dtype.kind in as_it_is):
        array = _to_integers(path, array, np.uint16)
    elif extension(path) in _EIGHT_BITS:
        array = _to_integers(path, array, np.uint8)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype.kind == "b" or array.dtype.itemsize > 4:
        array = array.astype(_smallest_type(array))
    _write(path, array, like, key)


def write_label(path: str | Path, array: npt.NDArray[Any], *, like: Picture | None = None, key: str = "label") -> None:
    """Write a label map (H, W) of integers atomically, in the smallest integer type that holds its ids.

    `like` gives place, header and palette. Raises DataError for ids that the format cannot hold, and for JPEG, which
    changes them.
    """
    path, array = Path(path), np.asarray(array)
    if array.dtype.kind == "f" and (np.rint(array) == array).all():
        array = array.astype(np.int64)
    if array.dtype.kind not in "bui":
        raise FileError(path, "a label map holds whole numbers, and these are not", "Round them, or write an image.")
    array = array.astype(_smallest_type(array))
    allowed = {".png": "HB", ".bmp": "B", ".jpg": "", ".jpeg": ""}.get(extension(path))
    if allowed is not None and array.dtype.char not in allowed:
        what = f"this format cannot hold the label ids {array.min()} to {array.max()} unchanged"
        raise FileError(path, what, "Write .nii.gz, .npy or .mha instead.")
    palette = like.header if like is not None and isinstance(like.header, np.ndarray) else None
    _write(path, array, like, key, palette)


def write_arrays(path: str | Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays of any shape to an .npz file atomically; the same arrays give the same bytes."""
    with atomic_path(Path(path)) as temporary:
        npy.write_arrays(temporary, arrays)


def _write(
    path: Path, array: npt.NDArray[Any], like: Picture | None, key: str, palette: npt.NDArray[np.uint8] | None = None
) -> None:
    colour = array.ndim == 3 and 2 <= array.shape[-1] <= 4
    if array.ndim != 2 and not colour:
        raise ValueError(f"a picture has two axes, or a third with two to four channels, not the shape {array.shape}")
    encode = _ENCODERS.get(extension(path))
    if encode is None:
        raise FileError(path, "this format cannot be written", f"Choose one of {', '.join(_ENCODERS)}.")
    geometry = None if like is None else resized_geometry(like, array.shape)
    affine = None
    if geometry is not None:
        # Only NIfTI may count its x along the rows: in a file that came so, or as 0.1 read it.
        x_first = geometry.rows_first and extension(path) in NIFTI
        array = array.swapaxes(0, 1) if x_first else array
        affine = geometry.affine if x_first else geometry.affine[:, [1, 0, 2, 3]]
    header = None if like is None else like.header
    tags = None if like is None or like.tags is None else like.tags.resized(like.size, array.shape[:2])
    content = DecodedFile(array=array, colour=colour, palette=palette, affine=affine, header=header, tags=tags)
    with atomic_path(path) as temporary:
        encode(temporary, key, content)


def resized_geometry(like: Picture, shape: tuple[int, ...]) -> Geometry | None:
    """Return the geometry of `like` for a picture of size `shape` with the same field of view."""
    if like.geometry is None or like.size == shape[:2]:
        return like.geometry
    return replace(like.geometry, affine=like.geometry.affine @ resize_matrix(like.size, shape[:2]))


def resize_matrix(before: tuple[int, ...], after: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the matrix (4, 4) from pixel indices at size `after` to those at size `before`, both (H, W)."""
    matrix = np.eye(4)
    for axis, ratio in enumerate(np.divide(before, after)):
        matrix[axis, axis] = ratio
        matrix[axis, 3] = (ratio - 1) / 2  # the outer edges of the picture stay in place
    return matrix


def _to_integers(path: Path, array: npt.NDArray[Any], dtype: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    maximum = np.iinfo(dtype).max
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    lowest, highest = array.min(), array.max()
    # Interpolation may go beyond [0, 1] by rounding. Values far beyond have another scale: clipping would destroy them.
    if array.dtype.kind == "f" and lowest >= -1e-3 and highest <= 1 + 1e-3:
        scaled: npt.NDArray[Any] = np.rint(np.clip(array, 0, 1).astype(np.float64) * maximum).astype(dtype)
        return scaled
    if array.dtype.kind in "ui" and lowest >= 0 and highest <= maximum:
        return array.astype(np.uint8 if array.dtype == np.uint8 else dtype)
    what = f"this format cannot hold the values {lowest:g} to {highest:g} of the image"
    raise FileError(path, what, "Write .nii.gz, .npy or .mha instead.")


def _smallest_type(array: npt.NDArray[Any]) -> np.dtype[Any]:
    lowest, highest = int(array.min()), int(array.max())
    types = (np.uint8, np.uint16, np.uint32, np.uint64) if lowest >= 0 else (np.int16, np.int32, np.int64)
    return next(np.dtype(t) for t in types if np.iinfo(t).min <= lowest and highest <= np.iinfo(t).max)
