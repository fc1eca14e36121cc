"""Doing the same work on many things, in threads, with the results in their order."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    workers: int | None = None,
    initializer: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:
    """Yield work(job) of each job in turn, `workers` at a time, by default a core each, and twice as many ahead.

    Each worker thread calls `initializer` first.

    An error is raised where its result would have come. An end before the last one, such as Ctrl-C or closing the
    generator, starts no more and waits for those under way.
    """
    # Threads, not processes: decoders, NumPy and SimpleITK let go of Python's lock while they work. They need no time
    # to start, nothing to be pickled and no guard around the caller's main module.
    workers = workers or os.cpu_count() or 1
    executor = ThreadPoolExecutor(workers, thread_name_prefix="regstudio", initializer=initializer)
    ahead: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            ahead.append(executor.submit(work, job))
            if len(ahead) > 2 * workers:  # so that an end comes soon, and few results are in memory
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
