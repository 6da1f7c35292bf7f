"""Exceptions and warnings of the package."""


class SolverError(RuntimeError):
    """A solver failed numerically: no convergence, no memory, or an inconsistent state. Divergent training is not an error."""


class StorageError(RuntimeError):
    """A trajectory file cannot be read or written: wrong format, newer schema, or held by another writer."""


class StorageWarning(UserWarning):
    """A solve could not be written where it should be; the message says where it is instead."""


class EdgeOfStabilityWarning(UserWarning):
    """The learning rate is so near its stable maximum that finite networks approach the theory slowly."""
