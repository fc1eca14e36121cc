"""Work done in the background before anyone asks for it. Neither gradio nor torch here."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

PAUSE = 0.2  # seconds in which the browser draws what it was given before the cores are asked for more

log = logging.getLogger(__name__)


class Prefetcher:
    """Does in the background what is likely to be asked for next; new jobs replace those not yet begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: list[Callable[[], object]] = []
        self._thread: threading.Thread | None = None

    def submit(self, jobs: Sequence[Callable[[], object]], pause: float = PAUSE) -> None:
        """Do these in order, after a pause; what fails will say so when it is asked for in earnest."""
        with self._lock:
            self._jobs = list(jobs)
            if self._thread is None and self._jobs:
                self._thread = threading.Thread(target=self._work, args=(pause,), name="ahead")
                self._thread.start()

    def join(self) -> None:
        """Wait until nothing is left to do."""
        if thread := self._thread:
            thread.join()

    def _work(self, pause: float) -> None:
        while True:
            time.sleep(pause)
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                submit = self._jobs.pop(0)
            try:
                submit()
            except Exception as error:
                log.debug("not done ahead: %s", error)
