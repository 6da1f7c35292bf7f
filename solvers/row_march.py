"""The compiled march over a table of half rows (`two_field`): one call site for every product, whatever the theory.

At every time t the fields of the table are gone through in their order. For each one the coefficients x[t] are put together, then each
of its responses R[t] = scale x[t] M + unit and the row (R[t] Cov) R^T: three products one after the other, left, symmetric and right. The
sum of the rows is stored as a row of the correlation. Two fields are special: after `test` the test loss is known, and at `samples` the
noise of fresh samples or of random batches enters.
"""

from typing import NamedTuple

import numpy as np
from numba import uint64

from .compiled import bare, part, part_fast, text
from .history import LEFT, RIGHT, SYMMETRIC, History, clear, locate, padded, product, write
from .two_field import DECAY, MEMORY, ONE


class Program(NamedTuple):
    """What to compute: a table of half rows, and the numbers that its entries refer to.

    Attributes
    ----------
    fields, responses, terms : ndarray of records
        See `two_field.table`.
    constants : ndarray (constants, C, C)
    decay : ndarray (N,)
        d(t).
    units : ndarray (2, C, N)
        For the factors ONE and DECAY: 1 or d(t) in the columns of one output.
    memory : ndarray (T, T)
    test, samples : int
        Numbers of the fields after which the test loss is known, and whose correlation is that of the errors on the samples.
    online : bool
        Whether samples are fresh at every step.
    batch_excess : float
    divergence_factor : float
        The march stops where the test loss exceeds this multiple of the initial one.
    """

    fields: np.ndarray
    responses: np.ndarray
    terms: np.ndarray
    constants: np.ndarray
    decay: np.ndarray
    units: np.ndarray
    memory: np.ndarray
    test: int
    samples: int
    online: bool
    batch_excess: float
    divergence_factor: float


class March(NamedTuple):
    """State of the march after some rows: everything the next rows need.

    Attributes
    ----------
    history : History
    noise : ndarray (N, C)
        Equal-time blocks that sampling adds to the error correlation; zero for full batches.
    losses : ndarray (2, T)
        Test and train.
    """

    history: History
    noise: np.ndarray
    losses: np.ndarray


#: Scratch rows, zero right of the columns of the time at work: coefficients x[t]; response R[t]; R[t] Cov; the sum of all (R[t] Cov) R^T;
#: what a product does not give of R[t] Cov; and coefficients of products with factors. A product takes one of the first three to the next.
X, RESPONSE, SOURCE, CORRELATION, EXTRA, COEFFICIENTS = range(6)


class Work(NamedTuple):
    """Scratch, so that the compiled part allocates nothing.

    Attributes
    ----------
    rows : ndarray (6, C, N)
    factors : ndarray (3, N)
        1, d(t) d(s) and kappa(t, s) at the time t at work.
    """

    rows: np.ndarray
    factors: np.ndarray


def work(rows, outputs):
    """`Work` for so many rows."""
    n = padded(rows * outputs)
    return Work(np.zeros((6, outputs, n)), np.ones((3, n)))


@part_fast
def _add_row(history, m, t, stop, weight, factor, out):
    """out[:, :stop] += weight factor o row t of matrix number m."""
    values, base = locate(history, m)
    for c in range(out.shape[0]):
        place = uint64(base + (t * history.outputs + c) * history.size)
        for s in range(uint64(stop)):
            out[c, s] += weight * factor[s] * values[place + s]


@part_fast
def _set_factors(program, t, factors):
    outputs, decay = program.units.shape[1], program.decay
    own = decay[t * outputs]
    for c in range(outputs):
        for s in range(uint64(t + 1)):
            i = uint64(outputs) * s + uint64(c)
            factors[DECAY, i] = own * decay[i]
            factors[MEMORY, i] = program.memory[t, s]


@text
def _set_coefficients(program, history, field, t, factors, x):
    """x = row t of the terms of a field."""
    stop = (t if field.strict else t + 1) * history.outputs
    clear(x, (t + 1) * history.outputs)
    for i in range(field.terms, field.terms_stop):
        term = program.terms[i]
        if term.matrix >= 0:
            _add_row(history, term.matrix, t, stop, term.weight, factors[term.factor], x)
        else:
            for c in range(x.shape[0]):
                for s in range(uint64(stop)):
                    x[c, s] += term.weight * factors[term.factor, s] * program.units[ONE, c, s]


@part_fast
def _add_constant(row, q, weight, constant, units, out):
    """out += weight row (w w^T o (11^T (x) constant))."""
    outputs = row.shape[0]
    for c in range(outputs):
        for f in range(outputs):
            total = 0.0
            for s in range(uint64(q)):
                total += row[c, s] * units[f, s]
            for e in range(outputs):
                factor = weight * total * constant[f, e]
                for s in range(uint64(q)):
                    out[c, s] += factor * units[e, s]


@part
def _add_noise(row, q, weight, noise, out):
    """out += weight row times the noise at equal times."""
    outputs = row.shape[0]
    for first in range(0, q, outputs):
        for c in range(outputs):
            for s in range(first, first + outputs):
                for e in range(outputs):
                    out[c, first + e] += weight * row[c, s] * noise[s, e]


@text
def _set_response(program, state, field, response, t, rows, factors):
    """Row t of a response, of which rows[RESPONSE] is the product; it is stored, and then multiplied with the factor of its source."""
    history, row, extra = state.history, rows[RESPONSE], rows[EXTRA]
    outputs = history.outputs
    p, q = t * outputs, (t + 1) * outputs
    if response.scale != 1.0:
        for c in range(outputs):
            for s in range(uint64(q)):
                row[c, s] *= response.scale
    if response.unit:
        for c in range(outputs):
            row[c, p + c] = 1.0
    if response.place >= 0:
        write(history, response.place, t, 1.0, row, 0.0)
    if response.mean >= 0:
        write(history, response.mean, t, field.weight, row, field.kept)
    clear(extra, q)
    if response.fresh:
        _add_noise(row, q, response.variance, state.noise, extra)
    if response.constant >= 0:
        _add_constant(row, q, 1.0, program.constants[response.constant], program.units[response.constant_factor], extra)
    if response.factor == DECAY:
        for c in range(outputs):
            for s in range(uint64(q)):
                row[c, s] *= program.decay[s]


@text
def _set_source(program, history, response, t, rows, factors):
    """R[t] Cov, of which rows[SOURCE] is the product; for R = 1 it is row t of Cov, and the row of the correlation."""
    source, extra = rows[SOURCE], rows[EXTRA]
    q = (t + 1) * history.outputs
    if response.scale == 0.0 and response.matrix >= 0:
        _add_row(history, response.matrix, t, q, 1.0, factors[response.factor], source)
    elif response.factor == DECAY:
        for c in range(history.outputs):
            for s in range(uint64(q)):
                source[c, s] *= program.decay[s]
    for c in range(history.outputs):
        for s in range(uint64(q)):
            source[c, s] = response.weight * (response.variance * source[c, s] + extra[c, s])
    if response.scale == 0.0:
        for c in range(history.outputs):
            for s in range(uint64(q)):
                rows[CORRELATION, c, s] += source[c, s]


@text
def _sample(program, state, t, row):
    """Turn row t of the correlation of the errors into that of the samples of one step; returns the train loss."""
    outputs, train_loss = row.shape[0], 0.0
    p = t * outputs
    for c in range(outputs):
        train_loss += row[c, p + c]
        for e in range(outputs):
            if program.online:
                state.noise[p + c, e] = row[c, p + e]
            else:
                state.noise[p + c, e] = program.batch_excess * row[c, p + e]
                row[c, p + e] += state.noise[p + c, e]
        if program.online:
            for s in range(p):
                row[c, s] = 0.0
    return train_loss


@text
def _test_loss(history, m, t):
    """Trace of the newest equal-time block of a matrix."""
    values, base = locate(history, m)
    total = 0.0
    for i in range(t * history.outputs, (t + 1) * history.outputs):
        total += values[base + i * history.size + i]
    return total


@bare
def march_rows(program, state, work, first, last):
    """Compute rows first <= t < last in place; returns the number of finished rows, less than `last` where training diverges."""
    history, losses, rows = state.history, state.losses, work.rows
    for t in range(first, last):
        q = (t + 1) * history.outputs
        _set_factors(program, t, work.factors)
        for f in range(len(program.fields)):
            field = program.fields[f]
            _set_coefficients(program, history, field, t, work.factors, rows[X])
            clear(rows[CORRELATION], q)
            for r in range(field.responses, field.responses_stop):
                response = program.responses[r]
                for kind in range(3):
                    if kind != RIGHT:
                        clear(rows[kind + 1], q)
                    m = response.left if kind == LEFT else response.matrix if kind == SYMMETRIC else response.place
                    if m >= 0 and response.scale != 0.0:
                        product(history, kind, m, rows[kind], q, rows[kind + 1], rows[COEFFICIENTS])
                    if kind == LEFT:
                        _set_response(program, state, field, response, t, rows, work.factors)
                        if response.weight == 0.0:
                            break
                    elif kind == SYMMETRIC:
                        _set_source(program, history, response, t, rows, work.factors)
            if f == program.samples:
                losses[1, t] = _sample(program, state, t, rows[CORRELATION])
            if field.correlation >= 0:
                write(history, field.correlation, t, field.weight, rows[CORRELATION], field.kept)
            if f == program.test:
                losses[0, t] = _test_loss(history, field.correlation, t)
                if not losses[0, t] <= program.divergence_factor * losses[0, 0]:
                    return t
        for c in range(history.outputs):
            if not np.isfinite(rows[CORRELATION, c, t * history.outputs + c]):
                return t
    return last
