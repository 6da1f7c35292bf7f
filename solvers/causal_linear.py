"""The march of a deep linear network: all layers, the input modes and the samples, row by row in time, exact by causality.

At every time t (theory/deep_linear.md, section 3): g^L ... g^1, the kernel K, v of every mode, Delta, u of every mode,
h^1 ... h^L. Layers and modes are instances of `two_field`; the optimizer enters through decay(t) and memory(t, s).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.linalg import solve_triangular

from . import history
from .history import History, left, write
from .linear_problem import LinearProblem, OrderParameters
from .two_field import Rows, Source, TwoField, add_correlation, backward, forward


class March(NamedTuple):
    """State of the march after some rows: everything the next rows need.

    Attributes
    ----------
    history : History
        Matrices in the order Rh, Rg, Ch, Cg of all layers, Cv, Cu, Cd, Rd (reported), H, G of all layers, H, Rh, G, Rg of all
        modes (internal).
    mode_responses : ndarray (2, n, n)
        Rv and Ru, the responses averaged over modes: reported, never multiplied.
    noise_blocks : ndarray (n, C)
        Equal-time blocks that sampling adds to the error correlation; shape (0, C) for full batches.
    losses : ndarray (2, T)
        Test and train.
    """

    history: History
    mode_responses: np.ndarray
    noise_blocks: np.ndarray
    losses: np.ndarray


def start(problem):
    """An empty `March` for a `LinearProblem`."""
    rows, outputs = problem.rows, problem.outputs
    n = rows * outputs
    noisy = problem.online or problem.batch_excess > 0
    return March(
        history=history.empty(4 * problem.layers + 4, 2 * problem.layers + 4 * len(problem.eigenvalues), rows, outputs),
        mode_responses=np.zeros((2, n, n)),
        noise_blocks=np.zeros((n if noisy else 0, outputs)),
        losses=np.full((2, rows), np.inf),
    )


@njit(cache=True)
def _layer(problem, l):
    layers = len(problem.width_steps) + 1
    internal = 4 * layers + 4
    return TwoField(internal + l, l, internal + layers + l, layers + l, problem.coupling)


@njit(cache=True)
def _mode(problem, k):
    layers, modes = len(problem.width_steps) + 1, len(problem.eigenvalues)
    first = 6 * layers + 4 + k
    return TwoField(first, first + modes, first + 2 * modes, first + 3 * modes, 1.0)


@njit(cache=True)
def _expanded(memory_row, outputs, p, out):
    """out[c, (s, c')] = memory_row[s]: a row of kappa for all pairs of outputs."""
    for s in range(p):
        out[:, s] = memory_row[s // outputs]


@njit(cache=True)
def march_rows(problem, state, first_row, last_row):
    """Compute rows first_row <= t < last_row in place.

    Returns
    -------
    int
        Number of finished rows: less than last_row where the training diverged at that row.
    """
    history, losses = state.history, state.losses
    values, outputs = history.reported, history.outputs
    layers, modes = len(problem.width_steps) + 1, len(problem.eigenvalues)
    n = values.shape[1]
    RH, RG, CH, CG, CV = 0, layers, 2 * layers, 3 * layers, 4 * layers
    CU, CD, RD = CV + 1, CV + 2, CV + 3
    RV, RU = state.mode_responses[0], state.mode_responses[1]
    alpha = problem.sample_ratio
    fixed_samples = not problem.online and np.isfinite(alpha)

    decay = np.repeat(problem.decay, outputs)
    ones = np.ones(n)
    nothing = np.zeros((outputs, outputs))
    identity = np.eye(outputs)
    no_blocks = np.zeros((0, outputs))
    kappa = np.zeros((outputs, n))
    errors = np.zeros((outputs, n))
    mean = np.zeros((outputs, n))
    shape = (outputs, n)
    rows = Rows(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape))

    readout = Source(-1, 0.0, decay, no_blocks, decay, identity)
    residual = Source(CV, 1.0, ones, state.noise_blocks if fixed_samples else no_blocks, ones, problem.noise)
    initial = problem.initial_variance * problem.first_over_last

    for t in range(first_row, last_row):
        p, q = t * outputs, (t + 1) * outputs
        _expanded(problem.memory[t], outputs, q, kappa)

        for l in range(layers - 1, -1, -1):
            if l == layers - 1:
                rows.kernel[:, :p] = 0.0
                for c in range(outputs):
                    rows.kernel[c, c:p:outputs] = problem.memory[t, :t]
                b = readout
            else:
                r = problem.width_steps[l]
                for c in range(outputs):
                    for s in range(p):
                        rows.kernel[c, s] = r * (
                            decay[p] * decay[s] * values[RG + l + 1, p + c, s] + kappa[c, s] * values[CG + l + 1, p + c, s]
                        )
                b = Source(CG + l + 1, r, decay, no_blocks, decay, nothing)
            a = Source(CH + l - 1 if l > 0 else CU, 1.0, decay, no_blocks, decay, nothing)
            backward(history, _layer(problem, l), t, a, b, rows)
            write(history, CG + l, t, rows.correlation)

        for c in range(outputs):
            for s in range(p):
                rows.kernel[c, s] = -problem.first_over_last * (
                    decay[p] * decay[s] * values[RG, p + c, s] + kappa[c, s] * values[CG, p + c, s]
                )
        mean[:, :q] = 0.0
        for k in range(modes):
            weight = problem.fractions[k] * problem.eigenvalues[k]
            a = _input_source(problem, state, CD, k, ones, nothing, no_blocks)
            b = Source(CG, initial, decay, no_blocks, ones, problem.target[k])
            backward(history, _mode(problem, k), t, a, b, rows)
            mean[:, :q] += weight * rows.correlation[:, :q]
            RV[p:q, :p] += weight * rows.first[:, :p]
        write(history, CV, t, mean)

        losses[0, t] = _trace(mean, p)
        if not losses[0, t] <= problem.divergence_factor * losses[0, 0]:
            return t

        errors[:, :q] = 0.0
        for c in range(outputs):
            errors[c, p + c] = 1.0
        if fixed_samples:
            rows.kernel[:, :p] = RV[p:q, :p] / alpha
            left(history, RD, rows.kernel, p, errors)
            write(history, RD, t, errors)
            mean[:, :q] = 0.0
            rows.correlation[:, :q] = 0.0
            add_correlation(history, RD, errors, residual, 1.0, q, rows)
            mean[:, :q] = rows.correlation[:, :q]
        else:
            write(history, RD, t, errors)
            for c in range(outputs):
                for s in range(q):
                    mean[c, s] = values[CV, p + c, s] + problem.noise[c, s % outputs]
            if problem.online:
                mean[:, :p] = 0.0
        losses[1, t] = _trace(mean, p)
        if state.noise_blocks.shape[0] > 0:
            excess = 1.0 if problem.online else problem.batch_excess
            state.noise_blocks[p:q] = excess * mean[:, p:q]
            if not problem.online:
                mean[:, p:q] += state.noise_blocks[p:q]
        write(history, CD, t, mean)

        mean[:, :q] = 0.0
        for k in range(modes):
            rows.kernel[:, :q] = problem.eigenvalues[k] * errors[:, :q]
            a = _input_source(problem, state, CD, k, ones, nothing, no_blocks)
            b = Source(CG, initial, decay, no_blocks, ones, problem.target[k])
            forward(history, _mode(problem, k), t, a, b, rows)
            mean[:, :q] += problem.fractions[k] * rows.correlation[:, :q]
            RU[p:q, :q] += problem.fractions[k] * rows.second[:, :q]
        write(history, CU, t, mean)

        for l in range(layers):
            for c in range(outputs):
                for s in range(q):
                    if l == 0:
                        response, correlation = -problem.initial_variance * RU[p + c, s], values[CU, p + c, s]
                    else:
                        response, correlation = values[RH + l - 1, p + c, s], values[CH + l - 1, p + c, s]
                    rows.kernel[c, s] = decay[p] * decay[s] * response + kappa[c, s] * correlation
            a = Source(CH + l - 1 if l > 0 else CU, 1.0, decay, no_blocks, decay, nothing)
            if l == layers - 1:
                b = readout
            else:
                b = Source(CG + l + 1, problem.width_steps[l], decay, no_blocks, decay, nothing)
            forward(history, _layer(problem, l), t, a, b, rows)
            write(history, CH + l, t, rows.correlation)
        if not np.isfinite(_trace(rows.correlation, p)):
            return t
    return last_row


@njit(cache=True)
def _input_source(problem, state, errors, k, ones, nothing, no_blocks):
    """Source of u_k: lambda_k C_D / alpha, with C_D at equal times only when samples are fresh."""
    scale = problem.eigenvalues[k] / problem.sample_ratio
    if problem.online:
        return Source(-1, scale, ones, state.noise_blocks, ones, nothing)
    return Source(errors, scale, ones, no_blocks, ones, nothing)


@njit(cache=True)
def _trace(row, p):
    total = 0.0
    for c in range(row.shape[0]):
        total += row[c, p + c]
    return total


def order_parameters(problem, state):
    """`OrderParameters` of the rows marched so far, views of the state."""
    values, layers = state.history.reported, problem.layers
    Rh, Rg, Ch, Cg = (values[i * layers : (i + 1) * layers] for i in range(4))
    Cv, Cu, Cd, Rd = values[4 * layers :]
    Rv, Ru = state.mode_responses
    return OrderParameters(Ch, Cg, Rh, Rg, Cv, Cu, Rv, Ru, Cd, Rd, *state.losses)


def restore(problem, order, rows):
    """A `March` that continues after the first `rows` times of `order`, `OrderParameters` of the same problem.

    The reported functions determine the rest: H = 1 + c A Rg and G = 1 + c B Rh in the layers, and in the modes the resolvents
    H = (1 + lambda Rd K)^-1 and G = (1 + lambda K Rd)^-1.
    """
    state = start(problem)
    outputs, layers, c = problem.outputs, problem.layers, problem.coupling
    n = rows * outputs
    for target, source in zip(order_parameters(problem, state), order):
        if target.ndim == 1:
            target[:rows] = source[:rows]
        else:
            target[..., :n, :n] = np.tril(source[..., :n, :n])
    Ch, Cg, Rh, Rg, _, Cu, _, Ru, Cd, Rd, *_ = (f[..., :n, :n] if f.ndim > 1 else f for f in order_parameters(problem, state))
    decay = np.repeat(problem.decay[:rows], outputs)
    decays = np.outer(decay, decay)
    memory = np.kron(problem.memory[:rows, :rows], np.ones((outputs, outputs)))
    unit = np.eye(n)

    internal = state.history.internal
    for l in range(layers):
        A = decays * Rh[l - 1] + memory * Ch[l - 1] if l > 0 else -problem.initial_variance * decays * Ru + memory * Cu
        if l < layers - 1:
            B = problem.width_steps[l] * (decays * Rg[l + 1] + memory * Cg[l + 1])
        else:
            B = np.kron(problem.memory[:rows, :rows], np.eye(outputs))
        internal[l, :n, :n] = unit + c * A @ Rg[l]
        internal[layers + l, :n, :n] = unit + c * B @ Rh[l]

    K = problem.first_over_last * (decays * Rg[0] + memory * Cg[0])
    modes = len(problem.eigenvalues)
    H, Rh, G, Rg = internal[2 * layers :].reshape(4, modes, *internal.shape[1:])[..., :n, :n]
    for k, eigenvalue in enumerate(problem.eigenvalues):
        A = eigenvalue * Rd
        H[k] = solve_triangular(unit + A @ K, unit, lower=True, unit_diagonal=True)
        G[k] = solve_triangular(unit + K @ A, unit, lower=True, unit_diagonal=True)
        Rh[k], Rg[k] = A @ G[k], -K @ H[k]

    if problem.online or problem.batch_excess > 0:
        share = 1.0 if problem.online else problem.batch_excess / (1.0 + problem.batch_excess)
        for t in range(rows):
            slab = slice(t * outputs, (t + 1) * outputs)
            block = np.tril(Cd[slab, slab])
            state.noise_blocks[slab] = share * (block + np.tril(block, -1).T)
    return state
