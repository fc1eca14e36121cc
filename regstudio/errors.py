"""The errors that users see; each message says what is wrong, where, and what to do.

RegStudioError
|-- ConfigError       a setting has an unknown name or a bad value
|-- DataError         a file or folder of images cannot be used
|-- CheckpointError   a checkpoint cannot be read or does not fit
|-- RunError          a run folder cannot be created, found or resumed
|-- TrainingError     a running training cannot continue
|-- WorkerLostError   one of several training processes has ended too early
|-- DeviceError       a device does not exist or is out of memory
`-- DiskFullError     a file cannot be written as its disk is full; an OSError, too
"""

import re

# Control characters, those that turn the direction of text, and bytes that are no UTF-8 as Python has them.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class RegStudioError(Exception):
    """Base class of the errors whose messages are shown to the user."""


class ConfigError(RegStudioError):
    """A setting has an unknown name or a value outside its bounds."""


class DataError(RegStudioError):
    """A file or folder cannot be used; the message names it."""


class CheckpointError(RegStudioError):
    """A checkpoint cannot be read, or its weights do not fit the network."""


class RunError(RegStudioError):
    """A run folder cannot be created, found or resumed."""


class TrainingError(RegStudioError):
    """A running training cannot continue; its saved checkpoints are still valid."""


class WorkerLostError(RegStudioError):
    """One of several training processes has ended too early."""


class DeviceError(RegStudioError):
    """A device does not exist, or is out of memory."""


class DiskFullError(RegStudioError, OSError):
    """A file cannot be written, because its disk is full; what was there before is unchanged."""


def printable(text: str, *, lines: bool = False) -> str:
    """Return a text with characters that steer a terminal, or cannot be written, as \\xNN; with `lines`, \\n stays."""
    return _UNPRINTABLE.sub(lambda found: "\n" if lines and found[0] == "\n" else _escaped(found[0]), text)


def _escaped(letter: str) -> str:
    code = ord(letter) - 0xDC00 if "\udc80" <= letter <= "\udcff" else ord(letter)  # a byte of a name
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
