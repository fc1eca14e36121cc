"""What SIGINT (Ctrl-C) and SIGTERM do: the first one asks to stop, a second one has its usual effect.

While the program imports its packages, which takes seconds, Ctrl-C ends it at once.
"""

import os
import signal
import threading
from types import FrameType
from typing import Self

INTERRUPTED = 128 + signal.SIGINT  # the exit code of a program that Ctrl-C ended
SAVING = "Finishing the step under way, then saving."  # a message for a training
_HANDLED = (signal.SIGINT, signal.SIGTERM)

_interrupts: list[int] = []  # that came before there were StopSignals


def end_while_importing() -> None:
    """Let Ctrl-C end the program at once while a module is imported; else it raises KeyboardInterrupt, as usual.

    Within an import, a KeyboardInterrupt may come up where Python cannot pass it on: then it would be lost, or printed
    with a traceback.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupts.append(number)
    at = frame
    while at is not None:
        if at.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)  # nothing is under way that would have to be saved
        at = at.f_back
    raise KeyboardInterrupt


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
        if _interrupts:  # a KeyboardInterrupt was lost
            self.received += _interrupts
            self.stop.set()
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
