"""Keeps what libraries write about damaged files off the user's console."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

# Their remarks on odd files name no file and no remedy.
warnings.filterwarnings("ignore", module=r"(PIL|nibabel|tifffile)\b")
_stderr_lock = threading.Lock()


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Turn the process's descriptor 2 away; MetaIO, GDCM and libtiff write to it whatever Python's stderr is."""
    with _stderr_lock, ExitStack() as undo:
        with suppress(OSError):  # a program without a console has no descriptor 2
            original = os.dup(2)
            undo.callback(os.close, original)
            devnull = os.open(os.devnull, os.O_WRONLY)
            undo.callback(os.close, devnull)
            os.dup2(devnull, 2)
            undo.callback(os.dup2, original, 2)
        yield
