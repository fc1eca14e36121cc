"""Loaders: from a path to the array that a network sees, normalised, resampled if asked, and cached.

How files of other sizes come onto one grid says working_grid; how colours become grey, pictures.colour.
"""

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.geometry import AxisRule, Facing, Geometry, turn_to
from regstudio.data.loading.cache import Cache
from regstudio.data.loading.working_grid import Placement, Spacing, WorkingGrid, nearest, padded, resampled
from regstudio.data.pictures.colour import Background, dark_background, grey_image
from regstudio.data.pictures.formats import geometry_of, label_on_image, read_image, read_label
from regstudio.data.pictures.picture import Picture
from regstudio.data.problems import FileError

Normalise = Literal["minmax", "percentile"]
_PERCENTILES = (0.5, 99.5)


class DataWarning(UserWarning):
    """A file is used in spite of a problem; the message names it."""


@dataclass(frozen=True, kw_only=True)
class ImageLoader:
    """Load an image as float32 (1, H, W), scaled to [0, 1] as `normalise` says, see `normalised`.

    A constant image becomes zeros, with a DataWarning. `key`, `slice_axis`, `slice_index` and `axes` are
    those of `read_image`. An image that knows its place is turned to `facing`, then brought onto the `grid`, if there
    is one; beyond the image that is 0. `grey` and `background` are the settings of these names, see
    regstudio.data.pictures.colour. Raises DataError, which names the file, if it cannot be used.

    >>> image = ImageLoader()("data/moving/phantom_01.png")
    >>> image.shape, float(image.min()), float(image.max())
    ((1, 128, 128), 0.0, 1.0)
    """

    key: str = "img"
    slice_axis: int | None = None
    slice_index: int | None = None
    axes: AxisRule = "itk"
    facing: Facing | None = None
    grid: WorkingGrid | None = None
    grey: str = "luminance"
    background: Background = "black"
    normalise: Normalise = "minmax"
    cache: Cache | None = field(default=None, compare=False, repr=False)

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of `read_image` beside the path."""
        return {"key": self.key, **_place_arguments(self)}

    def facing_as(self, path: Path) -> "ImageLoader":
        """Return this loader, turning all images until they lie as the one in `path`; by the rule of 0.1, none."""
        return replace(self, facing=_facing_of(self, path))

    def __call__(self, path: str | Path) -> npt.NDArray[np.float32]:
        """Return the image of a file."""
        return self._normalised(_load_cached(self, path, self._load, self.cache), path)

    def of_picture(self, picture: Picture) -> npt.NDArray[np.float32]:
        """Return the image of a file that `picture` has read."""
        return self._normalised(self._compact(picture), picture.path)

    def place(self, picture: Picture) -> Placement | None:
        """Return where a picture lies on the grid; None where there is no grid."""
        return None if self.grid is None else self.grid.place(picture.size, picture.spacing)

    def picture(self, path: Path) -> Picture:
        """Return the image of a file in its own numbers and colours, turned to `facing`."""
        return read_image(path, **self.reading, colour=True).turned_to(self.facing)

    def _load(self, path: Path) -> npt.NDArray[Any]:
        return self._compact(self.picture(path))

    def _compact(self, picture: Picture) -> npt.NDArray[Any]:
        place = self.place(picture)
        reduced = picture if place is None else replace(picture, array=resampled(picture.array, place))
        array = dark_background(grey_picture(reduced, self.grey, picture.array.dtype).array, self.background, self.grey)
        if self.normalise == "percentile":
            array = clip_outliers(array)
        if place is not None:
            array = padded(array, place, array.min())
        return array if _fits_16_bits(array) else rescale(array)

    def _normalised(self, array: npt.NDArray[Any], path: str | Path) -> npt.NDArray[np.float32]:
        image = (
            rescale(array) if _fits_16_bits(array) else array.astype(np.float32)
        )  # a copy: the cached array must not change
        if not image.any():
            warnings.warn(DataWarning(f"{path}: every pixel has the same value. It is read as zeros."), stacklevel=3)
        return image[None]


@dataclass(frozen=True, kw_only=True)
class LabelLoader:
    """Load a label map as integers (1, H, W) in type `dtype`; use a floating type to warp it.

    The other arguments and the errors are those of ImageLoader; beyond the label, the grid is 0.
    """

    key: str = "label"
    slice_axis: int | None = None
    slice_index: int | None = None
    axes: AxisRule = "itk"
    facing: Facing | None = None
    grid: WorkingGrid | None = None
    dtype: type[np.number[Any]] = np.int64
    cache: Cache | None = field(default=None, compare=False, repr=False)

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of `read_label` beside the path."""
        return {"key": self.key, **_place_arguments(self)}

    def facing_as(self, path: Path) -> "LabelLoader":
        """Return this loader, turning all labels until they lie as the image in `path`; by the rule of 0.1, none."""
        return replace(self, facing=_facing_of(self, path))

    def __call__(self, path: str | Path, image: Path | None = None) -> npt.NDArray[Any]:
        """Return the label map of a file, on the grid of the file `image`, to which it belongs."""
        geometry = self._image_geometry(image)
        key = self, None if geometry is None else (geometry.affine.tobytes(), geometry.placed, geometry.dimension)

        def load(path: Path) -> npt.NDArray[Any]:
            label = self._on_image(path, geometry)
            return self._compact(label.array, label.spacing if image is None else self._spacing(geometry))

        return _load_cached(key, path, load, self.cache).astype(self.dtype)[None]

    def of_picture(self, picture: Picture, spacing: Spacing | None) -> npt.NDArray[Any]:
        """Return the label map of a file that `picture` has read; `spacing` is that of its image."""
        return self._compact(picture.array, spacing).astype(self.dtype)[None]

    def picture(self, path: Path, image: Path | None = None) -> Picture:
        """Return the label map of a file, on the grid of the file `image`, to which it belongs."""
        return self._on_image(path, self._image_geometry(image))

    def _image_geometry(self, image: Path | None) -> Geometry | None:
        return None if image is None or self.axes == "nibabel" else geometry_of(image, **_place_arguments(self))

    def _on_image(self, path: Path, image: Geometry | None) -> Picture:
        label = read_label(path, **self.reading)
        return label if image is None else label_on_image(label, image, self.facing)

    def _spacing(self, image: Geometry | None) -> Spacing | None:
        """Return the spacing of an image once it is turned to `facing`."""
        if image is None or image.facing is None or self.facing is None:
            return None if image is None else image.spacing
        return image.spacing[::-1] if turn_to(image.facing, self.facing)[0].swap else image.spacing

    def _compact(self, array: npt.NDArray[Any], spacing: Spacing | None) -> npt.NDArray[Any]:
        if self.grid is not None:
            height, width = array.shape
            array = nearest(array, self.grid.place((height, width), spacing))
        return array.astype(np.result_type(np.min_scalar_type(array.min()), np.min_scalar_type(array.max())))


def grey_picture(picture: Picture, rule: str, dtype: np.dtype[Any] | None = None) -> Picture:
    """Return a picture with one value for each pixel by the setting `grey`; raises FileError where it cannot be.

    `dtype` is that of the file, if the array has another.
    """
    try:
        return replace(picture, array=grey_image(picture.array, rule, dtype or picture.array.dtype))
    except ValueError as error:
        raise FileError(picture.path, str(error), "Choose another --grey.") from None


def normalised(array: npt.NDArray[Any], rule: Normalise) -> npt.NDArray[np.float32]:
    """Return a copy scaled to [0, 1]: "minmax" by its extremes, "percentile" by its 0.5 and 99.5 percentiles, clipped.

    The rules commute: an image that was scaled by its extremes, or clipped before, gives the same by percentiles.
    """
    return rescale(clip_outliers(array) if rule == "percentile" else array)


def clip_outliers(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Clip to the nearest values of the array to its 0.5 and 99.5 percentiles; unchanged if these two are equal."""
    few = _PERCENTILES[0] / 100 * array.size + 1
    if array.dtype.kind == "b" or all(np.count_nonzero(array == end) > few for end in (array.min(), array.max())):
        return array  # at both ends enough pixels are equal already
    lowest, highest = np.percentile(array, _PERCENTILES, method="nearest")
    return array if lowest == highest else np.clip(array, lowest, highest)


def _place_arguments(loader: ImageLoader | LabelLoader) -> dict[str, Any]:
    return {"slice_axis": loader.slice_axis, "slice_index": loader.slice_index, "axes": loader.axes}


def _facing_of(loader: ImageLoader | LabelLoader, path: Path) -> Facing | None:
    geometry = None if loader.axes == "nibabel" else geometry_of(path, **_place_arguments(loader))
    return None if geometry is None else geometry.facing


def rescale(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a copy scaled to [0, 1], minimum to 0 and maximum to 1; zeros if it is constant."""
    kind = np.float32 if array.dtype.itemsize <= 2 else np.float64
    lowest, highest = kind(array.min()), kind(array.max())
    if lowest == highest:
        return np.zeros(array.shape, np.float32)
    with np.errstate(over="ignore"):
        span = highest - lowest
    scaled: npt.NDArray[Any] = array.astype(kind)
    if not np.isfinite(span):  # beyond the largest number
        return rescale(scaled / 2)
    scaled -= lowest  # in place, since new memory costs more than the arithmetic
    scaled /= span
    return scaled.astype(np.float32, copy=False)


def _fits_16_bits(array: npt.NDArray[Any]) -> bool:
    # Such integers are cached as they are, since that takes least memory; other types are cached as scaled float32.
    return array.dtype.itemsize <= 2 and array.dtype.kind in "bui"


def _load_cached(
    loader: Hashable, path: str | Path, load: Callable[[Path], npt.NDArray[Any]], cache: Cache | None
) -> npt.NDArray[Any]:
    path = path if isinstance(path, Path) else Path(path)
    return load(path) if cache is None else cache.get(loader, path, load)
