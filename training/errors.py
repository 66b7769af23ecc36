"""What can go wrong in a training run, apart from its input.

TrainingError
├── FitError                a fit that cannot begin
├── NonFiniteLossError      the loss became infinite or not a number
├── CheckpointError         a run that cannot be gone on with
└── ParallelError           hosts that did not find each other
"""


class TrainingError(Exception):
    """A run that cannot begin or cannot go on; the message says what to do."""


class FitError(TrainingError):
    """A fit that cannot begin."""


class NonFiniteLossError(TrainingError):
    """The loss became infinite or not a number."""


class CheckpointError(TrainingError):
    """A run that cannot be gone on with."""


class ParallelError(TrainingError):
    """Hosts that did not find each other."""
