"""The march of a deep linear network: all layers, the input modes and the samples, row by row in time, exact by causality.

`equations` is docs/theory/deep_linear.md, section 3, as a table of half rows: at every time t g^L ... g^1, the kernel K, v of every mode,
Delta, u of every mode, h^1 ... h^L. Layers and modes are instances of `two_field`, `row_march` carries the table out; the
optimizer enters through decay(t) and memory(t, s). A residual network has two more such blocks between layers (section 4).
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

    The order parameters come first, in the order of their names here; what is internal to the march, from H on, follows. `up` and `down`
    are four ranges each, of H, Rh, G and Rg, over the branches of a residual network, and `sum_a`, `sum_b` the covariances of the
    sources of h above, and of g below, a branch.
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
    up: tuple
    down: tuple
    sum_a: range
    sum_b: range

    @property
    def reported(self):
        """Number of matrices that are order parameters."""
        return self.H.start

    @property
    def internal(self):
        """Number of the others."""
        return self.sum_b.stop - self.H.start


def places(problem):
    """`Places` for a `LinearProblem`."""
    layers, modes = problem.layers, len(problem.eigenvalues)
    branches = 0 if problem.branch is None else layers - 1
    starts = list(accumulate([0] + 4 * [layers] + 6 * [1] + 2 * [layers] + 4 * [modes] + 10 * [branches]))
    ranges = [range(start, stop) for start, stop in zip(starts, starts[1:])]
    return Places(*ranges[:4], *starts[4:10], *ranges[10:16], tuple(ranges[16:20]), tuple(ranges[20:24]), *ranges[24:])


def equations(problem):
    """The half rows of sections 3 and 4 in their order.

    The responses are the scaled ones of `linear_problem`: coupling gamma^2, initial variance s0 = 1 / (gamma^2 nu_L).
    """
    at, M = places(problem), len(problem.eigenvalues)
    lam, n, alpha = problem.eigenvalues, problem.fractions, problem.sample_ratio
    s0, first_over_last = problem.initial_variance, problem.first_over_last
    dd = DECAY if np.any(problem.decay != 1.0) else ONE
    identity, noise, *target = range(2 + M)

    up_step, down_steps = _steps(problem)
    Ca = [Source(at.Cu, 1.0, dd)] + [Source(C, up_step, dd) for C in at.Ch[:-1]]
    Cb = [Source(C, r, dd) for r, C in zip(down_steps, at.Cg[1:])] + [Source(constant=identity, constant_factor=dd)]
    A = [[Term(at.Ru, dd, -s0), Term(at.Cu, MEMORY, 1.0)]]
    A += [[Term(Rh, dd, up_step), Term(Ch, MEMORY, up_step)] for Rh, Ch in zip(at.Rh, at.Ch[:-1])]
    B = [[Term(Rg, dd, r), Term(Cg, MEMORY, r)] for r, Rg, Cg in zip(down_steps, at.Rg[1:], at.Cg[1:])]
    B += [[Term(NONE, MEMORY, 1.0)]]
    backward, forward = (_plain if problem.branch is None else _residual)(problem, at, A, B, Ca, Cb)

    modes = [TwoField(*block, 1.0) for block in zip(at.mode_H, at.mode_Rh, at.mode_G, at.mode_Rg)]
    minus_K = [Term(at.Rg[0], dd, -first_over_last), Term(at.Cg[0], MEMORY, -first_over_last)]
    Ca_k = [Source(NONE if problem.online or np.isinf(alpha) else at.Cd, lam[k] / alpha, fresh=problem.online) for k in range(M)]
    Cb_k = [Source(at.Cg[0] if s0 else NONE, s0 * first_over_last, dd, constant=target[k]) for k in range(M)]

    fixed_samples = not problem.online and np.isfinite(alpha)
    residual = Source(at.Cv, 1.0, fresh=fixed_samples and problem.batch_excess > 0.0, constant=noise)
    R_D = Response(at.Rd, at.Rd, float(fixed_samples), True, 1.0, residual)
    return [
        *backward,
        *(modes[k].backward(minus_K, Ca_k[k], Cb_k[k], at.Cv, n[k] * lam[k], float(k > 0), at.Rv) for k in range(M)),
        Field([Term(at.Rv, ONE, 1.0 / alpha)], True, [R_D], at.Cd),
        *(modes[k].forward([Term(at.Rd, ONE, lam[k])], Ca_k[k], Cb_k[k], at.Cu, n[k], float(k > 0), at.Ru) for k in range(M)),
        *forward,
    ]


def _steps(problem):
    """What the kernels between neighbours are multiplied with: those that travel up, and those down to every layer but the last."""
    if problem.branch is None:
        return 1.0, problem.width_steps
    return problem.branch**2, np.full(problem.layers - 1, problem.branch**2)


def _plain(problem, at, A, B, Ca, Cb):
    """Half rows of the layers, backward and forward, coupled to their neighbours by the weights (section 3)."""
    layers = [TwoField(*block, problem.coupling) for block in zip(at.H, at.Rh, at.G, at.Rg)]
    backward = [layer.backward(*row) for layer, *row in zip(layers, B, Ca, Cb, at.Cg)]
    return backward[::-1], [layer.forward(*row) for layer, *row in zip(layers, A, Ca, Cb, at.Ch)]


def _residual(problem, at, A, B, Ca, Cb):
    """The same where states go on through identities as well: all layers below, or above, are eliminated by `up` and `down` (section 4)."""
    layers, up, down = (
        [TwoField(*block, problem.coupling) for block in zip(*places)] for places in ((at.H, at.Rh, at.G, at.Rg), at.up, at.down)
    )
    top = problem.layers - 1
    whole_A = A[:1] + [A[l + 1] + [Term(at.up[1][l], ONE, 1.0)] for l in range(top)]
    whole_B = [B[l] + [Term(at.down[3][l], ONE, 1.0)] for l in range(top)] + B[-1:]
    whole_Ca = Ca[:1] + [Source(C, 1.0) for C in at.sum_a]
    whole_Cb = [Source(C, 1.0) for C in at.sum_b] + Cb[-1:]

    backward = [layers[top].backward(whole_B[top], whole_Ca[top], whole_Cb[top], at.Cg[top])]
    forward = [layers[0].forward(whole_A[0], whole_Ca[0], whole_Cb[0], at.Ch[0])]
    for l in reversed(range(top)):
        backward += [
            down[l].backward(whole_B[l + 1], Ca[l + 1], whole_Cb[l + 1], at.sum_b[l], plus=Cb[l]),
            up[l].backward(B[l]),
            layers[l].backward(whole_B[l], whole_Ca[l], whole_Cb[l], at.Cg[l]),
        ]
    for l in range(top):
        forward += [
            up[l].forward(whole_A[l], whole_Ca[l], Cb[l], at.sum_a[l], plus=Ca[l + 1]),
            down[l].forward(A[l + 1]),
            layers[l + 1].forward(whole_A[l + 1], whole_Ca[l + 1], whole_Cb[l + 1], at.Ch[l + 1]),
        ]
    return backward, forward


def program(problem, fields):
    """What `row_march` needs to know of a `LinearProblem` with these equations."""
    outputs, n = problem.outputs, problem.rows * problem.outputs
    samples = [field.correlation for field in fields].index(places(problem).Cd)
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
        test=samples - 1,
        samples=samples,
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

    The reported functions determine the rest: H = 1 + c A Rg and G = 1 + c B Rh in the layers, the resolvents H = (1 - c A B)^-1 and
    G = (1 - c B A)^-1 between the layers of a residual network, and H = (1 + lambda Rd K)^-1 and G = (1 + lambda K Rd)^-1 in the modes.
    """
    state = start(problem)
    outputs, c = problem.outputs, problem.coupling
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
    readout = np.eye(outputs)

    at, values = places(problem), [values[:n, :n] for values in history.matrices(state.history)]
    up_step, down_steps = _steps(problem)
    A = [-problem.initial_variance * decays * Ru + memory * Cu] + [up_step * (decays * R + memory * C) for R, C in zip(Rh[:-1], Ch[:-1])]
    B = [r * (decays * R + memory * C) for r, R, C in zip(down_steps, Rg[1:], Cg[1:])] + [np.kron(problem.memory[:rows, :rows], readout)]
    if problem.branch is not None:
        Ca = [decays * _symmetric(Cu, time)] + [up_step * decays * _symmetric(C, time) for C in Ch[:-1]]
        Cb = [r * decays * _symmetric(C, time) for r, C in zip(down_steps, Cg[1:])]
        Cb += [np.kron(np.outer(problem.decay[:rows], problem.decay[:rows]), readout)]
        _restore_branches(at, values, c, A, B, Ca, Cb)
        for place in (*at.sum_a, *at.sum_b):
            values[place][time[:, None] < time] = 0.0
    for H, G, layer_A, layer_B, layer_Rh, layer_Rg in zip(at.H, at.G, A, B, Rh, Rg):
        values[H][:] = unit + c * layer_A @ layer_Rg
        values[G][:] = unit + c * layer_B @ layer_Rh

    K = problem.first_over_last * (decays * Rg[0] + memory * Cg[0])
    for eigenvalue, *mode in zip(problem.eigenvalues, at.mode_H, at.mode_Rh, at.mode_G, at.mode_Rg):
        for place, response in zip(mode, _responses(1.0, eigenvalue * Rd, -K)):
            values[place][:] = response

    if problem.online or problem.batch_excess > 0:
        share = 1.0 if problem.online else problem.batch_excess / (1.0 + problem.batch_excess)
        for t in range(rows):
            slab = slice(t * outputs, (t + 1) * outputs)
            state.noise[slab] = share * Cd[slab, slab]
    return state


def _symmetric(lower, time):
    """A correlation from its lower triangle, equal times included."""
    return lower + np.where(time[:, None] > time, lower, 0.0).T


def _responses(c, A, B):
    """H, Rh, G and Rg of h = a + A g, g = b + B h with the coupling c."""
    unit = np.eye(len(A))
    H, G = (solve_triangular(unit - c * product, unit, lower=True, unit_diagonal=True) for product in (A @ B, B @ A))
    return H, A @ G, G, B @ H


def _restore_branches(at, values, c, A, B, Ca, Cb):
    """Fill in the blocks between layers; the coefficients and covariances by the weights alone become the whole ones (section 4)."""
    weights_A, weights_B, weights_Ca, weights_Cb = map(list, (A, B, Ca, Cb))
    for l in range(len(A) - 1):
        H, Rh, *_ = found = _responses(c, A[l], weights_B[l])
        A[l + 1] = weights_A[l + 1] + Rh
        Ca[l + 1] = weights_Ca[l + 1] + H @ Ca[l] @ H.T + c * Rh @ weights_Cb[l] @ Rh.T
        for place, matrix in zip([at.sum_a[l], *(places[l] for places in at.up)], [Ca[l + 1], *found]):
            values[place][:] = matrix
    for l in reversed(range(len(A) - 1)):
        *_, G, Rg = found = _responses(c, weights_A[l + 1], B[l + 1])
        B[l] = weights_B[l] + Rg
        Cb[l] = weights_Cb[l] + c * Rg @ weights_Ca[l + 1] @ Rg.T + G @ Cb[l + 1] @ G.T
        for place, matrix in zip([at.sum_b[l], *(places[l] for places in at.down)], [Cb[l], *found]):
            values[place][:] = matrix
