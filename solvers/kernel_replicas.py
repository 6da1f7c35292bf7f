"""Independent replicas of the sampled march of kernel evolution: mean, standard error, and kernels between all times.

Exact moments and quasi-random points tie the samples of one march together, so that no error can be read off them. Replicas with
other scrambling are independent; eight give standard errors that can be relied on, three do not.

Source: docs/theory/kernel_evolution.md, sections 2 and 4.
"""

import numpy as np

from . import kernel_march


def replica_seed(seed, replica):
    """Seed of one replica of a run."""
    return (seed, replica)


def march(problem, replicas=8, seed=0, **options):
    """All replicas side by side, one time per iteration; yields a list of `kernel_march.Step`.

    The memory is that of all replicas. Marching them one after the other with `replica_seed` gives the same results.
    """
    return zip(*(kernel_march.march(problem, seed=replica_seed(seed, i), **options) for i in range(replicas)))


@np.errstate(over="ignore", invalid="ignore")
def mean_and_error(values):
    """Mean and standard error over the first axis, replicas; that of a single one is unknown, inf."""
    values = np.asarray(values)
    count = len(values)
    if count == 1:
        return values[0], np.full(values.shape[1:], np.inf)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(count)


class Record:
    """What one replica leaves behind: predictions, and factors of the kernels instead of the kernels."""

    def __init__(self):
        self.steps = []

    def append(self, step):
        """Keep a `Step`; preactivations are not kept."""
        self.steps.append(step._replace(preactivations=None))

    def predictions(self):
        """f (T, P + M, C)."""
        return np.array([step.predictions for step in self.steps])

    def feature_factor(self, layer):
        """F (T, P + M, r) with Phi^layer(t, s) = F(t) F(s)^T, layer 0 ... L."""
        return _padded([step.features[layer] for step in self.steps])

    def gradient_factor(self, layer):
        """F (T, P', C, r) with G^layer(t, s) = F(t) F(s)^T, layer 1 ... L + 1."""
        return _padded([step.gradients[layer - 1] for step in self.steps])

    def feature_kernel(self, layer):
        """Phi^layer (T, P + M, T, P + M); at equal times of full rank."""
        return _kernel(self.feature_factor(layer), [step.feature_grams[layer] for step in self.steps])

    def gradient_kernel(self, layer):
        """G^layer (T, P', C, T, P', C); at equal times of full rank."""
        factor = self.gradient_factor(layer)
        fields = factor.shape[1:3]
        n = fields[0] * fields[1]
        grams = [step.gradient_grams[layer - 1].reshape(n, n) for step in self.steps]
        T = len(factor)
        return _kernel(factor.reshape(T, n, -1), grams).reshape(T, *fields, T, *fields)

    def tangent_kernels(self):
        """K (T, P', C, P', C)."""
        return np.array([step.tangent_kernel() for step in self.steps])


def _padded(rows):
    width = rows[-1].shape[-1]
    return np.array([np.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, width - row.shape[-1])]) for row in rows])


def _kernel(factor, grams):
    T, n, r = factor.shape
    flat = factor.reshape(T * n, r)
    kernel = (flat @ flat.T).reshape(T, n, T, n)
    times = np.arange(T)
    kernel[times, :, times] = grams
    return kernel
