"""Applying a flow that was saved: to further images and labels of the moving image's space, and to points."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.npy import decode
from regstudio.data.formats import Picture, stem
from regstudio.data.points import Landmarks
from regstudio.data.problems import FileError
from regstudio.data.writing import write_image, write_label
from regstudio.files import write_text
from regstudio.metrics import sample_flow
from regstudio.transforms.itk_field import read_field
from regstudio.transforms.resampling import points_into, sample_linear, sample_nearest
from regstudio.transforms.result_files import placed, refuse_input, result_extension

Array = npt.NDArray[Any]

STEPS = 100
PRECISION = 1e-3  # pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedFlow:
    """A flow from a file: (2, H, W), from pixels of its grid to pixels of the image that it pulls back.

    `affine` is the place of the grid where the file tells one; `image_size` that of the image that it was made for.
    """

    path: Path
    flow: Array
    affine: Array | None = None
    image_size: tuple[int, ...] | None = None


def load_flow(path: Path, image: Picture | None = None) -> SavedFlow:
    """Read a flow in pixels (.npy, with the .json beside it where there is one), or an ITK displacement field.

    A field is in mm, and becomes pixels by the place of `image`, which it is to pull back. Raises FileError.
    """
    if path.suffix.lower() == ".npy":
        return _load_pixels(path)
    if image is None:
        raise FileError(path, "is in mm, and only an image says what its pixels are", "Give --image, or the .npy flow.")
    flow, affine = read_field(path, image)
    return SavedFlow(path=path, flow=flow, affine=affine, image_size=image.array.shape)


def apply_flow(saved: SavedFlow, picture: Picture, out: Path, *, label: bool, key: str) -> Path:
    """Pull an image, or with `label` a label map, back along a flow, and write it into `out`; return the path.

    Images are interpolated linearly and keep their intensities, labels take the nearest pixel. The file is
    NAME_warped, in the format that `register` would choose. Raises FileError for a picture of another size than that
    which the flow was made for.
    """
    sizes = {saved.flow.shape[1:], saved.image_size or saved.flow.shape[1:]}
    if picture.array.shape not in sizes:
        wanted = " or ".join(f"{height} x {width}" for height, width in sorted(sizes))
        what = f"is {picture.array.shape[0]} x {picture.array.shape[1]} pixels, but the flow is for {wanted}"
        raise FileError(picture.path, what, "Give an image that lies pixel for pixel on the moving one.")
    from_field = saved.path.suffix.lower() != ".npy"
    points = (
        np.indices(saved.flow.shape[1:]) + saved.flow if from_field else points_into(picture.array.shape, saved.flow)
    )
    warped = (sample_nearest if label else sample_linear)(picture.array, points)
    target = out / f"{stem(picture.path)}_warped{result_extension(picture)}"
    refuse_input(target, [picture.path, saved.path])
    like = placed(picture, Picture(array=warped, path=saved.path, affine=saved.affine))
    (write_label if label else write_image)(target, warped, like=like, key=key)
    return target


def move_points(flow: Array, places: Array, *, inverse: bool = False) -> tuple[Array, Array]:
    """Take points (n, 2), y and x in pixels, along a flow (2, H, W): from the fixed image to the moving image.

    That is p + flow(p), the flow interpolated linearly and, outside its grid, that of the border. With `inverse` from
    the moving image to the fixed one: q = p + flow(p) is solved for p by fixed-point iteration, which finds it wherever
    the flow changes by less than a pixel from one pixel to the next. Returns the points and what is left of the
    equation, in pixels: above `PRECISION` where no answer was found, as in folds.
    """
    if not inverse:
        return places + sample_flow(flow, places.T).T, np.zeros(len(places))
    found = places - sample_flow(flow, places.T).T
    for _ in range(STEPS):
        following = places - sample_flow(flow, found.T).T
        settled = np.abs(following - found).max(initial=0) < PRECISION / 100
        found = following
        if settled:
            break
    return found, np.linalg.norm(found + sample_flow(flow, found.T).T - places, axis=1)


def write_points(path: Path, landmarks: Landmarks, places: Array) -> None:
    """Write points (n, 2) as a table like the one that they came from: columns y, x and, if there are any, name."""
    named = any(landmarks.names)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["y", "x", *["name"] * named])
    for (y, x), name in zip(places, landmarks.names, strict=True):
        writer.writerow([f"{y:.4f}", f"{x:.4f}", *[name] * named])
    write_text(path, table.getvalue())


def _load_pixels(path: Path) -> SavedFlow:
    remedy = "Name a NAME_flow.npy that `regstudio register` wrote: (2, H, W) in pixels."
    if not path.is_file():
        raise FileError(path, "there is no such file", "Check the name.")
    try:
        flow = np.asarray(decode(path, "").array)
    except ValueError as error:
        raise FileError(path, "cannot be read as .npy; it is damaged, or not what its name says", remedy) from error
    if flow.ndim != 3 or len(flow) != 2 or flow.dtype.kind != "f":
        raise FileError(path, f"holds {flow.dtype} of the shape {flow.shape}, not a flow", remedy)
    if not np.isfinite(flow).all():
        raise FileError(path, "holds NaN or infinity", "Register the images again.")
    words = path.with_suffix(".json")
    if not words.is_file():
        return SavedFlow(path=path, flow=flow.astype(np.float64))
    try:
        record = json.loads(words.read_text(encoding="utf-8"))
        affine = None if record["affine"] is None else np.reshape(np.array(record["affine"], np.float64), (4, 4))
        height, width = map(int, record["image_size"])
    except (ValueError, KeyError, TypeError) as error:
        what = "does not say what a flow's .json says"
        raise FileError(words, what, "Delete it: without it, the flow is taken for pixels without a place.") from error
    return SavedFlow(path=path, flow=flow.astype(np.float64), affine=affine, image_size=(height, width))
