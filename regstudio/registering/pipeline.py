"""Pipeline of each moving file: read it, register it, write the results.

Cases overlap: while some are registered, others are read and written. On the CPU, several small images are registered
in parallel, each on its share of the cores.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore

import torch

from regstudio.data.folders.layout import Case
from regstudio.data.landmarks.files import find_landmarks
from regstudio.data.pairs.reader import PairReader
from regstudio.errors import DataError
from regstudio.methods.method import Method
from regstudio.methods.network import NetworkMethod
from regstudio.networks.device import images_at_once
from regstudio.registering.journal import Journal, digest_of
from regstudio.threads import divide_cpu_threads, map_in_order
from regstudio.transforms.registration import Registration
from regstudio.transforms.result_files import OutputSize, save_registration

MAX_PIXELS_AT_ONCE = 2**27  # of fixed files, each with a moving one and a result: about 10 bytes for each pixel
IO_WORKERS = 2  # threads that read and write while others register


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """The result for one moving image: written files and metrics (see Registration), or the error.

    `reused` is true if an earlier call wrote the same results; `digest` is the journal's.
    """

    case: Case
    written: tuple[Path, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None
    reused: bool = False
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class RegisteringJob:
    """The inputs that all cases share, and the pipeline of each case.

    `is_single` raises the error of a single case. `results` collects the results by case id. `proceed` is called before
    each case, and may wait.
    """

    method: Method
    reader: PairReader
    out: Path
    is_single: bool
    journal: Journal | None
    recipe: str
    output_size: OutputSize
    results: dict[str, FileResult]
    proceed: Callable[[], object] = lambda: None

    def run(self, case: Case, register_slot: Semaphore) -> FileResult:
        """Read, register and write a case; `register_slot` limits how many cases register in parallel."""
        self.proceed()
        try:
            digest = self._digest(case)
            result = self._reused(case, digest)
            if result is None:
                pair = self.reader(case)
                with register_slot:
                    transform = self.method(pair)
                result = self._write(case, Registration(pair=pair, transform=transform), digest)
        except DataError as error:
            if self.is_single:
                raise
            result = FileResult(case=case, error=str(error))
        self.record(result)
        return result

    def record(self, result: FileResult) -> None:
        """Collect a result, and add it to the journal if its files are new."""
        if self.journal is not None and result.seconds is not None and not result.reused:
            self.journal.add(result.case.id, result.digest, result.written, result.metrics, result.seconds)
        self.results[result.case.id] = result

    def _digest(self, case: Case) -> str:
        if self.journal is None or not case.image.is_file():
            return ""
        fixed = case.fixed or self.reader.fixed
        points = [one.points or find_landmarks(one.image) for one in (fixed, case)] if self.reader.with_points else []
        masks = (fixed.mask, case.mask) if fixed.mask or case.mask else ()
        return digest_of(self.recipe, (fixed.image, fixed.label, case.image, case.label, *points, *masks))

    def _reused(self, case: Case, digest: str) -> FileResult | None:
        """Return the result of an earlier call from the journal, if the case is complete."""
        entry = None if self.journal is None or not digest else self.journal.find(case.id, digest)
        if entry is None:
            return None
        written = tuple(self.out / name for name in entry.files)
        return FileResult(case=case, written=written, metrics=entry.metrics, seconds=entry.seconds, reused=True)

    def _write(self, case: Case, registration: Registration, digest: str) -> FileResult:
        return FileResult(
            case=case,
            written=save_registration(
                registration,
                self.out,
                case.id,
                image_key=self.reader.image_loader.key,
                label_key=self.reader.label_loader.key,
                output_size=self.output_size,
            ),
            metrics=registration.metrics,
            seconds=registration.seconds,
            digest=digest,
        )


def run_overlapped(job: RegisteringJob, cases: Sequence[Case]) -> Generator[FileResult, None, None]:
    """Run the pipeline of all cases in threads and yield their results in order."""
    device = job.method.device if isinstance(job.method, NetworkMethod) else torch.device("cpu")
    parallel = min(len(cases), images_at_once(device, job.reader.fixed_image.size)) or 1
    register_slot = Semaphore(parallel)
    workers = min(parallel + IO_WORKERS, max(1, MAX_PIXELS_AT_ONCE // job.reader.fixed_pixels))
    return map_in_order(
        lambda case: job.run(case, register_slot),
        cases,
        workers=workers if len(cases) > 1 else 1,
        initializer=divide_cpu_threads(parallel),
    )
