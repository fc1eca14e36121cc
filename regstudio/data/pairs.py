"""A pair of images to register: what a method is given, and how it is read from arrays and from files."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.dataset import ValidationPair, refuse_other_size
from regstudio.data.formats import MIN_SIDE, NIFTI, extension
from regstudio.data.geometry import AxisRule
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader, rescale
from regstudio.data.picture import Picture
from regstudio.data.points import Landmarks, check_pair, check_within, find_landmarks, read_landmarks
from regstudio.data.problems import FileError
from regstudio.errors import DataError

Array = npt.NDArray[Any]
Spacing = tuple[float, float]
PIXELS: Spacing = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """The files of a pair, turned as the fixed one lies: each in its own numbers and size."""

    fixed: Picture
    moving: Picture
    moving_label: Picture | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two images to register, (H, W) float32 in [0, 1], on one grid; labels (H, W) and points (n, 2), if there are any.

    Labels are integers. Points are y and x in pixels of this grid. `spacing` (rows, columns) is the fixed image's in
    mm; it is None where the file has none, and all distances are then in pixels. `moving_spacing` is the moving
    image's, or the fixed image's where the moving file has none. `pictures` are the files, for a pair that was read
    from files.
    """

    id: str
    fixed: npt.NDArray[np.float32]
    moving: npt.NDArray[np.float32]
    fixed_label: Array | None = None
    moving_label: Array | None = None
    fixed_points: npt.NDArray[np.float64] | None = None
    moving_points: npt.NDArray[np.float64] | None = None
    spacing: Spacing | None = None
    moving_spacing: Spacing | None = None
    pictures: Pictures | None = None

    @property
    def unit(self) -> str:
        """The unit of distances: "mm" or "pixels"."""
        return "pixels" if self.spacing is None else "mm"


def pair_of_arrays(
    fixed: Array, moving: Array, *, fixed_label: Array | None = None, moving_label: Array | None = None, name: str = ""
) -> Pair:
    """Return the pair of two images (H, W) of any real numbers, each scaled to [0, 1] by its minimum and maximum.

    Labels are (H, W) integers or booleans. Raises DataError, naming the argument, for arrays that cannot be registered.
    """
    given = {"fixed": fixed, "moving": moving, "fixed_label": fixed_label, "moving_label": moving_label}
    arrays = {name: np.asarray(array) for name, array in given.items() if array is not None}
    for argument, array in arrays.items():
        _check_array(argument, array, arrays["fixed"])
    if min(arrays["fixed"].shape) < MIN_SIDE:
        raise DataError(f"The images are {_size(arrays['fixed'])} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed.")
    return Pair(
        id=name,
        fixed=rescale(arrays["fixed"]),
        moving=rescale(arrays["moving"]),
        fixed_label=arrays.get("fixed_label"),
        moving_label=arrays.get("moving_label"),
    )


def pair_of_tensors(loaded: ValidationPair) -> Pair:
    """Return the pair that `load_validation_pair` loaded, without files, spacing or points."""
    fixed_label, moving_label = loaded.get("fixed_label"), loaded.get("moving_label")
    return Pair(
        id=loaded["id"],
        fixed=loaded["fixed_image"][0].numpy(),
        moving=loaded["moving_image"][0].numpy(),
        fixed_label=None if fixed_label is None else fixed_label[0].long().numpy(),
        moving_label=None if moving_label is None else moving_label[0].long().numpy(),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """One image of a pair, with what belongs to it."""

    picture: Picture
    image: npt.NDArray[np.float32]
    label_picture: Picture | None = None
    label: Array | None = None


@dataclass(frozen=True, kw_only=True)
class PairReader:
    """Reads cases as pairs with their own fixed image, or with `fixed` where they have none.

    `with_points` reads landmarks, too (see regstudio.data.points). The loaders say how files are read. Where files know
    their place, axes are exchanged and reversed until all lie as the fixed image does, and each label as its image.
    Images of another size than the fixed one need loaders that have a `size`. Raises DataError, naming the file, for
    what cannot be used.
    """

    fixed: Case
    image_loader: ImageLoader
    label_loader: LabelLoader
    with_points: bool = False

    def __call__(self, case: Case) -> Pair:
        """Return the pair of a case and its fixed image."""
        if case.fixed is not None and case.fixed != self.fixed:
            return self._for(case.fixed)(case)
        fixed, moving = self._fixed_side, self._read(case)
        refuse_other_size(case.image, moving.image.shape, self.fixed.image, fixed.image.shape)
        # An image of another size than the fixed one was resampled, its outer edges kept in place.
        pixel = np.array(moving.picture.size) / moving.image.shape
        points = self._moving_points(case, moving.picture, pixel)
        return Pair(
            id=case.id,
            fixed=fixed.image,
            moving=moving.image,
            fixed_label=fixed.label,
            moving_label=moving.label,
            fixed_points=self._landmarks.places if points is not None and self._landmarks is not None else None,
            moving_points=points,
            spacing=fixed.picture.spacing,
            moving_spacing=_scaled(moving.picture.spacing, pixel) or fixed.picture.spacing,
            pictures=Pictures(fixed=fixed.picture, moving=moving.picture, moving_label=moving.label_picture),
        )

    def read_by(self, axes: AxisRule) -> "PairReader":
        """Return this reader, reading NIfTI files by the rule `axes`."""
        images, size = self.image_loader, self.image_loader.size
        if axes == images.axes:
            return self
        if size is not None and extension(self.fixed.image) in NIFTI:
            size = size[1], size[0]
        labels = replace(self.label_loader, axes=axes, size=size)
        return replace(self, image_loader=replace(images, axes=axes, size=size), label_loader=labels)

    def _for(self, fixed: Case) -> "PairReader":
        """Return this reader for another fixed image, whose size others are resampled to if this one's is."""
        if self.image_loader.size is None:
            return replace(self, fixed=fixed)
        images, labels = replace(self.image_loader, size=None), replace(self.label_loader, size=None)
        size = PairReader(fixed=fixed, image_loader=images, label_loader=labels).fixed_image.shape
        images, labels = replace(images, size=size), replace(labels, size=size)
        return replace(self, fixed=fixed, image_loader=images, label_loader=labels)

    @property
    def fixed_image(self) -> npt.NDArray[np.float32]:
        """The fixed image (H, W); it is read once."""
        return self._fixed_side.image

    @cached_property
    def _fixed_side(self) -> _Side:
        return self._read(self.fixed)

    def _read(self, case: Case) -> _Side:
        images = self.image_loader.facing_as(self.fixed.image)
        labels = replace(self.label_loader, dtype=np.int64).facing_as(self.fixed.image)
        picture = images.picture(case.image)
        if min(picture.size) < MIN_SIDE:
            what = f"is {_size(picture.array)} pixels, and less than {MIN_SIDE} is too few"
            raise FileError(case.image, what, "Save it in a higher resolution.")
        if case.label is None:
            return _Side(picture=picture, image=images.of_picture(picture)[0])
        label_picture = labels.picture(case.label, case.image)
        if label_picture.size != picture.size:
            what = f"is {_size(label_picture.array)} pixels, unlike its image with {_size(picture.array)}"
            raise FileError(case.label, what, "Export it again from the image.")
        return _Side(
            picture=picture,
            image=images.of_picture(picture)[0],
            label_picture=label_picture,
            label=labels.of_picture(label_picture)[0],
        )

    def _moving_points(self, case: Case, picture: Picture, pixel: Array) -> npt.NDArray[np.float64] | None:
        path = find_landmarks(case.image) if self._landmarks is not None else None
        if path is None or self._landmarks is None:
            return None
        landmarks = read_landmarks(path, "moving").on(picture.stored_affine)
        check_pair(self._landmarks, landmarks)
        check_within(landmarks, picture.stored_shape)  # landmarks are in pixels of the file
        turned = picture.turn.points(landmarks.places, picture.stored_shape)
        places: npt.NDArray[np.float64] = (turned + 0.5) / pixel - 0.5
        return places

    @cached_property
    def _landmarks(self) -> Landmarks | None:
        path: Path | None = find_landmarks(self.fixed.image) if self.with_points else None
        landmarks = None if path is None else read_landmarks(path).on(self._fixed_side.picture.affine)
        if landmarks is not None:
            check_within(landmarks, self._fixed_side.picture.size)
        return landmarks


def _check_array(name: str, array: Array, fixed: Array) -> None:
    is_label = name.endswith("label")
    if array.ndim != 2:
        raise DataError(f"{name} has the shape {array.shape}; it must be a 2-D array of rows and columns.")
    if array.dtype.kind not in ("bui" if is_label else "buif"):
        wanted = "whole numbers, the ids" if is_label else "real numbers"
        raise DataError(f"{name} holds {array.dtype} values; it must hold {wanted}.")
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinity. Replace them, for instance by 0.")
    if array.shape != fixed.shape:
        sizes = f"{name} is {_size(array)} pixels and fixed is {_size(fixed)}"
        raise DataError(f"{sizes}; they must have one size. Resample one of them first.")


def _size(array: Array) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"


def _scaled(spacing: Spacing | None, pixel: Array) -> Spacing | None:
    return None if spacing is None else (float(spacing[0] * pixel[0]), float(spacing[1] * pixel[1]))
