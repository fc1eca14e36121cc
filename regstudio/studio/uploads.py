"""Uploads: put files into a data folder, all or none, within limits, and never over existing files.

A zip may be hostile: name paths outside its folder, hold links, or unpack to more than the disk holds. The readers of
pictures check those themselves: they look at a header before they decode.
"""

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from regstudio.config import LayoutSection, settings
from regstudio.data.folders.archives import (
    LIMITS,
    Limits,
    copy_bounded,
    damage_as_data_error,
    is_noise,
    path_in,
    refuse_hostile,
    refuse_too_much,
)
from regstudio.data.folders.label_names import FILES as LABEL_NAMES
from regstudio.data.folders.listing import POINTS_SUFFIX, is_points_file, short_list
from regstudio.data.pictures.decoder import read_apart
from regstudio.data.pictures.formats import EXTENSIONS, extension
from regstudio.errors import ConfigError, DataError, DiskFullError
from regstudio.files import is_full
from regstudio.studio.studio import UPLOADS, Studio
from regstudio.temporary import new_folder

_NAME = re.compile(r"[^\W_][\w .()-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The result of an upload: the folder, the number of new files in it, and the names that were left out."""

    folder: Path
    files: int
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        """Return the sentence for the user."""
        number = f"{self.files} file{'s' * (self.files != 1)}"
        without = f" Left out, as no image in a folder of the layout: {_few(self.left_out)}." if self.left_out else ""
        return f"{number} put into {self.folder}.{without}"


def roles() -> dict[str, str]:
    """Return the roles of an uploaded file: the setting that names its folder -> that folder in words."""
    return {setting.name: setting.help for setting in settings("layout") if setting.name.endswith("_subdir")}


def proposed_name(files: Sequence[str] | None, name: str | None) -> str:
    """Return the name of the data folder: the one that is there already or, of a single zip, its own."""
    zipped = len(files or ()) == 1 and Path(str(files[0])).suffix.lower() == ".zip" if files else False
    if name or not files or not zipped:
        return name or ""
    own = re.sub(r"[^\w .()-]", "_", Path(str(files[0])).stem).strip("_ .-")[:100]
    return own if _NAME.fullmatch(own) else ""


def free_name(studio: Studio, name: str) -> str:
    """Return the name, or the same with the first number that no folder of uploads has yet."""
    name, number = name or "images", 2
    taken = studio.roots[0] / UPLOADS
    found = name
    while (taken / found).exists():
        found, number = f"{name}_{number}", number + 1
    return found


def holds_data_folder(archive: Path, layout: LayoutSection) -> bool:
    """Whether a zip holds the layout's folders of the fixed and of the moving images, in one place."""
    with damage_as_data_error(archive), zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        refuse_hostile(entries)
        wanted = {PurePosixPath(layout.fixed_subdir), PurePosixPath(layout.train_moving_subdir)}
        return any(wanted <= found for found in _candidates(entries, layout).values())


def receive(studio: Studio, layout: LayoutSection, files: Sequence[Path], name: str, role: str | None) -> Upload:
    """Unpack an uploaded zip as a new data folder, or put single files into the folder of their `role`."""
    target = target_folder(name, studio.roots[0], studio.allowed)
    read_apart(target)
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        return unpack(files[0], target, layout)
    if role not in roles():
        raise ConfigError("Say what the files are for: choose one of the folders of the layout.")
    return add_files(files, target, str(getattr(layout, role)))


def target_folder(name: str, root: Path, allowed: Callable[[str], Path]) -> Path:
    """Return the folder of a name: data_uploads/NAME below `root`; a path is that path itself."""
    name = name.strip()
    if "/" in name or "\\" in name or name.startswith("~"):
        return allowed(name)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name for a folder. Use letters, digits, spaces and - _ . ( ), or a path.")
    return allowed(str(root / UPLOADS / name))


def unpack(archive: Path, target: Path, layout: LayoutSection, limits: Limits = LIMITS) -> Upload:
    """Unpack the layout's folders of a zip into the new folder `target`; they may lie at any depth in the zip.

    Raises DataError, and changes nothing, if the zip is damaged, too large or protected by a password, leads out of its
    folder, or holds none of those folders.
    """
    if target.exists():
        raise DataError(f"{target}: is there already. Choose a new name for the data folder.")
    with damage_as_data_error(archive), zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        refuse_hostile(entries)
        places = _place(entries, layout)
        left_out = [entry.filename for entry in entries if entry.filename not in places and not is_noise(entry)]
        refuse_too_much(len(entries), sum(entry.file_size for entry in entries), target, limits)
        with staged(target) as staging:
            room = limits.max_bytes
            for entry in entries:
                if entry.filename in places:
                    with opened.open(entry) as stream:
                        room -= copy_bounded(stream, staging / places[entry.filename], room)
            staging.rename(target)
    return Upload(folder=target, files=len(places), left_out=tuple(left_out))


def add_files(files: Sequence[Path], target: Path, subfolder: str, limits: Limits = LIMITS) -> Upload:
    """Copy single files into a subfolder of `target`, which is made if missing.

    Raises DataError, and changes nothing, if a format is not supported or a file of that name exists.
    """
    place = (target / subfolder).resolve()
    if not place.is_relative_to(target):
        raise ConfigError(f"{subfolder}: leads out of the data folder. Change its name under Advanced.")
    unsupported = [path for path in files if not _is_useful(path.name) or path.name.startswith(".")]
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
    refuse_too_much(len(files), sum(path.stat().st_size for path in files), target, limits)
    with staged(target) as staging:
        room = limits.max_bytes
        for path in files:
            with path.open("rb") as stream:
                room -= copy_bounded(stream, staging / path.name, room)
        _move_all([staging / path.name for path in files], place)
    return Upload(folder=target, files=len(files), left_out=())


def _move_all(files: Sequence[Path], place: Path) -> None:
    """Move files into a folder, over no existing file; move none if one fails."""
    place.mkdir(parents=True, exist_ok=True)
    moved: list[Path] = []
    try:
        for path in files:
            (place / path.name).touch(exist_ok=False)  # fails if another program made that file meanwhile
            moved.append(place / path.name)
            path.replace(place / path.name)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise


def _place(entries: Sequence[zipfile.ZipInfo], layout: LayoutSection) -> dict[str, PurePosixPath]:
    """Return the path in the data folder of each entry that is an image in a folder of the layout.

    If several places in the zip look like a data folder, take the one with most of the layout's folders.
    """
    folders = _folders(layout)
    candidates = _candidates(entries, layout)
    if not candidates:
        held = sorted({Path(path_in(entry).parts[0]) for entry in entries if not is_noise(entry)})
        wanted_names = ", ".join(sorted(map(str, folders)))
        raise DataError(
            f"The zip holds none of the folders {wanted_names}; it holds {short_list(held) if held else 'nothing'}. "
            "Put the images into folders of those names, or drop them beside the data folder: then RegStudio does it."
        )
    top = min(candidates, key=lambda above: (-len(candidates[above]), len(above.parts), str(above)))
    useful = [entry for entry in entries if _is_useful(entry.filename) and not is_noise(entry)]
    inside = {entry.filename: path_in(entry) for entry in useful}
    with_points = {*folders, *(folder.with_name(folder.name + POINTS_SUFFIX) for folder in folders)}
    return {
        name: path.relative_to(top)
        for name, path in inside.items()
        if path.is_relative_to(top)
        and path.relative_to(top).parent in (with_points if is_points_file(name) else folders)
    } | {
        entry.filename: path_in(entry).relative_to(top)
        for entry in entries
        if path_in(entry).parent == top and path_in(entry).name in LABEL_NAMES
    }


def _folders(layout: LayoutSection) -> set[PurePosixPath]:
    return {PurePosixPath(str(getattr(layout, name))) for name in roles()}


def _candidates(entries: Sequence[zipfile.ZipInfo], layout: LayoutSection) -> dict[PurePosixPath, set[PurePosixPath]]:
    """Return each place in the zip that has folders of the layout, with those folders."""
    candidates: dict[PurePosixPath, set[PurePosixPath]] = {}
    for entry in entries:
        folder = path_in(entry).parent
        for wanted in _folders(layout):
            if folder.parts[len(folder.parts) - len(wanted.parts) :] == wanted.parts and not is_noise(entry):
                above = PurePosixPath(*folder.parts[: len(folder.parts) - len(wanted.parts)])
                candidates.setdefault(above, set()).add(wanted)
    return candidates


def _is_useful(name: str) -> bool:
    """Whether a file of this name is an image, a label or a table of landmarks."""
    return bool(extension(name)) or is_points_file(name)


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`, on the same disk, and delete it in the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = new_folder(target.parent, ".upload-")
    except OSError as error:
        raise DataError(f"{target}: cannot be made ({error.strerror}). Choose another folder.") from None
    try:
        staging.chmod(0o755)  # mkdtemp gives access to its user alone
        yield staging
    except OSError as error:
        if is_full(error):
            raise DiskFullError(
                f"{target}: the disk is full. Make room, then upload again. Nothing was kept."
            ) from None
        raise DataError(f"{target}: the files cannot be written ({error.strerror}). Nothing was kept.") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _few(names: Sequence[str]) -> str:
    return short_list([Path(name) for name in names])
