"""When training on a data set counts as diverged: one criterion for all theories and for finite networks."""

import numpy as np

from . import losses
from .errors import SolverError

#: Multiple of its scale from which the training loss does not come back: logits a thousand times as large as labels and start.
FACTOR = 1e6


class Divergence:
    """Whether training has diverged: called with the logits before every step, in order, it says so.

    It has where a logit is not finite, or where the mean loss over the samples exceeds FACTOR max(1, reach)^2 times its scale, the
    larger of the losses of the initial logits and of logits that are zero. Losses other than "mse" have bounded derivatives: one step
    moves logits by the rate times the kernel, whatever the labels, and neither that nor an overshoot of the same size is growth; their
    scale includes the loss after the first step. Logits may grow without bound as long as the loss does not.

    Parameters
    ----------
    loss : str
    targets : ndarray, shape (P, C)
    reach : float
        Size of the logits of weights that have moved by as much as they started with. In a catapult, where weights move until the
        kernel is small enough to be stable, logits get that far and come back.
    """

    def __init__(self, loss, targets, reach=1.0):
        self._loss, self._targets = losses.OUTPUT_LOSSES[loss], targets
        with np.errstate(over="ignore"):
            self._factor = FACTOR * np.square(np.float64(max(1.0, reach)))
        self._setting = 1 if loss == "mse" else 2
        self._scale, self._calls = self._mean(np.zeros_like(targets)), 0

    def _mean(self, logits):
        with np.errstate(over="ignore", invalid="ignore"):
            return self._loss(self._targets, logits.reshape(-1, self._targets.shape[1])[: len(self._targets)])

    def __call__(self, logits):
        """Whether the next logits, shape (P + M[, C]), have diverged.

        Raises
        ------
        SolverError
            If the first ones are not finite.
        """
        finite, self._calls = np.all(np.isfinite(logits)), self._calls + 1
        if not finite:
            if self._calls == 1:
                raise lost()
            return True
        loss = self._mean(logits)
        if self._calls <= self._setting:
            self._scale = max(self._scale, loss)
        return not loss <= self._factor * self._scale


def lost():
    """The error where nothing is finite even before training."""
    return SolverError("networks are not finite in double precision even before training: take smaller x or weights, or less depth")


def before(rows, diverged, logits):
    """The rows of an iterator up to the first whose `logits(row)` have diverged."""
    for row in rows:
        if diverged(logits(row)):
            return
        yield row
