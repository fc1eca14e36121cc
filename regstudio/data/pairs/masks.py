"""Masks as a training and a registration see them: files or, by the setting `mask_outside`, all but the background."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import LabelLoader
from regstudio.data.pictures.colour import foreground


@dataclass(frozen=True, kw_only=True)
class MaskLoader:
    """Loads the mask of a case as float32 (1, H, W), 1 where its image counts and 0 elsewhere.

    `labels` reads the files; where there is none, `outside` leaves out the dark background of the image itself. Raises
    DataError, which names the file, if it cannot be used.
    """

    labels: LabelLoader
    outside: bool = False

    def __call__(self, case: Case, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return the mask of a case, whose `image` is (1, H, W); None where all of it counts."""
        if case.mask is None:
            return foreground(image[0]).astype(np.float32)[None] if self.outside else None
        return (self.labels(case.mask, case.image) > 0).astype(np.float32)
