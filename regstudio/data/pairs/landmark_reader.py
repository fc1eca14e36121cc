"""The landmarks of cases on a training's grid: each file is read once, however often its case is seen."""

import warnings
from dataclasses import replace

from regstudio.data.folders.case_files import Case
from regstudio.data.landmarks.files import find_landmarks
from regstudio.data.landmarks.landmarks import PairPoints
from regstudio.data.loading.loaders import DataWarning, ImageLoader, LabelLoader
from regstudio.data.pairs.reader import PairReader
from regstudio.data.problems import FileError


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

    @staticmethod
    def has_points(case: Case, fixed: Case) -> bool:
        """Whether both images of a pair have a file of landmarks; none is opened."""
        return all(side.points or find_landmarks(side.image) for side in (fixed, case))

    def _read(self, case: Case, fixed: Case) -> PairPoints | None:
        if not self.has_points(case, fixed):
            return None
        reader = self._readers.get(fixed)
        if reader is None:
            reader = PairReader(
                fixed=replace(fixed, label=None, mask=None),
                image_loader=self._images,
                label_loader=self._labels,
                with_points=True,
            )
            if case.fixed is None:
                self._readers[fixed] = reader
        try:
            pair = reader(replace(case, label=None, mask=None, fixed=None))
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
