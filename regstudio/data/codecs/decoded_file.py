"""The type that codecs exchange with the rest, and the limits on a file's size.

A codec is a pair of functions for one family of formats: decode(path, key) -> DecodedFile, and
encode(path, key, content). It does not tell images from labels, nor 2-D from 3-D. It checks the size in the header
before it decodes, and never unpickles. It may raise anything on a damaged file; `formats` translates that.

Arrays are in the order of SimpleITK's GetArrayFromImage, [(z,) y, x], whatever order the format's library has.
"""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.problems import FileError

MAX_PIXELS = 80_000_000  # of one picture; Pillow itself starts to warn at 89 million
MIN_RESOLUTION, MAX_RESOLUTION, MAX_PROFILE_BYTES = 1e-6, 1e9, 2**22
MAX_BYTES = 2**30  # of one decoded file, which may be a volume of which one slice is read


@dataclass(frozen=True, kw_only=True)
class RasterTags:
    """What a TIFF or JPEG says beside its pixels: `resolution`, pixels a `unit` down and across, and colour profile.

    The unit is TIFF's: 1 is none, 2 an inch, 3 a centimetre.
    """

    resolution: tuple[float, float] | None = None
    unit: int = 1
    profile: bytes | None = None

    @property
    def spacing(self) -> tuple[float, float] | None:
        """The distance of rows and columns in mm that ITK takes from the resolution: that of print, often."""
        length = {2: 25.4, 3: 10.0}.get(self.unit)
        return (
            None
            if length is None or self.resolution is None
            else (length / self.resolution[0], length / self.resolution[1])
        )

    def with_profile_of(self, other: "RasterTags | None") -> "RasterTags":
        """Return these tags with the profile of others."""
        return replace(self, profile=None if other is None else other.profile)

    def resized(self, before: tuple[int, int], after: tuple[int, int]) -> "RasterTags":
        """Return the tags of the same picture with other numbers of rows and columns."""
        if self.resolution is None or before == after:
            return self
        down, across = (has * b / a for has, b, a in zip(self.resolution, after, before, strict=True))
        return replace(self, resolution=(down, across))


def raster_tags(across: Any, down: Any, unit: Any, profile: Any) -> RasterTags | None:
    """Return what a file says of its resolution and profile; None where that is nothing, or cannot be."""
    numbers = [float(n) for n in (down, across) if isinstance(n, int | float) and MIN_RESOLUTION < n < MAX_RESOLUTION]
    known = len(numbers) == 2 and unit in (1, 2, 3)
    if not (isinstance(profile, bytes) and 0 < len(profile) <= MAX_PROFILE_BYTES):
        profile = None
    if known:
        return RasterTags(resolution=(numbers[0], numbers[1]), unit=unit, profile=profile)
    return None if profile is None else RasterTags(profile=profile)


@dataclass(frozen=True, kw_only=True)
class DecodedFile:
    """The content of a file: an array [(z,) y, x]; with `colour`, its last axis holds two, three or four channels.

    `affine` (4, 4) takes (x, y, z, 1) to RAS+ in mm; `placed` is False where only its spacing is the file's.
    `dimension` is 2 where the file knows of no z.
    """

    array: Any  # numpy, or what has a shape and reads when it is indexed: only what is asked for, if it can
    colour: bool = False
    palette: npt.NDArray[Any] | None = None  # (256 or more, 3) colours: then the array holds indices into it
    white: float | None = None  # "white is zero": an image is this minus the array; label ids are as stored
    affine: npt.NDArray[np.float64] | None = None
    placed: bool = True
    dimension: int = 3
    tags: RasterTags | None = None
    header: Any = None  # lets the same codec write the rest of the header again


def refuse_huge(path: Path, shape: tuple[int, ...], bytes_per_pixel: int) -> None:
    """Raise FileError if a file of this shape exceeds the limits."""
    lengths = [length for length in shape if length > 1]
    if (len(lengths) <= 2 and prod(lengths) > MAX_PIXELS) or prod(lengths) * bytes_per_pixel > MAX_BYTES:
        size = " x ".join(str(length) for length in lengths)
        limits = f"{MAX_PIXELS:,} pixels a picture and {MAX_BYTES:,} bytes a file"
        raise FileError(
            path,
            f"is too large ({size} pixels; the limits are {limits})",
            "Save it in a lower resolution.",
        )


def upright(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn or mirror (H, W, ...) as the orientation of EXIF and TIFF says, 1 to 8; others change nothing."""
    turned = array.swapaxes(0, 1) if 5 <= orientation <= 8 else array
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned
