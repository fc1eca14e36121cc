"""Cut slices out of volumes: NIfTI, MetaImage, NRRD, DICOM, TIFFs of many pages, and arrays of three axes.

Functions whose first argument is a path read uploaded files in a process of their own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.decoded_file import DecodedFile, refuse_huge
from regstudio.data.codecs.npy import array_names
from regstudio.data.geometry import is_plausible
from regstudio.data.pictures.formats import apart_if_uploaded, decode_file, translate_errors
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.planes import image_of, label_of, spatial_axes, take_plane
from regstudio.data.problems import FileError
from regstudio.errors import ConfigError

AXES = ("sagittal", "coronal", "axial")  # what lies across each of them: R, A and S
_RULE = re.compile(r"middle|all|largest-label|every:[1-9]\d{0,5}")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The slices of a volume to take: the axis as --slice_axis counts it, and how many slices there are along it."""

    axis: int
    length: int
    lengths: tuple[int, ...]


def check_rules(slices: str, axis: str) -> None:
    """Raise ConfigError for what is no rule for slices, or no axis."""
    if not _RULE.fullmatch(slices):
        raise ConfigError(f"slices: {slices!r:.60} is none of middle, every:N, all and largest-label.")
    if axis not in ("auto", "0", "1", "2", *AXES):
        raise ConfigError(f"axis: {axis!r:.60} is none of auto, axial, coronal, sagittal, 0, 1 and 2.")


def indices_of(rule: str, length: int, sizes: npt.NDArray[np.int64] | None = None) -> list[int]:
    """Return the slices of `length` that a rule takes; `sizes` are the labelled pixels of each.

    >>> indices_of("every:4", 10)
    [1, 5, 9]
    """
    if rule == "largest-label" and sizes is not None and sizes.any():
        return [int(np.argmax(sizes))]
    if rule == "all":
        return list(range(length))
    if rule.startswith("every:"):
        step = int(rule.removeprefix("every:"))
        return list(range((length - 1) % step // 2, length, step))
    return [length // 2]


@apart_if_uploaded
def look(path: Path, paths: tuple[Path, ...], key: str, axis: str) -> Cut | None:
    """Return how a file, or a series, is to be cut; None for a 2-D picture. Raises FileError."""
    with translate_errors(path):
        content = _decode(paths, key)
        shape = content.array.shape[:-1] if content.colour else content.array.shape
        axes = spatial_axes(path, shape)
        if len(axes) != 3:
            return None
        chosen = _axis(path, content, axes, axis)
        lengths = tuple(shape[own] for own in axes)
        return Cut(axis=chosen, length=lengths[chosen], lengths=lengths)


@apart_if_uploaded
def label_sizes(path: Path, paths: tuple[Path, ...], key: str, axis: int) -> npt.NDArray[np.int64]:
    """Return how many pixels of each slice are labelled."""
    with translate_errors(path):
        content = _decode(paths, key)
        volume = np.asarray(content.array[(slice(None),) * len(content.array.shape)])
        across = spatial_axes(path, volume.shape)[axis]
        counts: npt.NDArray[np.int64] = np.count_nonzero(volume, axis=tuple({*range(volume.ndim)} - {across}))
        return counts


@apart_if_uploaded
def read_slices(
    path: Path,
    paths: tuple[Path, ...],
    key: str,
    axis: int | None,
    indices: Sequence[int | None],
    *,
    label: bool = False,
) -> list[Picture]:
    """Return slices as pictures in their own colours, or as label maps; each knows its place in the volume."""
    with translate_errors(path):
        content = _decode(paths, key)
        if len(indices) > 1:  # what is compressed is unpacked once
            spatial = len(content.array.shape) - content.colour
            content = replace(content, array=np.asarray(content.array[(slice(None),) * spatial]))
        planes = [take_plane(path, content, axis, index) for index in indices]
        return [label_of(path, *plane) if label else image_of(path, *plane, colour=True) for plane in planes]


@apart_if_uploaded
def names_in(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file."""
    with translate_errors(path):
        return array_names(path)


def _axis(path: Path, content: DecodedFile, axes: Sequence[int], wanted: str) -> int:
    """Return the axis to cut across, as --slice_axis counts it; by itself, the one with the widest spacing."""
    if wanted.isdigit():
        return int(wanted)
    dimensions = len(content.array.shape) - content.colour
    of_file = [dimensions - 1 - axis for axis in axes]  # 0 for x, 1 for y, 2 for z
    affine = content.affine
    if affine is None or max(of_file) > 2 or not is_plausible(affine):
        if wanted == "auto":
            return 0
        what = f"does not say which way it lies, so that nothing in it is known to be {wanted}"
        raise FileError(path, what, "Name the axis by its number: 0, 1 or 2.")
    vectors = affine[:3, of_file]
    if wanted == "auto":
        spacings = np.linalg.norm(vectors, axis=0).round(4)
        return max(range(3), key=lambda axis: (spacings[axis], of_file[axis]))
    if not content.placed:
        what = f"does not say which way it lies, so that nothing in it is known to be {wanted}"
        raise FileError(path, what, "Name the axis by its number: 0, 1 or 2.")
    directions = np.abs(vectors / np.linalg.norm(vectors, axis=0))
    return int(np.argmax(directions[AXES.index(wanted)]))


def _decode(paths: tuple[Path, ...], key: str) -> DecodedFile:
    if len(paths) == 1:
        return decode_file(paths[0], key)
    series = _Series(paths)
    return replace(series.first, array=series, affine=series.affine, dimension=3)


class _Series:
    """The slices of a DICOM series as one array (slice, row, column): read when it is indexed."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self.first = decode_file(paths[0], "")
        height, width = self._plane_shape(self.first)
        self.shape = (len(paths), height, width, *self.first.array.shape[-1:] * self.first.colour)
        refuse_huge(paths[0], self.shape, 4)

    @cached_property
    def affine(self) -> npt.NDArray[np.float64] | None:
        """The place of the first slice, with the way from it to the last as its third axis."""
        last = decode_file(self._paths[-1], "").affine
        if self.first.affine is None or last is None:
            return None
        affine = self.first.affine.copy()
        affine[:3, 2] = (last[:3, 3] - affine[:3, 3]) / (len(self._paths) - 1)
        return affine

    def __getitem__(self, index: tuple[Any, ...]) -> npt.NDArray[Any]:
        which, *rest = index
        if isinstance(which, int):
            one: npt.NDArray[Any] = self._read(which)[tuple(rest)]
            return one
        volume: npt.NDArray[Any] = np.stack([self._read(number) for number in range(len(self._paths))])[index]
        return volume

    def _read(self, number: int) -> npt.NDArray[Any]:
        path = self._paths[number]
        with translate_errors(path):
            content = decode_file(path, "")
            if self._plane_shape(content) != self.shape[1:3] or content.colour != self.first.colour:
                raise FileError(path, "has another size than the first slice of its series", "Take it out.")
            array = np.asarray(content.array[(slice(None),) * (len(content.array.shape) - content.colour)])
            plane: npt.NDArray[Any] = array.reshape(self.shape[1:])
            return plane

    def _plane_shape(self, content: DecodedFile) -> tuple[int, int]:
        shape = content.array.shape[:-1] if content.colour else content.array.shape
        if any(length != 1 for length in shape[:-2]):
            raise FileError(self._paths[0], "is a volume within a series of slices", "Import it alone.")
        return int(shape[-2]), int(shape[-1])
