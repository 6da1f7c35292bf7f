"""Low-rank form of the far past of a `history`, block by block, while it grows and where it is smaller than the block.

Order parameters are smooth in time, so their blocks away from the diagonal have low numerical rank. `compress` replaces finished
blocks by products u^T v whose error is measured on every stored entry. A product with the history then costs O(n (block + rank log n))
and not O(n^2 / 2). Near the edge of stability ranks are high: such blocks stay what they are.

The blocks form the usual binary hierarchy over intervals of rows. An interval that is a right child keeps the block that couples
it to its left sibling for good; a left child keeps one block back to time zero, until its parent is complete.
"""

from typing import NamedTuple

import numpy as np

from .compiled import inner, inner_fast, kernel
from .history import COPIED, IN_PLACE, RANKS, matrices, padded

TOLERANCE = 1e-14
_BLOCK = 64
_SHORTEST = 640
#: A low-rank form is taken where it has less than this share of the numbers of the block, and at most so many terms.
_SHARE, _LARGEST_RANK = 0.7, 128
#: Dense blocks up to this width are copied, so that they are read without gaps.
_COPIED = 128


def low_rank_size(rows, outputs):
    """Numbers that the low-rank form of one matrix of a smooth history takes while it grows: measured, within a third."""
    return 0 if padded(rows * outputs) < _SHORTEST * outputs else 300 * rows * outputs**2


class Block(NamedTuple):
    """Part of a matrix, and its copy or its factors."""

    row: int
    rows: int
    column: int
    width: int
    rank: int
    numbers: np.ndarray


def compress(history, numbers, rows):
    """Take the low-rank form of all complete blocks among the first `rows` times of some matrices; returns the `History` that has it.

    Short histories stay as they are. The error of every entry is at most `TOLERANCE` times the largest entry of its matrix.
    """
    size = _BLOCK * history.outputs
    if history.size < _SHORTEST * history.outputs or history.finished + size > rows * history.outputs:
        return history
    values = matrices(history)
    blocks = [_blocks(history, m) for m in range(len(values))]
    while history.finished + size <= rows * history.outputs:
        begin, stop = history.finished, history.finished + size
        for m in numbers:
            history.scale[m] = max(history.scale[m], np.abs(values[m][begin:stop, :stop]).max())
            for row, height, column, width in _new_blocks(begin, stop):
                blocks[m] = [old for old in blocks[m] if old.row < row or old.column >= column + width]
                blocks[m].append(_block(values[m], row, height, column, width, TOLERANCE * history.scale[m]))
        history = history._replace(finished=stop)
    return _with(history, blocks)


def _new_blocks(begin, stop):
    """Row, rows, column and width of the blocks that the rows from `begin` to `stop` complete; each replaces the older ones below it."""
    yield begin, stop - begin, begin, stop - begin
    width = stop - begin
    while begin // width % 2 == 1:
        yield begin, stop - begin, begin - width, width
        begin -= width
        width *= 2
    if begin > 0:
        yield begin, stop - begin, 0, begin


def _blocks(history, m):
    """The blocks of matrix number m."""
    found = []
    for row, rows, column, width, rank, place in history.blocks[history.starts[m] : history.starts[m + 1]].tolist():
        size = {IN_PLACE: 0, COPIED: rows * width}.get(rank, rank * (rows + width))
        found.append(Block(row, rows, column, width, rank, history.factors[place : place + size]))
    return found


def _with(history, blocks):
    """The history with these lists of blocks of all matrices."""
    every = [block for some in blocks for block in some]
    places = np.cumsum([0] + [block.numbers.size for block in every])
    return history._replace(
        blocks=np.array([(*block[:5], place) for block, place in zip(every, places)], np.int64).reshape(-1, 6),
        starts=np.cumsum([0] + [len(some) for some in blocks]),
        factors=np.concatenate([np.zeros(0), *(block.numbers.ravel() for block in every)]),
    )


def _block(matrix, row, rows, column, width, tolerance):
    """A block of a matrix in the smallest form."""
    values = matrix[row : row + rows, column : column + width]
    if column < row:
        most = int(min(_SHARE * rows * width / (rows + width), _LARGEST_RANK)) // RANKS * RANKS
        u, v = np.zeros((most, rows)), np.zeros((most, width))
        rank = _cross(values, tolerance, u, v)
        if rank >= 0:
            rank = -(-rank // RANKS) * RANKS
            return Block(row, rows, column, width, rank, np.concatenate([u[:rank].ravel(), v[:rank].ravel()]))
    if width <= _COPIED:
        return Block(row, rows, column, width, COPIED, values.copy())
    return Block(row, rows, column, width, IN_PLACE, np.zeros(0))


@inner_fast
def _residual_row(matrix, i, u, v, rank, out):
    """out = row i of matrix - u^T v."""
    for j in range(matrix.shape[1]):
        out[j] = matrix[i, j]
    for k in range(rank):
        factor = u[k, i]
        for j in range(matrix.shape[1]):
            out[j] -= factor * v[k, j]


@inner_fast
def _excess(row, tolerance):
    """Sum of the squares of a row with an entry beyond the tolerance, or one that is no number; else zero."""
    beyond, total = 0, 0.0
    for j in range(len(row)):
        beyond += not abs(row[j]) <= tolerance
        total += row[j] * row[j]
    return total if beyond else 0.0


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
            worst, i = 0.0, -1
            for candidate in range(height):
                _residual_row(matrix, candidate, u, v, rank, row)
                excess = _excess(row, tolerance)
                if excess > worst or np.isnan(excess):
                    worst, i = excess, candidate
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
