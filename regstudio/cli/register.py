"""`regstudio register`: register images, without any training or with a trained network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from regstudio.config import build_config
from regstudio.errors import printable
from regstudio.methods import NAMES

if TYPE_CHECKING:
    from regstudio.distributed import Group
    from regstudio.methods import SimilarityChoice
    from regstudio.networks.base import Precision
    from regstudio.transforms.result_files import OutputSize

FILE = click.Path(path_type=Path)


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
@click.option(
    "--fixed",
    type=FILE,
    required=True,
    help="image to register to, or a folder with one for each moving image",
)
@click.option("--moving", type=FILE, required=True, help="image to warp, or a folder of them")
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
@setting_options("reading")
@distributed
def register(
    group: "Group",
    checkpoint: Path | None,
    method: str | None,
    similarity: "SimilarityChoice",
    fixed: Path,
    moving: Path,
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

    Images may differ in size. Writes for each the warped image and label, in its own format and colours and at the
    fixed image's full size, the flow in pixels and as an ITK displacement field, and a table of metrics. A folder
    resumes where an earlier call stopped, if checkpoint, settings and files are the same.
    """
    from tqdm import tqdm

    from regstudio.registering.batch import doubtful, find_fixed, find_moving, register_files, with_masks
    from regstudio.registering.chosen_method import chosen_checkpoint, chosen_name
    from regstudio.training.setup import pair_reader

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
    reading = build_config({**chosen.reading, **given(values)}).reading
    cases, problems = group.broadcast_from_first(lambda: find_moving(moving, moving_seg, moving_points))
    target, cases, more = group.broadcast_from_first(lambda: find_fixed(fixed, fixed_seg, cases, fixed_points))
    if fixed_mask is not None and fixed.is_dir():
        raise click.UsageError("--fixed_mask is for one fixed image: name its file with --fixed.")
    cases, (target,) = with_masks(cases, moving_mask), with_masks([target], fixed_mask)
    for problem in (*problems, *more):
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
    if first := doubtful(finished):
        listed = ", ".join(f"{result.case.id} ({result.metrics['quality']:.2f})" for result in first)
        click.echo(printable(f"Look at these first, the lowest quality (0 to 1): {listed}"))
    if failures:
        click.echo("\n".join([f"{len(failures)} could not be registered:", *failures]), err=True)
    raise SystemExit(1 if failures else 0)
