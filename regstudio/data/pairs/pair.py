"""A pair of images to register: what a method is given, and how it is read from arrays and from files."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.folders.layout import Case
from regstudio.data.geometry import AxisRule
from regstudio.data.landmarks.files import Landmarks, check_within, corresponding, find_landmarks, read_landmarks
from regstudio.data.loading.loaders import ImageLoader, LabelLoader, rescale
from regstudio.data.loading.working_grid import GridRule, Placement, Spacing, spanning
from regstudio.data.pairs.dataset import ValidationPair, refuse_other_size
from regstudio.data.pictures.colour import foreground
from regstudio.data.pictures.formats import MIN_SIDE
from regstudio.data.pictures.picture import Picture
from regstudio.data.problems import FileError
from regstudio.errors import DataError

Array = npt.NDArray[Any]
Points = npt.NDArray[np.float64]
PIXELS: Spacing = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """The files of a pair, turned as the fixed one lies: each in its own numbers, colours and size.

    `fixed_place` and `moving_place` say where they lie on the pair's grid; None where their outer edges are its own.
    """

    fixed: Picture
    moving: Picture
    fixed_label: Picture | None = None
    moving_label: Picture | None = None
    fixed_place: Placement | None = None
    moving_place: Placement | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two images to register, (H, W) float32 in [0, 1], on one grid; labels (H, W) and points (n, 2), if there are any.

    Labels are integers. Points are y and x in pixels of this grid. `spacing` (rows, columns) is that of the grid's
    pixels in mm, by the fixed file; it is None where the file has none, and all distances are then in pixels of the
    fixed file. `moving_spacing` is by the moving file, or the same where that has none. `pictures` are the files, for a
    pair that was read from files. Masks (H, W) are 1 where an image counts, and 0 elsewhere.
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
    fixed_mask: npt.NDArray[np.float32] | None = None
    moving_mask: npt.NDArray[np.float32] | None = None

    @property
    def unit(self) -> str:
        """The unit of distances: "mm" or "pixels"."""
        return "pixels" if self.spacing is None else "mm"

    @property
    def distance_scale(self) -> Spacing:
        """The height and width of a pixel of the moving image on this grid, in the unit of distances."""
        return self.places[0].step if self.spacing is None else self.moving_spacing or self.spacing

    @property
    def places(self) -> tuple[Placement, Placement]:
        """Where the fixed and the moving file lie on the grid; the grid itself, where there are no files."""
        height, width = self.fixed.shape
        size, files = (height, width), self.pictures
        if files is None:
            return spanning(size, size), spanning(size, size)
        return (
            files.fixed_place or spanning(files.fixed.size, size),
            files.moving_place or spanning(files.moving.size, size),
        )


def pair_of_arrays(
    fixed: Array,
    moving: Array,
    *,
    fixed_label: Array | None = None,
    moving_label: Array | None = None,
    fixed_mask: Array | None = None,
    moving_mask: Array | None = None,
    name: str = "",
) -> Pair:
    """Return the pair of two images (H, W) of any real numbers, each scaled to [0, 1] by its minimum and maximum.

    Labels are (H, W) integers or booleans; an image counts where its mask (H, W) is not 0. Raises DataError, naming
    the argument, for arrays that cannot be registered.
    """
    given = {"fixed": fixed, "moving": moving, "fixed_label": fixed_label, "moving_label": moving_label}
    given |= {"fixed_mask": fixed_mask, "moving_mask": moving_mask}
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
        fixed_mask=_mask_array(arrays.get("fixed_mask")),
        moving_mask=_mask_array(arrays.get("moving_mask")),
    )


def pair_of_tensors(loaded: ValidationPair) -> Pair:
    """Return the pair that `load_validation_pair` loaded, without files, spacing or points."""
    fixed_label, moving_label = loaded.get("fixed_label"), loaded.get("moving_label")
    fixed_mask, moving_mask = loaded.get("fixed_mask"), loaded.get("moving_mask")
    return Pair(
        id=loaded["id"],
        fixed=loaded["fixed_image"][0].numpy(),
        moving=loaded["moving_image"][0].numpy(),
        fixed_label=None if fixed_label is None else fixed_label[0].long().numpy(),
        moving_label=None if moving_label is None else moving_label[0].long().numpy(),
        fixed_mask=None if fixed_mask is None else fixed_mask[0].numpy(),
        moving_mask=None if moving_mask is None else moving_mask[0].numpy(),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """One image of a pair, with what belongs to it."""

    picture: Picture
    image: npt.NDArray[np.float32]
    place: Placement
    label_picture: Picture | None = None
    label: Array | None = None
    mask: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class PairReader:
    """Reads cases as pairs with their own fixed image, or with `fixed` where they have none.

    `with_points` reads landmarks, too (see regstudio.data.landmarks.files). The loaders say how files are read. Where
    files know their place, axes are exchanged and reversed until all lie as the fixed image does, and each label as its
    image.
    `rule` says on which grid pairs are read; without one it is the loaders' own or, if they have none, that of the
    files, which must then have one size. `mask_outside` gives images without a mask that of their foreground. Raises
    DataError, naming the file, for what cannot be used.
    """

    fixed: Case
    image_loader: ImageLoader
    label_loader: LabelLoader
    with_points: bool = False
    rule: GridRule | None = None
    mask_outside: bool = False

    def __call__(self, case: Case) -> Pair:
        """Return the pair of a case and its fixed image."""
        if case.fixed is not None and case.fixed != self.fixed:
            return replace(self, fixed=case.fixed)(case)
        fixed, moving = self._fixed_side, self._read(case)
        refuse_other_size(case.image, moving.image.shape, self.fixed.image, fixed.image.shape)
        fixed_points, moving_points = self._points(case, fixed, moving)
        spacing = _scaled(fixed.picture.spacing, fixed.place)
        return Pair(
            id=case.id,
            fixed=fixed.image,
            moving=moving.image,
            fixed_label=fixed.label,
            moving_label=moving.label,
            fixed_points=fixed_points,
            moving_points=moving_points,
            fixed_mask=fixed.mask,
            moving_mask=moving.mask,
            spacing=spacing,
            moving_spacing=_scaled(moving.picture.spacing, moving.place) or spacing,
            pictures=Pictures(
                fixed=fixed.picture,
                moving=moving.picture,
                fixed_label=fixed.label_picture,
                moving_label=moving.label_picture,
                fixed_place=fixed.place,
                moving_place=moving.place,
            ),
        )

    def read_by(self, axes: AxisRule) -> "PairReader":
        """Return this reader, reading NIfTI files by the rule `axes`."""
        if axes == self.image_loader.axes:
            return self
        images, labels = replace(self.image_loader, axes=axes), replace(self.label_loader, axes=axes)
        return replace(self, image_loader=images, label_loader=labels)

    @property
    def fixed_image(self) -> npt.NDArray[np.float32]:
        """The fixed image (H, W); it is read once."""
        return self._fixed_side.image

    @property
    def fixed_pixels(self) -> int:
        """The number of pixels of the fixed file."""
        height, width = self._fixed_picture.size
        return height * width

    @cached_property
    def _fixed_side(self) -> _Side:
        return self._read(self.fixed, self._fixed_picture)

    @cached_property
    def _fixed_picture(self) -> Picture:
        return self._picture(self.fixed, self.image_loader.facing_as(self.fixed.image))

    @cached_property
    def _loaders(self) -> tuple[ImageLoader, LabelLoader]:
        """The loaders, which turn all files until they lie as the fixed one, and bring them onto the grid."""
        images, labels = self.image_loader, replace(self.label_loader, dtype=np.int64)
        images, labels = images.facing_as(self.fixed.image), labels.facing_as(self.fixed.image)
        if self.rule is None:
            return images, labels
        grid = self.rule.grid(self._fixed_picture.size, self._fixed_picture.spacing)
        return replace(images, grid=grid), replace(labels, grid=grid)

    def _picture(self, case: Case, images: ImageLoader) -> Picture:
        picture = images.picture(case.image)
        if min(picture.size) < MIN_SIDE:
            what = f"is {_size(picture.array)} pixels, and less than {MIN_SIDE} is too few"
            raise FileError(case.image, what, "Save it in a higher resolution.")
        return picture

    def _read(self, case: Case, picture: Picture | None = None) -> _Side:
        images = self._loaders[0]
        picture = picture or self._picture(case, images)
        image, place = images.of_picture(picture)[0], images.place(picture) or spanning(picture.size, picture.size)
        mask = self._mask(case, picture, image)
        if case.label is None:
            return _Side(picture=picture, image=image, place=place, mask=mask)
        label_picture, label = self._map(case.label, case, picture)
        return _Side(picture=picture, image=image, place=place, label_picture=label_picture, label=label, mask=mask)

    def _mask(self, case: Case, picture: Picture, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        if case.mask is None:
            return foreground(image).astype(np.float32) if self.mask_outside else None
        return (self._map(case.mask, case, picture)[1] > 0).astype(np.float32)

    def _map(self, path: Path, case: Case, picture: Picture) -> tuple[Picture, Array]:
        """Return a label or a mask of a case's image: as its file has it, and on the grid."""
        labels = self._loaders[1]
        read = labels.picture(path, case.image)
        if read.size != picture.size:
            what = f"is {_size(read.array)} pixels, unlike its image with {_size(picture.array)}"
            raise FileError(path, what, "Export it again from the image.")
        return read, labels.of_picture(read, picture.spacing)[0]

    def _points(self, case: Case, fixed: _Side, moving: _Side) -> tuple[Points | None, Points | None]:
        """Return the landmarks of a pair, in pixels of the grid, or nothing where one of the two has none."""
        path = case.points or find_landmarks(case.image) if self._landmarks is not None else None
        if path is None or self._landmarks is None:
            return None, None
        picture = moving.picture
        landmarks = read_landmarks(path, "moving").on(picture.stored_affine)
        check_within(landmarks, picture.stored_shape)  # landmarks are in pixels of the file
        own, others = corresponding(self._landmarks, landmarks)
        turned = picture.turn.points(others.places, picture.stored_shape)
        return fixed.place.to_grid(own.places), moving.place.to_grid(turned)

    @cached_property
    def _landmarks(self) -> Landmarks | None:
        path = self.fixed.points or find_landmarks(self.fixed.image) if self.with_points else None
        landmarks = None if path is None else read_landmarks(path).on(self._fixed_side.picture.affine)
        if landmarks is not None:
            check_within(landmarks, self._fixed_side.picture.size)
        return landmarks


def _mask_array(array: Array | None) -> npt.NDArray[np.float32] | None:
    return None if array is None else (array != 0).astype(np.float32)


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


def _scaled(spacing: Spacing | None, place: Placement) -> Spacing | None:
    return None if spacing is None else (spacing[0] * place.step[0], spacing[1] * place.step[1])
