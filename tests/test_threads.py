import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from regstudio.threads import divide_cpu_threads, limit_cpu_threads, map_in_order


def pool_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("regstudio")]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    def work(task: int) -> int:
        time.sleep(0.002 * (task % 3))
        return task**2

    assert list(map_in_order(work, range(20), workers=workers)) == [task**2 for task in range(20)]
    assert pool_threads() == []


def test_an_exception_is_raised_in_its_turn() -> None:
    results = map_in_order(lambda task: 1 / (3 - task), range(10), workers=2)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert pool_threads() == []


def test_few_tasks_are_prefetched_and_none_after_the_end() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for task in range(1000):
            taken.append(task)
            yield task

    results = map_in_order(lambda task: task, tasks(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()
    before = len(taken)
    time.sleep(0.02)
    assert len(taken) == before
    assert pool_threads() == []


def test_the_thread_pool_alone_does_not_import_torch() -> None:
    code = "import sys, regstudio.threads; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture
def six_cpu_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def cpu_threads_in_use(_: int = 0) -> int:
    torch.ones(10**6).add(1)  # torch updates a new thread's number only when the thread computes
    return torch.get_num_threads()


@pytest.mark.usefixtures("six_cpu_threads")
def test_workers_share_the_cores_and_other_threads_keep_theirs() -> None:
    assert list(map_in_order(cpu_threads_in_use, range(9), workers=3, initializer=divide_cpu_threads(3))) == [2] * 9
    assert list(map_in_order(cpu_threads_in_use, range(2), workers=1, initializer=divide_cpu_threads(8))) == [1] * 2
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(cpu_threads_in_use()))
    other.start()
    other.join()
    assert [cpu_threads_in_use(), *found] == [6, 6]


@pytest.mark.usefixtures("six_cpu_threads")
@pytest.mark.parametrize(("limit", "inside"), [(2, 2), (None, 6), (64, 6)])
def test_a_limit_on_cpu_threads_holds_in_its_block_and_never_adds_any(limit: int | None, inside: int) -> None:
    with limit_cpu_threads(limit):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such heaps")
@pytest.mark.parametrize(("call", "expected"), [("", 7), ("threads.share_heaps()", 2)])
def test_threads_share_two_heaps(call: str, expected: int) -> None:
    work = f"""
import ctypes, threading
from regstudio import threads
{call}
c, together = ctypes.CDLL(None), threading.Barrier(6)
def allocate():
    together.wait()
    c.malloc(1000)
    together.wait()
six = [threading.Thread(target=allocate) for _ in range(6)]
[thread.start() for thread in six]
[thread.join() for thread in six]
c.malloc_stats()
"""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    run = subprocess.run([sys.executable, "-c", work], env=environment, capture_output=True, text=True, check=True)
    assert run.stderr.count("Arena ") == expected
