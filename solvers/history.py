"""History products: a row of coefficients times the lower triangle of everything that happened before.

All the work of a causal march is in three products with stored lower-triangular matrices: x M, y M^T, and z C with C symmetric.
`left`, `right` and `symmetric` are these products; a theory calls them and knows nothing of how they are done:

* the plain way reads every stored row once, four rows in one pass;
* order parameters are smooth in time, so their blocks away from the diagonal have low numerical rank. `compress` replaces
  finished blocks by sums of rank-one terms u v^T whose error is measured on every stored entry. A product then costs
  O(n (block + rank log n)) and not O(n^2 / 2).

The blocks form the usual binary hierarchy over intervals of rows. An interval that is a right child keeps the block that couples
it to its left sibling for good; a left child keeps one temporary block back to time zero, until its parent is complete.

Rows of a slab (the `outputs` channels of one time) are multiplied together, so that the history is read once for all.
"""

from typing import NamedTuple

import numpy as np

from .compiled import inner, inner_fast, kernel

TOLERANCE = 1e-14
_BLOCK = 64
_SHORTEST = 640
_GROUP = 4
_PERMANENT, _TEMPORARY = 0, 1


class History(NamedTuple):
    """Stored lower-triangular matrices and the low-rank form of their far past.

    Attributes
    ----------
    reported, internal : ndarray (matrices, n, n)
        The matrices, written row by row; entries right of a row's slab are never read. Numbers run through `reported`, which
        outlives the march, and on through `internal`.
    outputs : int
        Rows per time step.
    block : int
        Size of the dense diagonal blocks of the compressed rows.
    compressed : ndarray (1,), int
        Rows below this index are held as dense diagonal blocks plus rank-one terms.
    diagonal : ndarray (matrices, blocks, block, block)
        Contiguous copies of the diagonal blocks.
    terms : ndarray (2, matrices, capacity, 6), int
        Row start and stop, column start and stop, places of u (rows) and v (columns) in `factors`, of every permanent and
        every temporary rank-one term.
    counts : ndarray (2, matrices), int
        Number of terms in use.
    factors : ndarray (2, matrices, capacity)
        The vectors u and v of all terms.
    scale : ndarray (matrices,)
        Largest absolute entry so far.
    """

    reported: np.ndarray
    internal: np.ndarray
    outputs: int
    block: int
    compressed: np.ndarray
    diagonal: np.ndarray
    terms: np.ndarray
    counts: np.ndarray
    factors: np.ndarray
    scale: np.ndarray


def empty(reported, internal, rows, outputs):
    """A `History` of so many reported and internal matrices for `rows` time steps of `outputs` channels, nothing written."""
    n = rows * outputs
    matrices = reported + internal
    return History(
        reported=np.zeros((reported, n, n)),
        internal=np.zeros((internal, n, n)),
        outputs=outputs,
        block=_BLOCK * outputs,
        compressed=np.zeros(1, np.int64),
        diagonal=np.zeros((matrices, 0, _BLOCK * outputs, _BLOCK * outputs)),
        terms=np.zeros((2, matrices, 0, 6), np.int64),
        counts=np.zeros((2, matrices), np.int64),
        factors=np.zeros((2, matrices, 0)),
        scale=np.zeros(matrices),
    )


@inner_fast
def _add_left(triangle, start, stop, x, origin, outputs, out):
    """out += x M over rows start:stop of a lower triangle whose first row and column are number `origin` of x and out."""
    for c in range(x.shape[0]):
        for s in range(start, stop, _GROUP):
            first, last = 0, min(s + _GROUP, stop)
            if last == s + _GROUP:
                first = s - s % outputs + outputs
                i = origin + s
                a0, a1, a2, a3 = x[c, i], x[c, i + 1], x[c, i + 2], x[c, i + 3]
                for j in range(first):
                    out[c, origin + j] += a0 * triangle[s, j] + a1 * triangle[s + 1, j] + a2 * triangle[s + 2, j] + a3 * triangle[s + 3, j]
            for i in range(s, last):
                for j in range(first, i - i % outputs + outputs):
                    out[c, origin + j] += x[c, origin + i] * triangle[i, j]


@inner_fast
def _add_right(triangle, start, stop, y, origin, outputs, out):
    """out += y M^T over the same rows."""
    for c in range(y.shape[0]):
        for s in range(start, stop, _GROUP):
            first, last = 0, min(s + _GROUP, stop)
            if last == s + _GROUP:
                first = s - s % outputs + outputs
                t0 = t1 = t2 = t3 = 0.0
                for j in range(first):
                    yj = y[c, origin + j]
                    t0 += triangle[s, j] * yj
                    t1 += triangle[s + 1, j] * yj
                    t2 += triangle[s + 2, j] * yj
                    t3 += triangle[s + 3, j] * yj
                i = origin + s
                out[c, i] += t0
                out[c, i + 1] += t1
                out[c, i + 2] += t2
                out[c, i + 3] += t3
            for i in range(s, last):
                total = 0.0
                for j in range(first, i - i % outputs + outputs):
                    total += triangle[i, j] * y[c, origin + j]
                out[c, origin + i] += total


@inner_fast
def _add_symmetric(triangle, start, stop, z, origin, out):
    """out += z C over the same rows, both triangles of the symmetric C at once."""
    for c in range(z.shape[0]):
        for s in range(start, stop, _GROUP):
            first, last = 0, min(s + _GROUP, stop)
            if last == s + _GROUP:
                first = s
                i = origin + s
                a0, a1, a2, a3 = z[c, i], z[c, i + 1], z[c, i + 2], z[c, i + 3]
                t0 = t1 = t2 = t3 = 0.0
                for j in range(s):
                    m0, m1, m2, m3, zj = triangle[s, j], triangle[s + 1, j], triangle[s + 2, j], triangle[s + 3, j], z[c, origin + j]
                    out[c, origin + j] += a0 * m0 + a1 * m1 + a2 * m2 + a3 * m3
                    t0 += m0 * zj
                    t1 += m1 * zj
                    t2 += m2 * zj
                    t3 += m3 * zj
                out[c, i] += t0
                out[c, i + 1] += t1
                out[c, i + 2] += t2
                out[c, i + 3] += t3
            for i in range(s, last):
                total = triangle[i, i] * z[c, origin + i]
                for j in range(first, i):
                    total += triangle[i, j] * z[c, origin + j]
                    out[c, origin + j] += z[c, origin + i] * triangle[i, j]
                out[c, origin + i] += total


@inner_fast
def _add_term(factors, u, v, x, row, row_stop, out, column, column_stop):
    """out[column:column_stop] += (x[row:row_stop] . u) v, with the vectors at places u and v of `factors`."""
    for c in range(x.shape[0]):
        total = 0.0
        for i in range(row_stop - row):
            total += factors[u + i] * x[c, row + i]
        for j in range(column_stop - column):
            out[c, column + j] += total * factors[v + j]


@inner
def clear(rows, p):
    """rows[:, :p] = 0."""
    for c in range(rows.shape[0]):
        for s in range(p):
            rows[c, s] = 0.0


@inner
def matrix(history, m):
    """Matrix number m, shape (n, n)."""
    reported = history.reported.shape[0]
    return history.reported[m] if m < reported else history.internal[m - reported]


@kernel
def left(history, m, x, p, out):
    """out[:, :p] = x[:, :p] M[:p, :p] for matrix number m; x and out have shape (outputs, >= p)."""
    clear(out, p)
    compressed, block = history.compressed[0], history.block
    _add_left(matrix(history, m), compressed, p, x, 0, history.outputs, out)
    for i in range(compressed // block):
        _add_left(history.diagonal[m, i], 0, block, x, i * block, history.outputs, out)
    for lifetime in range(2):
        for i in range(history.counts[lifetime, m]):
            row, row_stop, column, column_stop, u, v = history.terms[lifetime, m, i]
            _add_term(history.factors[lifetime, m], u, v, x, row, row_stop, out, column, column_stop)


@kernel
def right(history, m, y, p, out):
    """out[:, :p] = y[:, :p] M[:p, :p]^T for matrix number m."""
    clear(out, p)
    compressed, block = history.compressed[0], history.block
    _add_right(matrix(history, m), compressed, p, y, 0, history.outputs, out)
    for i in range(compressed // block):
        _add_right(history.diagonal[m, i], 0, block, y, i * block, history.outputs, out)
    for lifetime in range(2):
        for i in range(history.counts[lifetime, m]):
            row, row_stop, column, column_stop, u, v = history.terms[lifetime, m, i]
            _add_term(history.factors[lifetime, m], v, u, y, column, column_stop, out, row, row_stop)


@kernel
def symmetric(history, m, z, p, out):
    """out[:, :p] = z[:, :p] C[:p, :p] with the symmetric matrix whose lower triangle is matrix number m."""
    clear(out, p)
    compressed, block = history.compressed[0], history.block
    _add_symmetric(matrix(history, m), compressed, p, z, 0, out)
    for i in range(compressed // block):
        _add_symmetric(history.diagonal[m, i], 0, block, z, i * block, out)
    for lifetime in range(2):
        factors = history.factors[lifetime, m]
        for i in range(history.counts[lifetime, m]):
            row, row_stop, column, column_stop, u, v = history.terms[lifetime, m, i]
            _add_term(factors, u, v, z, row, row_stop, out, column, column_stop)
            _add_term(factors, v, u, z, column, column_stop, out, row, row_stop)


@inner
def write(history, m, t, row):
    """Store `row`, shape (outputs, >= (t + 1) outputs), as time row t of matrix number m."""
    start, target = t * history.outputs, matrix(history, m)
    for c in range(history.outputs):
        for s in range(start + history.outputs):
            target[start + c, s] = row[c, s]


def low_rank_size(rows, outputs):
    """Numbers that the low-rank form of one matrix of a smooth history takes while it grows: measured, within a third."""
    return 0 if rows < _SHORTEST else 300 * rows * outputs**2


def compress(history, rows):
    """Take the low-rank form of all complete blocks among the first `rows` times; returns the `History` that has it.

    Short histories stay as they are. The error of every entry is at most `TOLERANCE` times the largest entry of its matrix; a
    block that is not of low rank is kept exactly, as one term per row.
    """
    block = history.block
    if history.reported.shape[1] < _SHORTEST * history.outputs:
        return history
    while history.compressed[0] + block <= rows * history.outputs:
        begin, stop = int(history.compressed[0]), int(history.compressed[0]) + block
        history = history._replace(diagonal=_grown(history.diagonal, 1, stop // block))
        for m, values in enumerate(_all(history)):
            history.diagonal[m, begin // block] = values[begin:stop, begin:stop]
            history.scale[m] = max(history.scale[m], np.abs(values[begin:stop, :stop]).max())
        width = block
        while begin // width % 2 == 1:
            history = _add_block(history, _PERMANENT, begin, stop, begin - width, begin)
            begin -= width
            width *= 2
        _drop_temporary(history, begin)
        if begin > 0:
            history = _add_block(history, _TEMPORARY, begin, stop, 0, begin)
        history.compressed[0] = stop
    return history


def _all(history):
    return *history.reported, *history.internal


def _drop_temporary(history, begin):
    """Forget the temporary terms of the rows from `begin` on: their parent interval is complete."""
    for m, count in enumerate(history.counts[_TEMPORARY]):
        history.counts[_TEMPORARY, m] = np.searchsorted(history.terms[_TEMPORARY, m, :count, 0], begin)


def _add_block(history, lifetime, row, row_stop, column, column_stop):
    factorized = [
        _low_rank(values[row:row_stop, column:column_stop], TOLERANCE * scale) for values, scale in zip(_all(history), history.scale)
    ]
    heights = row_stop - row, column_stop - column
    counts = history.counts[lifetime]
    tops = np.zeros(len(counts), np.int64)
    for m, count in enumerate(counts):
        if count:
            *_, start, stop, _, place = history.terms[lifetime, m, count - 1]
            tops[m] = place + stop - start
    ranks = np.array([len(u) for u, _ in factorized])
    history = history._replace(
        terms=_grown(history.terms, 2, (counts + ranks).max()),
        factors=_grown(history.factors, 2, (tops + ranks * sum(heights)).max()),
    )
    for m, (u, v) in enumerate(factorized):
        size_u, size_v, top, count, rank = u.size, v.size, tops[m], counts[m], ranks[m]
        history.factors[lifetime, m, top : top + size_u] = u.ravel()
        history.factors[lifetime, m, top + size_u : top + size_u + size_v] = v.ravel()
        terms = history.terms[lifetime, m, count : count + rank]
        terms[:, :4] = row, row_stop, column, column_stop
        terms[:, 4] = top + np.arange(rank) * heights[0]
        terms[:, 5] = top + size_u + np.arange(rank) * heights[1]
    counts += ranks
    return history


def _grown(array, axis, size):
    """`array` with room for at least `size` entries along `axis`."""
    have = array.shape[axis]
    if size <= have:
        return array
    grown = np.zeros(array.shape[:axis] + (max(size, 3 * have // 2),) + array.shape[axis + 1 :], array.dtype)
    grown[(slice(None),) * axis + (slice(have),)] = array
    return grown


@inner_fast
def _residual_row(matrix, i, u, v, rank, out):
    """out = row i of matrix - u^T v."""
    for j in range(matrix.shape[1]):
        out[j] = matrix[i, j]
    for k in range(rank):
        for j in range(matrix.shape[1]):
            out[j] -= u[k, i] * v[k, j]


@inner
def _largest(row):
    best = 0
    for j in range(len(row)):
        if abs(row[j]) > abs(row[best]):
            best = j
    return best


@kernel
def _cross(matrix, tolerance, u, v):
    """Fill u (rank, rows) and v (rank, columns) with matrix = u^T v to `tolerance`, entry by entry, by adaptive crosses.

    Returns the rank, or -1 where len(u) crosses do not suffice. The crosses follow the largest entries of their own rows and
    columns; what they leave is then measured everywhere, and its largest row starts the next cross.
    """
    height, width = matrix.shape
    row, i, rank = np.zeros(width), height - 1, 0
    while True:
        _residual_row(matrix, i, u, v, rank, row)
        j = _largest(row)
        pivot = row[j]
        if abs(pivot) <= tolerance:
            worst, i = tolerance, -1
            for candidate in range(height):
                _residual_row(matrix, candidate, u, v, rank, row)
                error = abs(row[_largest(row)])
                if not error <= worst:
                    worst, i = error, candidate
            if i < 0:
                return rank
            continue
        if rank == len(u):
            return -1
        for other in range(height):
            total = matrix[other, j]
            for k in range(rank):
                total -= u[k, other] * v[k, j]
            u[rank, other] = total / pivot
        for column in range(width):
            v[rank, column] = row[column]
        used = i
        i = 0 if used else 1
        for other in range(height):
            if other != used and abs(u[rank, other]) > abs(u[rank, i]):
                i = other
        rank += 1


def _low_rank(matrix, tolerance):
    """u (rank, rows) and v (rank, columns) with matrix = u^T v; one term per row where the rank is not low."""
    height, width = matrix.shape
    u, v = np.empty((height // 2, height)), np.empty((height // 2, width))
    rank = _cross(matrix, tolerance, u, v)
    return (np.eye(height), matrix) if rank < 0 else (u[:rank], v[:rank])
