"""The one building block of every linear theory: two fields that drive each other,

    h = a + A g,    g = b + B h,    <a a> = Ca,  <b b> = Cb,

A lower triangular, B strictly lower triangular in time (docs/theory/deep_linear.md, section 1). With the responses
H = dh/da, Rh = dh/db, G = dg/db, Rg = dg/da, row t follows from the rows before it, first g and then h:

    Rg[t] = B[t] H          G[t] = 1 + B[t] Rh        Cg[t] = (Rg[t] Ca) Rg^T + (G[t] Cb) G^T
    H[t] = 1 + A[t] Rg      Rh[t] = A[t] G            Ch[t] = (H[t] Ca) H^T + (Rh[t] Cb) Rh^T

No inverse and no fixed point: the row march is exact. A, B, Rh and Rg are scaled responses (see `linear_problem`), which puts
the `coupling` c in front of every product of two of them. With several outputs "row t" is a slab of rows.
"""

from typing import NamedTuple

import numpy as np

from .compiled import inner
from .history import clear, left, right, symmetric, write


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
    """Slabs (outputs, n) of the row at work, so that the march allocates nothing.

    Attributes
    ----------
    kernel : ndarray (outputs, n)
        The coefficients A[t] or B[t].
    correlation : ndarray (outputs, n)
        The resulting row of Cg or Ch.
    responses : ndarray (2, outputs, n)
        The resulting rows of Rg and G, or of H and Rh.
    sources, products : ndarray (2, outputs, n)
        Scratch.
    """

    kernel: np.ndarray
    correlation: np.ndarray
    responses: np.ndarray
    sources: np.ndarray
    products: np.ndarray


def empty_rows(outputs, n):
    """`Rows` of zeros."""
    return Rows(np.zeros((outputs, n)), np.zeros((outputs, n)), *np.zeros((3, 2, outputs, n)))


@inner
def _scale(row, p, factor):
    for c in range(row.shape[0]):
        for s in range(p):
            row[c, s] *= factor


@inner
def _weigh(row, p, weight):
    for c in range(row.shape[0]):
        for s in range(p):
            row[c, s] *= weight[s]


@inner
def _set_unit(row, p):
    """The new slab's own block: the unit matrix."""
    for c in range(row.shape[0]):
        for e in range(row.shape[0]):
            row[c, p + e] = 1.0 if c == e else 0.0


@inner
def times_source(history, source, x, p, out, scratch):
    """out[:, :p] = x[:, :p] Cov[:p, :p] for the covariance of a `Source`."""
    outputs = x.shape[0]
    clear(out, p)
    if source.scale != 0.0:
        if source.matrix >= 0:
            for c in range(outputs):
                for s in range(p):
                    scratch[c, s] = x[c, s] * source.decay[s]
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


@inner
def correlate(history, response, row, source, p, scratch, out):
    """out[:, :p] = (row Cov) R^T with response matrix number `response`, whose newest row is `row`."""
    times_source(history, source, row, p, scratch, out)
    right(history, response, scratch, p, out)


@inner
def _respond(history, first, second, p, rows):
    """rows.responses = kernel times two response matrices."""
    left(history, first, rows.kernel, p, rows.responses[0])
    left(history, second, rows.kernel, p, rows.responses[1])


@inner
def _correlate(history, first, second, a, b, scale_a, scale_b, p, rows):
    """rows.correlation = scale_a (responses[0] Ca) R_first^T + scale_b (responses[1] Cb) R_second^T."""
    correlate(history, first, rows.responses[0], a, p, rows.sources[0], rows.products[0])
    correlate(history, second, rows.responses[1], b, p, rows.sources[1], rows.products[1])
    for c in range(rows.correlation.shape[0]):
        for s in range(p):
            rows.correlation[c, s] = scale_a * rows.products[0, c, s] + scale_b * rows.products[1, c, s]


@inner
def backward(history, block, t, a, b, rows):
    """Row t of g: writes Rg[t] and G[t], leaves Cg[t] in `rows.correlation`; B[t] is in `rows.kernel`."""
    p, q = t * history.outputs, (t + 1) * history.outputs
    _respond(history, block.H, block.Rh, p, rows)
    for c in range(history.outputs):
        for s in range(p, q):
            rows.responses[0, c, s] = 0.0
    _scale(rows.responses[1], p, block.coupling)
    _set_unit(rows.responses[1], p)
    write(history, block.Rg, t, rows.responses[0])
    write(history, block.G, t, rows.responses[1])
    _correlate(history, block.Rg, block.G, a, b, block.coupling, 1.0, q, rows)


@inner
def forward(history, block, t, a, b, rows):
    """Row t of h: writes H[t] and Rh[t], leaves Ch[t] in `rows.correlation`; A[t] is in `rows.kernel`."""
    p, q = t * history.outputs, (t + 1) * history.outputs
    _respond(history, block.Rg, block.G, q, rows)
    _scale(rows.responses[0], p, block.coupling)
    _set_unit(rows.responses[0], p)
    write(history, block.H, t, rows.responses[0])
    write(history, block.Rh, t, rows.responses[1])
    _correlate(history, block.H, block.Rh, a, b, 1.0, block.coupling, q, rows)
