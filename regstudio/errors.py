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
