"""The errors a user may meet; each message names what is wrong, where, and what to do.

RegStudioError
|-- ConfigError       a setting has a value it cannot have
|-- DataError         a file or folder of images cannot be used
|-- CheckpointError   a checkpoint cannot be read or does not fit
|-- RunError          a run folder cannot be made, found or resumed
|-- TrainingError     a training that was under way cannot go on
|-- WorkerLostError   one of several processes that work together has ended before its time
`-- DeviceError       the wanted device is not there or ran out of memory
"""


class RegStudioError(Exception):
    """Base of every error whose message is meant for the user as it stands."""


class ConfigError(RegStudioError):
    """A setting has an unknown name or a value outside its bounds."""


class DataError(RegStudioError):
    """A file or folder cannot be used; the message names it."""


class CheckpointError(RegStudioError):
    """A checkpoint cannot be read, or its weights do not fit the network."""


class RunError(RegStudioError):
    """A run folder cannot be made, found or resumed."""


class TrainingError(RegStudioError):
    """A training that was under way cannot go on; what was saved before is still good."""


class WorkerLostError(RegStudioError):
    """One of several processes that work together has ended before its time."""


class DeviceError(RegStudioError):
    """The wanted device is not there, or its memory is exhausted."""
