"""Volumes among the user's own images: which slices they have, and a slice as a 2-D file, which all else reads.

A volume is one file, or the files of a DICOM series. Its label and its mask are cut where the image is.
"""

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import cachetools

from regstudio.data.importing.scans import find_scans
from regstudio.data.importing.slices import Cut, look, read_slices
from regstudio.data.pictures.formats import extension, stem
from regstudio.data.pictures.writing import output_extension, write_image, write_label
from regstudio.data.problems import FileError
from regstudio.errors import DataError
from regstudio.files import atomic_path
from regstudio.studio.caches import LRUCache, stamp
from regstudio.temporary import lasting_folder

MAX_CUTS = 200  # files of slices that are kept
SIDES = ("fixed", "moving")
ATTACHED = ("label", "mask")

Files = tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume's files in the order of its slices, and how it is cut."""

    paths: Files
    cut: Cut

    def index(self, number: int | None) -> int:
        """Return the slice of a number from the page, counted from 1; the middle one for 0 and None."""
        length = self.cut.length
        return min(max(number, 1), length) - 1 if number else length // 2


class VolumeSlices:
    """Cuts slices of the volumes that are dropped, each once; thread-safe."""

    def __init__(self) -> None:
        self._folder = lasting_folder()
        self._cuts = _Cuts(MAX_CUTS)
        self._volumes: LRUCache[Volume | None] = LRUCache(MAX_CUTS)
        self._orders: LRUCache[Files] = LRUCache(MAX_CUTS)
        self._lock = threading.Lock()

    def volume(self, files: Files) -> Volume | None:
        """Return what is cut of an image's files; None for a 2-D picture. Raises FileError and DataError."""
        return self._volumes.get(tuple(map(stamp, files)), lambda: self._look(files))

    def _look(self, files: Files) -> Volume | None:
        paths = self._series(files)
        cut = look(paths[0], paths, _key(paths[0], "img"), "auto") if paths else None
        return None if cut is None else Volume(paths=paths, cut=cut)

    def flat(self, files: Mapping[str, Files], numbers: Mapping[str, int | None]) -> dict[str, Path | None]:
        """Return the own images by their roles as 2-D files: of volumes the slices of `numbers`, by their sides."""
        flat: dict[str, Path | None] = {role: paths[0] if paths else None for role, paths in files.items()}
        for side in SIDES:
            volume = self.volume(files.get(side, ()))
            if volume is None:
                continue
            index = volume.index(numbers.get(side))
            flat[side] = self._slice(volume.paths, volume.cut, index)
            for role in (f"{side}_{what}" for what in ATTACHED):
                if paths := files.get(role, ()):
                    flat[role] = self._slice(self._series(paths), volume.cut, index, label=True)
        return flat

    def _slice(self, paths: Files, cut: Cut, index: int, *, label: bool = False) -> Path:
        key = (tuple(map(stamp, paths)), cut.axis, index, label)
        with self._lock:
            known = self._cuts.get(key)
        if known is not None:
            return known
        name = _key(paths[0], "label" if label else "img")
        own = look(paths[0], paths, name, str(cut.axis))
        if own is not None and own.lengths != cut.lengths:
            sizes = (" x ".join(map(str, one.lengths)) for one in (own, cut))
            raise FileError(paths[0], "has {} pixels, unlike its image with {}".format(*sizes), "Export it again.")
        (picture,) = read_slices(paths[0], paths, name, *_place(own, index), label=label)
        path = self._folder / uuid4().hex / f"{stem(paths[0])}_slice{index + 1}{output_extension(paths[0])}"
        path.parent.mkdir()
        with atomic_path(path) as temporary:
            (write_label if label else write_image)(temporary, picture.array, like=picture)
        with self._lock:
            self._cuts[key] = path
        return path

    def _series(self, files: Files) -> Files:
        """Return the files of a DICOM series in the order of its slices; one file as it is."""
        if len(files) < 2:
            return files
        return self._orders.get(tuple(map(stamp, files)), lambda: self._ordered(files))

    def _ordered(self, files: Files) -> Files:
        folder = self._folder / uuid4().hex
        folder.mkdir()
        try:
            copies = {folder / f"{number}{extension(file)}": file for number, file in enumerate(files)}
            for copy, file in copies.items():
                shutil.copyfile(file, copy)
            scans = find_scans(folder).scans
            if len(scans) != 1 or len(scans[0].paths) != len(files):
                raise DataError(f"These {len(files)} files are no DICOM series. Drop one image, or one whole series.")
            return tuple(copies[path] for path in scans[0].paths)
        finally:
            shutil.rmtree(folder)


class _Cuts(cachetools.LRUCache[object, Path]):
    """Removes the files of the slices that it forgets."""

    def popitem(self) -> tuple[object, Path]:
        """Forget the slice that was used longest ago."""
        key, path = super().popitem()
        shutil.rmtree(path.parent, ignore_errors=True)
        return key, path


def _place(own: Cut | None, index: int) -> tuple[int | None, list[int | None]]:
    return (None, [None]) if own is None else (own.axis, [index])


def _key(path: Path, name: str) -> str:
    return name if extension(path) == ".npz" else ""
