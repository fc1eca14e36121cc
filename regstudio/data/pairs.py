"""What a method of registration is given, and what it gives back: plain arrays, the same for every method."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.dataset import load_validation_pair
from regstudio.data.formats import Picture, read_image
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.points import Landmarks, check_pair, check_within, find_landmarks, read_landmarks

Array = npt.NDArray[Any]
Spacing = tuple[float, float]
PIXELS: Spacing = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A case to register: images (H, W) float32 in [0, 1] and, where both have them, labels (H, W) and points (n, 2).

    Labels are integers, points y and x in pixels of this grid. `spacing` (rows, columns) is the fixed image's in mm, or
    None where its file knows none; then all distances are in pixels. `moving_spacing` is the moving image's, or the
    fixed image's where its own file knows none.
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

    @property
    def unit(self) -> str:
        """The unit of distances: "mm" or "pixels"."""
        return "pixels" if self.spacing is None else "mm"


@dataclass(frozen=True, kw_only=True)
class PairReader:
    """Reads the cases of an evaluation as pairs with one atlas; raises DataError, naming the file that cannot be used.

    Landmarks are read where atlas and case have them (see regstudio.data.points).
    """

    atlas: Case
    image_loader: ImageLoader
    label_loader: LabelLoader

    def __call__(self, case: Case) -> Pair:
        """Return the pair of the atlas and a case."""
        loaded = load_validation_pair(case, self.atlas, self.image_loader, self.label_loader)
        fixed_label, moving_label = loaded.get("fixed_label"), loaded.get("moving_label")
        moving, picture = loaded["moving_image"][0].numpy(), self._picture(case)
        # An image of another size than the atlas has been resampled, its outer edges kept in place.
        pixel = np.array(picture.array.shape) / moving.shape
        points = self._moving_points(case, picture, pixel)
        return Pair(
            id=case.id,
            fixed=loaded["fixed_image"][0].numpy(),
            moving=moving,
            fixed_label=None if fixed_label is None else fixed_label[0].long().numpy(),
            moving_label=None if moving_label is None else moving_label[0].long().numpy(),
            fixed_points=self._landmarks.places if points is not None and self._landmarks is not None else None,
            moving_points=points,
            spacing=self._atlas_picture.spacing,
            moving_spacing=_scaled(picture.spacing, pixel) or self._atlas_picture.spacing,
        )

    def _moving_points(self, case: Case, picture: Picture, pixel: Array) -> npt.NDArray[np.float64] | None:
        path = find_landmarks(case.image)
        if path is None or self._landmarks is None:
            return None
        landmarks = read_landmarks(path)
        check_pair(self._landmarks, landmarks)
        check_within(landmarks, picture.array.shape)
        places: npt.NDArray[np.float64] = (landmarks.places + 0.5) / pixel - 0.5
        return places

    @cached_property
    def _atlas_picture(self) -> Picture:
        return self._picture(self.atlas)

    @cached_property
    def _landmarks(self) -> Landmarks | None:
        path = find_landmarks(self.atlas.image)
        landmarks = None if path is None else read_landmarks(path)
        if landmarks is not None:
            check_within(landmarks, self._atlas_picture.array.shape)
        return landmarks

    def _picture(self, case: Case) -> Picture:
        loader = self.image_loader
        return read_image(case.image, key=loader.key, slice_axis=loader.slice_axis, slice_index=loader.slice_index)


def _scaled(spacing: Spacing | None, pixel: Array) -> Spacing | None:
    return None if spacing is None else (float(spacing[0] * pixel[0]), float(spacing[1] * pixel[1]))
