"""The three steps of each moving file, overlapping: read it, register it, write what came of it.

While one case goes through the network, the next is read and the one before it is written, each by a thread. On the
CPU, several small images go through the network at once, each on its share of the cores: of 256x256 on two cores, two
at once take 0.75 of the time.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from regstudio.data.formats import SMALLEST_SIDE, Picture, read_image, read_label
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.data.problems import FileError
from regstudio.errors import DataError
from regstudio.inference.export import save_registration
from regstudio.inference.journal import Journal, digest_of
from regstudio.inference.registrar import Registrar
from regstudio.inference.registration import Registration

Array = npt.NDArray[Any]

READ_AHEAD = 2
PIXELS_AT_ONCE = 2**19  # in larger images there is work enough for all cores
T = TypeVar("T")


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
        if min(size) < SMALLEST_SIDE:
            what = f"is {_by(size)} pixels, and less than {SMALLEST_SIDE} is too few"
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
    threads = torch.get_num_threads()
    at_once = max(1, min(threads, len(cases), PIXELS_AT_ONCE // job.fixed.image.size))
    if job.registrar.device.type != "cpu":
        at_once = 1
    reading, writing = ThreadPoolExecutor(at_once), ThreadPoolExecutor(at_once)
    registering = ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(threads // at_once,))
    started: deque[Future[FileResult]] = deque()
    try:
        for case in cases:
            read = reading.submit(job.read, case)
            registered = registering.submit(_after, job.register, read)
            started.append(writing.submit(_after, job.save, read, registered))
            if len(started) > at_once + READ_AHEAD:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        for pool in (reading, registering, writing):
            pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what a thread of the pool says of itself, holds for threads to come as well


def _after(step: Callable[..., T], *futures: Future[Any]) -> T:
    return step(*(future.result() for future in futures))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def reading_options(loader: ImageLoader | LabelLoader) -> dict[str, Any]:
    """Return what a loader passes on to `read_image` or `read_label`."""
    return {"key": loader.key, "slice_axis": loader.slice_axis, "slice_index": loader.slice_index}
