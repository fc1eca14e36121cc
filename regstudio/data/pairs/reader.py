"""Reads pairs from files: both images on one grid, turned as the fixed one lies, with labels, masks and landmarks."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regstudio.data.folders.layout import Case
from regstudio.data.geometry import AxisRule
from regstudio.data.landmarks.files import Landmarks, check_within, corresponding, find_landmarks, read_landmarks
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.loading.working_grid import GridRule, Placement, Spacing, spanning
from regstudio.data.pairs.dataset import refuse_other_size
from regstudio.data.pairs.pair import Array, Pair, Pictures, Points, shown_size
from regstudio.data.pictures.colour import foreground
from regstudio.data.pictures.formats import MIN_SIDE
from regstudio.data.pictures.picture import Picture
from regstudio.data.problems import FileError


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
            what = f"is {shown_size(picture.array)} pixels, and less than {MIN_SIDE} is too few"
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
            what = f"is {shown_size(read.array)} pixels, unlike its image with {shown_size(picture.array)}"
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


def _scaled(spacing: Spacing | None, place: Placement) -> Spacing | None:
    return None if spacing is None else (spacing[0] * place.step[0], spacing[1] * place.step[1])
