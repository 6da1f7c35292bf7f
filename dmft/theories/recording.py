"""What theories on a data set share: systems of samples, and rows, one per time, that become a trajectory."""

import time

import numpy as np

from ..divergence import lost
from ..trajectory import Status

BLOCK_SECONDS = 0.2


def whole_systems(samples, replicas):
    """The number of samples, rounded up to antithetic pairs shared evenly by the replicas."""
    return -(-samples // (2 * replicas)) * 2 * replicas


def recorded(rows, count, build):
    """Iterate over the trajectory in blocks of rows.

    Parameters
    ----------
    rows : iterator of dict of {str: array or float}
        The same names and shapes at every time; where it ends before `count` rows, training has diverged.
    count : int
        T, rows of the whole trajectory.
    build : callable(status, finished, arrays, elapsed)
        Makes the trajectory of arrays with a leading axis of time, which hold inf where nothing is finished.
    """
    arrays, t = {}, -1

    def trajectory(status, finished):
        shown = finished if status is Status.INTERRUPTED else count
        return build(status, finished, {name: array[:shown] for name, array in arrays.items()}, time.perf_counter() - began)

    began = shown = time.perf_counter()
    for t, row in enumerate(_quiet(rows)):
        for name, values in row.items():
            if name not in arrays:
                arrays[name] = np.full((count, *np.shape(values)), np.inf)
            arrays[name][t] = values
        if t + 1 == count or time.perf_counter() - shown > BLOCK_SECONDS:
            yield trajectory(Status.COMPLETED if t + 1 == count else Status.INTERRUPTED, t + 1)
            shown = time.perf_counter()
    if t < 0:
        raise lost()
    if t + 1 < count:
        yield trajectory(Status.DIVERGED, t + 1)


def _quiet(rows):
    """The same iterator without numpy's warnings of overflow inside, and inside only: whoever holds the iterator has his own settings."""
    while True:
        with np.errstate(over="ignore", invalid="ignore"):
            row = next(rows, None)
        if row is None:
            return
        yield row
