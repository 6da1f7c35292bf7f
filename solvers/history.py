"""History products: a row of coefficients times the lower triangle of everything that happened before.

All the work of a causal march is in three products with stored lower-triangular matrices: x M, y M^T, and z C with C symmetric.
`product` does these three, `LEFT`, `RIGHT` and `SYMMETRIC`; a theory calls it and knows nothing of how. Each reads the stored numbers
once, several rows in one pass, for all rows of a slab (the `outputs` channels of one time) together.

A matrix is a list of blocks. The rows from `finished` on are one dense block; the older ones are whatever `low_rank_history` has made
of them: dense blocks and blocks of low rank u^T v, which are two products with the factors u and v in place of one with the block.

Matrices and rows are padded with zeros to multiples of `PAD`, and entries right of a row's slab are zeros: every pass runs over
whole groups of rows and columns.
"""

from typing import NamedTuple

import numpy as np
from numba import uint64

from .compiled import part, part_fast, text

#: Rows and columns of stored matrices come in multiples of this.
PAD = 8
#: Rows in one pass, and hence what the ranks of blocks are multiples of.
RANKS = 4

#: Kinds of products.
LEFT, SYMMETRIC, RIGHT = range(3)

#: Values of the rank of a dense block that is read from the matrix, or from a contiguous copy among the factors.
IN_PLACE, COPIED = -2, -1


class History(NamedTuple):
    """Stored lower-triangular matrices and the blocks of their far past.

    Attributes
    ----------
    reported, internal : ndarray (matrices * N * N,)
        The matrices, (N, N) each, written row by row. Numbers run through `reported`, which outlives the march, and on through
        `internal`.
    size : int
        N, the number of rows of a matrix with the padding.
    outputs : int
        Rows per time step.
    blocks : ndarray (blocks, 6), int
        Row, rows, column, width, rank and place of the blocks that the rows below `finished` consist of, matrix after matrix.
    starts : ndarray (matrices + 1,), int
        Where the blocks of every matrix start and stop.
    factors : ndarray
        Of a block of low rank, u (rank, rows) and v (rank, width) from its place on; of a copied one, itself.
    scale : ndarray (matrices,)
        Largest absolute entry below `finished`.
    finished : int
    """

    reported: np.ndarray
    internal: np.ndarray
    size: int
    outputs: int
    blocks: np.ndarray
    starts: np.ndarray
    factors: np.ndarray
    scale: np.ndarray
    finished: int


def padded(size):
    """The next multiple of `PAD`."""
    return -(-size // PAD) * PAD


def empty(reported, internal, rows, outputs):
    """A `History` of so many reported and internal matrices for `rows` time steps of `outputs` channels, nothing written."""
    n, matrices = padded(rows * outputs), reported + internal
    return History(
        reported=np.zeros(reported * n * n),
        internal=np.zeros(internal * n * n),
        size=n,
        outputs=outputs,
        blocks=np.zeros((0, 6), np.int64),
        starts=np.zeros(matrices + 1, np.int64),
        factors=np.zeros(0),
        scale=np.zeros(matrices),
        finished=0,
    )


def matrices(history):
    """All matrices, views (N, N) in the order of their numbers."""
    n = history.size
    return [*history.reported.reshape(-1, n, n), *history.internal.reshape(-1, n, n)]


@part_fast
def _add_left(values, place, stride, rows, lead, width, x, row, out, column):
    """out[:, column:] += x[:, row:] M for the block M (rows, width) at a place in `values`; `lead` columns of its first row count."""
    offset = uint64(column)
    for i in range(0, rows, RANKS):
        stop = uint64(min(width, (lead + i + PAD - 1) // PAD * PAD))
        m0 = uint64(place + i * stride)
        m1, m2, m3 = m0 + uint64(stride), m0 + uint64(2 * stride), m0 + uint64(3 * stride)
        for c in range(x.shape[0]):
            x0, x1, x2, x3 = x[c, row + i], x[c, row + i + 1], x[c, row + i + 2], x[c, row + i + 3]
            for j in range(stop):
                out[c, offset + j] += x0 * values[m0 + j] + x1 * values[m1 + j] + x2 * values[m2 + j] + x3 * values[m3 + j]


@part_fast
def _add_right(values, place, stride, rows, lead, width, y, column, out, row):
    """out[:, row:] += y[:, column:] M^T for the same block."""
    offset = uint64(column)
    for i in range(0, rows, RANKS):
        stop = uint64(min(width, (lead + i + PAD - 1) // PAD * PAD))
        m0 = uint64(place + i * stride)
        m1, m2, m3 = m0 + uint64(stride), m0 + uint64(2 * stride), m0 + uint64(3 * stride)
        for c in range(y.shape[0]):
            t0 = t1 = t2 = t3 = 0.0
            for j in range(stop):
                v = y[c, offset + j]
                t0 += values[m0 + j] * v
                t1 += values[m1 + j] * v
                t2 += values[m2 + j] * v
                t3 += values[m3 + j] * v
            out[c, row + i] += t0
            out[c, row + i + 1] += t1
            out[c, row + i + 2] += t2
            out[c, row + i + 3] += t3


@part_fast
def _add_symmetric(values, place, stride, rows, lead, width, z, row, out, column):
    """Both of them in one pass: out[:, column:] += z[:, row:] M and out[:, row:] += z[:, column:] M^T."""
    offset = uint64(column)
    for i in range(0, rows, RANKS):
        stop = uint64(min(width, (lead + i + PAD - 1) // PAD * PAD))
        m0 = uint64(place + i * stride)
        m1, m2, m3 = m0 + uint64(stride), m0 + uint64(2 * stride), m0 + uint64(3 * stride)
        for c in range(z.shape[0]):
            z0, z1, z2, z3 = z[c, row + i], z[c, row + i + 1], z[c, row + i + 2], z[c, row + i + 3]
            t0 = t1 = t2 = t3 = 0.0
            for j in range(stop):
                v, v0, v1, v2, v3 = z[c, offset + j], values[m0 + j], values[m1 + j], values[m2 + j], values[m3 + j]
                out[c, offset + j] += z0 * v0 + z1 * v1 + z2 * v2 + z3 * v3
                t0 += v0 * v
                t1 += v1 * v
                t2 += v2 * v
                t3 += v3 * v
            out[c, row + i] += t0
            out[c, row + i + 1] += t1
            out[c, row + i + 2] += t2
            out[c, row + i + 3] += t3


@part
def _subtract_diagonal(values, place, stride, rows, outputs, z, row, out):
    """Of a block on the diagonal, `_add_symmetric` has added the slabs on the diagonal twice."""
    if outputs == 1:
        for i in range(rows):
            out[0, row + i] -= values[place + i * stride + i] * z[0, row + i]
        return
    for first in range(0, rows, outputs):
        for c in range(outputs):
            for i in range(first, first + outputs):
                for e in range(first, first + outputs):
                    out[c, row + i] -= values[place + i * stride + e] * z[c, row + e]


@part
def clear(rows, p):
    """rows[:, :p] = 0, up to the padding."""
    for c in range(rows.shape[0]):
        for s in range(uint64(-(-p // PAD) * PAD)):
            rows[c, s] = 0.0


@part
def locate(history, m):
    """The array that matrix number m is in, and the place of its first entry."""
    base, reported = m * history.size * history.size, history.reported.shape[0]
    if base < reported:
        return history.reported, base
    return history.internal, base - reported


@text
def product(history, kind, m, x, p, out, coefficients):
    """out[:, :p] += x[:, :p] times M, M^T or C, for the leading p rows and columns of matrix number m.

    M is lower triangular, C symmetric with this lower triangle. x is zero from p on up to the padding; x and out have shape
    (outputs, >= padded p). `coefficients`, (outputs, N), is scratch for products with factors.
    """
    values, base = locate(history, m)
    factors, size, outputs, last, origin = history.factors, history.size, history.outputs, history.starts[m + 1], base - base
    for b in range(history.starts[m], last + 1):
        if b < last:
            row, rows, column, width, rank, place = history.blocks[b]
        else:
            row, rows, column, width, rank, place = history.finished, p - history.finished, 0, -(-p // PAD) * PAD, IN_PLACE, 0
        if rank >= 0:
            u, v = place, place + rank * rows
            if kind != RIGHT:
                clear(coefficients, rank)
                _add_right(factors, u, rows, rank, rows, rows, x, row, coefficients, origin)
                _add_left(factors, v, width, rank, width, width, coefficients, origin, out, column)
            if kind != LEFT:
                clear(coefficients, rank)
                _add_right(factors, v, width, rank, width, width, x, column, coefficients, origin)
                _add_left(factors, u, rows, rank, rows, rows, coefficients, origin, out, row)
            continue
        stored, stride, lead = factors, width, row - column + outputs + RANKS - 1
        if rank == IN_PLACE:
            stored, stride, place = values, size, base + row * size + column
        if kind == LEFT:
            _add_left(stored, place, stride, rows, lead, width, x, row, out, column)
        elif kind == RIGHT:
            _add_right(stored, place, stride, rows, lead, width, x, column, out, row)
        else:
            _add_symmetric(stored, place, stride, rows, lead, width, x, row, out, column)
            if row < column + width:
                _subtract_diagonal(stored, place + row - column, stride, rows, outputs, x, row, out)


@part_fast
def write(history, m, t, weight, row, kept):
    """Time row t of matrix number m = weight row + kept (0 or 1) times what is there; `row` has shape (outputs, >= (t + 1) outputs)."""
    values, base = locate(history, m)
    start = t * history.outputs
    for c in range(history.outputs):
        place = uint64(base + (start + c) * history.size)
        for s in range(uint64(start + history.outputs)):
            values[place + s] = weight * row[c, s] + kept * values[place + s]
