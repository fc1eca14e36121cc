"""Unpack zips that may be hostile: that lead out of their folder, hold links, or unpack to more than the disk holds."""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from regstudio.data.folders.listing import SYSTEM_FILES
from regstudio.errors import DataError

MAX_UPLOAD_BYTES = 4 * 2**30
MAX_NAME_LENGTH = 200  # characters of a file's name
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one upload, unpacked, and the bytes that must stay free on the disk."""

    max_files: int = 20_000
    max_bytes: int = MAX_UPLOAD_BYTES
    min_free_bytes: int = 2**28


LIMITS = Limits()


def unpack_all(archive: Path, folder: Path, limits: Limits = LIMITS) -> None:
    """Unpack a zip into a new folder; raises DataError where it is damaged, too large, or leads elsewhere."""
    with damage_as_data_error(archive), zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir() and not is_noise(entry)]
        refuse_hostile(entries)
        refuse_too_much(len(entries), sum(entry.file_size for entry in entries), folder, limits)
        room = limits.max_bytes
        for entry in entries:
            with opened.open(entry) as stream:
                room -= copy_bounded(stream, folder / path_in(entry), room)


def refuse_hostile(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raise DataError where an entry leads out of its folder, is a link or secret, or has no usable name."""
    for entry in entries:
        name = entry.filename.replace("\\", "/")
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in entry.orig_filename:
            raise DataError(f"{entry.filename!r} in the zip leads out of its folder. Nothing was unpacked.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(f"{entry.filename!r} in the zip is a link, not a file. Zip the files themselves.")
        if entry.flag_bits & 0x1:
            raise DataError(f"{entry.filename!r} in the zip is protected by a password. Zip the files without one.")
        if len(parts[-1]) > MAX_NAME_LENGTH or not name.isprintable():
            raise DataError(f"{name[:MAX_NAME_LENGTH]!r} in the zip is no usable file name. Rename it.")
    names = [entry.filename.replace("\\", "/") for entry in entries]
    if len(set(names)) < len(names):
        raise DataError("The zip holds two files of one name. Zip the folder again.")


def refuse_too_much(files: int, size: int, target: Path, limits: Limits) -> None:
    """Raise DataError where so many files or bytes are over the limits, or have no room on the disk of `target`."""
    if files > limits.max_files or size > limits.max_bytes:
        raise DataError(
            f"{files:,} files of {size:,} bytes in all are too much for one upload; the limits are "
            f"{limits.max_files:,} files and {limits.max_bytes:,} bytes. "
            "Copy the folder to this computer and choose it instead."
        )
    there = next(folder for folder in (target, *target.parents) if folder.exists())
    if shutil.disk_usage(there).free < size + limits.min_free_bytes:
        raise DataError(f"There is no room for {size:,} bytes on the disk of {there}. Make some, or choose another.")


def path_in(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Return the path of an entry, whichever way its slashes lean."""
    return PurePosixPath(entry.filename.replace("\\", "/"))


def is_noise(entry: zipfile.ZipInfo) -> bool:
    """Whether an operating system added the entry."""
    parts = path_in(entry).parts
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1].lower() in SYSTEM_FILES


def copy_bounded(stream: IO[bytes], path: Path, room: int) -> int:
    """Copy a stream into a new file and return its size; raises DataError once that exceeds `room` bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with path.open("xb") as file:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > room:
                raise DataError(f"{path.name}: is larger than the limit of an upload. Nothing was kept.")
            file.write(chunk)
    return size


@contextmanager
def damage_as_data_error(archive: Path) -> Iterator[None]:
    """Turn what a damaged zip raises in the block into a DataError that names it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{archive.name}: {error}") from None
    except NotImplementedError as error:  # such as Deflate64, which Windows takes for large files
        what = f"is compressed in a way that is not supported ({error})"
        raise DataError(f"{archive.name}: {what}. Zip the folder again with ordinary Deflate.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise DataError(f"{archive.name}: is damaged, or no zip ({error}). Zip the folder again.") from None
