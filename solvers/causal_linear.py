"""The march of a deep linear network: all layers, the input modes and the samples, row by row in time, exact by causality.

`equations` is docs/theory/deep_linear.md, section 3, as a table of half rows: at every time t g^L ... g^1, the kernel K, v of every mode,
Delta, u of every mode, h^1 ... h^L. Layers and modes are instances of `two_field`, `row_march` carries the table out; the
optimizer enters through decay(t) and memory(t, s).
"""

import time
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from . import history
from .history import padded
from .linear_problem import OrderParameters
from .low_rank_history import compress
from .row_march import March, Program, march_rows as _march_rows, work
from .two_field import DECAY, MEMORY, NONE, ONE, Field, Response, Source, Term, TwoField, multiplied, table

BLOCK_ROWS = 64
#: About how long rows are computed at a stretch, as an interrupt waits for it; a row at least, a block at most.
_SECONDS = 0.25


class Places(NamedTuple):
    """Where the matrices stand in the history: ranges over the layers or the input modes, and single ones.

    The order parameters come first, in the order of their names here; what is internal to the march, from H on, follows.
    """

    Rh: range
    Rg: range
    Ch: range
    Cg: range
    Cv: int
    Cu: int
    Cd: int
    Rd: int
    Rv: int
    Ru: int
    H: range
    G: range
    mode_H: range
    mode_G: range
    mode_Rh: range
    mode_Rg: range

    @property
    def reported(self):
        """Number of matrices that are order parameters."""
        return self.H.start

    @property
    def internal(self):
        """Number of the others."""
        return self.mode_Rg.stop - self.H.start


def places(problem):
    """`Places` for a `LinearProblem`."""
    layers, modes = problem.layers, len(problem.eigenvalues)
    starts = list(accumulate([0] + 4 * [layers] + 6 * [1] + 2 * [layers] + 4 * [modes]))
    ranges = [range(start, stop) for start, stop in zip(starts, starts[1:])]
    return Places(*ranges[:4], *starts[4:10], *ranges[10:])


def equations(problem):
    """The half rows of section 3 in their order.

    The responses are the scaled ones of `linear_problem`: coupling gamma^2, initial variance s0 = 1 / (gamma^2 nu_L).
    """
    at, L, M = places(problem), problem.layers, len(problem.eigenvalues)
    lam, n, alpha, r = problem.eigenvalues, problem.fractions, problem.sample_ratio, problem.width_steps
    s0, first_over_last = problem.initial_variance, problem.first_over_last
    dd = DECAY if np.any(problem.decay != 1.0) else ONE
    identity, noise, *target = range(2 + M)

    layers = [TwoField(*block, problem.coupling) for block in zip(at.H, at.Rh, at.G, at.Rg)]
    Ca = [Source(C, 1.0, dd) for C in (at.Cu, *at.Ch[:-1])]
    Cb = [Source(C, r[l], dd) for l, C in enumerate(at.Cg[1:])] + [Source(constant=identity, constant_factor=dd)]
    A = [[Term(at.Ru, dd, -s0), Term(at.Cu, MEMORY, 1.0)]]
    A += [[Term(Rh, dd, 1.0), Term(Ch, MEMORY, 1.0)] for Rh, Ch in zip(at.Rh, at.Ch[:-1])]
    B = [[Term(Rg, dd, r[l]), Term(Cg, MEMORY, r[l])] for l, (Rg, Cg) in enumerate(zip(at.Rg[1:], at.Cg[1:]))]
    B += [[Term(NONE, MEMORY, 1.0)]]

    modes = [TwoField(*block, 1.0) for block in zip(at.mode_H, at.mode_Rh, at.mode_G, at.mode_Rg)]
    minus_K = [Term(at.Rg[0], dd, -first_over_last), Term(at.Cg[0], MEMORY, -first_over_last)]
    Ca_k = [Source(NONE if problem.online or np.isinf(alpha) else at.Cd, lam[k] / alpha, fresh=problem.online) for k in range(M)]
    Cb_k = [Source(at.Cg[0] if s0 else NONE, s0 * first_over_last, dd, constant=target[k]) for k in range(M)]

    fixed_samples = not problem.online and np.isfinite(alpha)
    residual = Source(at.Cv, 1.0, fresh=fixed_samples and problem.batch_excess > 0.0, constant=noise)
    R_D = Response(at.Rd, at.Rd, float(fixed_samples), True, 1.0, residual)
    return [
        *(layers[l].backward(B[l], Ca[l], Cb[l], at.Cg[l]) for l in reversed(range(L))),
        *(modes[k].backward(minus_K, Ca_k[k], Cb_k[k], at.Cv, n[k] * lam[k], float(k > 0), at.Rv) for k in range(M)),
        Field([Term(at.Rv, ONE, 1.0 / alpha)], True, [R_D], at.Cd),
        *(modes[k].forward([Term(at.Rd, ONE, lam[k])], Ca_k[k], Cb_k[k], at.Cu, n[k], float(k > 0), at.Ru) for k in range(M)),
        *(layers[l].forward(A[l], Ca[l], Cb[l], at.Ch[l]) for l in range(L)),
    ]


def program(problem, fields):
    """What `row_march` needs to know of a `LinearProblem` with these equations."""
    outputs, data = problem.outputs, problem.layers + len(problem.eigenvalues)
    n = problem.rows * outputs
    decay, units = np.zeros(padded(n)), np.zeros((2, outputs, padded(n)))
    decay[:n] = np.repeat(problem.decay, outputs)
    for c in range(outputs):
        units[ONE, c, c:n:outputs] = 1.0
    units[DECAY] = units[ONE] * decay
    fixed_samples = not problem.online and np.isfinite(problem.sample_ratio)
    return Program(
        *table(fields),
        constants=np.concatenate([[np.eye(outputs), problem.noise], problem.target]),
        decay=decay,
        units=units,
        memory=problem.memory,
        test=data - 1,
        samples=data,
        online=problem.online,
        batch_excess=problem.batch_excess if fixed_samples else 0.0,
        divergence_factor=problem.divergence_factor,
    )


def start(problem):
    """An empty `March` for a `LinearProblem`."""
    at, rows, outputs = places(problem), problem.rows, problem.outputs
    empty = history.empty(at.reported, at.internal, rows, outputs)
    return March(empty, np.zeros((empty.size, outputs)), np.full((2, rows), np.inf))


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
    fields, scratch = equations(problem), work(problem.rows, problem.outputs)
    stated, numbers = program(problem, fields), multiplied(fields)
    affordable, diverged = BLOCK_ROWS, False
    while done < problem.rows and not diverged:
        rows = max(1, min(affordable, BLOCK_ROWS - done % BLOCK_ROWS, problem.rows - done))
        stop, began = done + rows, time.perf_counter()
        done = _march_rows(stated, state, scratch, done, stop)
        affordable = int(rows * _SECONDS / (time.perf_counter() - began))
        diverged = done < stop
        if diverged:
            state.losses[:, done:] = np.inf
        else:
            state = state._replace(history=compress(state.history, numbers, done))
        yield state, done, diverged


def losses(problems):
    """Test and train losses of many problems, each of the same sizes T, C, L and M, in the memory of one march.

    Returns
    -------
    ndarray (problems, 2, T)
        From the row at which a training diverges on infinite.
    """
    found, state = [], None
    for problem in problems:
        state = start(problem) if state is None else _cleared(state)
        for marched, _, _ in march(problem, state):
            pass
        found.append(marched.losses.copy())
    return np.array(found)


def _cleared(state):
    """The memory of a march, empty again."""
    for array in (state.history.reported, state.history.internal, state.history.scale, state.noise):
        array[:] = 0.0
    state.losses[:] = np.inf
    return state


def order_parameters(problem, state):
    """`OrderParameters` of the rows marched so far, views of the state."""
    at, n = places(problem), problem.rows * problem.outputs
    values = state.history.reported.reshape(-1, state.history.size, state.history.size)[:, :n, :n]
    Rh, Rg, Ch, Cg = (values[place.start : place.stop] for place in at[:4])
    Cv, Cu, Cd, Rd, Rv, Ru = values[at.Cv : at.H.start]
    return OrderParameters(Ch, Cg, Rh, Rg, Cv, Cu, Rv, Ru, Cd, Rd, *state.losses)


def restore(problem, order, rows):
    """A `March` that continues after the first `rows` times of `order`, `OrderParameters` of the same problem.

    The reported functions determine the rest: H = 1 + c A Rg and G = 1 + c B Rh in the layers, and in the modes the resolvents
    H = (1 + lambda Rd K)^-1 and G = (1 + lambda K Rd)^-1.
    """
    state = start(problem)
    outputs, layers, c = problem.outputs, problem.layers, problem.coupling
    n, time = rows * outputs, np.repeat(np.arange(rows), outputs)
    for target, source in zip(order_parameters(problem, state), order):
        if target.ndim == 1:
            target[:rows] = source[:rows]
        else:
            lower = np.tril(source[..., :n, :n])
            same_time = np.where(time[:, None] == time, np.tril(lower, -1), 0.0)
            target[..., :n, :n] = lower + np.swapaxes(same_time, -1, -2)
    Ch, Cg, Rh, Rg, _, Cu, _, Ru, Cd, Rd, *_ = (f[..., :n, :n] if f.ndim > 1 else f for f in order_parameters(problem, state))
    decay = np.repeat(problem.decay[:rows], outputs)
    decays = np.outer(decay, decay)
    memory = np.kron(problem.memory[:rows, :rows], np.ones((outputs, outputs)))
    unit = np.eye(n)

    at, values = places(problem), [values[:n, :n] for values in history.matrices(state.history)]
    for l in range(layers):
        A = decays * Rh[l - 1] + memory * Ch[l - 1] if l > 0 else -problem.initial_variance * decays * Ru + memory * Cu
        if l < layers - 1:
            B = problem.width_steps[l] * (decays * Rg[l + 1] + memory * Cg[l + 1])
        else:
            B = np.kron(problem.memory[:rows, :rows], np.eye(outputs))
        values[at.H[l]][:] = unit + c * A @ Rg[l]
        values[at.G[l]][:] = unit + c * B @ Rh[l]

    K = problem.first_over_last * (decays * Rg[0] + memory * Cg[0])
    for k, eigenvalue in enumerate(problem.eigenvalues):
        A = eigenvalue * Rd
        H = solve_triangular(unit + A @ K, unit, lower=True, unit_diagonal=True)
        G = solve_triangular(unit + K @ A, unit, lower=True, unit_diagonal=True)
        values[at.mode_H[k]][:], values[at.mode_G[k]][:] = H, G
        values[at.mode_Rh[k]][:], values[at.mode_Rg[k]][:] = A @ G, -K @ H

    if problem.online or problem.batch_excess > 0:
        share = 1.0 if problem.online else problem.batch_excess / (1.0 + problem.batch_excess)
        for t in range(rows):
            slab = slice(t * outputs, (t + 1) * outputs)
            state.noise[slab] = share * Cd[slab, slab]
    return state
