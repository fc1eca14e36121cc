"""`regstudio register`: register images, without any training or with a trained network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from regstudio.cli.options import (
    AffineChoice,
    RefineChoice,
    affine_option,
    distributed,
    given,
    output_size_option,
    precision_option,
    refine_option,
    refuse_both,
    refuse_of_networks,
    setting_options,
    similarity_option,
)
from regstudio.config import LayoutSection, build_config
from regstudio.errors import printable
from regstudio.methods import NAMES

if TYPE_CHECKING:
    from regstudio.data.folders.layout import Case
    from regstudio.data.problems import Problem
    from regstudio.distributed import Group
    from regstudio.methods import SimilarityChoice
    from regstudio.networks.base import Precision
    from regstudio.transforms.result_files import OutputSize

FILE = click.Path(path_type=Path)
MAX_LISTED = 5  # results to look at, by name
OF_PAIRS = {"pair_by"}  # the settings of a data folder that say something of two folders, too


class Files(NamedTuple):
    """The files and folders that flags name."""

    fixed: Path | None
    moving: Path | None
    fixed_seg: Path | None
    moving_seg: Path | None
    fixed_points: Path | None
    moving_points: Path | None
    fixed_mask: Path | None
    moving_mask: Path | None


@click.command()
@click.option(
    "--checkpoint", type=FILE, help="a network of one's own: a .pt file, such as RUN/checkpoints/best_model.pt"
)
@click.option(
    "--method",
    type=click.Choice(NAMES),
    help="without a checkpoint, register by this method  [default: general]",
)
@similarity_option
@click.option("--fixed", type=FILE, help="image to register to, or a folder with one for each moving image")
@click.option("--moving", type=FILE, help="image to warp, or a folder of them")
@click.option("--out", type=FILE, required=True, help="folder for the results")
@click.option("--fixed_seg", type=FILE, help="label of the fixed image, or a folder of NAME_seg files")
@click.option("--moving_seg", type=FILE, help="label of the moving image, or a folder of NAME_seg files")
@click.option("--fixed_points", type=FILE, help="landmarks of the fixed image, where it is one file")
@click.option("--moving_points", type=FILE, help="landmarks of the moving image, where it is one file")
@click.option("--fixed_mask", type=FILE, help="where the fixed image counts (not 0), where it is one file")
@click.option("--moving_mask", type=FILE, help="where the moving image counts, or a folder of NAME_mask files")
@output_size_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N")
@precision_option
@affine_option
@refine_option
@click.option("--overwrite", is_flag=True, help="do again what an earlier call has done")
@setting_options("layout", "reading")
@distributed
def register(
    group: "Group",
    checkpoint: Path | None,
    method: str | None,
    similarity: "SimilarityChoice",
    fixed: Path | None,
    moving: Path | None,
    out: Path,
    fixed_seg: Path | None,
    moving_seg: Path | None,
    fixed_points: Path | None,
    moving_points: Path | None,
    fixed_mask: Path | None,
    moving_mask: Path | None,
    output_size: "OutputSize",
    device: str,
    precision: "Precision",
    affine: AffineChoice,
    refine: RefineChoice,
    overwrite: bool,
    **values: Any,
) -> None:
    """Warp images onto a fixed image: without any training, or with a trained network.

    Name them by --fixed and --moving; or by --data_base_dir, every image of a data folder: each onto its fixed image,
    where folders of pairs or a pairs.csv give it one, else onto the atlas.

    Images may differ in size. Writes for each the warped image and label, in its own format and colours and at the
    fixed image's full size, the flow in pixels and as an ITK displacement field, and a table of metrics. A folder
    resumes where an earlier call stopped, if checkpoint, settings and files are the same.
    """
    from tqdm import tqdm

    from regstudio.registering.batch import register_files
    from regstudio.registering.chosen_method import chosen_checkpoint, chosen_name
    from regstudio.training.setup import pair_reader
    from regstudio.transforms.doubtful import doubtful

    refuse_both(checkpoint, method)
    target_device = group.device(device)
    if checkpoint is None:
        method = method or "general"
        wide = affine == "wide" and method.startswith("general")
        refuse_of_networks(affine=None if wide else affine, refine=refine, precision=precision)
        chosen = chosen_name(method, target_device, similarity=similarity, wide=wide)
    else:
        chosen = chosen_checkpoint(
            checkpoint,
            target_device,
            affine=affine,
            normalise=values["normalise"],
            precision=precision,
            refine=refine,
        )
    config = build_config({**chosen.reading, **given(values)})
    reading, in_folder = config.reading, given({name: values[name] for name in LayoutSection.model_fields})
    files = Files(fixed, moving, fixed_seg, moving_seg, fixed_points, moving_points, fixed_mask, moving_mask)
    target, cases, problems = group.broadcast_from_first(lambda: _inputs(files, config.layout, set(in_folder)))
    for problem in problems:
        click.echo(f"{problem.severity.capitalize()}: {problem}", err=True)
    reader = pair_reader(reading, target, with_points=True)
    recipe = chosen.recipe + "\nmask_outside" * reader.mask_outside
    results = register_files(
        chosen.method,
        reader,
        cases,
        out,
        recipe=f"{recipe}\n{reading.normalise=}",
        overwrite=overwrite,
        output_size=output_size,
        group=group,
    )
    failures, reused, finished = [], 0, []
    for result in tqdm(results, total=len(cases), desc="Registering", unit="image"):
        reused += result.reused
        finished.append(result)
        if result.reused:
            continue
        line = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
        tqdm.write(printable(f"{result.case.id}: {result.error or line}"))
        if result.error:
            failures.append(result.error)
    already = f", {reused} of them before" if reused else ""
    done = f"{len(cases) - len(failures)} of {len(cases)} images registered{already}"
    click.echo(f"{done}; the results are in {printable(str(out))}.")
    qualities = {result.case.id: result.metrics["quality"] for result in finished if "quality" in result.metrics}
    if first := doubtful(qualities, chosen.threshold if target.label is not None else None):
        listed = ", ".join(f"{name} ({qualities[name]:.2f})" for name in first[:MAX_LISTED])
        more = f" and {len(first) - MAX_LISTED} more" if len(first) > MAX_LISTED else ""
        click.echo(printable(f"Look at these first, the lowest quality (0 to 1): {listed}{more}"))
    if failures:
        click.echo("\n".join([f"{len(failures)} could not be registered:", *failures]), err=True)
    raise SystemExit(1 if failures else 0)


def _inputs(
    files: Files, layout: LayoutSection, named: set[str]
) -> "tuple[Case, tuple[Case, ...], tuple[Problem, ...]]":
    """Return a fixed image, the cases to register, and problems; `named` are the layout's settings that flags give.

    Raises a usage error where files and a data folder are named, or neither.
    """
    from regstudio.data.folders.layout import Layout
    from regstudio.registering.batch import find_fixed, find_moving, with_masks
    from regstudio.registering.data_folder import cases_to_register

    fixed, moving = files.fixed, files.moving
    if not any(files) and named & {"data_base_dir", "pairs_file"}:
        return cases_to_register(Layout(**layout.model_dump()))
    if named - OF_PAIRS:
        flags = ", ".join(f"--{name}" for name in sorted(named - OF_PAIRS))
        raise click.UsageError(f"{flags}: name a data folder with --data_base_dir, and then no files beside it.")
    if fixed is None or moving is None:
        raise click.UsageError("Name images with --fixed and --moving, or a data folder with --data_base_dir.")
    cases, problems = find_moving(moving, files.moving_seg, files.moving_points)
    pair_by = None if layout.pair_by == "csv" else layout.pair_by
    target, cases, more = find_fixed(fixed, files.fixed_seg, cases, files.fixed_points, pair_by)
    if files.fixed_mask is not None and fixed.is_dir():
        raise click.UsageError("--fixed_mask is for one fixed image: name its file with --fixed.")
    (target,) = with_masks([target], files.fixed_mask)
    return target, with_masks(cases, files.moving_mask), (*problems, *more)
