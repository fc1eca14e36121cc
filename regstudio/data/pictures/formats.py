"""Read one file as a 2-D picture: the supported formats, and the rules for images and labels.

An array is [row, column] as ITK reads the file, in every format: see regstudio.data.geometry.
"""

import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from PIL import Image

from regstudio.data.codecs import itk, nifti, npy, pillow
from regstudio.data.codecs.decoded_file import DecodedFile
from regstudio.data.codecs.dicom import is_dicom
from regstudio.data.codecs.signatures import refuse_other_kind
from regstudio.data.geometry import AxisRule, Facing, Geometry, Turn, apart, turn_to
from regstudio.data.pictures import decoder
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.planes import find_plane, image_of, label_of, take_plane
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


def apart_if_uploaded(read: Callable[P, R]) -> Callable[P, R]:
    """Let a function whose first argument is a file's path read uploaded files in a process of their own."""

    @wraps(read)
    def reader(*args: P.args, **kwargs: P.kwargs) -> R:
        path = Path(str(args[0] if args else kwargs["path"]))
        if not decoder.is_uploaded(path):
            return read(*args, **kwargs)
        found: R = decoder.pool.call(path, reader, *args, **kwargs)
        return found

    return reader


@apart_if_uploaded
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
    with translate_errors(path):
        return image_of(path, *_read_plane(path, key, slice_axis, slice_index, axes), colour=colour)


@apart_if_uploaded
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
    with translate_errors(path):
        return label_of(path, *_read_plane(path, key, slice_axis, slice_index, axes))


def geometry_of(
    path: Path, *, slice_axis: int | None = None, slice_index: int | None = None, axes: AxisRule = "itk"
) -> Geometry | None:
    """Return the geometry that `read_image` would find, from the header alone; None where the format knows none."""
    ending = extension(path)
    if ending not in _PLACED and (ending or not is_dicom(path)):
        return None
    with translate_errors(path):
        state = path.stat()
        return _cached_geometry(path, (state.st_size, state.st_mtime_ns, state.st_ino), slice_axis, slice_index, axes)


@apart_if_uploaded
def _read_geometry(
    path: Path, state: tuple[int, ...], slice_axis: int | None, slice_index: int | None, axes: AxisRule
) -> Geometry | None:
    with translate_errors(path):
        return find_plane(path, decode_file(path, ""), slice_axis, slice_index, axes)[1]


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
    return take_plane(path, decode_file(path, key), slice_axis, slice_index, rule)


def decode_file(path: Path, key: str) -> DecodedFile:
    """Return what a file holds; decoders may raise anything, which `translate_errors` puts into words."""
    decode = _DECODERS.get(extension(path)) or (itk.decode if is_dicom(path) else None)
    if decode is None:
        raise FileError(path, "this format is not supported", f"Supported are {', '.join(EXTENSIONS)}.")
    state = path.stat()
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        raise FileError(path, "is no ordinary file, but a device, a pipe or a socket", "Copy the picture into a file.")
    if state.st_size == 0:
        raise FileError(path, "is empty (0 bytes)", "Copy or export it again.")
    return decode(path, key)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
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
