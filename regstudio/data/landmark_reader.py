"""The landmarks of cases on a training's grid: each file is read once, however often its case is seen."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from regstudio.data.case_files import Case
from regstudio.data.loaders import DataWarning, ImageLoader, LabelLoader
from regstudio.data.pairs import PairReader
from regstudio.data.points import find_landmarks
from regstudio.data.problems import FileError
from regstudio.data.working_grid import Spacing

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairPoints:
    """Corresponding points (n, 2), y and x in pixels of the grid.

    `pixel` is the height and width of a pixel of the grid in pixels of the fixed file, and `mm` in the moving image's
    mm; None where no file knows its spacing.
    """

    fixed: Points
    moving: Points
    pixel: Spacing
    mm: Spacing | None


class LandmarkReader:
    """Reads the landmarks of pairs with the loaders of a training, and keeps them; thread-safe.

    A file that cannot be used has no landmarks, with a DataWarning: a check of the data says so before.
    """

    def __init__(self, images: ImageLoader, labels: LabelLoader) -> None:
        self._images, self._labels = images, labels
        self._known: dict[Case, PairPoints | None] = {}
        self._readers: dict[Case, PairReader] = {}  # of atlases, whose picture is then read once

    def __call__(self, case: Case, fixed: Case) -> PairPoints | None:
        """Return the landmarks of a case and the fixed image that it is registered to; None without any."""
        key = replace(case, fixed=fixed)
        if key not in self._known:
            self._known[key] = self._read(case, fixed)
        return self._known[key]

    def _read(self, case: Case, fixed: Case) -> PairPoints | None:
        if not all(side.points or find_landmarks(side.image) for side in (case, fixed)):
            return None
        reader = self._readers.get(fixed)
        if reader is None:
            reader = PairReader(
                fixed=replace(fixed, label=None),
                image_loader=self._images,
                label_loader=self._labels,
                with_points=True,
            )
            if case.fixed is None:
                self._readers[fixed] = reader
        try:
            pair = reader(replace(case, label=None, fixed=None))
        except FileError as error:
            warnings.warn(DataWarning(f"{error} It is used without landmarks."), stacklevel=2)
            return None
        if pair.fixed_points is None or pair.moving_points is None:
            return None
        return PairPoints(
            fixed=pair.fixed_points,
            moving=pair.moving_points,
            pixel=pair.places[0].step,
            mm=None if pair.spacing is None else pair.moving_spacing or pair.spacing,
        )
