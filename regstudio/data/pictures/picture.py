"""A 2-D picture as it was read from a file, and where it lies."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.decoded_file import RasterTags
from regstudio.data.geometry import Facing, Geometry, Turn, turn_to
from regstudio.data.pictures.colour import brightness


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A 2-D picture as read: array (H, W) or (H, W, C) in the file's own dtype, and its place in the world.

    Channels are grey and opacity, or red, green, blue and perhaps opacity. `geometry` is None where the format knows
    none. `header` lets a writer of the same format keep the rest of the header. `turn` says how the array was turned
    since it was read. `tags` are those of a TIFF or JPEG.
    """

    array: npt.NDArray[Any]
    path: Path
    geometry: Geometry | None = None
    header: Any = None
    tags: RasterTags | None = None
    turn: Turn = Turn()  # noqa: RUF009  frozen

    @property
    def size(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        height, width = self.array.shape[:2]
        return height, width

    @property
    def grey(self) -> npt.NDArray[Any]:
        """The array (H, W) of its brightness, without opacity, in its own dtype."""
        return brightness(self.array)

    @property
    def colours(self) -> npt.NDArray[np.float32] | None:
        """Red, green and blue (H, W, 3) in [0, 1]; None for a grey picture."""
        if self.array.ndim != 3 or self.array.shape[2] < 3:
            return None
        white = np.iinfo(self.array.dtype).max if self.array.dtype.kind in "ui" else 1
        return self.array[..., :3].astype(np.float32) / np.float32(white)

    @property
    def affine(self) -> npt.NDArray[np.float64] | None:
        """The matrix (4, 4) from (row, column, slice, 1) to RAS+ in mm; None if the file does not say."""
        return None if self.geometry is None else self.geometry.affine

    @property
    def spacing(self) -> tuple[float, float] | None:
        """The distance between neighbouring rows and columns, in mm; None if the file does not say."""
        return None if self.geometry is None else self.geometry.spacing

    @property
    def stored_shape(self) -> tuple[int, int]:
        """The size (H, W) before it was turned."""
        return self.turn.shape(self.array.shape)

    @property
    def stored_affine(self) -> npt.NDArray[np.float64] | None:
        """The affine before it was turned."""
        return None if self.affine is None else self.affine @ np.linalg.inv(self.turn.back(self.stored_shape))

    @property
    def facing(self) -> Facing | None:
        """The directions of its rows and columns; None if the file does not say."""
        return None if self.geometry is None else self.geometry.facing

    def turned(self, turn: Turn) -> "Picture":
        """Return the picture turned, at the same place; `turn` is its first, or undoes that."""
        if turn == Turn():
            return self
        geometry = None if self.geometry is None else turn.geometry(self.geometry, self.array.shape)
        return replace(self, array=np.ascontiguousarray(turn.array(self.array)), geometry=geometry, turn=turn)

    def turned_to(self, facing: Facing | None) -> "Picture":
        """Return the picture with the axes nearest to `facing`, if both are known."""
        own = self.facing
        return self if own is None or facing is None else self.turned(turn_to(own, facing)[0])
