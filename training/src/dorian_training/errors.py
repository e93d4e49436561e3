"""The errors of this package.

TrainingError
├── DataError          a data set that is missing, empty, or not in the layout it was said to be in
├── ConfigError        settings that contradict each other or the run they are to continue
└── CheckpointError    a checkpoint that is missing or does not fit the networks
"""


class TrainingError(Exception):
    """Base of all errors raised by dorian_training."""


class DataError(TrainingError):
    """A data set is missing, empty, or not in the layout it was said to be in."""


class ConfigError(TrainingError, ValueError):
    """Settings contradict each other, or the run that they are to continue."""


class CheckpointError(TrainingError):
    """A checkpoint is missing or does not fit the networks."""
