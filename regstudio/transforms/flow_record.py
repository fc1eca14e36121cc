"""The .json beside a saved flow: on which grid it lies, and how its pictures were read and turned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, Strict, TypeAdapter

from regstudio.data.codecs.decoded_file import MAX_PIXELS
from regstudio.data.geometry import Geometry, Turn, spans_space
from regstudio.data.loading.working_grid import Size
from regstudio.data.problems import FileError
from regstudio.schema import Number, SchemaError, parse, read_bytes

_Flag = Annotated[bool, Strict()]
_Side = Annotated[int, Strict(), Field(ge=1, le=2**20)]
_Axis = tuple[Number, Number, Number]
_Row = tuple[Number, Number, Number, Number]


def _check_affine(rows: tuple[_Row, ...]) -> tuple[_Row, ...]:
    if not spans_space(np.array(rows)):
        raise ValueError("its axes do not span the space")
    if list(rows[3]) != [0.0, 0.0, 0.0, 1.0]:
        raise ValueError("its last row must be 0, 0, 0, 1")
    return rows


def _check_pixels(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"it has more than {MAX_PIXELS:,} pixels")
    return size


@dataclass(frozen=True, kw_only=True)
class FlowRecord:
    """What is known of a flow besides its numbers; flows of version 0.1 say nothing of axes, and turned no picture.

    A flow with a `size` is in pixels of the files, see FileField; one without is in pixels of its own grid, which both
    files span. `working_size` and `moving_size` are those of results on the working grid, and with pixels as large as
    the moving image's.
    """

    image_size: tuple[_Side, _Side]
    size: Annotated[tuple[_Side, _Side], AfterValidator(_check_pixels)] | None = None
    working_size: Annotated[tuple[_Side, _Side], AfterValidator(_check_pixels)] | None = None
    moving_size: Annotated[tuple[_Side, _Side], AfterValidator(_check_pixels)] | None = None
    affine: Annotated[tuple[_Row, _Row, _Row, _Row], AfterValidator(_check_affine)] | None
    axes: Literal["itk", "nibabel"] = "nibabel"
    facing: tuple[_Axis, _Axis] | None = None
    on_turn: tuple[_Flag, _Flag, _Flag] = (False, False, False)
    image_turn: tuple[_Flag, _Flag, _Flag] = (False, False, False)

    @property
    def geometry(self) -> Geometry | None:
        """The geometry of the flow's grid, if its file has one."""
        affine: npt.NDArray[np.float64] = np.array(self.affine, np.float64)
        return None if self.affine is None else Geometry(affine=affine)

    @property
    def sizes(self) -> dict[str, Size]:
        """The sizes of results that are known, by what they are called."""
        known = {"fixed": self.size, "working": self.working_size, "moving": self.moving_size}
        return {name: size for name, size in known.items() if size is not None}

    @property
    def turns(self) -> tuple[Turn, Turn]:
        """How the picture of the grid, and the image that the flow pulls back, were turned."""
        return Turn(*self.on_turn), Turn(*self.image_turn)


_RECORD = TypeAdapter(FlowRecord)


def read_flow_record(path: Path) -> FlowRecord:
    """Read the .json beside a flow; raises FileError."""
    try:
        return parse(read_bytes(path), _RECORD)
    except SchemaError as error:
        what = f"does not say what a flow's .json says ({error})"
        remedy = "Delete it: without it, the flow is taken for pixels without a place."
        raise FileError(path, what, remedy) from None
