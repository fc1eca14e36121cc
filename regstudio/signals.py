"""What SIGINT (Ctrl-C) and SIGTERM do: the first one asks to stop, a second one has its usual effect."""

import os
import signal
import threading
from types import FrameType
from typing import Self

SAVING = "Finishing the step under way, then saving."  # a message for a training
_HANDLED = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Sets the event `stop` at the first signal, and writes `message` to the terminal; `received` lists the signals.

    Handles signals from its making on until it is closed, or its block is left. Where `every` is true, further signals
    are handled, too: torchrun forwards those that a cluster has sent to all processes already.

        with StopSignals(message="Saving.") as signals:
            while not signals.stop.is_set(): ...
    """

    def __init__(self, *, message: str = "", every: bool = False) -> None:
        self.stop = threading.Event()
        self.received: list[int] = []
        self._message, self._every = message, every
        self._previous = {int(number): signal.signal(number, self._handle) for number in _HANDLED}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def wait(self) -> int:
        """Wait for a signal and return its number."""
        while not self.stop.wait(0.5):  # on Windows, a wait without a limit cannot be interrupted
            pass
        return self.received[0]

    @property
    def exit_code(self) -> int:
        """The exit code of a program that the first signal ended: 128 and its number."""
        return 128 + self.received[0]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        self.stop.set()
        if not self._every:
            signal.signal(number, self._previous[number])
        if self._message:  # unbuffered, as the signal may interrupt the writing of another line
            os.write(2, f"\n{self._message}\n".encode())
