"""NumPy's .npy files and .npz archives; nothing is unpickled."""

import io
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.decoded_file import DecodedFile, refuse_huge
from regstudio.data.problems import FileError

npy_format: Any = np.lib.format  # in some versions of NumPy its functions have no types
HEADER_ATTEMPTS = 5
_Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
_header_lock = threading.Lock()


def decode(path: Path, key: str) -> DecodedFile:
    """Decode a .npy file; (H, W, 3) or (H, W, 4) of bytes counts as colour."""
    with path.open("rb") as stream:
        return _decode_stream(path, stream)


def decode_archive(path: Path, key: str) -> DecodedFile:
    """Decode only the array named `key` of an archive."""
    names = array_names(path)
    with zipfile.ZipFile(path) as archive:
        if key not in names:
            names_text = ", ".join(f"'{name}'" for name in names) or "none"
            raise FileError(
                path,
                f"has no array named '{key}'; the arrays there: {names_text}",
                "Name the right one with --image_key (for images) or --label_key (for labels).",
            )
        if archive.getinfo(f"{key}.npy").flag_bits & 1:
            raise FileError(path, "is protected by a password", "Save it without one.")
        try:
            with archive.open(f"{key}.npy") as stream:
                return _decode_stream(path, stream)
        except NotImplementedError as error:
            raise FileError(path, f"is compressed in a way that is not supported ({error})", "Use np.savez.") from None


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays of an archive."""
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_arrays(path: Path, max_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """Return all arrays of an archive; raises FileError if it is none, or if they take more than `max_bytes`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
                raise FileError(path, f"unpacks to more than {max_bytes:,} bytes", "Delete it.")
            arrays = {}
            for name in names:
                with archive.open(name) as stream:
                    arrays[name.removesuffix(".npy")] = np.asarray(_decode_stream(path, stream).array)
            return arrays
    except FileError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(path, f"cannot be read as .npz ({error})", "Delete it.") from error


def _read_header(read: Callable[[IO[bytes]], _Header], stream: IO[bytes]) -> _Header:
    """Read a header, which is a Python literal, in one thread at a time, and again where Python lost count.

    Until 3.11.8, where several threads or greenlets parse at once, SystemError may say so of any file (gh-106905).
    """
    start = stream.tell()
    with _header_lock:
        for _ in range(HEADER_ATTEMPTS):
            with suppress(SystemError):
                return read(stream)
            stream.seek(start)
        return read(stream)


def _decode_stream(path: Path, stream: IO[bytes]) -> DecodedFile:
    version = npy_format.read_magic(stream)
    if version == (3, 0):  # of arrays with named fields alone
        raise FileError(path, "holds named fields, not numbers", "Save a numeric array.")
    read_header = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}[version]
    shape, column_major, dtype = _read_header(read_header, stream)
    if dtype.kind not in "buifc":
        raise FileError(path, f"holds '{dtype}' values, not numbers", "Save a numeric array.")
    if min(shape, default=1) < 0:
        raise ValueError("a negative length")
    refuse_huge(path, shape, dtype.itemsize)  # 400 KB of archive can hold 400 MB of zeros
    raw = stream.read(prod(shape) * dtype.itemsize)
    array = np.frombuffer(raw, dtype).reshape(shape, order="F" if column_major else "C")
    return DecodedFile(array=array, colour=dtype == np.uint8 and len(shape) == 3 and shape[-1] in (3, 4))


def encode(path: Path, key: str, content: DecodedFile) -> None:
    """Write a .npy file."""
    path.write_bytes(_to_bytes(content.array))


def encode_archive(path: Path, key: str, content: DecodedFile) -> None:
    """Write a .npz archive with one array in it, named `key`."""
    write_arrays(path, {key: content.array})


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a compressed .npz archive whose bytes depend on the arrays alone, not on time or system."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix, on every system
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _to_bytes(array))


def _to_bytes(array: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    npy_format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
