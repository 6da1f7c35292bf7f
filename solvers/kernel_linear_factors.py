"""Low-rank factors of the kernels of a deep linear network, time by time, from the solution of its march.

The fields of a layer are linear in its Gaussian sources, h = d u + C g and g = d r + D h (`kernel_linear`). With u = F^{l-1} eps and
r = F_g^{l+1} eps_r in terms of the factors of the neighbouring kernels, their coefficients on (eps, eps_r) follow by the same recursion,
and a truncated Gram-Schmidt process makes factors of them. Nothing is divided by small pivots of the kernels themselves.
"""

import numpy as np

from .low_rank import MeanFactor
from .memory_kernel import memory_kernel

_BLOCKS = 2


class LinearFactors:
    """Factors F^l(t) of Phi^l and F_g^l(t) of G^l for l = 1 ... L, with Phi^l(t, s) = F^l(t) F^l(s)^T.

    Parameters
    ----------
    problem : KernelProblem
    tolerance : float
        As in `MeanFactor`.
    """

    def __init__(self, problem, tolerance):
        self.problem = problem
        self.decay, _ = memory_kernel(problem.rates, problem.momentum, problem.nesterov, problem.weight_decay, problem.decoupled)
        variances, vectors = np.linalg.eigh(problem.gram)
        kept = variances > 1e-14 * variances[-1]
        self.root = vectors[:, kept] * np.sqrt(variances[kept])
        self.features = [MeanFactor(tolerance) for _ in range(problem.layers)]
        self.gradients = [MeanFactor(tolerance) for _ in range(problem.layers)]
        self.h = [_Coefficients(problem.times * problem.points) for _ in range(problem.layers)]
        self.g = [_Coefficients(problem.times * problem.outputs) for _ in range(problem.layers)]

    def append(self, solution, t):
        """Factors at time t of all layers, two lists of arrays (P + M, r) and (C, r), from the `LinearKernels` solved so far."""
        points, outputs, d = self.problem.points, self.problem.outputs, self.decay[t]
        features, gradients = [], []
        lower, upper = self.root, np.eye(outputs)
        for layer, factor, h, g in zip(solution.layers, self.features, self.h, self.g):
            response = layer.C[t * points : (t + 1) * points, : t * outputs]
            lower = factor.append(h.put(t, response, g, d * lower, 0))
            features.append(lower)
        for layer, factor, h, g in zip(*(reversed(rows) for rows in (solution.layers, self.gradients, self.h, self.g))):
            response = layer.D[t * outputs : (t + 1) * outputs, : t * points]
            upper = factor.append(g.put(t, response, h, d * upper, 1))
            gradients.insert(0, upper)
        return features, gradients


class _Coefficients:
    """Coefficients of the fields of all times on the normal columns behind u (block 0) and r (block 1) of their layer."""

    def __init__(self, rows):
        self.blocks = [np.zeros((rows, 0)) for _ in range(_BLOCKS)]

    def put(self, t, response, other, source, block):
        """Coefficients at time t of a field `response` others + source; returned in the scale of `MeanFactor.append`."""
        n, past, rows = len(source), response.shape[1], []
        for i in range(_BLOCKS):
            row = response @ other.blocks[i][:past]
            if i == block:
                row = np.pad(row, ((0, 0), (0, max(source.shape[1] - row.shape[1], 0))))
                row[:, : source.shape[1]] += source
            missing = row.shape[1] - self.blocks[i].shape[1]
            if missing > 0:
                self.blocks[i] = np.pad(self.blocks[i], ((0, 0), (0, missing)))
            self.blocks[i][t * n : (t + 1) * n, : row.shape[1]] = row
            rows.append(np.sqrt(_BLOCKS) * row)
        return rows
