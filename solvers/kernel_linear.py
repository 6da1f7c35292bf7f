"""Kernel evolution of an infinitely wide deep linear network on a data set: exact, without sampling, one pass over time.

The fields of layer l are h_mu(t), one per point, and g_c(t), one per output, which needs no point index:

    h(t) = d(t) u(t) + sum_{s<t} C(t, s) g(s)        C(t, s) = d(t) A^{l-1}(t, s) + e kappa(t, s) Phi^{l-1}(t, s) Delta(s)
    g(t) = d(t) r(t) + sum_{s<t} D(t, s) h(s)        D(t, s) = d(t) B^l(t, s)     + e kappa(t, s) G^{l+1}(t, s) Delta(s)^T

with e = gamma / P, u ~ (0, Phi^{l-1}), r ~ (0, G^{l+1}), the responses A^l = dh^l/dr^l and B^{l-1} = dg^l/du^l, Phi^0 = x x^T / D,
G^{L+1} = 1, A^0 = B^L = 0. The optimizer is W(t) = d(t) W(0) + sum_s kappa(t, s) G(s) (`memory_kernel`). Row t of every matrix
follows from the rows before it: forward through the layers, prediction, error, backward.

Source: arXiv 2205.09653; docs/theory/kernel_evolution.md, sections 1.1 and 7.
"""

from typing import NamedTuple

import numpy as np

from .compiled import kernel_fast
from .kernel_problem import errors_on_points
from .memory_kernel import memory_kernel

DIVERGED = 1e140


class LinearLayer(NamedTuple):
    """Two-time matrices of one layer, n = T (P + M) and m = T C, time-major.

    Attributes
    ----------
    H, G : ndarray (n, n), (m, m)
        Correlations <h h> = Phi^l, lower triangle of blocks only, and <g g> = G^l.
    GH : ndarray (m, n)
        <g h>.
    A, Gr : ndarray (n, m), (m, m)
        Responses dh/dr = A^l and dg/dr.
    Gu : ndarray (m, n)
        Response dg/du = B^{l-1}.
    C, D : ndarray (n, m), (m, n)
        Coefficients of the two field equations.
    """

    H: np.ndarray
    G: np.ndarray
    GH: np.ndarray
    A: np.ndarray
    Gr: np.ndarray
    Gu: np.ndarray
    C: np.ndarray
    D: np.ndarray


class LinearKernels(NamedTuple):
    """Solution of the theory, filled row by row.

    Attributes
    ----------
    predictions : ndarray (T, P + M, C)
    errors : ndarray (T, P + M, C)
        Delta; zero on test points.
    layers : list of LinearLayer
    """

    predictions: np.ndarray
    errors: np.ndarray
    layers: list

    def feature_kernel(self, layer):
        """Phi^layer (T, P + M, T, P + M), layer 1 ... L."""
        T, points, _ = self.predictions.shape
        lower = np.tril(self.layers[layer - 1].H)
        return (lower + np.tril(lower, -1).T).reshape(T, points, T, points)

    def gradient_kernel(self, layer):
        """G^layer (T, C, T, C), layer 1 ... L; the same for all points."""
        T, _, C = self.predictions.shape
        return self.layers[layer - 1].G.reshape(T, C, T, C)


def empty_layers(problem):
    """Zero matrices for all times of a `KernelProblem`."""
    n, m = problem.times * problem.points, problem.times * problem.outputs
    shapes = (n, n), (m, m), (m, n), (n, m), (m, m), (m, n), (n, m), (m, n)
    return [LinearLayer(*map(np.zeros, shapes)) for _ in range(problem.layers)]


def memory_estimate(problem):
    """Bytes of the two-time matrices."""
    n, m = problem.times * problem.points, problem.times * problem.outputs
    return 8 * problem.layers * (n * n + 5 * n * m + 2 * m * m)


def flop_estimate(problem):
    """Floating-point operations of the march, leading order in time."""
    p, c = problem.points, problem.outputs
    per_step_squared = 2 * problem.layers * (4 * p * p * c + 8 * p * c * c)
    return per_step_squared * problem.times**3 / 3


def march(problem):
    """March in time; one row of everything per iteration.

    Yields
    ------
    kernels : LinearKernels
        Views of the state: rows up to `t` are valid.
    t : int

    The iteration ends early, before the first time at which a prediction exceeds any reasonable bound.
    """
    T, points, outputs, gamma = problem.times, problem.points, problem.outputs, problem.richness
    decay, kappa = memory_kernel(problem.rates, problem.momentum, problem.nesterov, problem.weight_decay, problem.decoupled)
    kernels = LinearKernels(np.zeros((T, points, outputs)), np.zeros((T, points, outputs)), empty_layers(problem))
    for t in range(T):
        drive = gamma / problem.samples * kappa[t, :t, None, None] * kernels.errors[:t]
        for l, layer in enumerate(kernels.layers):
            _forward(problem, layer, kernels.layers[l - 1] if l else None, decay, drive, t)
        kernels.predictions[t] = f = _predict(kernels.layers[-1], decay, drive, t) / gamma
        if not np.max(np.abs(f)) < DIVERGED:
            return
        kernels.errors[t] = errors_on_points(problem, f)
        for l in reversed(range(problem.layers)):
            above = kernels.layers[l + 1] if l + 1 < problem.layers else None
            _backward(kernels.layers[l], above, decay, drive, t)
        yield kernels, t


def _slices(drive, t):
    """Past and present rows of the point index and of the output index."""
    _, points, outputs = drive.shape
    return slice(0, t * points), slice(t * points, (t + 1) * points), slice(0, t * outputs), slice(t * outputs, (t + 1) * outputs)


@np.errstate(over="ignore", invalid="ignore")
def _forward(problem, layer, below, decay, drive, t):
    """Row t of h: C, A, H, and the column <g(s) h(t)>, s < t."""
    past, now, past_g, _ = _slices(drive, t)
    points = problem.points
    d = decay[t]
    if below is None:
        row, equal_time, response = np.tile(problem.gram, t), problem.gram, 0.0
    else:
        row, equal_time, response = below.H[now, past], below.H[now, now], d * below.A[now, past_g]
    C = np.matmul(row.reshape(points, t, points).transpose(1, 0, 2), drive).transpose(1, 0, 2).reshape(points, -1) + response
    ug = row @ layer.Gu[past_g, past].T
    hg = d * ug + C @ layer.G[past_g, past_g]
    h = ug @ layer.C[past, past_g].T
    h += np.repeat(decay[:t], points) * row
    h *= d
    h += C @ layer.GH[past_g, past]
    layer.C[now, past_g] = C
    layer.A[now, past_g] = C @ layer.Gr[past_g, past_g]
    layer.GH[past_g, now] = hg.T
    layer.H[now, past] = h
    layer.H[now, now] = d * (d * equal_time + ug @ C.T) + C @ hg.T


@kernel_fast
def _add_symmetric(H, x, out):
    """out[:, :n] += x H[:n, :n] for the symmetric H of which the lower triangle is stored, x of shape (C, n); one pass over H."""
    for i in range(x.shape[1]):
        row = H[i]
        for c in range(x.shape[0]):
            known, weight, total = x[c], x[c, i], 0.0
            target = out[c]
            for j in range(i):
                total += row[j] * known[j]
                target[j] += weight * row[j]
            target[i] += total + weight * row[i]


@np.errstate(over="ignore", invalid="ignore")
def _predict(last, decay, drive, t):
    """gamma f(t) = <z h>, z = d r + the memory of the readout weights."""
    past, now, past_g, _ = _slices(drive, t)
    _, points, outputs = drive.shape
    from_initial = decay[t] * last.A[now, past_g].reshape(points, t, outputs).sum(axis=1)
    return from_initial + last.H[now, past] @ drive.reshape(-1, outputs)


@np.errstate(over="ignore", invalid="ignore")
def _backward(layer, above, decay, drive, t):
    """Row t of g: D, responses to u and r, <g(t) h(s)> for s <= t, and G."""
    past, now, past_g, now_g = _slices(drive, t)
    _, points, outputs = drive.shape
    known = slice(0, now.stop)
    d = decay[t]
    if above is None:
        column, equal_time, response = np.tile(np.eye(outputs), (t, 1)), np.eye(outputs), 0.0
    else:
        column, equal_time, response = above.G[past_g, now_g], above.G[now_g, now_g], d * above.Gu[now_g, past]
    D = np.matmul(drive, column.reshape(t, outputs, outputs)).transpose(2, 0, 1).reshape(outputs, -1) + response
    hr = layer.A[known, past_g] @ column
    gh = d * hr.T
    gh[:, now] += D @ layer.H[now, past].T
    _add_symmetric(layer.H, D, gh)
    gr = np.repeat(decay[:t], outputs)[:, None] * column + layer.D[past_g, past] @ hr[past]
    g = d * gr + layer.GH[past_g, past] @ D.T
    layer.D[now_g, past] = D
    layer.Gu[now_g, past] = D * np.repeat(decay[:t], points) + (D @ layer.C[past, past_g]) @ layer.Gu[past_g, past]
    layer.Gr[now_g, past_g] = D @ layer.A[past, past_g]
    layer.Gr[now_g, now_g] = d * np.eye(outputs)
    layer.GH[now_g, known] = gh
    layer.G[past_g, now_g], layer.G[now_g, past_g] = g, g.T
    layer.G[now_g, now_g] = d * (d * equal_time + (D @ hr[past]).T) + D @ gh[:, past].T


def solve(problem):
    """`LinearKernels` of the whole training and the number of times reached, T unless it diverges."""
    kernels, done = None, 0
    for kernels, t in march(problem):
        done = t + 1
    return kernels, done
