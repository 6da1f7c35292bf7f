"""Exceptions and warnings of the package."""


class SolverError(RuntimeError):
    """A solver failed numerically: no convergence, no memory, or an inconsistent state. Divergent training is not an error."""


class StorageError(RuntimeError):
    """A trajectory file cannot be read or written: wrong format, newer schema, or held by another writer."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a computation. Loops stop as they do for any KeyboardInterrupt; what was finished is kept, and the message says where.

    Attributes
    ----------
    result : Trajectory, Ensemble, list or None
        What was finished. `solve` and `resume`: the rows so far, as a trajectory, mostly with `Status.INTERRUPTED`. `simulate`: the
        networks trained so far; they are those of fewer `seeds`. What solves or simulates several times: a list of what is done, the
        ensemble under way last. None if nothing was finished.
    """

    def __init__(self, message, result=None):
        super().__init__(message)
        self.result = result


class StorageWarning(UserWarning):
    """A solve could not be written where it should be; the message says where it is instead."""


class EdgeOfStabilityWarning(UserWarning):
    """The learning rate is so near its stable maximum that finite networks approach the theory slowly."""


class RestartWarning(UserWarning):
    """A trajectory that is continued is solved again from its first row, as its file does not hold the state of the march."""


class DepthWarning(UserWarning):
    """The limit of infinite depth is extrapolated from depths that are not large enough for it."""


class ScaleWarning(UserWarning):
    """Inputs are not of the size that the network takes, and training on them is useless; see `dmft.Dataset`."""
