import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from regstudio.config import TrainConfig
from regstudio.errors import RunError
from regstudio.runs import lock
from regstudio.runs.run import Run, create_run

Configs = Callable[..., TrainConfig]


@pytest.fixture
def run(quick_config: Configs) -> Run:
    return create_run(quick_config())


def test_who_trains_is_seen_and_keeps_others_out(run: Run) -> None:
    assert not run.is_training()
    with run.lock():
        assert run.is_training()
        with pytest.raises(RunError, match="another process is training"):
            run.lock()
    assert not run.is_training()


def test_a_trainer_in_another_process_is_seen(run: Run) -> None:
    code = f"from regstudio.runs.run import Run; l = Run(__import__('pathlib').Path({str(run.path)!r})).lock()"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}; print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert run.is_training()
        with pytest.raises(RunError, match="another process"):
            run.lock()
        process.communicate("\n")
    assert not run.is_training()


def test_asking_makes_no_file(run: Run) -> None:
    before = sorted(run.path.rglob("*"))
    assert not run.is_training()
    assert sorted(run.path.rglob("*")) == before


def test_those_who_ask_keep_no_trainer_out_and_do_not_see_each_other(run: Run) -> None:
    run.lock().release()
    done, seen = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            seen.append(run.is_training())

    pages = [threading.Thread(target=ask) for _ in range(3)]
    for page in pages:
        page.start()
    while len(seen) < 2000:
        pass
    assert not any(seen)
    for _ in range(100):
        run.lock().release()  # raises RunError where it is refused
    done.set()
    for page in pages:
        page.join()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_lock_of_ours_is_not_held_and_named_at_the_start(run: Run, tmp_path: Path, kind: str) -> None:
    path = run.path / ".lock"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        __import__("os").mkfifo(path)
    assert not lock.is_held(path)
    if kind != "pipe":
        with pytest.raises(RunError, match="cannot be locked"):
            run.lock()
