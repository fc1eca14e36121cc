"""A start by hand: how a person lays the moving image on the fixed one, as the page and files say it."""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, Strict, TypeAdapter

from regstudio.data.pictures.formats import stem
from regstudio.data.problems import FileError
from regstudio.errors import ConfigError, DataError
from regstudio.files import write_text
from regstudio.methods.affine import Matrix
from regstudio.schema import Number, SchemaError, parse, read_bytes, validate

START_SUFFIX = "_start"  # of the folder beside that of the moving images
MIN_OVERLAP = 0.05  # of the fixed image, on which the moving one is to lie

Side = Annotated[int, Strict(), Field(ge=1, le=2**20)]


@dataclass(frozen=True, kw_only=True)
class HandStart:
    """Flip the moving image left to right, scale it, turn it clockwise, all about its centre, then shift it.

    Shifts are in pixels of the pair's grid or, where it is given, of one of `grid` rows and columns; `turn` in degrees.
    """

    down: Annotated[Number, Field(ge=-1e5, le=1e5)] = 0.0
    right: Annotated[Number, Field(ge=-1e5, le=1e5)] = 0.0
    turn: Annotated[Number, Field(ge=-360, le=360)] = 0.0
    scale: Annotated[Number, Field(ge=0.05, le=20)] = 1.0
    flipped: Annotated[bool, Strict()] = False
    grid: tuple[Side, Side] | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the image stays as it is."""
        return replace(self, grid=None) == HandStart()

    def on(self, size: tuple[int, int]) -> "HandStart":
        """Return the start with its shifts in pixels of a grid of that size, which it names."""
        rows, columns = (new / old for new, old in zip(size, self.grid or size, strict=True))
        return replace(self, down=self.down * rows, right=self.right * columns, grid=size)

    def matrix(self, size: tuple[int, int], aspect: float) -> Matrix:
        """Return the pull-back (2, 3) in pixels of a grid; the height of a pixel is `aspect` times its width.

        Raises DataError where next to nothing of the moving image lies on the fixed one.
        """
        start, angle, flip = self.on(size), math.radians(self.turn), -1 if self.flipped else 1
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        square = np.array([aspect, 1.0])  # from pixels to what a person sees
        laid = self.scale * turn * np.array([1, flip]) * square / square[:, None]
        back, centre = np.linalg.inv(laid), (np.array(size) - 1) / 2
        matrix = np.column_stack((back, centre - back @ (centre + np.array([start.down, start.right]))))
        places = np.indices(size).reshape(2, -1)
        led = matrix[:, :2] @ places + matrix[:, 2:]
        if ((led > -0.5) & (led < np.array(size)[:, None] - 0.5)).all(axis=0).mean() < MIN_OVERLAP:
            raise DataError("The moving image lies beside the fixed one. Bring it back, or press Reset.")
        return matrix


NO_START = HandStart()
_START = TypeAdapter(HandStart)


def read_start(value: object) -> HandStart:
    """Return the start that the browser sent, none where it sent nothing; raises ConfigError for what is none."""
    try:
        return NO_START if value is None else validate(value, _START)
    except SchemaError as error:
        raise ConfigError(f"The start by hand cannot be used: {error}.") from None


def start_path(image: Path) -> Path:
    """Return where the start of a moving image is kept, whether there is one or not."""
    return image.parent.with_name(image.parent.name + START_SUFFIX) / f"{stem(image)}.json"


def read_start_file(path: Path) -> HandStart:
    """Return the start in a file; raises FileError for one that cannot be used."""
    try:
        return parse(read_bytes(path), _START)
    except SchemaError as error:
        what = f"cannot be used as a start by hand ({error})"
        raise FileError(path, what, "Remove it, and lay the image anew.") from None


def write_start(path: Path, start: HandStart) -> None:
    """Write a start as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(start), indent=2) + "\n")
