"""`regstudio import`: a data folder in the documented layout from files as they come."""

from pathlib import Path
from typing import Any

import click

from regstudio.data.importing.options import ROLES, ImportOptions
from regstudio.errors import printable

_DEFAULTS = ImportOptions()
_HEADERS = ("role", "name", "subject", "from", "label")


@click.command(name="import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="new folder for the data")
@click.option(
    "--slices",
    default=_DEFAULTS.slices,
    show_default=True,
    metavar="middle|every:N|all|largest-label",
    help="which slices of volumes to take; largest-label: the one with most labelled pixels",
)
@click.option(
    "--axis",
    default=_DEFAULTS.axis,
    show_default=True,
    metavar="auto|axial|coronal|sagittal|0|1|2",
    help="axis across the slices, by name or as --slice_axis counts; auto: that of the widest spacing",
)
@click.option("--atlas", default=_DEFAULTS.atlas, help="name of the picture, or the file, to be the atlas")
@click.option(
    "--validation_share",
    type=click.FloatRange(0, 0.9),
    default=_DEFAULTS.validation_share,
    show_default=True,
    help="share of the subjects to validate on",
)
@click.option("--split_seed", type=int, default=_DEFAULTS.split_seed, show_default=True, help="seed of that choice")
@click.option("--link", is_flag=True, help="link to files that can be used as they are, instead of copying them")
@click.option("--image_key", default=_DEFAULTS.image_key, show_default=True, help="key of the image in .npz files")
@click.option("--label_key", default=_DEFAULTS.label_key, show_default=True, help="key of the label in .npz files")
@click.option(
    "--role",
    "changes",
    multiple=True,
    metavar="NAME=ROLE",
    callback=lambda context, option, given: tuple(map(_role, given)),
    help="a picture is for train, validation or out; a file, by its path in SOURCE, and all named alike are label or "
    "image (repeatable)",
)
@click.option("--dry-run", "dry_run", is_flag=True, help="print what would be done, and write nothing")
def import_command(source: Path, out: Path, dry_run: bool, **values: Any) -> None:
    """Make a data folder of SOURCE: a folder of any shape, a volume, or a zip. Nothing in it is changed.

    Finds images and labels, cuts slices out of volumes, proposes the atlas, and sets subjects apart to validate on.
    """
    from tqdm import tqdm

    from regstudio.data.importing.execute import refuse_taken, write_plan
    from regstudio.registering.importing import planned

    def progress(jobs: Any) -> Any:
        return tqdm(jobs, desc="Importing", unit="file", leave=False)

    refuse_taken(out, source)
    with planned(source, ImportOptions(**values), out.parent, progress=progress) as plan:
        problems = plan.problems
        if dry_run:
            click.echo(printable(_table([list(_HEADERS), *plan.rows()]), lines=True))
        else:
            problems = write_plan(plan, out, progress).problems
        for problem in problems:
            click.echo(f"{problem.severity.capitalize()}: {problem}", err=True)
        click.echo(printable(f"{plan.summary()}."))
    if dry_run:
        click.echo("Nothing was written.")
    else:
        click.echo(printable(f"They are in {out}. Look at them: regstudio check --data_base_dir {out}"))


def _role(text: str) -> tuple[str, str]:
    """Return the name and the role in NAME=ROLE; raises click.BadParameter for anything else."""
    name, _, role = text.rpartition("=")
    if not name or role not in ROLES:
        raise click.BadParameter(f"{text!r} is not NAME=ROLE with a role of {', '.join(ROLES)}.")
    return name, role


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
