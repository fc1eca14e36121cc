"""Register files: one moving image or a folder of them; save each result, and a table of the metrics."""

import csv
import errno
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from regstudio.data.folders.layout import Case, find_cases, with_partners
from regstudio.data.folders.listing import LABEL_SUFFIX, MASK_SUFFIX, FolderListing
from regstudio.data.folders.masks import mask_files
from regstudio.data.folders.partners import PairBy
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.formats import EXTENSIONS, stem
from regstudio.data.problems import FileError, Problem
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.errors import DiskFullError
from regstudio.files import write_text
from regstudio.methods.method import Method, axes_of
from regstudio.registering.journal import Journal, refuse_folder_of_inputs
from regstudio.registering.pipeline import FileResult, RegisteringJob, run_overlapped
from regstudio.transforms.result_files import OutputSize


def find_moving(
    moving: Path, labels: Path | None = None, points: Path | None = None
) -> tuple[tuple[Case, ...], tuple[Problem, ...]]:
    """Return the images to register, in natural order, and the problems of the folder.

    `moving` is a file or a folder. `labels` is a file (for one image) or a folder of NAME_seg files; labels in the
    folder of the images are found without it. `points` is a file of landmarks, for one image; those beside the images
    are found without it. Raises DataError if there is nothing to register.
    """
    if not moving.is_dir():
        return (Case(id=stem(moving), image=moving, label=_label_of(moving, labels), points=points),), ()
    if labels is not None and not labels.is_dir():
        raise FileError(labels, "is no folder, but the moving images are in one", "Name the folder of their labels.")
    listing = FolderListing()
    cases = find_cases(listing, moving, labels or moving, "*")
    for problem in listing.problems:
        if problem.severity == "error":
            raise FileError(problem.path, problem.what, problem.remedy)
    if not cases:
        raise FileError(moving, "holds no image to register", f"Supported are {', '.join(EXTENSIONS)}.")
    for case in cases:
        if labels is not None and case.label is None:
            listing.add(
                "note", case.image, f"has no label in {labels}", f"Name it {case.id}{LABEL_SUFFIX}, to see a Dice."
            )
    return cases, tuple(listing.problems)


def find_fixed(
    fixed: Path,
    labels: Path | None,
    cases: tuple[Case, ...],
    points: Path | None = None,
    pair_by: PairBy | None = None,
) -> tuple[Case, tuple[Case, ...], tuple[Problem, ...]]:
    """Return a fixed image, the cases, and the problems of the folder.

    `fixed` is a file, for all cases, or a folder: each case is then returned with the fixed image of its name or, by
    "prefix", of what its name begins with; where `pair_by` does not say, that is tried where no names are the same.
    `labels` is the file or the folder of their labels, as in `find_moving`. Raises DataError where no names meet.
    """
    if not fixed.is_dir():
        return Case(id=stem(fixed), image=fixed, label=_label_of(fixed, labels), points=points), cases, ()
    listing = FolderListing()
    partners = {case.id: case for case in find_cases(listing, fixed, labels or fixed, "*")}
    by_name = any(case.id in partners for case in cases)
    used: PairBy = pair_by or ("name" if by_name else "prefix")
    paired = with_partners(listing, cases, partners, used)
    if not paired:
        what = "holds no image of the same name as a moving one, or whose name one begins with"
        raise FileError(fixed, what, "Name the fixed image's file.")
    assert paired[0].fixed is not None
    return paired[0].fixed, paired, tuple(listing.problems)


def with_masks(cases: Sequence[Case], masks: Path | None) -> tuple[Case, ...]:
    """Return cases with their masks: `masks` is a file, for one image, or a folder of files NAME_mask or NAME.

    Raises FileError where one of several images has a file alone, or where a folder has a mask for none.
    """
    if masks is None:
        return tuple(cases)
    if not masks.is_dir():
        if len(cases) > 1:
            raise FileError(masks, "is no folder, but there are several images", "Name the folder of their masks.")
        return tuple(replace(case, mask=masks) for case in cases)
    by_name = mask_files(FolderListing(), masks)
    if not any(case.id in by_name for case in cases):
        raise FileError(masks, "holds no mask of these images", f"Name each like its image, with {MASK_SUFFIX} added.")
    return tuple(replace(case, mask=by_name.get(case.id)) for case in cases)


def register_files(
    method: Method,
    reader: PairReader,
    cases: Sequence[Case],
    out: Path,
    *,
    recipe: str | None = None,
    overwrite: bool = False,
    output_size: OutputSize = "fixed",
    as_folder: bool = False,
    proceed: Callable[[], object] = lambda: None,
    group: Group = SINGLE_PROCESS,
) -> Iterator[FileResult]:
    """Register each case to its fixed image, save its results to the folder `out`, and yield them in order.

    A table of the metrics is written last: metrics.csv, or NAME_metrics.csv for a single case. If one of several cases
    fails, its result has the error and the others continue; a single case raises. Raises DataError if the fixed image
    cannot be used, if `out` cannot be written to, or if `out` holds the inputs of several cases.

    `recipe` names everything the results depend on besides the files: the checkpoint's digest and the settings. With a
    recipe, several cases resume where an earlier call stopped: complete cases with the same recipe and files are
    yielded from the journal (see `journal`). `overwrite` registers all of them again. `output_size` is that of
    `save_registration`. `as_folder` treats a single case as one of several. `proceed` is called before each case, and
    may wait.

    The processes of a `group` share the cases; each yields all results, and only the first writes journal and table.
    """
    reader = reader.read_by(axes_of(method))
    assert reader.fixed_image is not None  # reading it raises its errors before anything is written
    several = as_folder or len(cases) > 1
    if several:
        read = (reader.fixed, *(case.fixed for case in cases if case.fixed), *cases)
        refuse_folder_of_inputs(out, [path for case in read for path in (case.image, case.label) if path is not None])
    results: dict[str, FileResult] = {}
    with _output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        journal = Journal(out, fresh=overwrite, writes=group.is_first) if recipe is not None and several else None
        job = RegisteringJob(
            method=method,
            reader=reader,
            out=out,
            is_single=not several,
            journal=journal,
            recipe=f"{recipe}\n{reader.image_loader}\n{reader.label_loader.reading}\n{reader.rule}\n{output_size}",
            output_size=output_size,
            results=results,
            proceed=proceed,
        )
        try:
            with closing(group.gather_in_order(run_overlapped(job, cases[group.shard]))) as all_results:
                for result in all_results:
                    if result.case.id not in results:  # registered by another process
                        job.record(result)
                    yield result
        finally:  # write the metrics of an interrupted job, too
            if results and group.is_first:
                finished = [results[case.id] for case in cases if case.id in results]
                write_text(out / ("metrics.csv" if several else f"{cases[0].id}_metrics.csv"), _to_csv(finished))


def _label_of(image: Path, labels: Path | None) -> Path | None:
    if labels is None or not labels.is_dir():
        return labels
    matches = [path for path in FolderListing().pictures(labels) or [] if stem(path) == stem(image) + LABEL_SUFFIX]
    if len(matches) != 1:
        what = f"holds {len(matches) or 'no'} labels named {stem(image)}{LABEL_SUFFIX}"
        raise FileError(labels, what, f"Name the label of {image.name} itself.")
    return matches[0]


@contextmanager
def _output_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:  # errors of reading are DataErrors already
        if error.errno == errno.ENAMETOOLONG:
            path = Path(error.filename2 or error.filename or out)
            raise FileError(path, "is a longer name than this disk can hold", "Give the image a shorter one.") from None
        raise FileError(out, f"cannot be written to ({error.strerror or error})", "Choose another --out.") from error


def _to_csv(results: list[FileResult]) -> str:
    metrics = dict.fromkeys(name for result in results for name in result.metrics)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["id", "moving", *metrics, "seconds", "error"], lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = {"id": result.case.id, "moving": result.case.image, "seconds": result.seconds, "error": result.error}
        writer.writerow({**row, **result.metrics})
    return table.getvalue()
