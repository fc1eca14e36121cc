"""Prefetch: do in the background what the page will probably ask for next."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

PAUSE = 0.2  # seconds in which the browser draws the last answer, before the cores get more work

log = logging.getLogger(__name__)


class Prefetcher:
    """Runs jobs in a background thread; new jobs replace those that have not begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: list[Callable[[], object]] = []
        self._thread: threading.Thread | None = None

    def submit(self, jobs: Sequence[Callable[[], object]], pause: float = PAUSE) -> None:
        """Run the jobs in order, after a pause of some seconds; an error is logged: the page will meet it again."""
        with self._lock:
            self._jobs = list(jobs)
            if self._thread is None and self._jobs:
                self._thread = threading.Thread(target=self._work, args=(pause,), name="prefetch")
                self._thread.start()

    def join(self) -> None:
        """Wait until all jobs are done."""
        if thread := self._thread:
            thread.join()

    def _work(self, pause: float) -> None:
        while True:
            time.sleep(pause)
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.pop(0)
            try:
                job()
            except Exception as error:
                log.debug("prefetch failed: %s", error)
