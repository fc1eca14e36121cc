"""Registering files: one moving image or a folder of them, each saved as it is done, and a table of the metrics."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.formats import EXTENSIONS, SMALLEST_SIDE, Picture, read_image, read_label, stem
from regstudio.data.layout import Case, find_cases
from regstudio.data.listing import LABEL_SUFFIX, Listing
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.problems import FileError, Problem
from regstudio.errors import DataError
from regstudio.files import write_text
from regstudio.inference.export import save_registration
from regstudio.inference.registrar import Registrar

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """One moving image: the files written for it and its metrics (see Registration), or the error met instead."""

    case: Case
    written: tuple[Path, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None


def find_moving(moving: Path, labels: Path | None = None) -> tuple[tuple[Case, ...], tuple[Problem, ...]]:
    """Return the images to register, in natural order, and what was left out or is odd about the folder.

    `moving` is a file or a folder; `labels` is a file (for one image) or a folder of NAME_seg files; labels among the
    images of a folder need not be named. Raises DataError where there is nothing to register.
    """
    if not moving.is_dir():
        return (Case(id=stem(moving), image=moving, label=_label_of(moving, labels)),), ()
    if labels is not None and not labels.is_dir():
        raise FileError(labels, "is no folder, but the moving images are in one", "Name the folder of their labels.")
    names = Listing()
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
    registrar: Registrar,
    fixed: Case,
    cases: Sequence[Case],
    out: Path,
    *,
    image_loader: ImageLoader | None = None,
    label_loader: LabelLoader | None = None,
) -> Iterator[FileResult]:
    """Register each case to `fixed`, save the results in `out`, and yield after each; a table of the metrics is last.

    The loaders say how files are read; with the fixed image's size as their `size`, images of other sizes will do. With
    several cases, one that cannot be used is yielded with its error, and the rest go on; a single one raises. So does
    the fixed image, and so does a folder `out` that cannot be written to or holds the inputs of several cases
    (DataError). The table is metrics.csv, or NAME_metrics.csv for a single case.
    """
    reader = _Reader(image_loader=image_loader or ImageLoader(), label_loader=label_loader or LabelLoader())
    job = _Job(registrar=registrar, fixed=reader.read(fixed), reader=reader, out=out)
    if len(cases) > 1:
        _refuse_folder_of_inputs(out, (fixed, *cases))
    results = []
    with _output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            for case in cases:
                results.append(job.run(case) if len(cases) == 1 else job.attempt(case))
                yield results[-1]
        finally:  # a long job that is interrupted keeps the metrics of what it did
            if results:
                write_text(out / ("metrics.csv" if len(cases) > 1 else f"{cases[0].id}_metrics.csv"), _to_csv(results))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Files:
    """A case as its files hold it, and as the network sees it."""

    picture: Picture
    label_picture: Picture | None
    image: Array
    label: Array | None


@dataclass(frozen=True, kw_only=True)
class _Reader:
    image_loader: ImageLoader
    label_loader: LabelLoader

    def read(self, case: Case) -> _Files:
        """Read a case; raises DataError where image or label cannot be used."""
        images, labels = self.image_loader, replace(self.label_loader, dtype=np.int64)
        picture = read_image(case.image, **_options(images))
        label_picture = None if case.label is None else read_label(case.label, **_options(labels))
        size = picture.array.shape
        if min(size) < SMALLEST_SIDE:
            what = f"is {_by(size)} pixels, and less than {SMALLEST_SIDE} is too few"
            raise FileError(case.image, what, "Save it in a higher resolution.")
        if label_picture is not None and label_picture.array.shape != size:
            what = f"is {_by(label_picture.array.shape)} pixels, unlike its image with {_by(size)}"
            raise FileError(label_picture.path, what, "Export it again from the image.")
        label = None if case.label is None else labels(case.label)[0]
        return _Files(picture=picture, label_picture=label_picture, image=images(case.image)[0], label=label)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What is the same for every case."""

    registrar: Registrar
    fixed: _Files
    reader: _Reader
    out: Path

    def attempt(self, case: Case) -> FileResult:
        """Run the case, or return the DataError met instead."""
        try:
            return self.run(case)
        except DataError as error:
            return FileResult(case=case, error=str(error))

    def run(self, case: Case) -> FileResult:
        """Register the case and save what comes of it."""
        fixed, wanted = self.fixed, self.fixed.image.shape
        moving = self.reader.read(case)
        if moving.image.shape != wanted:
            what = f"is {_by(moving.image.shape)} pixels, but {fixed.picture.path.name} is {_by(wanted)}"
            raise FileError(case.image, what, "Resize it, or let --resize_to_atlas do so.")
        registration = self.registrar.register(
            fixed.image, moving.image, fixed_label=fixed.label, moving_label=moving.label
        )
        written = save_registration(
            registration,
            self.out,
            case.id,
            fixed=fixed.picture,
            moving=moving.picture,
            label=moving.label_picture,
            image_key=self.reader.image_loader.key,
            label_key=self.reader.label_loader.key,
        )
        return FileResult(case=case, written=written, metrics=registration.metrics, seconds=registration.seconds)


def _label_of(image: Path, labels: Path | None) -> Path | None:
    if labels is None or not labels.is_dir():
        return labels
    found = [path for path in Listing().pictures(labels) or [] if stem(path) == stem(image) + LABEL_SUFFIX]
    if len(found) != 1:
        what = f"holds {len(found) or 'no'} labels named {stem(image)}{LABEL_SUFFIX}"
        raise FileError(labels, what, f"Name the label of {image.name} itself.")
    return found[0]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _options(loader: ImageLoader | LabelLoader) -> dict[str, Any]:
    return {"key": loader.key, "slice_axis": loader.slice_axis, "slice_index": loader.slice_index}


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
