"""What passes between a codec and the rest: the content of one file, and the limits on its size.

A codec is a pair of functions for one family of formats: decode(path, key) -> Stored and encode(path, key, stored).
It knows neither images from labels nor 2-D from 3-D, checks the size in a header before it decodes, never unpickles,
and may raise anything at a damaged file: `formats` turns that into words.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.problems import FileError

MAX_PIXELS = 80_000_000  # of one picture; below the 89 million at which Pillow itself starts to warn
MAX_BYTES = 2**30  # of one decoded file, which may be a volume that one slice is taken from


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a file holds: its axes as stored, with colour channels, if any, in a further last axis."""

    array: Any  # numpy, or nibabel's proxy, which reads no more than the slice it is asked for
    colour: bool = False
    palette: npt.NDArray[np.uint8] | None = None  # (256, 3) colours: then the array holds indices into it
    affine: npt.NDArray[np.float64] | None = None  # (4, 4): index along the first three axes -> RAS+ world
    header: Any = None  # what the codec needs, to write the rest of the header again


def refuse_huge(path: Path, shape: tuple[int, ...], bytes_per_pixel: int) -> None:
    """Raise FileError if a file of this shape would not be decoded within the limits."""
    lengths = [length for length in shape if length > 1]
    if (len(lengths) <= 2 and prod(lengths) > MAX_PIXELS) or prod(lengths) * bytes_per_pixel > MAX_BYTES:
        size = " x ".join(str(length) for length in lengths)
        limits = f"{MAX_PIXELS:,} pixels a picture and {MAX_BYTES:,} bytes a file"
        raise FileError(
            path,
            f"is too large ({size} pixels; the limits are {limits})",
            "Save it in a lower resolution.",
        )
