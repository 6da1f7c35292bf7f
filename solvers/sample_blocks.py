"""Arrays of samples in blocks that stay in the cache, matrix products on them, and the Gaussian columns that drive sampled fields.

A stack holds r rows (basis functions) for S samples as an array [S / B, r, B], so that one block of one stack is a contiguous
matrix. Products of a skinny matrix with it are then bound by arithmetic, provided that all work on a block is done in one go.

Source: theory/kernel_evolution.md, section 2.
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.blas import dgemm
from scipy.special import ndtri
from scipy.stats import qmc

_SOBOL_COLUMNS = 64
_LARGEST_SOBOL = 16384


def combine(coefficients, rows, out, keep=0.0):
    """out <- keep out + coefficients rows: (p, r) x (r, B)."""
    if rows.shape[0]:
        dgemm(1.0, rows.T, coefficients.T, beta=keep, c=out.T, overwrite_c=1)
    elif not keep:
        out.fill(0.0)


def contract(fields, rows, out):
    """out <- out + fields rows^T: (p, B) x (B, r)."""
    if rows.shape[0]:
        dgemm(1.0, rows.T, fields.T, trans_a=1, beta=1.0, c=out.T, overwrite_c=1)


def deposit(coefficients, fields, rows, keep=1.0):
    """rows <- keep rows + coefficients^T fields: (r, p) x (p, B)."""
    if rows.shape[0]:
        dgemm(1.0, fields.T, coefficients.T, trans_b=1, beta=keep, c=rows.T, overwrite_c=1)


class Stack:
    """Growing stack of rows in blocks of samples."""

    def __init__(self, blocks, size):
        self.count = 0
        self.array = np.empty((blocks, 0, size))

    def block(self, b):
        """Rows of block b, (r, B), a view."""
        return self.array[b, : self.count]

    def grow(self, k):
        """Make room for k more rows, uninitialised; returns the view (blocks, k, B) of them."""
        blocks, capacity, size = self.array.shape
        if self.count + k > capacity:
            larger = np.empty((blocks, max(self.count + k, capacity + capacity // 2, 16), size))
            larger[:, : self.count] = self.array[:, : self.count]
            self.array = larger
        self.count += k
        return self.array[:, self.count - k : self.count]


class NormalColumns:
    """Standard normal columns for the half sample of one layer, in order of birth: scrambled Sobol points, one dimension a column.

    The dimensions of a scrambled sequence are scrambled independently, so that columns may come from sequences of growing dimension,
    each used beyond the dimensions of those before it.

    Parameters
    ----------
    blocks, size : int
        Blocks of the half sample and their length; the product is a power of two where `sobol`.
    seed : numpy.random.SeedSequence
    sobol : bool
        Pseudo-random columns otherwise, and beyond the dimensions of the sequence.
    """

    def __init__(self, blocks, size, seed, sobol=True):
        self.shape = blocks, size
        self.rng = np.random.Generator(np.random.Philox(seed))
        self.ready = np.empty((0, blocks * size))
        self.dimension = 0
        self.sobol = sobol

    def draw(self, k):
        """k new columns, shape (blocks, k, size)."""
        parts = []
        while k:
            if not len(self.ready):
                self._refill(k)
            parts.append(ndtri(self.ready[:k]))
            self.ready, k = self.ready[k:], k - len(parts[-1])
        blocks, size = self.shape
        return np.concatenate(parts).reshape(-1, blocks, size).swapaxes(0, 1)

    def _refill(self, k):
        points = self.shape[0] * self.shape[1]
        dimension = max(2 * self.dimension, _SOBOL_COLUMNS)
        if self.sobol and dimension <= _LARGEST_SOBOL:
            sequence = qmc.Sobol(dimension, scramble=True, bits=52, seed=self.rng)
            uniform = sequence.random_base2(points.bit_length() - 1)[:, self.dimension :].T
            self.dimension = dimension
        else:
            uniform = self.rng.random((k, points))
        self.ready = np.clip(uniform, 2.0**-54, 1.0 - 2.0**-53)


def append_normals(stack, source, k):
    """Append k columns to a stack of half samples, orthonormal to one another and to all before them in the sample mean.

    Exact second moments remove the largest part of the sampling error: <u u> is then the kernel itself.
    """
    new = source.draw(k)
    blocks, _, size = new.shape
    old, samples = stack.count, blocks * size
    overlap, gram = np.zeros((k, old)), np.zeros((k, k))
    for b in range(blocks):
        contract(np.ascontiguousarray(new[b]), stack.block(b), overlap)
    overlap /= -samples
    rows = stack.grow(k)
    for b in range(blocks):
        fresh = np.array(new[b], order="C")
        combine(overlap, stack.array[b, :old], fresh, keep=1.0)
        rows[b] = fresh
        gram += fresh @ fresh.T
    root = np.linalg.cholesky(gram / samples)
    whiten = solve_triangular(root, np.eye(k), lower=True)
    for b in range(blocks):
        rows[b] = whiten @ rows[b]
    return rows
