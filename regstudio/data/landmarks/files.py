"""Files of landmarks: corresponding points in two images, beside the images.

The landmarks of NAME.ext are in NAME_points.csv (or .fcsv, .mrk.json, .txt, .pts), in the image's folder or in a
sibling folder whose name ends in _points (`validation_moving_points/` for `validation_moving/`). Row i in both files is
the same place in the body.

- A table's first line names the columns: `y` (rows, down) and `x` (columns, right), in pixels from 0 at the centre of
  the first pixel, and optionally `name`; others are ignored, and so are capitals (`,X,Y`, as ImageJ and ANHIR write).
  Columns are parted by commas, semicolons or tabs; the text is UTF-8 or UTF-16.
- BigWarp's tables name no columns: point, active or not, then x and y in the moving and in the fixed image.
- 3D Slicer's .fcsv and .mrk.json, and elastix's files that say `point`, hold places in mm, which become pixels by the
  geometry of the image; elastix's that say `index` hold pixels, x first.

Points are written in the form of the file that they were read from.
"""

import os
import unicodedata
from dataclasses import replace
from pathlib import Path

from regstudio.data.folders.listing import POINTS_ENDINGS, POINTS_SUFFIX
from regstudio.data.landmarks.landmarks import (
    NO_GEOMETRY,
    REMEDY,
    Array,
    Landmarks,
    Side,
    check_pair,
    check_within,
    corresponding,
    to_world,
)
from regstudio.data.landmarks.markups import (
    elastix_text,
    fcsv_text,
    markups_text,
    read_elastix,
    read_fcsv,
    read_markups,
)
from regstudio.data.landmarks.tables import bigwarp_text, read_table, table_text
from regstudio.data.pictures.formats import stem
from regstudio.data.text_tables import read_text
from regstudio.files import atomic_path

__all__ = [
    "Landmarks",
    "check_pair",
    "check_within",
    "corresponding",
    "find_landmarks",
    "points_stem",
    "read_landmarks",
    "write_landmarks",
]


def find_landmarks(image: Path) -> Path | None:
    """Return the landmark file of an image, or None if there is none."""
    parent = Path(os.path.abspath(image.parent))  # noqa: PTH100  "." has no name, and links are not to be followed
    sibling = parent.parent / f"{parent.name}{POINTS_SUFFIX}"
    names = dict.fromkeys(unicodedata.normalize(form, stem(image)) for form in ("NFC", "NFD"))
    found = (
        path
        for folder in (image.parent, sibling)
        for name in names
        for ending in POINTS_ENDINGS
        if os.path.isfile(path := folder / f"{name}{POINTS_SUFFIX}{ending}")  # noqa: PTH113  False for too long a name
    )
    return next(found, None)


def points_stem(path: Path) -> str:
    """Return the name of a file of landmarks without its ending, all of .mrk.json."""
    ending = next((ending for ending in POINTS_ENDINGS if path.name.lower().endswith(ending)), path.suffix)
    return path.name[: len(path.name) - len(ending)]


def read_landmarks(path: Path, side: Side = "fixed") -> Landmarks:
    """Read a landmark file, of BigWarp's tables the points in the image of that `side`; raises FileError."""
    text, encoding = read_text(path, REMEDY)
    name = path.name.lower()
    if name.endswith(".fcsv") or text.startswith("# Markups fiducial file"):
        found = read_fcsv(path, text)
    elif name.endswith(".json"):
        found = read_markups(path, text)
    elif name.endswith((".txt", ".pts")) and not _is_table(text):
        found = read_elastix(path, text)
    else:
        found = read_table(path, text, side)
    return replace(found, text=text, encoding=encoding)


def _is_table(text: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return any(letter in first for letter in ",;\t")


def write_landmarks(landmarks: Landmarks, places: Array, folder: Path, affine: Array | None = None) -> Path:
    """Write landmarks that were moved to `places` (n, 2), in pixels, as NAME_moved in the form that they were read in.

    Where that is in mm, `affine` is that of the image that they are now in; without one, a pixel is 1 mm. Of BigWarp's
    tables, the other side is replaced. Return the path.
    """
    world = None if landmarks.world is None else to_world(places, NO_GEOMETRY if affine is None else affine)
    match landmarks.family:
        case "table":
            text = table_text(landmarks, places)
        case "bigwarp":
            text = bigwarp_text(landmarks, places)
        case "elastix":
            text = elastix_text(landmarks, places, world)
        case "fcsv" | "markups":
            assert world is not None
            text = (fcsv_text if landmarks.family == "fcsv" else markups_text)(landmarks, world)
    name = points_stem(landmarks.path)
    target = folder / f"{name}_moved{landmarks.path.name[len(name) :]}"
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding=landmarks.encoding)
    return target
