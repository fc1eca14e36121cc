import threading
import time
from collections.abc import Iterator

import pytest

from regstudio.threads import map_in_order


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("regstudio")]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    def work(job: int) -> int:
        time.sleep(0.002 * (job % 3))
        return job**2

    assert list(map_in_order(work, range(20), workers=workers)) == [job**2 for job in range(20)]
    assert own_threads() == []


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    results = map_in_order(lambda job: 1 / (3 - job), range(10), workers=2)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert own_threads() == []


def test_few_jobs_are_taken_ahead_and_none_after_the_end() -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(1000):
            taken.append(job)
            yield job

    results = map_in_order(lambda job: job, jobs(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()
    before = len(taken)
    time.sleep(0.02)
    assert len(taken) == before
    assert own_threads() == []
