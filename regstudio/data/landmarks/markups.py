"""Landmarks of 3D Slicer (.fcsv, .mrk.json) and elastix (.txt, .pts), in mm or, of elastix, in pixels too."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from regstudio.data.landmarks.landmarks import LPS_TO_RAS, NO_GEOMETRY, Array, Landmarks, number, to_pixels
from regstudio.data.problems import FileError
from regstudio.data.text_tables import MAX_ROWS, Row, cells
from regstudio.schema import Number, SchemaError, Text, parse

_EXPORT = "Export the fiducials from 3D Slicer again."
_ELASTIX = "Its first line is `point` or `index`, its second the number of points; then comes a line x y for each."
_COLUMNS = ["id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label"]


class _ControlPoint(BaseModel):
    model_config = ConfigDict(extra="allow")
    position: Annotated[list[Number], Field(min_length=3, max_length=3)]
    label: Text = ""


class _Markup(BaseModel):
    model_config = ConfigDict(extra="allow")
    coordinateSystem: Text = "LPS"  # noqa: N815  Slicer's name
    controlPoints: Annotated[list[_ControlPoint], Field(max_length=MAX_ROWS)] = []  # noqa: N815


class _Markups(BaseModel):
    model_config = ConfigDict(extra="allow")
    markups: Annotated[list[_Markup], Field(min_length=1, max_length=1000)]


_MARKUPS = TypeAdapter(_Markups)


def read_fcsv(path: Path, text: str) -> Landmarks:
    """Return the points of a .fcsv; their places are those in an image without geometry, until `on` says more."""
    system, columns, found = _fcsv(path, text)
    signs = _signs(path, system)

    def cell(row: list[str], name: str) -> str:
        place = columns.index(name) if name in columns else len(row)
        return row[place].strip() if place < len(row) else ""

    world = np.array([[number(path, line, cell(row, axis)) for axis in "xyz"] for line, row in found]) * signs
    return Landmarks(
        path=path,
        places=to_pixels(world, NO_GEOMETRY),
        names=tuple(cell(row, "label") for _, row in found),
        lines=tuple(line for line, _ in found),
        world=world,
        family="fcsv",
    )


def fcsv_text(landmarks: Landmarks, world: Array) -> str:
    """Return the .fcsv that the landmarks are from with other places (n, 3), RAS+ in mm."""
    system, columns, found = _fcsv(landmarks.path, landmarks.text)
    lines = landmarks.text.splitlines()
    for (line, row), place in zip(found, world * _signs(landmarks.path, system), strict=True):
        for axis, value in zip("xyz", place, strict=True):
            row[columns.index(axis)] = f"{value:.6g}"
        lines[line - 1] = ",".join(row)
    return "\n".join(lines) + "\n"


def read_markups(path: Path, text: str) -> Landmarks:
    """Return the points of a .mrk.json: of its first list of points."""
    try:
        markup = parse(text.encode(), _MARKUPS).markups[0]
    except SchemaError as error:
        raise FileError(path, f"cannot be read as markups of 3D Slicer ({error})", _EXPORT) from None
    points = markup.controlPoints
    if not points:
        raise FileError(path, "holds no landmarks", _EXPORT)
    world = np.array([point.position for point in points], float) * _signs(path, markup.coordinateSystem)
    return Landmarks(
        path=path,
        places=to_pixels(world, NO_GEOMETRY),
        names=tuple(point.label for point in points),
        lines=tuple(range(1, len(points) + 1)),
        world=world,
        family="markups",
    )


def markups_text(landmarks: Landmarks, world: Array) -> str:
    """Return the .mrk.json that the landmarks are from with other places (n, 3), RAS+ in mm."""
    record: dict[str, Any] = json.loads(landmarks.text)
    markup = record["markups"][0]
    places = world * _signs(landmarks.path, markup.get("coordinateSystem", "LPS"))
    for point, place in zip(markup["controlPoints"], places.tolist(), strict=True):
        point["position"] = place
    return json.dumps(record, indent=4) + "\n"


def read_elastix(path: Path, text: str) -> Landmarks:
    """Return the points of elastix: `point` is in mm, LPS, and `index`, or nothing said, in pixels; x comes first."""
    in_mm, found = _elastix(path, text)
    values = np.array([[number(path, line, word) for word in words] for line, words in found])
    world = None
    if in_mm:
        world = np.column_stack((values, np.zeros((len(values), 3 - values.shape[1])))) * LPS_TO_RAS
    return Landmarks(
        path=path,
        places=values[:, 1::-1] if world is None else to_pixels(world, NO_GEOMETRY),
        names=("",) * len(found),
        lines=tuple(line for line, _ in found),
        world=world,
        family="elastix",
    )


def elastix_text(landmarks: Landmarks, places: Array, world: Array | None) -> str:
    """Return elastix's points at other places (n, 2) in pixels or, if the file is in mm, `world` (n, 3), RAS+."""
    lines, (_, found) = landmarks.text.splitlines(), _elastix(landmarks.path, landmarks.text)
    values = places[:, ::-1] if world is None else world * LPS_TO_RAS
    for (line, words), place in zip(found, values, strict=True):
        numbers = [f"{value:.6g}" for value in place[: len(words)]]
        lines[line - 1] = " ".join(numbers + words[len(numbers) :])
    return "\n".join(lines) + "\n"


def _fcsv(path: Path, text: str) -> tuple[str, list[str], list[Row]]:
    """Return the coordinate system, the columns and the rows of a .fcsv."""
    system, columns, lines = "0", _COLUMNS, text.splitlines()
    for line in lines:
        name, _, value = line.lstrip("# ").partition("=")
        if line.startswith("#") and name.strip().lower() == "coordinatesystem":
            system = value.strip().upper()
        elif line.startswith("#") and name.strip().lower() == "columns":
            columns = [column.strip().lower() for column in value.split(",")]
    found = cells(path, ["" if line.startswith("#") else line for line in lines], _EXPORT)
    if not found or not {"x", "y", "z"} <= set(columns):
        raise FileError(path, "holds no landmarks", _EXPORT)
    return system, columns, found


def _signs(path: Path, system: str) -> Array:
    """Return what takes places of a coordinate system of 3D Slicer to RAS+, and back."""
    if system.upper() not in ("0", "RAS", "1", "LPS"):
        raise FileError(path, f"is in the coordinates {system!r:.20}, and not in RAS or LPS", _EXPORT)
    return LPS_TO_RAS if system.upper() in ("1", "LPS") else np.ones(3)


def _elastix(path: Path, text: str) -> tuple[bool, list[Row]]:
    """Return whether elastix's points are in mm, and their lines, each as words."""
    rows = [(line, words) for line, words in enumerate(map(str.split, text.splitlines()), start=1) if words]
    said = rows[0][1][0].lower() if rows else ""
    if said in ("point", "index"):
        rows = rows[1:]
    count, found = rows[0][1] if rows else [], rows[1:]
    if len(count) != 1 or not count[0].isdecimal() or int(count[0]) != len(found) or not found:
        raise FileError(path, f"holds {len(found)} points, and says {' '.join(count) or 'nothing'}", _ELASTIX)
    if len({len(words) for _, words in found} - {2, 3}) or len({len(words) for _, words in found}) > 1:
        raise FileError(path, "has lines that are not of two or three numbers", _ELASTIX)
    return said == "point", found
