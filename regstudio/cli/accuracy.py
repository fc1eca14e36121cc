"""The accuracy part of `regstudio bench`: all methods on all data folders, one line each as it is done."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstudio.errors import printable
from regstudio.files import atomic_path, write_text

if TYPE_CHECKING:
    from regstudio.bench.accuracy import Accuracy


def measure_accuracy(
    folders: tuple[Path, ...],
    *,
    names: tuple[str, ...],
    cases: int | None,
    device: str,
    markdown: Path | None,
    figure: Path | None,
) -> dict[str, Any]:
    """Measure the methods of these names, or all, on the data folders; print each line as it is done, write the files.

    Returns all of it, JSON-ready. Exits with 1 if nothing could be measured.
    """
    from regstudio.bench import accuracy_tables as tables
    from regstudio.bench.accuracy import LeftOut, chosen, compare_accuracy

    contenders = chosen(names)
    click.echo(tables.text_line(tables.HEADS))
    rows: list[Accuracy] = []
    left_out: list[LeftOut] = []
    for found in compare_accuracy(folders, contenders, cases=cases, device=device, watch=_watch):
        if isinstance(found, LeftOut):
            left_out.append(found)
            click.echo(printable(str(found)), err=True)
        else:
            rows.append(found)
            click.echo(printable(tables.text_line(tables.cells(found))))
    if not rows:
        raise SystemExit(1)
    if markdown:
        write_text(markdown, tables.to_markdown(rows, left_out))
    if figure:
        from regstudio.drawing.dot_plot import dot_plot

        with atomic_path(figure) as temporary:
            dot_plot(tables.panels(rows)).savefig(temporary)
    return tables.to_json(rows, left_out)


def _watch(items: Iterable[Any], total: int | None, what: str) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, unit="image" if total else "event", leave=False)
