"""The one building block of every linear theory: two fields that drive each other,

    h = a + A g,    g = b + B h,    <a a> = Ca,  <b b> = Cb,

A lower triangular, B strictly lower triangular in time (theory/deep_linear.md, section 1). With the responses
H = dh/da, Rh = dh/db, G = dg/db, Rg = dg/da, row t follows from the rows before it, first g and then h:

    Rg[t] = B[t] H          G[t] = 1 + B[t] Rh        Cg[t] = (Rg[t] Ca) Rg^T + (G[t] Cb) G^T
    H[t] = 1 + A[t] Rg      Rh[t] = A[t] G            Ch[t] = (H[t] Ca) H^T + (Rh[t] Cb) Rh^T

No inverse and no fixed point: the row march is exact. A, B, Rh and Rg are scaled responses (see `linear_problem`), which puts
the `coupling` c in front of every product of two of them. With several outputs "row t" is a slab of rows.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from .history import left, right, symmetric, write


class TwoField(NamedTuple):
    """Places of the four response matrices of one block in the history, and its coupling."""

    H: int
    Rh: int
    G: int
    Rg: int
    coupling: float


class Source(NamedTuple):
    """Covariance of a source field: scale * (decay decay^T o C + diagonal) + (weight weight^T) o (11^T (x) constant).

    Attributes
    ----------
    matrix : int
        Place of C in the history; -1: none.
    scale : float
    decay, weight : ndarray (n,)
    constant : ndarray (outputs, outputs)
    diagonal : ndarray (n, outputs)
        Blocks at equal times, the noise of fresh samples; shape (0, outputs) where there is none.
    """

    matrix: int
    scale: float
    decay: np.ndarray
    diagonal: np.ndarray
    weight: np.ndarray
    constant: np.ndarray


class Rows(NamedTuple):
    """Slabs of shape (outputs, n) for the row at work, so that the march allocates nothing.

    `kernel` holds the coefficients A[t] or B[t] and `correlation` the resulting row of Cg or Ch; the others are scratch.
    """

    kernel: np.ndarray
    correlation: np.ndarray
    first: np.ndarray
    second: np.ndarray
    source: np.ndarray
    product: np.ndarray


@njit(cache=True)
def _scale(row, p, factor):
    for c in range(row.shape[0]):
        for s in range(p):
            row[c, s] *= factor


@njit(cache=True)
def _weigh(row, p, weight):
    for c in range(row.shape[0]):
        for s in range(p):
            row[c, s] *= weight[s]


@njit(cache=True)
def _add(row, p, factor, other):
    for c in range(row.shape[0]):
        for s in range(p):
            row[c, s] += factor * other[c, s]


@njit(cache=True)
def _set_unit(row, p):
    """The new slab's own block: the unit matrix."""
    for c in range(row.shape[0]):
        for e in range(row.shape[0]):
            row[c, p + e] = 1.0 if c == e else 0.0


@njit(cache=True)
def times_source(history, source, x, p, out, scratch):
    """out[:, :p] = x[:, :p] Cov[:p, :p] for the covariance of a `Source`."""
    outputs = x.shape[0]
    _scale(out, p, 0.0)
    if source.scale != 0.0:
        if source.matrix >= 0:
            _scale(scratch, p, 0.0)
            _add(scratch, p, 1.0, x)
            _weigh(scratch, p, source.decay)
            symmetric(history, source.matrix, scratch, p, out)
            _weigh(out, p, source.decay)
        if source.diagonal.shape[0] > 0:
            for c in range(outputs):
                for s in range(p):
                    for e in range(outputs):
                        out[c, s - s % outputs + e] += x[c, s] * source.diagonal[s, e]
        _scale(out, p, source.scale)
    for f in range(outputs):
        for e in range(outputs):
            if source.constant[f, e] != 0.0:
                for c in range(outputs):
                    total = 0.0
                    for s in range(f, p, outputs):
                        total += x[c, s] * source.weight[s]
                    total *= source.constant[f, e]
                    for s in range(e, p, outputs):
                        out[c, s] += total * source.weight[s]


@njit(cache=True)
def add_correlation(history, response, row, source, scale, p, rows):
    """rows.correlation[:, :p] += scale * (row Cov) R^T with response matrix number `response`, whose new row is `row`."""
    times_source(history, source, row, p, rows.source, rows.product)
    right(history, response, rows.source, p, rows.product)
    _add(rows.correlation, p, scale, rows.product)


@njit(cache=True)
def backward(history, block, t, a, b, rows):
    """Row t of g: writes Rg[t] and G[t], leaves Cg[t] in `rows.correlation`; B[t] is in `rows.kernel`."""
    p, q = t * history.outputs, (t + 1) * history.outputs
    left(history, block.H, rows.kernel, p, rows.first)
    left(history, block.Rh, rows.kernel, p, rows.second)
    rows.first[:, p:q] = 0.0
    _scale(rows.second, p, block.coupling)
    _set_unit(rows.second, p)
    write(history, block.Rg, t, rows.first)
    write(history, block.G, t, rows.second)
    _scale(rows.correlation, q, 0.0)
    add_correlation(history, block.Rg, rows.first, a, block.coupling, q, rows)
    add_correlation(history, block.G, rows.second, b, 1.0, q, rows)


@njit(cache=True)
def forward(history, block, t, a, b, rows):
    """Row t of h: writes H[t] and Rh[t], leaves Ch[t] in `rows.correlation`; A[t] is in `rows.kernel`."""
    p, q = t * history.outputs, (t + 1) * history.outputs
    left(history, block.Rg, rows.kernel, q, rows.first)
    left(history, block.G, rows.kernel, q, rows.second)
    _scale(rows.first, p, block.coupling)
    _set_unit(rows.first, p)
    write(history, block.H, t, rows.first)
    write(history, block.Rh, t, rows.second)
    _scale(rows.correlation, q, 0.0)
    add_correlation(history, block.H, rows.first, a, 1.0, q, rows)
    add_correlation(history, block.Rh, rows.second, b, block.coupling, q, rows)
