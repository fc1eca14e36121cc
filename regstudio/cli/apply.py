"""`regstudio register` and `regstudio evaluate`: a trained checkpoint at work."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstudio.cli.options import given, knob_options
from regstudio.config import build_config, read_config

if TYPE_CHECKING:
    from regstudio.data.layout import Case
    from regstudio.inference.registrar import Registrar
    from regstudio.viewer.overlay import Comparison

FILE = click.Path(path_type=Path)
SHOWN_CASES = 3


@click.command()
@click.option("--checkpoint", type=FILE, required=True, help="a .pt file, such as RUN/checkpoints/best_model.pt")
@click.option("--fixed", type=FILE, required=True, help="image to register to")
@click.option("--moving", type=FILE, required=True, help="image to warp, or a folder of them")
@click.option("--out", type=FILE, required=True, help="folder for the results")
@click.option("--fixed_seg", type=FILE, help="label of the fixed image")
@click.option("--moving_seg", type=FILE, help="label of the moving image, or a folder of NAME_seg files")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N")
@knob_options("reading")
def register(
    checkpoint: Path,
    fixed: Path,
    moving: Path,
    out: Path,
    fixed_seg: Path | None,
    moving_seg: Path | None,
    device: str,
    **values: Any,
) -> None:
    """Warp images onto a fixed image with a trained network.

    Writes the warped image, the flow and the warped label of each, in the image's own format, and a table of metrics.
    """
    from tqdm import tqdm

    from regstudio.data.formats import stem
    from regstudio.data.layout import Case
    from regstudio.inference.batch import find_moving, register_files
    from regstudio.inference.registrar import Registrar
    from regstudio.training.setup import loaders

    registrar = Registrar(checkpoint, device)
    cases, problems = find_moving(moving, moving_seg)
    for problem in problems:
        click.echo(f"{problem.severity.capitalize()}: {problem}", err=True)
    target = Case(id=stem(fixed), image=fixed, label=fixed_seg)
    images, labels = loaders(build_config(given(values)).reading, target)
    results = register_files(registrar, target, cases, out, image_loader=images, label_loader=labels)
    failed = 0
    for result in tqdm(results, total=len(cases), desc="Registering", unit="image"):
        line = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
        tqdm.write(f"{result.case.id}: {result.error or line}")
        failed += result.error is not None
    click.echo(f"{len(cases) - failed} of {len(cases)} images registered; the results are in {out}.")
    raise SystemExit(1 if failed else 0)


@click.command()
@click.option("--checkpoint", type=FILE, required=True, help="a .pt file, such as RUN/checkpoints/best_model.pt")
@click.option("--json", "json_path", type=FILE, help="write the figures of every case to this file")
@click.option("--figure", type=FILE, help=f"write a picture of {SHOWN_CASES} cases before and after to this file")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N")
@knob_options("layout", "reading")
def evaluate(checkpoint: Path, json_path: Path | None, figure: Path | None, device: str, **values: Any) -> None:
    """Measure a checkpoint on the validation images of a data folder: Dice before and after, folds, NCC, time.

    How files are named and read is taken from the checkpoint, unless a flag says otherwise.
    """
    from tqdm import tqdm

    from regstudio.errors import DataError
    from regstudio.files import atomic_path, write_text
    from regstudio.inference.evaluate import evaluate as measure
    from regstudio.inference.evaluate import summarise, to_text
    from regstudio.inference.registrar import Registrar
    from regstudio.networks.checkpoint import load_checkpoint
    from regstudio.training.setup import check_data, loaders

    loaded = load_checkpoint(checkpoint)
    config = build_config(given(values), read_config(loaded.config) if loaded.config else None)
    registrar = Registrar(loaded, device)
    index = check_data(config, most=0).index
    problems = [problem for problem in index.problems if problem.severity != "note"]
    for problem in problems:
        click.echo(f"{problem.severity.capitalize()}: {problem}", err=True)
    if index.atlas is None or not index.validation:
        raise DataError(f"{index.root}: there is no atlas with validation images to evaluate on.")
    images, labels = loaders(config.reading, index.atlas)
    results = measure(registrar, index.validation, index.atlas, images, labels)
    summary = summarise(tqdm(results, total=len(index.validation), desc="Evaluating", unit="image", leave=False))
    click.echo(to_text(summary))
    if json_path:
        write_text(json_path, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    if figure:
        from regstudio.viewer.overlay import before_after

        shown = _spread_out(summary["cases"])
        cases = [case for case in index.validation if case.id in shown]
        comparisons = [_compare(registrar, case, index.atlas, images, labels) for case in cases]
        with atomic_path(figure) as temporary:
            before_after(comparisons).savefig(temporary)


def _spread_out(cases: list[dict[str, Any]]) -> set[str]:
    """Return the ids of the cases with the lowest, the middle and the highest Dice before registration."""
    ranked = sorted(cases, key=lambda case: case["dice_before"] or 0.0)
    places = {round(place * (len(ranked) - 1) / (SHOWN_CASES - 1)) for place in range(SHOWN_CASES)}
    return {ranked[place]["id"] for place in places}


def _compare(registrar: "Registrar", case: "Case", atlas: "Case", images: Any, labels: Any) -> "Comparison":
    """Register one case and return what a picture of it needs."""
    from regstudio.data.dataset import load_validation_pair
    from regstudio.viewer.overlay import Comparison

    pair = load_validation_pair(case, atlas, images, labels)
    fixed, moving = pair["fixed_image"][0].numpy(), pair["moving_image"][0].numpy()
    labelled = "fixed_label" in pair and "moving_label" in pair
    fixed_label = pair["fixed_label"][0].numpy() if labelled else None
    moving_label = pair["moving_label"][0].numpy() if labelled else None
    registration = registrar.register(fixed, moving, fixed_label=fixed_label, moving_label=moving_label)
    return Comparison(
        name=case.id,
        fixed=fixed,
        moving=moving,
        warped=registration.warped,
        flow=registration.flow,
        fixed_label=fixed_label,
        moving_label=moving_label,
        warped_label=registration.warped_label,
        dice_before=registration.metrics.get("dice_before"),
        dice=registration.metrics.get("dice"),
    )
