"""The march of a deep linear network: all layers, the input modes and the samples, row by row in time, exact by causality.

At every time t (docs/theory/deep_linear.md, section 3): g^L ... g^1, the kernel K, v of every mode, Delta, u of every mode,
h^1 ... h^L. Layers and modes are instances of `two_field`; the optimizer enters through decay(t) and memory(t, s).
"""

import time
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from . import history
from .compiled import inner, kernel
from .history import History, clear, left, write
from .linear_problem import OrderParameters
from .two_field import Rows, Source, TwoField, backward, correlate, empty_rows, forward

BLOCK_ROWS = 64
#: About how long rows are computed at a stretch, as an interrupt waits for it; a row at least, a block at most.
_SECONDS = 0.25


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


class Work(NamedTuple):
    """Scratch of the march and constant arrays, so that the compiled part allocates nothing.

    Attributes
    ----------
    rows : Rows
    kappa, mean, errors : ndarray (C, n)
        Row of the memory kernel for all pairs of outputs; row of an average over modes; row of Rd.
    decay, ones : ndarray (n,)
    identity, nothing : ndarray (C, C)
    no_blocks : ndarray (0, C)
    """

    rows: Rows
    kappa: np.ndarray
    mean: np.ndarray
    errors: np.ndarray
    decay: np.ndarray
    ones: np.ndarray
    identity: np.ndarray
    nothing: np.ndarray
    no_blocks: np.ndarray


class Places(NamedTuple):
    """Where the matrices of the first layer and of the data stand in the history; layer l follows l places later."""

    Rh: int
    Rg: int
    Ch: int
    Cg: int
    Cv: int
    Cu: int
    Cd: int
    Rd: int
    H: int
    G: int
    modes: int


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


def _work(problem):
    outputs = problem.outputs
    n = problem.rows * outputs
    return Work(
        empty_rows(outputs, n),
        *np.zeros((3, outputs, n)),
        np.repeat(problem.decay, outputs),
        np.ones(n),
        np.eye(outputs),
        np.zeros((outputs, outputs)),
        np.zeros((0, outputs)),
    )


@inner
def _places(layers):
    data = 4 * layers
    return Places(0, layers, 2 * layers, 3 * layers, data, data + 1, data + 2, data + 3, data + 4, data + 4 + layers, data + 4 + 2 * layers)


@inner
def _layer(problem, at, l):
    return TwoField(at.H + l, at.Rh + l, at.G + l, at.Rg + l, problem.coupling)


@inner
def _layer_sources(problem, at, work, l):
    """Ca^1 = dd o C_u, Ca^{l+1} = dd o Ch^l; Cb^l = r_l dd o Cg^{l+1}, Cb^L = dd."""
    below = at.Ch + l - 1 if l > 0 else at.Cu
    a = Source(below, 1.0, work.decay, work.no_blocks, work.decay, work.nothing)
    if l == len(problem.width_steps):
        return a, Source(-1, 0.0, work.decay, work.no_blocks, work.decay, work.identity)
    return a, Source(at.Cg + l + 1, problem.width_steps[l], work.decay, work.no_blocks, work.decay, work.nothing)


@inner
def _mode(problem, at, k):
    modes = len(problem.eigenvalues)
    return TwoField(at.modes + k, at.modes + modes + k, at.modes + 2 * modes + k, at.modes + 3 * modes + k, 1.0)


@inner
def _mode_sources(problem, state, at, work, k):
    """Ca_k = lambda_k C_D / alpha, with C_D at equal times only when samples are fresh; Cb_k = w*_k^2 Omega + Cn."""
    scale = problem.eigenvalues[k] / problem.sample_ratio
    if problem.online:
        a = Source(-1, scale, work.ones, state.noise_blocks, work.ones, work.nothing)
    else:
        a = Source(at.Cd, scale, work.ones, work.no_blocks, work.ones, work.nothing)
    initial = problem.initial_variance * problem.first_over_last
    return a, Source(at.Cg, initial, work.decay, work.no_blocks, work.ones, problem.target[k])


@inner
def _kernel_row(work, p, stop, factor, response, response_factor, correlation):
    """kernel = factor (dd o response_factor R + kappa o C) for the slab of rows that starts at p, columns below `stop`."""
    kernel, decay = work.rows.kernel, work.decay
    for c in range(kernel.shape[0]):
        for s in range(stop):
            memory = work.kappa[c, s] * correlation[p + c, s]
            kernel[c, s] = factor * (decay[p] * decay[s] * response_factor * response[p + c, s] + memory)


@inner
def _add_to(total, p, weight, row):
    for c in range(row.shape[0]):
        for s in range(p):
            total[c, s] += weight * row[c, s]


@inner
def _trace(row, p):
    total = 0.0
    for c in range(row.shape[0]):
        total += row[c, p + c]
    return total


@inner
def _backward_layers(problem, state, at, work, t):
    """g^L ... g^1 with B^L = kappa and B^l = r_l (dd o Rg^{l+1} + kappa o Cg^{l+1})."""
    history, rows = state.history, work.rows
    values, outputs = history.reported, history.outputs
    p = t * outputs
    for l in range(len(problem.width_steps), -1, -1):
        if l == len(problem.width_steps):
            for c in range(outputs):
                for s in range(p):
                    rows.kernel[c, s] = work.kappa[c, s] if s % outputs == c else 0.0
        else:
            _kernel_row(work, p, p, problem.width_steps[l], values[at.Rg + l + 1], 1.0, values[at.Cg + l + 1])
        a, b = _layer_sources(problem, at, work, l)
        backward(history, _layer(problem, at, l), t, a, b, rows)
        write(history, at.Cg + l, t, rows.correlation)


@inner
def _backward_modes(problem, state, at, work, t):
    """v of every mode, B_k = -K with K = (nu_1 / nu_L) (dd o Rg^1 + kappa o Cg^1); averages R_v and C_v."""
    history, rows = state.history, work.rows
    p, q = t * history.outputs, (t + 1) * history.outputs
    _kernel_row(work, p, p, -problem.first_over_last, history.reported[at.Rg], 1.0, history.reported[at.Cg])
    clear(work.mean, q)
    for k in range(len(problem.eigenvalues)):
        weight = problem.fractions[k] * problem.eigenvalues[k]
        a, b = _mode_sources(problem, state, at, work, k)
        backward(history, _mode(problem, at, k), t, a, b, rows)
        _add_to(work.mean, q, weight, rows.correlation)
        _add_to(state.mode_responses[0, p:q], p, weight, rows.responses[0])
    write(history, at.Cv, t, work.mean)


@inner
def _samples(problem, state, at, work, t):
    """Errors Delta: R_D = 1 + R_v R_D / alpha, C_D = R_D (C_v + noise) R_D^T, and the excess noise of random batches."""
    history, rows, mean, errors = state.history, work.rows, work.mean, work.errors
    outputs = history.outputs
    p, q = t * outputs, (t + 1) * outputs
    clear(errors, q)
    fixed = not problem.online and np.isfinite(problem.sample_ratio)
    if fixed:
        clear(rows.kernel, p)
        _add_to(rows.kernel, p, 1.0 / problem.sample_ratio, state.mode_responses[0, p:q])
        left(history, at.Rd, rows.kernel, p, errors)
    for c in range(outputs):
        errors[c, p + c] = 1.0
    write(history, at.Rd, t, errors)
    if fixed:
        residual = Source(at.Cv, 1.0, work.ones, state.noise_blocks, work.ones, problem.noise)
        correlate(history, at.Rd, errors, residual, q, rows.sources[0], mean)
    else:
        for c in range(outputs):
            for s in range(q):
                mean[c, s] = 0.0 if problem.online and s < p else mean[c, s] + problem.noise[c, s % outputs]
    train_loss = _trace(mean, p)
    if state.noise_blocks.shape[0] > 0:
        for c in range(outputs):
            for e in range(outputs):
                block = mean[c, p + e]
                state.noise_blocks[p + c, e] = block if problem.online else problem.batch_excess * block
                mean[c, p + e] += 0.0 if problem.online else problem.batch_excess * block
    write(history, at.Cd, t, mean)
    return train_loss


@inner
def _forward_modes(problem, state, at, work, t):
    """u of every mode, A_k = lambda_k R_D; averages C_u and R_u."""
    history, rows = state.history, work.rows
    p, q = t * history.outputs, (t + 1) * history.outputs
    clear(work.mean, q)
    for k in range(len(problem.eigenvalues)):
        clear(rows.kernel, q)
        _add_to(rows.kernel, q, problem.eigenvalues[k], work.errors)
        a, b = _mode_sources(problem, state, at, work, k)
        forward(history, _mode(problem, at, k), t, a, b, rows)
        _add_to(work.mean, q, problem.fractions[k], rows.correlation)
        _add_to(state.mode_responses[1, p:q], q, problem.fractions[k], rows.responses[1])
    write(history, at.Cu, t, work.mean)


@inner
def _forward_layers(problem, state, at, work, t):
    """h^1 ... h^L with A^1 = -dd o R_u / (gamma^2 nu_L) + kappa o C_u and A^{l+1} = dd o Rh^l + kappa o Ch^l."""
    history, rows = state.history, work.rows
    values = history.reported
    p, q = t * history.outputs, (t + 1) * history.outputs
    for l in range(len(problem.width_steps) + 1):
        if l == 0:
            _kernel_row(work, p, q, 1.0, state.mode_responses[1], -problem.initial_variance, values[at.Cu])
        else:
            _kernel_row(work, p, q, 1.0, values[at.Rh + l - 1], 1.0, values[at.Ch + l - 1])
        a, b = _layer_sources(problem, at, work, l)
        forward(history, _layer(problem, at, l), t, a, b, rows)
        write(history, at.Ch + l, t, rows.correlation)


@kernel
def _march_rows(problem, state, work, first, last):
    """Compute rows first <= t < last in place; returns the number of finished rows, less than `last` where training diverges."""
    losses, outputs = state.losses, state.history.outputs
    at = _places(len(problem.width_steps) + 1)
    for t in range(first, last):
        p = t * outputs
        for c in range(outputs):
            for s in range(p + outputs):
                work.kappa[c, s] = problem.memory[t, s // outputs]
        _backward_layers(problem, state, at, work, t)
        _backward_modes(problem, state, at, work, t)
        losses[0, t] = _trace(work.mean, p)
        if not losses[0, t] <= problem.divergence_factor * losses[0, 0]:
            return t
        losses[1, t] = _samples(problem, state, at, work, t)
        _forward_modes(problem, state, at, work, t)
        _forward_layers(problem, state, at, work, t)
        if not np.isfinite(_trace(work.rows.correlation, p)):
            return t
    return last


def march(problem, state=None, done=0):
    """March in blocks of rows, from an empty state or from a `restore`d one.

    Yields
    ------
    state : March
    done : int
        Number of finished rows.
    diverged : bool
        Whether the training diverges at row `done`; the last block then.
    """
    state = start(problem) if state is None else state
    work, affordable, diverged = _work(problem), BLOCK_ROWS, False
    while done < problem.rows and not diverged:
        rows = max(1, min(affordable, BLOCK_ROWS - done % BLOCK_ROWS, problem.rows - done))
        stop, began = done + rows, time.perf_counter()
        done = _march_rows(problem, state, work, done, stop)
        affordable = int(rows * _SECONDS / (time.perf_counter() - began))
        diverged = done < stop
        if diverged:
            state.losses[:, done:] = np.inf
        else:
            state = state._replace(history=history.compress(state.history, done))
        yield state, done, diverged


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
