"""`regstudio apply`: apply a saved flow to further images, labels and points."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstudio.cli.options import given, setting_options
from regstudio.config import build_config
from regstudio.errors import printable

if TYPE_CHECKING:
    from regstudio.transforms.apply import SavedFlow

FILE = click.Path(path_type=Path)


@click.command()
@click.option("--flow", type=FILE, required=True, help="NAME_flow.npy, or an ITK displacement field")
@click.option("--out", type=FILE, required=True, help="folder for the results")
@click.option("--image", type=FILE, help="image to warp: one that lies pixel for pixel on the moving image")
@click.option("--label", type=FILE, help="label of the moving image to warp")
@click.option("--points", type=FILE, help="CSV with columns y and x: points of the fixed image, in pixels")
@click.option("--inverse", is_flag=True, help="the points are of the moving image, and go to the fixed one")
@setting_options("reading")
def apply(
    flow: Path, out: Path, image: Path | None, label: Path | None, points: Path | None, inverse: bool, **values: Any
) -> None:
    """Apply a saved flow to further images, labels and points.

    Images are interpolated linearly and keep their intensities; labels take the nearest pixel. Points of the fixed
    image go to the moving image by p + flow(p); --inverse takes points of the moving image to the fixed one, by solving
    that for p iteratively. (NAME_inverse_flow.npy, if there is one, takes them there without --inverse.)
    """
    from regstudio.data.formats import read_image, read_label
    from regstudio.transforms.apply import apply_flow, load_flow

    if image is None and label is None and points is None:
        raise click.UsageError("Give --image, --label or --points.")
    if inverse and points is None:
        raise click.UsageError("--inverse is for --points; images are warped with NAME_inverse_flow.npy instead.")
    reading = build_config(given(values)).reading
    # A flow in pixels says how the pictures that it is for are read; a field in mm needs one to become pixels.
    known = load_flow(flow) if flow.suffix.lower() == ".npy" else None
    axes = "itk" if known is None else known.axes
    where: dict[str, Any] = {"slice_axis": reading.slice_axis, "slice_index": reading.slice_index, "axes": axes}
    image_picture = None if image is None else read_image(image, key=reading.image_key, colour=True, **where)
    label_picture = None if label is None else read_label(label, key=reading.label_key, **where)
    written = []
    if image_picture is not None:
        saved = known or load_flow(flow, image_picture)
        written.append(apply_flow(saved, image_picture, out, label=False, key=reading.image_key))
    if label_picture is not None:
        saved = known or load_flow(flow, label_picture)
        written.append(apply_flow(saved, label_picture, out, label=True, key=reading.label_key))
    if points is not None:
        saved = known or load_flow(flow, image_picture or label_picture)
        written.append(_move(saved, points, out, inverse=inverse))
    for path in written:
        click.echo(printable(f"Wrote {path}."))


def _move(saved: "SavedFlow", points: Path, out: Path, *, inverse: bool) -> Path:
    """Map the points of a file by the flow, write them and print the direction; return the path."""
    from regstudio.data.points import read_landmarks
    from regstudio.data.problems import FileError
    from regstudio.transforms.apply import PRECISION, move_points, write_points
    from regstudio.transforms.result_files import refuse_input

    landmarks = read_landmarks(points, "moving" if inverse else "fixed")
    if inverse and landmarks.world is not None:
        raise FileError(
            points, "is in mm, and nothing says where the moving image lies", "Give pixels: columns y and x."
        )
    grid = None if saved.geometry is None else saved.geometry.affine
    landmarks = landmarks.on(grid)  # the flow's grid is that of the fixed image
    target = out / f"{points.stem}_moved.csv"
    refuse_input(target, [points])
    # Points in pixels are in those of the files, which may have been turned for the flow; points in mm are on its grid.
    before, after = (saved.image_turn, saved.on_turn) if inverse else (saved.on_turn, saved.image_turn)
    on, image = saved.field.size, saved.field.image_size
    from_size, to_size = (image, on) if inverse else (on, image)
    on_grid = landmarks.world is not None and grid is not None
    turned = landmarks.places if on_grid else before.points(landmarks.places, before.shape(from_size))
    places, residuals = move_points(saved.field, turned, inverse=inverse)
    places = after.points(places, after.shape(to_size), back=True)
    write_points(target, landmarks, places)
    direction = (
        "moving image to the fixed image, by inverting the flow" if inverse else "fixed image to the moving image"
    )
    click.echo(f"{len(places)} points went from the {direction}.")
    unsolved = [
        str(line) for line, residual in zip(landmarks.lines, residuals, strict=True) if not residual <= PRECISION
    ]
    if unsolved:
        what = f"the flow could not be inverted at line {', '.join(unsolved)} of {points}."
        click.echo(f"Warning: {printable(what)}", err=True)
    return target
