"""The three steps of each moving file: read it, register it, write the results.

The steps of different cases overlap: while some are registered, others are read and written. On the CPU, several small
images are registered at once, each on its share of the cores.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore

import torch

from regstudio.data.layout import Case
from regstudio.data.pairs import PairReader
from regstudio.errors import DataError
from regstudio.methods.method import Method
from regstudio.methods.network import NetworkMethod
from regstudio.networks.device import images_at_once
from regstudio.registering.journal import Journal, digest_of
from regstudio.threads import divide_cpu_threads, map_in_order
from regstudio.transforms.registration import Registration
from regstudio.transforms.result_files import save_registration

IO_WORKERS = 2  # cases that are read or written while others are registered


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """One moving image: the files written for it and its metrics (see Registration), or the error instead.

    `kept` is true where an earlier call has written the same results; `digest` is the journal's.
    """

    case: Case
    written: tuple[Path, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None
    kept: bool = False
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class RegisteringJob:
    """What is the same for every case, and the three steps of each.

    `alone` is true for a single case, whose error is raised. `done` collects the results by case.
    """

    method: Method
    reader: PairReader
    out: Path
    alone: bool
    journal: Journal | None
    recipe: str
    done: dict[str, FileResult]

    def run(self, case: Case, register_slot: Semaphore) -> FileResult:
        """Read, register and write a case; `register_slot` limits how many are registered at once."""
        try:
            digest = self._digest(case)
            result = self._known(case, digest)
            if result is None:
                pair = self.reader(case)
                with register_slot:
                    transform = self.method(pair)
                result = self._write(case, Registration(pair=pair, transform=transform), digest)
        except DataError as error:
            if self.alone:
                raise
            result = FileResult(case=case, error=str(error))
        self.record(result)
        return result

    def record(self, result: FileResult) -> None:
        """Keep a result for the table, and in the journal where its files are new."""
        if self.journal is not None and result.seconds is not None and not result.kept:
            self.journal.add(result.case.id, result.digest, result.written, result.metrics, result.seconds)
        self.done[result.case.id] = result

    def _digest(self, case: Case) -> str:
        if self.journal is None or not case.image.is_file():
            return ""
        fixed = self.reader.fixed
        return digest_of(self.recipe, (fixed.image, fixed.label, case.image, case.label))

    def _known(self, case: Case, digest: str) -> FileResult | None:
        """Return the result of an earlier call, if its files are complete and unchanged."""
        entry = None if self.journal is None or not digest else self.journal.find(case.id, digest)
        if entry is None:
            return None
        written = tuple(self.out / name for name in entry.files)
        return FileResult(case=case, written=written, metrics=entry.metrics, seconds=entry.seconds, kept=True)

    def _write(self, case: Case, registration: Registration, digest: str) -> FileResult:
        loaders = self.reader.image_loader, self.reader.label_loader
        keys = {"image_key": loaders[0].key, "label_key": loaders[1].key}
        return FileResult(
            case=case,
            written=save_registration(registration, self.out, case.id, **keys),
            metrics=registration.metrics,
            seconds=registration.seconds,
            digest=digest,
        )


def overlapped(job: RegisteringJob, cases: Sequence[Case]) -> Generator[FileResult, None, None]:
    """Run the cases and yield their results in order; the steps of successive cases overlap."""
    device = job.method.device if isinstance(job.method, NetworkMethod) else torch.device("cpu")
    at_once = min(len(cases), images_at_once(device, job.reader.fixed_image.size)) or 1
    register_slot = Semaphore(at_once)
    return map_in_order(
        lambda case: job.run(case, register_slot),
        cases,
        workers=at_once + IO_WORKERS if len(cases) > 1 else 1,
        initializer=divide_cpu_threads(at_once),
    )
