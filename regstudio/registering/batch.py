"""Registering files: one moving image or a folder of them, each saved as it is done, and a table of the metrics."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from regstudio.data.formats import EXTENSIONS, stem
from regstudio.data.layout import Case, find_cases
from regstudio.data.listing import LABEL_SUFFIX, FolderListing
from regstudio.data.pairs import PairReader
from regstudio.data.problems import FileError, Problem
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.files import write_text
from regstudio.methods.method import Method
from regstudio.registering.journal import Journal
from regstudio.registering.pipeline import FileResult, RegisteringJob, overlapped


def find_moving(moving: Path, labels: Path | None = None) -> tuple[tuple[Case, ...], tuple[Problem, ...]]:
    """Return the images to register, in natural order, and what was left out or is odd about the folder.

    `moving` is a file or a folder; `labels` is a file (for one image) or a folder of NAME_seg files; labels among the
    images of a folder need not be named. Raises DataError where there is nothing to register.
    """
    if not moving.is_dir():
        return (Case(id=stem(moving), image=moving, label=_label_of(moving, labels)),), ()
    if labels is not None and not labels.is_dir():
        raise FileError(labels, "is no folder, but the moving images are in one", "Name the folder of their labels.")
    names = FolderListing()
    cases = find_cases(names, moving, labels or moving, "*")
    for problem in names.problems:
        if problem.severity == "error":
            raise FileError(problem.path, problem.what, problem.remedy)
    if not cases:
        raise FileError(moving, "holds no image to register", f"Supported are {', '.join(EXTENSIONS)}.")
    for case in cases:
        if labels is not None and case.label is None:
            names.add(
                "note", case.image, f"has no label in {labels}", f"Name it {case.id}{LABEL_SUFFIX}, to see a Dice."
            )
    return cases, tuple(names.problems)


def register_files(
    method: Method,
    reader: PairReader,
    cases: Sequence[Case],
    out: Path,
    *,
    recipe: str | None = None,
    overwrite: bool = False,
    group: Group = SINGLE_PROCESS,
) -> Iterator[FileResult]:
    """Register each case to the reader's fixed image, save the results in `out`, and yield after each.

    A table of the metrics is written last: metrics.csv, or NAME_metrics.csv for a single case. With several cases, one
    that cannot be used is yielded with its error, and the rest go on; a single one raises. A fixed image that cannot be
    used raises, too, and so does a folder `out` that cannot be written to or that holds the inputs of several cases
    (DataError).

    `recipe` names all that the results depend on beside the files: the checkpoint's digest, and settings. With it,
    several cases resume where an earlier call stopped: those that are complete (see `journal`), from the same recipe
    and files, are yielded as they are. `overwrite` does all of them again.

    The processes of a `group` share the cases out; all yield all results, and the first alone writes journal and table.
    """
    assert reader.fixed_image is not None  # what is wrong with it is raised before anything is written
    if len(cases) > 1:
        _refuse_folder_of_inputs(out, (reader.fixed, *cases))
    done: dict[str, FileResult] = {}
    with _output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        journal = (
            Journal(out, fresh=overwrite, writes=group.is_first) if recipe is not None and len(cases) > 1 else None
        )
        job = RegisteringJob(
            method=method,
            reader=reader,
            out=out,
            alone=len(cases) == 1,
            journal=journal,
            recipe=f"{recipe}\n{reader.image_loader.reading}\n{reader.label_loader.reading}",
            done=done,
        )
        try:
            with closing(group.gather_in_order(overlapped(job, cases[group.shard]))) as merged:
                for result in merged:
                    if result.case.id not in done:  # another process has done it
                        job.record(result)
                    yield result
        finally:  # a long job that is interrupted keeps the metrics of what it did
            if done and group.is_first:
                results = [done[case.id] for case in cases if case.id in done]
                write_text(out / ("metrics.csv" if len(cases) > 1 else f"{cases[0].id}_metrics.csv"), _to_csv(results))


def _label_of(image: Path, labels: Path | None) -> Path | None:
    if labels is None or not labels.is_dir():
        return labels
    found = [path for path in FolderListing().pictures(labels) or [] if stem(path) == stem(image) + LABEL_SUFFIX]
    if len(found) != 1:
        what = f"holds {len(found) or 'no'} labels named {stem(image)}{LABEL_SUFFIX}"
        raise FileError(labels, what, f"Name the label of {image.name} itself.")
    return found[0]


def _refuse_folder_of_inputs(out: Path, cases: Sequence[Case]) -> None:
    inputs = {path.parent for case in cases for path in (case.image, case.label) if path is not None}
    if out.resolve() in {folder.resolve() for folder in inputs}:
        raise FileError(out, "holds files to read, among which the results would be lost", "Choose another --out.")


@contextmanager
def _output_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # what cannot be read has become a DataError before
        raise FileError(out, f"cannot be written to ({error.strerror or error})", "Choose another --out.") from error


def _to_csv(results: list[FileResult]) -> str:
    metrics = dict.fromkeys(name for result in results for name in result.metrics)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["id", "moving", *metrics, "seconds", "error"], lineterminator="\n")
    writer.writeheader()
    for result in results:
        own = {"id": result.case.id, "moving": result.case.image, "seconds": result.seconds, "error": result.error}
        writer.writerow({**own, **result.metrics})
    return table.getvalue()
