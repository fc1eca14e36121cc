"""A thread pool whose results come in order, CPU threads for torch in each thread, and their memory."""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

M_ARENA_MAX, HEAPS = -8, 2  # of glibc's malloc.h; for all threads together


def map_in_order(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int | None = None,
    initializer: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:
    """Yield work(task) for each task, in order, from a thread pool.

    The pool has `workers` threads (by default one per core) and prefetches up to twice as many results. Each thread
    calls `initializer` first.

    A task's exception is raised in its turn. Ctrl-C, or closing the generator, cancels the waiting tasks and waits for
    the running ones.

    >>> list(map_in_order(len, ["a", "bb", "ccc"], workers=2))
    [1, 2, 3]
    """
    # Threads, not processes: decoders, NumPy and SimpleITK release the interpreter lock while they work. Threads start
    # at once, need no pickling, and no `if __name__ == "__main__"` in the caller's script.
    workers = workers or os.cpu_count() or 1
    executor = ThreadPoolExecutor(workers, thread_name_prefix="regstudio", initializer=initializer)
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            pending.append(executor.submit(work, task))
            if len(pending) > 2 * workers:  # a bound on the memory, and on the time that an early end takes
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def share_heaps() -> None:
    """Let all threads share two heaps of the C library; without effect but with glibc, on Linux.

    Else each has its own, which keeps what was freed: of 120 cases that are opened in the page, 100 MB. What the user
    set stays.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)


@contextmanager
def limit_cpu_threads(limit: int | None) -> Iterator[None]:
    """Let torch use at most `limit` CPU threads in the block; None sets no limit.

    The number of threads decides the order of summation, and so the last digits of the results.
    """
    import torch  # a second that map_in_order alone need not wait for

    before = torch.get_num_threads()
    torch.set_num_threads(min(limit or before, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def divide_cpu_threads(workers: int) -> Callable[[], None]:
    """Return an `initializer` for `map_in_order` that gives each of `workers` threads its share of the CPU threads."""
    import torch

    threads = torch.get_num_threads()

    def take_share() -> None:
        torch.get_num_threads()  # otherwise this thread's first computation would reset it to the default
        torch.set_num_threads(max(1, threads // workers))
        # The call also changes the default for new threads; a call from another thread restores that default.
        other = Thread(target=torch.set_num_threads, args=(threads,))
        other.start()
        other.join()

    return take_share
