"""New files of landmarks, in the forms that programs read: tables, BigWarp, 3D Slicer, elastix."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regstudio.data.landmarks.landmarks import LPS_TO_RAS, NO_GEOMETRY, Array, Family, to_world
from regstudio.files import write_text

FAMILIES: dict[Family, str] = {
    "table": ".csv",
    "bigwarp": ".csv",
    "fcsv": ".fcsv",
    "markups": ".mrk.json",
    "elastix": ".txt",
}

FAMILY_TITLES: dict[Family, str] = {
    "table": "table: y, x, name",
    "bigwarp": "BigWarp",
    "fcsv": "3D Slicer, .fcsv",
    "markups": "3D Slicer, .mrk.json",
    "elastix": "elastix",
}


def write_placed(
    folder: Path,
    stem: str,
    family: Family,
    places: Array,
    names: Sequence[str],
    *,
    affine: Array | None = None,
    fixed: Array | None = None,
) -> Path:
    """Write landmarks `places` (n, 2), y and x in pixels of the image `stem`, as STEM_points; return the path.

    3D Slicer's are in mm by the image's `affine`, elastix's too where there is one. BigWarp's file holds those of the
    moving image, which `places` are, and those of the `fixed` one.
    """
    world = to_world(places, NO_GEOMETRY if affine is None else affine)
    match family:
        case "table":
            rows = [(f"{y:.4f}", f"{x:.4f}", name) for (y, x), name in zip(places, names, strict=True)]
            text = _csv([("y", "x", "name"), *rows])
        case "bigwarp":
            text = _bigwarp(places, places if fixed is None else fixed, names)
        case "fcsv":
            text = _fcsv(world, names)
        case "markups":
            text = _markups(world, names)
        case "elastix":
            text = _elastix(
                places[:, ::-1] if affine is None else world * LPS_TO_RAS, "index" if affine is None else "point"
            )
    path = folder / f"{stem}_points{FAMILIES[family]}"
    write_text(path, text)
    return path


def _csv(rows: Sequence[Sequence[str]], *, quote_all: bool = False) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL).writerows(rows)
    return text.getvalue()


def _bigwarp(moving: Array, fixed: Array, names: Sequence[str]) -> str:
    rows = [
        (name, "true", *(f"{value:.4f}" for value in (own[1], own[0], other[1], other[0])))
        for name, own, other in zip(names, moving, fixed, strict=True)
    ]
    return _csv(rows, quote_all=True)


def _fcsv(world: Array, names: Sequence[str]) -> str:
    head = [
        "# Markups fiducial file version = 4.11",
        "# CoordinateSystem = RAS",
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID",
    ]
    rows = (
        f"{number},{x:.6g},{y:.6g},{z:.6g},0,0,0,1,1,1,0,{name},,"
        for number, ((x, y, z), name) in enumerate(zip(world, names, strict=True), start=1)
    )
    return "\n".join([*head, *rows]) + "\n"


def _markups(world: Array, names: Sequence[str]) -> str:
    points: list[dict[str, Any]] = [
        {"id": str(number), "label": name, "position": place, "selected": True, "visibility": True}
        for number, (place, name) in enumerate(zip((world * LPS_TO_RAS).tolist(), names, strict=True), start=1)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}
    return json.dumps({"markups": [markup]}, indent=4) + "\n"


def _elastix(values: Array, kind: str) -> str:
    lines = (" ".join(f"{value:.6g}" for value in place) for place in values)
    return "\n".join([kind, str(len(values)), *lines]) + "\n"
