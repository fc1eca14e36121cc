"""`regstudio check` and `regstudio make-demo`: check a data folder, write a demo data set."""

import json
from pathlib import Path
from typing import Any

import click

from regstudio.cli.options import given, setting_options
from regstudio.config import build_config


@click.command()
@setting_options("layout", "reading")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
def check(as_json: bool, **values: Any) -> None:
    """Look at a data folder: what is there, what is wrong, and what to do about it.

    Exits with 0 only when it can be trained on.
    """
    from tqdm import tqdm

    from regstudio.training.setup import check_data

    report = check_data(
        build_config(given(values)), progress=lambda jobs: tqdm(jobs, desc="Checking", unit="file", leave=False)
    )
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.to_text(), nl=as_json)
    raise SystemExit(0 if report.can_train else 1)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="its folder")
@click.option("--seed", type=int, default=0, show_default=True, help="same seed, same files")
@click.option("--size", type=int, default=128, show_default=True, help="height and width in pixels")
@click.option("--train", type=int, default=24, show_default=True, help="number of training images")
@click.option("--validation", type=int, default=6, show_default=True, help="number of validation images")
@click.option("--overwrite", is_flag=True, help="replace files of the same names")
def make_demo(out: Path, seed: int, size: int, train: int, validation: int, overwrite: bool) -> None:
    """Write a demo data set: brain-like phantoms with labels, in the documented folder layout."""
    from regstudio.data.phantom import make_demo as write

    write(out, seed=seed, size=size, train=train, validation=validation, overwrite=overwrite)
    click.echo(f"Wrote {train} training and {validation} validation images to {out}.")
    click.echo(f"Train on them: regstudio train --data_base_dir {out} --epochs 10 --lr 1e-3")
