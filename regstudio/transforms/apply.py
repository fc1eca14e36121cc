"""Apply a saved flow to further images and labels in moving space, and to points."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.npy import decode
from regstudio.data.geometry import AxisRule, Facing, Geometry, Turn
from regstudio.data.landmarks.files import Landmarks, points_stem, read_landmarks, write_landmarks
from regstudio.data.loading.working_grid import Size
from regstudio.data.pictures.formats import stem
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.data.problems import FileError
from regstudio.files import write_text
from regstudio.metrics import sample_flow
from regstudio.transforms.file_field import FileField
from regstudio.transforms.flow_record import read_flow_record
from regstudio.transforms.itk_field import read_field
from regstudio.transforms.result_files import OutputSize, refuse_input, result_extension, with_geometry_of

Array = npt.NDArray[Any]

MAX_ITERATIONS = 100
PRECISION = 1e-3  # pixels; a larger residual means that a point could not be inverted


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedFlow:
    """A flow from a file, which pulls back an image.

    `field` has its numbers, `sizes` the sizes of results besides its own, where they are known. `geometry` is that of
    the picture that it lies on, if it is known. Pictures are read by the rule `axes` and turned as those of the
    registration were: the image by `image_turn`, or to `facing` if it knows its place, and what lies on the reference
    grid by `on_turn`.
    """

    path: Path
    field: FileField
    sizes: Mapping[str, Size] | None = None
    geometry: Geometry | None = None
    axes: AxisRule = "itk"
    facing: Facing | None = None
    on_turn: Turn = Turn()  # noqa: RUF009  frozen
    image_turn: Turn = Turn()  # noqa: RUF009  frozen

    def turned(self, picture: Picture) -> Picture:
        """Return a picture, as it was read, turned as the image was that the flow was computed for."""
        if picture.facing is not None and self.facing is not None:
            return picture.turned_to(self.facing)
        return picture.turned(self.image_turn)


def load_flow(path: Path, image: Picture | None = None) -> SavedFlow:
    """Read a flow in pixels (.npy, with the .json beside it if there is one), or an ITK displacement field in mm.

    The geometry of `image`, the image to pull back, converts a field to pixels. Raises FileError.
    """
    if path.suffix.lower() == ".npy":
        return _load_npy(path)
    if image is None:
        raise FileError(path, "is in mm, and only an image says what its pixels are", "Give --image, or the .npy flow.")
    flow, affine = read_field(path, image)
    return SavedFlow(path=path, field=_spanned(flow, None, image.size), geometry=Geometry(affine=affine))


def apply_flow(
    saved: SavedFlow, picture: Picture, out: Path, *, label: bool, key: str, output_size: OutputSize = "fixed"
) -> Path:
    """Warp an image, or with `label` a label map, by a flow; write NAME_warped to the folder `out`, return its path.

    Images are interpolated linearly and keep their intensities, labels take the nearest pixel. The format is the one
    that `register` would choose, `key` the array's name in .npz files, `output_size` that of `save_registration`.
    Raises FileError if the picture does not have the size that the flow was computed for.
    """
    picture = saved.turned(picture)
    if picture.size != saved.field.image_size:
        wanted = " x ".join(map(str, saved.field.image_size))
        what = f"is {picture.size[0]} x {picture.size[1]} pixels, but the flow {saved.path.name} is for {wanted}"
        raise FileError(picture.path, what, "Give an image that lies pixel for pixel on the moving one.")
    size = saved.field.size if output_size == "fixed" else (saved.sizes or {}).get(output_size)
    if size is None:
        what = f"does not say how large results of the size '{output_size}' are"
        raise FileError(saved.path, what, "Register the images again, or leave --output_size out.")
    warped = saved.field.warped(picture.array, size, label=label)
    target = out / f"{stem(picture.path)}_warped{result_extension(picture)}"
    refuse_input(target, [picture.path, saved.path])
    grid = np.broadcast_to(warped.dtype.type(0), saved.field.size)
    like = with_geometry_of(picture, Picture(array=grid, path=saved.path, geometry=saved.geometry))
    (write_label if label else write_image)(target, warped, like=like, key=key)
    return target


def move_points(field: FileField, places: Array, *, inverse: bool = False) -> tuple[Array, Array]:
    """Map points (n, 2), (y, x) in pixels, by a field: fixed image to moving image, p -> p + flow(p).

    The flow is interpolated linearly and extended constantly outside its nodes. With `inverse`, maps moving image to
    fixed image: solves q = p + flow(p) for p by fixed-point iteration, which converges where the flow changes by less
    than a pixel between neighbouring pixels. Returns the points and the residuals (n,) in pixels; a residual above
    `PRECISION` means no solution, as in folds.
    """

    def flow(points: Array) -> Array:
        return sample_flow(field.flow, (points / field.step).T).T

    if not inverse:
        return places + flow(places), np.zeros(len(places))
    points = places - flow(places)
    for _ in range(MAX_ITERATIONS):
        updated = places - flow(points)
        converged = np.abs(updated - points).max(initial=0) < PRECISION / 100
        points = updated
        if converged:
            break
    return points, np.linalg.norm(points + flow(points) - places, axis=1)


def move_landmarks(saved: SavedFlow, path: Path, out: Path, *, inverse: bool = False) -> tuple[Path, tuple[int, ...]]:
    """Move the points of a file by a flow, see `move_points`; write NAME_moved in its own form to the folder `out`.

    Points in mm are written as y and x in pixels where the fixed image knows its place, as nothing says that of the
    moving one. Returns its path, and the lines of the points that the flow could not be inverted at. Raises FileError.
    """
    landmarks = read_landmarks(path, "moving" if inverse else "fixed")
    if inverse and landmarks.world is not None:
        raise FileError(path, "is in mm, and nothing says where the moving image lies", "Give pixels: columns y and x.")
    grid = None if saved.geometry is None else saved.geometry.affine
    landmarks = landmarks.on(grid)  # the flow lies on the fixed image
    # Points in pixels are in those of the files, which may have been turned for the flow; points in mm are on its grid.
    before, after = (saved.image_turn, saved.on_turn) if inverse else (saved.on_turn, saved.image_turn)
    on, image = saved.field.size, saved.field.image_size
    from_size, to_size = (image, on) if inverse else (on, image)
    on_grid = landmarks.world is not None and grid is not None
    turned = landmarks.places if on_grid else before.points(landmarks.places, before.shape(from_size))
    places, residuals = move_points(saved.field, turned, inverse=inverse)
    placed = after.points(places, after.shape(to_size), back=True)
    if landmarks.world is not None and grid is not None:
        target = out / f"{points_stem(path)}_moved.csv"
        refuse_input(target, [path])
        write_points(target, landmarks, placed)
    else:
        target = write_landmarks(landmarks, placed, out)
    lines = zip(landmarks.lines, residuals, strict=True)
    return target, tuple(line for line, residual in lines if not residual <= PRECISION)


def write_points(path: Path, landmarks: Landmarks, places: Array) -> None:
    """Write points (n, 2) as CSV like the file of `landmarks`: columns y, x and, if any has one, name."""
    named = any(landmarks.names)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["y", "x", *["name"] * named])
    for (y, x), name in zip(places, landmarks.names, strict=True):
        writer.writerow([f"{y:.4f}", f"{x:.4f}", *[name] * named])
    write_text(path, table.getvalue())


def _load_npy(path: Path) -> SavedFlow:
    remedy = "Name a NAME_flow.npy that `regstudio register` wrote: (2, H, W) in pixels."
    if not path.is_file():
        raise FileError(path, "there is no such file", "Check the name.")
    try:
        flow = np.asarray(decode(path, "").array)
    except ValueError as error:
        raise FileError(path, "cannot be read as .npy; it is damaged, or not what its name says", remedy) from error
    if flow.ndim != 3 or len(flow) != 2 or not flow.size or flow.dtype.kind != "f":
        raise FileError(path, f"holds {flow.dtype} of the shape {flow.shape}, not a flow", remedy)
    if not np.isfinite(flow).all():
        raise FileError(path, "holds NaN or infinity", "Register the images again.")
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return SavedFlow(path=path, field=_spanned(flow, flow.shape[1:], flow.shape[1:]))
    record = read_flow_record(sidecar)
    on_turn, image_turn = record.turns
    return SavedFlow(
        path=path,
        field=_spanned(flow, flow.shape[1:], record.image_size)
        if record.size is None
        else FileField(flow=flow, size=record.size, image_size=record.image_size),
        sizes=record.sizes,
        geometry=record.geometry,
        axes=record.axes,
        facing=record.facing,
        on_turn=on_turn,
        image_turn=image_turn,
    )


def _spanned(flow: Array, spanned: tuple[int, ...] | None, image_size: tuple[int, int]) -> FileField:
    """Return a flow (2, H, W) as a field: in pixels of the image already, or of a grid `spanned` by the image, too."""
    height, width = flow.shape[1:]
    if spanned is not None and spanned != image_size:
        grid, scale = np.indices((height, width)), np.reshape(np.divide(image_size, spanned), (2, 1, 1))
        flow = (grid + flow + 0.5) * scale - 0.5 - grid
    return FileField(flow=flow.astype(np.float64), size=(height, width), image_size=image_size)
