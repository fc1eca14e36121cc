"""The three steps of each moving file: read it, register it, write what came of it.

While some cases go through the network, others are read and written. On the CPU, several small images go through the
network at once, each on its share of the cores.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.formats import MIN_SIDE, Picture, read_image, read_label
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.problems import FileError
from regstudio.errors import DataError
from regstudio.methods.network import Registrar
from regstudio.networks.device import images_at_once
from regstudio.registering.journal import Journal, digest_of
from regstudio.threads import divide_cpu_threads, map_in_order
from regstudio.transforms.registration import Registration
from regstudio.transforms.result_files import save_registration

Array = npt.NDArray[Any]

IO_WORKERS = 2  # cases that are read or written beside those in the network


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """One moving image: the files written for it and its metrics (see Registration), or the error met instead.

    `kept` tells that an earlier call has done it, with the same result; `digest` is that of the journal.
    """

    case: Case
    written: tuple[Path, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None
    kept: bool = False
    digest: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Files:
    """A case as its files hold it, and as the network sees it."""

    picture: Picture
    label_picture: Picture | None
    image: Array
    label: Array | None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How files are read."""

    image_loader: ImageLoader
    label_loader: LabelLoader

    def read(self, case: Case) -> Files:
        """Read a case; raises DataError where image or label cannot be used."""
        images, labels = self.image_loader, replace(self.label_loader, dtype=np.int64)
        picture = read_image(case.image, **reading_options(images))
        label_picture = None if case.label is None else read_label(case.label, **reading_options(labels))
        size = picture.array.shape
        if min(size) < MIN_SIDE:
            what = f"is {_by(size)} pixels, and less than {MIN_SIDE} is too few"
            raise FileError(case.image, what, "Save it in a higher resolution.")
        if label_picture is not None and label_picture.array.shape != size:
            what = f"is {_by(label_picture.array.shape)} pixels, unlike its image with {_by(size)}"
            raise FileError(label_picture.path, what, "Export it again from the image.")
        label = None if case.label is None else labels(case.label)[0]
        return Files(picture=picture, label_picture=label_picture, image=images(case.image)[0], label=label)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """A case that was read, or what makes that needless."""

    case: Case
    files: Files | None = None
    digest: str = ""
    result: FileResult | None = None  # from an earlier call, or of an error


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is the same for every case, and the three steps of each."""

    registrar: Registrar
    fixed_case: Case
    fixed: Files
    reader: Reader
    out: Path
    alone: bool
    journal: Journal | None
    recipe: str
    refine: int
    done: dict[str, FileResult]

    def read(self, case: Case) -> _Read:
        """Read the files of a case, unless its results are there already."""
        try:
            digest = ""
            if self.journal is not None and case.image.is_file():
                paths = (self.fixed_case.image, self.fixed_case.label, case.image, case.label)
                digest = digest_of(self.recipe, paths)
                entry = self.journal.find(case.id, digest)
                if entry is not None:
                    written = tuple(self.out / name for name in entry.files)
                    return _Read(
                        case=case,
                        result=FileResult(
                            case=case, written=written, metrics=entry.metrics, seconds=entry.seconds, kept=True
                        ),
                    )
            files = self.reader.read(case)
            wanted = self.fixed.image.shape
            if files.image.shape != wanted:
                what = f"is {_by(files.image.shape)} pixels, but {self.fixed.picture.path.name} is {_by(wanted)}"
                raise FileError(case.image, what, "Resize it, or let --resize_to_atlas do so.")
            return _Read(case=case, files=files, digest=digest)
        except DataError as error:
            return _Read(case=case, result=self._failed(case, error))

    def register(self, read: _Read) -> Registration | FileResult:
        """Register a case that was read."""
        if read.files is None:
            assert read.result is not None
            return read.result
        fixed, moving = self.fixed, read.files
        try:
            return self.registrar.register(
                fixed.image,
                moving.image,
                fixed_label=fixed.label,
                moving_label=moving.label,
                refine=self.refine,
            )
        except DataError as error:
            return self._failed(read.case, error)

    def save(self, read: _Read, registration: Registration | FileResult) -> FileResult:
        """Write what came of a case."""
        try:
            result = registration if isinstance(registration, FileResult) else self._write(read, registration)
        except DataError as error:
            result = self._failed(read.case, error)
        self.note(result)
        return result

    def note(self, result: FileResult) -> None:
        """Put what came of a case on record: for the table, and where its files are in place in the journal."""
        if self.journal is not None and result.seconds is not None and not result.kept:
            self.journal.add(result.case.id, result.digest, result.written, result.metrics, result.seconds)
        self.done[result.case.id] = result

    def _write(self, read: _Read, registration: Registration) -> FileResult:
        assert read.files is not None
        case, moving = read.case, read.files
        written = save_registration(
            registration,
            self.out,
            case.id,
            fixed=self.fixed.picture,
            moving=moving.picture,
            label=moving.label_picture,
            image_key=self.reader.image_loader.key,
            label_key=self.reader.label_loader.key,
        )
        return FileResult(
            case=case,
            written=written,
            metrics=registration.metrics,
            seconds=registration.seconds,
            digest=read.digest,
        )

    def _failed(self, case: Case, error: DataError) -> FileResult:
        if self.alone:
            raise error
        return FileResult(case=case, error=str(error))


def overlapped(job: Job, cases: Sequence[Case]) -> Generator[FileResult, None, None]:
    """Run the cases, and yield them in order; reading, registering and writing of successive ones overlap."""
    at_once = min(len(cases), images_at_once(job.registrar.device, job.fixed.image.size)) or 1
    network = Semaphore(at_once)

    def run(case: Case) -> FileResult:
        read = job.read(case)
        with network:
            registered = job.register(read)
        return job.save(read, registered)

    workers = at_once + IO_WORKERS if len(cases) > 1 else 1
    return map_in_order(run, cases, workers=workers, initializer=divide_cpu_threads(at_once))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def reading_options(loader: ImageLoader | LabelLoader) -> dict[str, Any]:
    """Return what a loader passes on to `read_image` or `read_label`."""
    return {"key": loader.key, "slice_axis": loader.slice_axis, "slice_index": loader.slice_index}
