"""Every hostile picture at every door: one message that names it, in time, within bounds, and nothing breaks."""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

from regstudio.data.problems import shown_path
from tests.hostile.corpus import (
    arrays,
    dicoms,
    flows,
    itk_files,
    labels,
    niftis,
    points,
    rasters,
    special_files,
    tiffs,
    zips,
)
from tests.hostile.corpus.kinds import Hostile
from tests.hostile.worker import BYTES, SECONDS, Answer, Worker

DOORS = (  # for every other input
    ("check_atlas", "train_moving", "register_fixed", "apply_image", "page_moving"),
    ("check_moving", "train_atlas", "register_moving", "apply_image", "page_fixed"),
)
FAMILIES = {
    family.__name__.rpartition(".")[2]: family
    for family in (rasters, tiffs, niftis, itk_files, dicoms, arrays, special_files)
}

OTHERS = {
    "labels": (labels.inputs, ("check_label", "register_fixed_label", "register_label", "apply_label", "page_label")),
    "points": (points.inputs, ("apply_points",)),
    "flows": (flows.inputs, ("apply_flow",)),
    "zips": (zips.inputs, ("page_upload",)),
}
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SimpleQueue[Worker]"]:
    """Two of them, for the two cores that there are at least."""
    idle: SimpleQueue[Worker] = SimpleQueue()
    everyone = [Worker(tmp_path_factory.mktemp("worker")) for _ in range(2)]
    for worker in everyone:
        idle.put(worker)
    yield idle
    for worker in everyone:
        worker.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures(workers: "SimpleQueue[Worker]", tmp_path: Path, family: str) -> None:
    assert_no_faults(workers, tmp_path, FAMILIES[family].inputs(), DOORS)


@pytest.mark.parametrize("family", OTHERS)
def test_other_files(workers: "SimpleQueue[Worker]", tmp_path: Path, family: str) -> None:
    inputs, doors = OTHERS[family]
    assert_no_faults(workers, tmp_path, inputs(), [doors])


def assert_no_faults(
    workers: "SimpleQueue[Worker]", folder: Path, inputs: Iterable[Hostile], doors: Sequence[Sequence[str]]
) -> None:
    """Bring each input to one of the rows of doors, in turn."""

    def faults_of(numbered: tuple[int, Hostile]) -> list[str]:
        number, hostile = numbered
        path = folder / str(number) / hostile.file
        path.parent.mkdir()
        hostile.write(path)
        worker = workers.get()
        try:
            return [
                f"{hostile} at {door}: {fault}"
                for door in doors[number % len(doors)]
                if not is_costly(number, hostile, door)
                for fault in found_faults(worker.ask(door, path), path, hostile.usable_at(door))
            ]
        finally:
            workers.put(worker)

    with ThreadPoolExecutor(2) as pool:
        faults = [fault for found in pool.map(faults_of, enumerate(inputs)) for fault in found]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults)


def is_costly(number: int, hostile: Hostile, door: str) -> bool:
    """Whether this would be one training more on an input that can be used: one in four is enough."""
    return door.startswith("train") and hostile.usable is not False and number % 8 > 1


def found_faults(answer: Answer, path: Path, usable: bool | None) -> Iterator[str]:
    """Yield what is wrong with an answer."""
    if answer.failure:
        yield answer.failure
        return
    if answer.noise and not answer.noise.startswith("Warning: "):
        yield f"native code wrote {answer.noise!r}"
    if answer.seconds > SECONDS:
        yield f"took {answer.seconds:.1f} s"
    if answer.taken > BYTES:
        yield f"took {answer.taken / 2**30:.2f} GB"
    if usable is not None and (answer.code == 0) != usable:
        yield f"ended with {answer.code}: {answer.text}"
    elif answer.code:
        yield from bad_message(answer.text, path)
    if re.search(CONTROL, answer.text.replace("\r", "")):
        yield f"holds control characters: {answer.text!r}"


def bad_message(text: str, path: Path) -> Iterator[str]:
    """Yield what is wrong with the message for a file that was refused."""
    stem = path.name.partition(".")[0]
    names = {stem, shown_path(stem), stem.encode("ascii", "backslashreplace").decode()}
    lines = [line for line in text.splitlines() if any(name in line for name in names)]
    if not lines:
        yield f"does not name the file: {text}"
    elif not any(re.search(r": .*\w.*[.;] \w.*\.$", line) for line in lines):
        yield f"does not say what is wrong and what to do: {text}"
    if re.search(r"Traceback|\[Errno|Error\(|object at 0x", text):
        yield f"speaks of the program's inside: {text}"
