"""Read one file as a 2-D picture: the supported formats, and the rules for images and labels.

An array is [row, column] as ITK reads the file, in every format: see regstudio.data.geometry.
"""

import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from PIL import Image

from regstudio.data.codecs import itk, nifti, npy, pillow
from regstudio.data.codecs.decoded_file import DecodedFile
from regstudio.data.codecs.dicom import is_dicom
from regstudio.data.codecs.signatures import refuse_other_kind
from regstudio.data.decoder import call, is_uploaded
from regstudio.data.geometry import AxisRule, Facing, Geometry, Turn, apart, is_plausible, turn_to
from regstudio.data.label_ids import as_ids
from regstudio.data.picture import Picture
from regstudio.data.problems import NOT_UNICODE, FileError, is_unicode

P = ParamSpec("P")
R = TypeVar("R")

MIN_SIDE = 32  # pixels; the network's coarsest level needs them (a test holds it to networks.base.MIN_SIDE)

_DECODERS: dict[str, Callable[[Path, str], DecodedFile]] = {
    ".png": pillow.decode,
    ".jpg": pillow.decode,
    ".jpeg": pillow.decode,
    ".tif": pillow.decode,
    ".tiff": pillow.decode,
    ".bmp": pillow.decode,
    ".npy": npy.decode,
    ".npz": npy.decode_archive,
    ".nii": nifti.decode,
    ".nii.gz": nifti.decode,
    ".mha": itk.decode,
    ".nrrd": itk.decode,
    ".dcm": itk.decode,
    ".dicom": itk.decode,
    ".ima": itk.decode,
}
EXTENSIONS = tuple(_DECODERS)
NIFTI = (".nii", ".nii.gz")
_PLACED = tuple(ending for ending, decode in _DECODERS.items() if decode in (nifti.decode, itk.decode))


def extension(path: str | Path) -> str:
    """Return a file name's extension in lower case, `.nii.gz` as one; `""` if it is not supported."""
    name = str(path).lower()  # not Path(path).suffix, which is slow for 100,000 files
    ending = ".nii.gz" if name.endswith(".nii.gz") else name[name.rfind(".") :]
    return ending if ending in _DECODERS else ""


def stem(path: str | Path) -> str:
    """Return a file name without its extension: `a.b.nii.gz` -> `a.b`; letters with accents as one character (NFC)."""
    name = path.name if isinstance(path, Path) else Path(path).name
    bare = name[: len(name) - len(extension(name))]
    return bare if bare.isascii() else unicodedata.normalize("NFC", bare)  # macOS writes them as two


def _apart_if_uploaded(read: Callable[P, R]) -> Callable[P, R]:
    """Let a function whose first argument is a file's path read uploaded files in a process of their own."""

    @wraps(read)
    def reader(*args: P.args, **kwargs: P.kwargs) -> R:
        path = Path(str(args[0] if args else kwargs["path"]))
        if not is_uploaded(path):
            return read(*args, **kwargs)
        found: R = call(path, reader, *args, **kwargs)
        return found

    return reader


@_apart_if_uploaded
def read_image(
    path: str | Path,
    *,
    key: str = "img",
    slice_axis: int | None = None,
    slice_index: int | None = None,
    axes: AxisRule = "itk",
    colour: bool = False,
) -> Picture:
    """Read an image as a `Picture` of finite numbers; colours become grey unless `colour` keeps them.

    `key` names the array in an npz file. `slice_axis` and `slice_index` select a slice of a volume, along an axis of
    the array that nibabel (NIfTI: x, y, z), SimpleITK (z, y, x) or NumPy shows; 2-D files ignore them. `axes` is the
    rule by which NIfTI becomes an array. Raises DataError, which names the file, if it cannot be used.

    >>> picture = read_image("data/moving/phantom_01.png")
    >>> picture.array.shape
    (128, 128)
    """
    path = Path(path)
    with _translate_errors(path):
        plane, geometry = _read_plane(path, key, slice_axis, slice_index, axes)
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


@_apart_if_uploaded
def read_label(
    path: str | Path,
    *,
    key: str = "label",
    slice_axis: int | None = None,
    slice_index: int | None = None,
    axes: AxisRule = "itk",
) -> Picture:
    """Read a label map as a `Picture` of integer ids; of a palette image, the indices.

    Arguments and errors are those of `read_image`; fractions and colours are errors, too.
    """
    path = Path(path)
    with _translate_errors(path):
        plane, geometry = _read_plane(path, key, slice_axis, slice_index, axes)
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


def geometry_of(
    path: Path, *, slice_axis: int | None = None, slice_index: int | None = None, axes: AxisRule = "itk"
) -> Geometry | None:
    """Return the geometry that `read_image` would find, from the header alone; None where the format knows none."""
    ending = extension(path)
    if ending not in _PLACED and (ending or not is_dicom(path)):
        return None
    with _translate_errors(path):
        state = path.stat()
        return _cached_geometry(path, (state.st_size, state.st_mtime_ns, state.st_ino), slice_axis, slice_index, axes)


@_apart_if_uploaded
def _read_geometry(
    path: Path, state: tuple[int, ...], slice_axis: int | None, slice_index: int | None, axes: AxisRule
) -> Geometry | None:
    with _translate_errors(path):
        return _plane(path, _decode(path, ""), slice_axis, slice_index, axes)[1]


_cached_geometry = lru_cache(maxsize=2**16)(_read_geometry)  # a label asks for its image's at every access


def label_on_image(label: Picture, image: Geometry | None, facing: Facing | None) -> Picture:
    """Return a label on the grid of its image, whose file has the geometry `image`, turned to `facing` as the image is.

    Where one of the two files does not know its place, the label is taken to lie on the image pixel for pixel. Raises
    FileError where both know it, and the label lies elsewhere.
    """
    if image is None:
        return label
    if label.facing is not None and image.facing is not None:
        label = label.turned(turn_to(label.facing, image.facing)[0])
    what = None if label.geometry is None else apart(label.geometry, image, label.array.shape)
    if what is not None:
        raise FileError(label.path, what, "Export it again from the image, or resample it onto the image's grid.")
    turn = Turn() if facing is None or image.facing is None else turn_to(image.facing, facing)[0]
    return label.turned(turn)


def _read_plane(
    path: Path, key: str, slice_axis: int | None, slice_index: int | None, rule: AxisRule
) -> tuple[DecodedFile, Geometry | None]:
    """Return a file with the array of its picture alone, and where that lies."""
    content = _decode(path, key)
    index, geometry = _plane(path, content, slice_axis, slice_index, rule)
    array = np.asarray(content.array[index])
    if rule == "nibabel" and extension(path) in NIFTI:
        array = array.swapaxes(0, 1)
    if array.dtype.kind not in "buif":
        raise FileError(path, f"holds {array.dtype} numbers, which are no picture", "Save real numbers.")
    # torch takes only the machine's own byte order
    return replace(content, array=np.ascontiguousarray(array, array.dtype.newbyteorder("="))), geometry


def _decode(path: Path, key: str) -> DecodedFile:
    decode = _DECODERS.get(extension(path)) or (itk.decode if is_dicom(path) else None)
    if decode is None:
        raise FileError(path, "this format is not supported", f"Supported are {', '.join(EXTENSIONS)}.")
    state = path.stat()
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        raise FileError(path, "is no ordinary file, but a device, a pipe or a socket", "Copy the picture into a file.")
    if state.st_size == 0:
        raise FileError(path, "is empty (0 bytes)", "Copy or export it again.")
    return decode(path, key)


def _plane(
    path: Path, content: DecodedFile, slice_axis: int | None, slice_index: int | None, rule: AxisRule
) -> tuple[tuple[Any, ...], Geometry | None]:
    """Return the index that takes the picture out of a file's array, and the picture's geometry."""
    shape = content.array.shape[:-1] if content.colour else content.array.shape
    axes, indices = _choose_plane(path, shape, slice_axis, slice_index)
    geometry = _plane_geometry(content, axes, indices)
    if geometry is not None and rule == "nibabel" and extension(path) in NIFTI:
        geometry = Turn(swap=True).geometry(geometry, (1, 1))
    return tuple(slice(None) if axis in axes else i for axis, i in enumerate(indices)), geometry


def _choose_plane(
    path: Path, shape: tuple[int, ...], slice_axis: int | None, slice_index: int | None
) -> tuple[list[int], list[int]]:
    """Return the axes of rows and columns, and the index along each other axis."""
    indices = [0] * len(shape)
    axes = [axis for axis, length in enumerate(shape) if length > 1 or len(shape) == 2]
    counted = axes[::-1] if extension(path) in NIFTI else axes  # as the format's own library shows them
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


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turn every exception of a decoder into a FileError, which says what is wrong and what to do."""
    if not is_unicode(path):
        raise FileError(path, *NOT_UNICODE)
    try:
        yield
    except FileError:
        raise
    except FileNotFoundError:
        raise FileError(path, "there is no such file", "Check the name.") from None
    except IsADirectoryError:
        raise FileError(path, "is a folder, not a file", "Name one of the files in it.") from None
    except PermissionError:
        raise FileError(path, "may not be read (permission denied)", "Change its permissions.") from None
    except MemoryError:
        raise FileError(path, "does not fit in memory", "Save it in a lower resolution.") from None
    except Image.DecompressionBombError:
        raise FileError(path, "is too large to be decoded", "Save it in a lower resolution.") from None
    except Exception as error:  # decoders may raise anything on damaged files
        if isinstance(error, OSError) and error.errno:
            what = f"cannot be read ({error.strerror})"
            raise FileError(path, what, "Check the disk, and copy the file again.") from error
        refuse_other_kind(path, extension(path) or ".dcm")
        what = f"cannot be read as {extension(path)}; it is damaged, or not what its name says"
        raise FileError(path, what, "Copy or export it again.") from error
