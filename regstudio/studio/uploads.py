"""Putting uploaded files into a data folder: all or nothing, bounded, and over nothing that is there. No gradio here.

An archive is hostile until shown otherwise: it may name places outside its folder, be links, or unpack to more than
the disk holds. Pictures themselves are judged by their readers, which look at a header before they decode.
"""

import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from regstudio.config import LayoutSection, settings
from regstudio.data.formats import EXTENSIONS, extension
from regstudio.data.listing import short_list
from regstudio.errors import ConfigError, DataError
from regstudio.studio.studio import Studio

MAX_FILES = 20_000  # in one upload
MAX_UPLOAD_BYTES = 4 * 2**30  # of one upload, unpacked
MIN_FREE_BYTES = 2**28  # left free on the disk
MAX_NAME_LENGTH = 200  # characters of a file's name
_CHUNK = 2**20
_NAME = re.compile(r"[^\W_][\w .()-]{0,99}")
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What became of an upload: the folder, how many files are new in it, and the names that were left out."""

    folder: Path
    files: int
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        """Return the sentence for the user."""
        number = f"{self.files} file{'s' * (self.files != 1)}"
        without = f" Left out, as no image in a folder of the layout: {_few(self.left_out)}." if self.left_out else ""
        return f"{number} put into {self.folder}.{without}"


def roles() -> dict[str, str]:
    """Return what an uploaded file can be: the setting that names its folder -> that folder in words."""
    return {setting.name: setting.help for setting in settings("layout") if setting.name.endswith("_subdir")}


def receive(studio: Studio, files: Sequence[Path], name: str, role: str | None) -> Upload:
    """Make a data folder of an uploaded zip, or put single files into the folder of their `role`."""
    target = target_folder(name, studio.roots[0], studio.allowed)
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        return unpack(files[0], target, studio.config.layout)
    if role not in roles():
        raise ConfigError("Say what the files are for: choose one of the folders of the layout.")
    return add_files(files, target, str(getattr(studio.config.layout, role)))


def target_folder(name: str, root: Path, allowed: Callable[[str], Path]) -> Path:
    """Return the folder that `name` means: data_uploads/NAME below `root`, or where the name is a path, that path."""
    name = name.strip()
    if "/" in name or "\\" in name or name.startswith("~"):
        return allowed(name)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name for a folder. Use letters, digits, spaces and - _ . ( ), or a path.")
    return allowed(str(root / "data_uploads" / name))


def unpack(archive: Path, target: Path, layout: LayoutSection) -> Upload:
    """Make the new folder `target` of what an archive holds in the folders of the layout.

    They may lie in the archive itself or further down in it. Raises DataError, having changed nothing, for an archive
    that is damaged, too large, protected, leads out of its folder or holds none of those folders.
    """
    if target.exists():
        raise DataError(f"{target}: is there already. Choose a new name for the data folder.")
    with _told_of_damage(archive), zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        _refuse_hostile(entries)
        places = _place(entries, layout)
        left_out = [entry.filename for entry in entries if entry.filename not in places and not _is_noise(entry)]
        _refuse_too_much(len(entries), sum(entry.file_size for entry in entries), target)
        with _staging(target) as staging:
            room = MAX_UPLOAD_BYTES
            for entry in entries:
                if entry.filename in places:
                    with opened.open(entry) as stream:
                        room -= _copy(stream, staging / places[entry.filename], room)
            staging.rename(target)
    return Upload(folder=target, files=len(places), left_out=tuple(left_out))


def add_files(files: Sequence[Path], target: Path, subfolder: str) -> Upload:
    """Copy single files into a subfolder of `target`, which is made where it is not there.

    Raises DataError, having changed nothing, where one is of no supported format or would take another's place.
    """
    place = (target / subfolder).resolve()
    if not place.is_relative_to(target):
        raise ConfigError(f"{subfolder}: leads out of the data folder. Change its name under Advanced.")
    unsupported = [path for path in files if not extension(path) or path.name.startswith(".")]
    if unsupported:
        raise DataError(
            f"{short_list(unsupported)}: this format is not supported. Supported are {', '.join(EXTENSIONS)}."
        )
    if not files:
        raise DataError("No file was chosen. Drop some images, or a zip of a data folder, into the field first.")
    taken = [place / path.name for path in files if (place / path.name).exists()]
    if taken or len({path.name for path in files}) < len(files):
        names = short_list(taken) if taken else "Two of the files"
        raise DataError(f"{names}: a file of that name is there already, in {place}. Rename yours, or remove that one.")
    _refuse_too_much(len(files), sum(path.stat().st_size for path in files), target)
    with _staging(target) as staging:
        for path in files:
            with path.open("rb") as stream:
                _copy(stream, staging / path.name, MAX_UPLOAD_BYTES)
        _move_all([staging / path.name for path in files], place)
    return Upload(folder=target, files=len(files), left_out=())


def _move_all(files: Sequence[Path], place: Path) -> None:
    """Move files into a folder, over nothing; undone where one cannot be moved."""
    place.mkdir(parents=True, exist_ok=True)
    moved: list[Path] = []
    try:
        for path in files:
            (place / path.name).touch(exist_ok=False)  # or a file that came meanwhile would be replaced
            moved.append(place / path.name)
            path.replace(place / path.name)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise


def _refuse_hostile(entries: Sequence[zipfile.ZipInfo]) -> None:
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


def _refuse_too_much(files: int, size: int, target: Path) -> None:
    if files > MAX_FILES or size > MAX_UPLOAD_BYTES:
        raise DataError(
            f"{files:,} files of {size:,} bytes in all are too much for one upload; the limits are {MAX_FILES:,} "
            f"files and {MAX_UPLOAD_BYTES:,} bytes. Copy the folder to this computer and choose it instead."
        )
    there = next(folder for folder in (target, *target.parents) if folder.exists())
    if shutil.disk_usage(there).free < size + MIN_FREE_BYTES:
        raise DataError(f"There is no room for {size:,} bytes on the disk of {there}. Make some, or choose another.")


def _place(entries: Sequence[zipfile.ZipInfo], layout: LayoutSection) -> dict[str, PurePosixPath]:
    """Return where in the data folder each wanted entry goes: what lies in a folder of the layout, and is an image.

    Of several places in the archive that look like a data folder, the one with most of the layout's folders is taken.
    """
    folders = {PurePosixPath(str(getattr(layout, name))) for name in roles()}
    found: dict[PurePosixPath, set[PurePosixPath]] = {}
    for entry in entries:
        folder = _path(entry).parent
        for wanted in folders:
            if folder.parts[len(folder.parts) - len(wanted.parts) :] == wanted.parts and not _is_noise(entry):
                above = PurePosixPath(*folder.parts[: len(folder.parts) - len(wanted.parts)])
                found.setdefault(above, set()).add(wanted)
    if not found:
        held = sorted({Path(_path(entry).parts[0]) for entry in entries if not _is_noise(entry)})
        wanted_names = ", ".join(sorted(map(str, folders)))
        raise DataError(
            f"The zip holds none of the folders {wanted_names}; it holds {short_list(held) if held else 'nothing'}. "
            "Put the images into folders of those names, or give the names of yours under Advanced."
        )
    top = min(found, key=lambda above: (-len(found[above]), len(above.parts), str(above)))
    inside = {entry.filename: _path(entry) for entry in entries if not _is_noise(entry) and extension(entry.filename)}
    return {
        name: path.relative_to(top)
        for name, path in inside.items()
        if path.is_relative_to(top) and path.relative_to(top).parent in folders
    }


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _is_noise(entry: zipfile.ZipInfo) -> bool:
    """Whether an operating system put it there."""
    parts = _path(entry).parts
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1].lower() in _SYSTEM_FILES


def _copy(stream: IO[bytes], path: Path, room: int) -> int:
    """Copy a stream into a new file and return its size; DataError once it is more than there is room for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with path.open("xb") as file:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > room:
                raise DataError(f"{path.name}: unpacks to more than {MAX_UPLOAD_BYTES:,} bytes. Nothing was kept.")
            file.write(chunk)
    return size


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`, on the same disk; it is gone in the end, whatever happens."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".upload-", dir=target.parent))
    except OSError as error:
        raise DataError(f"{target}: cannot be made ({error.strerror}). Choose another folder.") from None
    try:
        staging.chmod(0o755)  # mkdtemp's are for their maker alone
        yield staging
    except OSError as error:
        raise DataError(f"{target}: the files cannot be written ({error.strerror}). Nothing was kept.") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _told_of_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{archive.name}: is damaged, or no zip ({error}). Zip the folder again.") from None


def _few(names: Sequence[str]) -> str:
    return short_list([Path(name) for name in names])
