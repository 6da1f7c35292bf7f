"""From rows of kernel evolution, one per time, to a `KernelTrajectory` that grows."""

import time
from typing import NamedTuple

import numpy as np

from .. import losses
from ..divergence import Divergence, before, lost
from ..kernel_trajectory import KernelTrajectory
from ..trajectory import Status
from .recording import BLOCK_SECONDS


class Kernels(NamedTuple):
    """Kernels at one time t; lists have an entry for each of the layers 1 ... L.

    Attributes
    ----------
    feature_factors, gradient_factors : lists of ndarrays (P + M, r), (P' C, r)
        F(t) with Phi^l(t, s) = F(t) F(s)^T, of as many columns as there are by now.
    feature_grams, gradient_grams : ndarrays (L, P + M, P + M), (L, P' C, P' C)
        At equal times.
    tangent : ndarray (points, C, P, C)
    feature_gram_errors, gradient_gram_errors, tangent_error : ndarray or float
        Standard errors of the three.
    """

    feature_factors: list
    gradient_factors: list
    feature_grams: np.ndarray
    gradient_grams: np.ndarray
    tangent: np.ndarray
    feature_gram_errors: np.ndarray | float = 0.0
    gradient_gram_errors: np.ndarray | float = 0.0
    tangent_error: np.ndarray | float = 0.0


class Row(NamedTuple):
    """One time of the theory.

    Attributes
    ----------
    function : ndarray (P + M, C)
    function_error : ndarray (P + M, C) or float
    loss_error : float
    kernels : Kernels or None
    preactivations : ndarray (L, P + M, S) or None
    """

    function: np.ndarray
    function_error: np.ndarray | float = 0.0
    loss_error: float = 0.0
    kernels: Kernels | None = None
    preactivations: np.ndarray | None = None


@np.errstate(over="ignore", invalid="ignore")
def mean_loss(loss, y, f):
    """Mean over samples, sum over outputs, for labels and predictions of shape (P, C)."""
    return losses.MEAN_LOSSES[loss](y.T, f.T).sum()


def tangent_kernel(gram, feature_grams, gradient_grams, outputs, samples):
    """K = sum_l Phi^{l-1} G^l over all L + 1 weight matrices, (points, C, P, C).

    `gram` is Phi^0, and the other two are as in `Kernels`; gradients at a single point stand for those at all.
    """
    followed = gradient_grams.shape[1] // outputs
    points = followed if followed > 1 else len(gram)
    gradients = [*gradient_grams.reshape(-1, followed, outputs, followed, outputs), np.eye(outputs)[:, None]]
    return sum(phi[:points, None, :points, None] * g for phi, g in zip([gram, *feature_grams], gradients))[:, :, :samples]


def divergence(network, data, loss):
    """`Divergence` of an `MLP`."""
    return Divergence(loss, data.targets, 1 / network.richness)


class _Growing:
    """Rows (L, n, r) with more and more columns."""

    def __init__(self, rows, layers, points):
        self.array, self.rank = np.zeros((rows, layers, points, 0)), 0

    def put(self, t, factors):
        self.rank = max(self.rank, *(factor.shape[1] for factor in factors))
        if self.rank > self.array.shape[-1]:
            wider = np.zeros((*self.array.shape[:-1], self.rank + self.rank // 2))
            wider[:t, ..., : self.array.shape[-1]] = self.array[:t]
            self.array = wider
        for layer, factor in enumerate(factors):
            self.array[t, layer, :, : factor.shape[1]] = factor

    def shown(self, rows, finished):
        """The first `rows`, inf from row `finished` on."""
        self.array[finished:rows] = np.inf
        return self.array[:rows, ..., : self.rank]


def recorded(network, data, training, rows, preactivation_times=(), **common):
    """Iterate over the trajectory of an iterator over `Row`, in blocks of rows; it diverges where that ends early.

    Parameters
    ----------
    preactivation_times : sequence of int
        Times at which rows have preactivations.
    **common
        method, options, report and fixed arrays of the `KernelTrajectory`; options["loss"] is the loss. The report may change.
    """
    count, samples, loss = training.rows, len(data.x), common["options"]["loss"]
    diverged = divergence(network, data, loss)
    single = data.y.ndim == 1
    arrays, factors, kept = {}, {}, {}

    def put(name, t, values, shape):
        if name not in arrays:
            arrays[name] = np.full((count, *shape), np.inf)
        arrays[name][t] = np.broadcast_to(values, shape) if np.ndim(values) == 0 else np.reshape(values, shape)

    def put_kernels(t, kernels):
        tangent = kernels.tangent.shape[::2] if single else kernels.tangent.shape
        put("tangent_grams", t, kernels.tangent, tangent)
        put("tangent_gram_errors", t, kernels.tangent_error, tangent)
        for name in ("feature_grams", "gradient_grams"):
            values = getattr(kernels, name)
            put(name, t, values, values.shape)
            put(f"{name[:-1]}_errors", t, getattr(kernels, f"{name[:-1]}_errors"), values.shape)
        for name in ("feature_factors", "gradient_factors"):
            rows = getattr(kernels, name)
            if name not in factors:
                factors[name] = _Growing(count, len(rows), len(rows[0]))
            factors[name].put(t, rows)

    def trajectory(status, finished):
        shown = finished if status is Status.INTERRUPTED else count
        values = {name: array[:shown] for name, array in arrays.items()}
        values |= {name: factor.shown(shown, finished) for name, factor in factors.items()} | kept
        report = common["report"] | {"elapsed": time.perf_counter() - began}
        return KernelTrajectory(network, data, training, status, finished, **values, **(common | {"report": report}))

    began = shown = time.perf_counter()
    t = -1
    for t, row in enumerate(before(rows, diverged, lambda row: row.function)):
        function = row.function.shape[:1] if single else row.function.shape
        put("function", t, row.function, function)
        put("function_error", t, row.function_error, function)
        put("train_loss", t, mean_loss(loss, data.targets, row.function[:samples]), ())
        put("train_loss_error", t, row.loss_error, ())
        if data.test_y is not None:
            put("test_loss", t, mean_loss(loss, data.test_targets, row.function[samples:]), ())
        if row.kernels is not None:
            put_kernels(t, row.kernels)
        if row.preactivations is not None:
            if not kept:
                kept["preactivations"] = np.full((len(preactivation_times), *row.preactivations.shape), np.inf)
            kept["preactivations"][preactivation_times.index(t)] = row.preactivations
        if t + 1 == count or time.perf_counter() - shown > BLOCK_SECONDS:
            yield trajectory(Status.COMPLETED if t + 1 == count else Status.INTERRUPTED, t + 1)
            shown = time.perf_counter()
    if t < 0:
        raise lost()
    if t + 1 < count:
        yield trajectory(Status.DIVERGED, t + 1)
