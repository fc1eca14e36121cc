"""`regstudio apply`: apply saved flows to further images, labels and points."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstudio.cli.options import given, output_size_option, setting_options
from regstudio.config import build_config
from regstudio.errors import printable

if TYPE_CHECKING:
    from regstudio.config import ReadingSection
    from regstudio.registering.applying import Kind
    from regstudio.transforms.result_files import OutputSize

FILE = click.Path(path_type=Path)


@click.command()
@click.option("--flow", type=FILE, required=True, help="NAME_flow.npy, an ITK displacement field, or a folder of them")
@click.option("--out", type=FILE, required=True, help="folder for the results")
@click.option("--image", type=FILE, help="image to warp, which lies pixel for pixel on the moving image; or a folder")
@click.option("--label", type=FILE, help="label of the moving image to warp, or a folder of labels")
@click.option("--points", type=FILE, help="CSV with columns y and x: points of the fixed image, in pixels; or a folder")
@click.option("--inverse", is_flag=True, help="the points are of the moving image, and go to the fixed one")
@output_size_option
@click.option("--overwrite", is_flag=True, help="of folders, do again what an earlier call has done")
@setting_options("reading")
def apply(
    flow: Path,
    out: Path,
    image: Path | None,
    label: Path | None,
    points: Path | None,
    inverse: bool,
    output_size: "OutputSize",
    overwrite: bool,
    **values: Any,
) -> None:
    """Apply saved flows to further images, labels and points.

    Images are interpolated linearly and keep their intensities; labels take the nearest pixel. Points of the fixed
    image go to the moving image by p + flow(p); --inverse takes points of the moving image to the fixed one, by solving
    that for p iteratively. (NAME_inverse_flow.npy, if there is one, takes them there without --inverse.)

    Of a folder that `register` wrote, each file takes the flow of its own name, or of the name that its own begins
    with: p01_t2.png takes p01_flow.npy. Folders resume where an earlier call stopped.
    """
    if image is None and label is None and points is None:
        raise click.UsageError("Give --image, --label or --points.")
    if inverse and points is None:
        raise click.UsageError("--inverse is for --points; images are warped with NAME_inverse_flow.npy instead.")
    reading = build_config(given(values)).reading
    sources: dict[Kind, Path | None] = {"image": image, "label": label, "points": points}
    if any(path is not None and path.is_dir() for path in (flow, *sources.values())):
        _apply_folders(flow, sources, out, reading, inverse=inverse, overwrite=overwrite, output_size=output_size)
    else:
        _apply_files(flow, sources, out, reading, inverse=inverse, output_size=output_size)


def _apply_files(
    flow: Path,
    sources: "dict[Kind, Path | None]",
    out: Path,
    reading: "ReadingSection",
    *,
    inverse: bool,
    output_size: "OutputSize",
) -> None:
    """Apply one flow to a file of each kind; a field in mm takes the geometry of the image for the points, too."""
    from regstudio.data.landmarks.files import read_landmarks
    from regstudio.data.pictures.formats import read_image, read_label
    from regstudio.registering.applying import apply_one
    from regstudio.transforms.apply import load_flow

    known = load_flow(flow) if flow.suffix.lower() == ".npy" else None
    for kind, source in sources.items():
        if source is None:
            continue
        saved = known
        if kind == "points" and known is None:
            where: dict[str, Any] = {"slice_axis": reading.slice_axis, "slice_index": reading.slice_index}
            image, label = sources["image"], sources["label"]
            picture = None if image is None else read_image(image, key=reading.image_key, colour=True, **where)
            if picture is None and label is not None:
                picture = read_label(label, key=reading.label_key, **where)
            saved = load_flow(flow, picture)
        how: dict[str, Any] = {"inverse": inverse, "output_size": output_size, "known": saved}
        written, unsolved = apply_one(kind, source, flow, out, reading, **how)
        if kind == "points":
            moved = len(read_landmarks(written).places)
            there, back = "fixed image to the moving image", "moving image to the fixed image, by inverting the flow"
            click.echo(f"{moved} points went from the {back if inverse else there}.")
            _warn(source, unsolved)
        click.echo(printable(f"Wrote {written}."))


def _apply_folders(
    flow: Path,
    sources: "dict[Kind, Path | None]",
    out: Path,
    reading: "ReadingSection",
    *,
    inverse: bool,
    overwrite: bool,
    output_size: "OutputSize",
) -> None:
    """Apply the flows of a folder, or one flow to all, with a progress bar; list what failed at the end."""
    from tqdm import tqdm

    from regstudio.registering.applying import apply_files, find_applications

    tasks = find_applications(flow, sources)
    failures, reused = [], 0
    results = apply_files(tasks, out, reading, inverse=inverse, overwrite=overwrite, output_size=output_size)
    for result in tqdm(results, total=len(tasks), desc="Applying", unit="file"):
        reused += result.reused
        failures += [result.error] if result.error else []
        _warn(result.task.source, result.unsolved)
    already = f", {reused} of them before" if reused else ""
    done = f"{len(tasks) - len(failures)} of {len(tasks)} files are done{already}"
    click.echo(f"{done}; the results are in {printable(str(out))}.")
    if failures:
        click.echo(printable("\n".join([f"{len(failures)} could not be done:", *failures])), err=True)
    raise SystemExit(1 if failures else 0)


def _warn(points: Path, unsolved: tuple[int, ...]) -> None:
    if unsolved:
        what = f"the flow could not be inverted at line {', '.join(map(str, unsolved))} of {points}."
        click.echo(f"Warning: {printable(what)}", err=True)
