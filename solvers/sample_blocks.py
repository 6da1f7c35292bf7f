"""Samples in blocks that stay in the cache: matrix products on them, Gaussian columns that drive sampled fields, and bases of fields.

A stack holds r rows (basis functions) for S samples as an array [S / B, r, B], so that one block of one stack is a contiguous
matrix. Products of a skinny matrix with it are then bound by arithmetic, provided that all work on a block is done in one go.

Source: docs/theory/kernel_evolution.md, section 2.
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.blas import dgemm, sgemm
from scipy.special import ndtri
from scipy.stats import qmc

_GEMM = {"d": dgemm, "f": sgemm}
_SOBOL_COLUMNS = 64
_ORTHONORMAL = {"d": 1e-12, "f": 1e-4}
_LARGEST_SOBOL = 16384


def combine(coefficients, rows, out, keep=0.0):
    """out <- keep out + coefficients rows: (p, r) x (r, B)."""
    if rows.shape[0]:
        _GEMM[rows.dtype.char](1.0, rows.T, coefficients.T, beta=keep, c=out.T, overwrite_c=1)
    elif not keep:
        out.fill(0.0)


def contract(fields, rows, out):
    """out <- out + fields rows^T: (p, B) x (B, r)."""
    if rows.shape[0]:
        _GEMM[rows.dtype.char](1.0, rows.T, fields.T, trans_a=1, beta=1.0, c=out.T, overwrite_c=1)


def deposit(coefficients, fields, rows, keep=1.0):
    """rows <- keep rows + coefficients^T fields: (r, p) x (p, B)."""
    if rows.shape[0]:
        _GEMM[rows.dtype.char](1.0, fields.T, coefficients.T, trans_b=1, beta=keep, c=rows.T, overwrite_c=1)


class Stack:
    """Growing stack of rows in blocks of samples."""

    def __init__(self, blocks, size, dtype):
        self.count = 0
        self.array = np.empty((blocks, 0, size), dtype)

    def block(self, b):
        """Rows of block b, (r, B), a view."""
        return self.array[b, : self.count]

    def grow(self, k):
        """Make room for k more rows, uninitialised; returns the view (blocks, k, B) of them."""
        blocks, capacity, size = self.array.shape
        if self.count + k > capacity:
            larger = np.empty((blocks, max(self.count + k, capacity + capacity // 4, 16), size), self.array.dtype)
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
        return np.ascontiguousarray(np.concatenate(parts).reshape(-1, blocks, size).swapaxes(0, 1))

    def _refill(self, k):
        points = self.shape[0] * self.shape[1]
        dimension = max(2 * self.dimension, _SOBOL_COLUMNS)
        if self.sobol and dimension <= _LARGEST_SOBOL:
            sequence = qmc.Sobol(dimension, scramble=True, bits=30, seed=self.rng)
            uniform = sequence.random_base2(points.bit_length() - 1)[:, self.dimension :].T
            self.dimension = dimension
        else:
            uniform = self.rng.random((k, points))
        self.ready = np.clip(uniform, 2.0**-31, 1.0 - 2.0**-31)


class Innovations:
    """Normal columns for the half sample, orthonormal in the sample mean, handed out one after the other.

    Exact second moments remove the largest part of the sampling error: <u u> is then the kernel itself. Columns are prepared
    ahead, in proportion to their number, as every time costs a pass over all of them; the first ones, which matter most, get the
    best dimensions of the sequence in the order of their birth.
    """

    def __init__(self, source, dtype):
        self.source, self.used, self.dtype = source, 0, dtype
        self.stack = Stack(*source.shape, dtype)

    def block(self, b):
        """The columns in use, block b, (r, B)."""
        return self.stack.array[b, : self.used]

    def take(self, k):
        """k more columns, a view (blocks, k, B)."""
        missing = self.used + k - self.stack.count
        if missing > 0:
            self._prepare(max(missing, self.stack.count // 8))
        self.used += k
        return self.stack.array[:, self.used - k : self.used]

    def _prepare(self, k):
        new, old = self.source.draw(k).astype(self.dtype, copy=False), self.stack.count
        blocks, size = self.source.shape
        overlap, gram = np.zeros((k, old), self.dtype), np.zeros((k, k))
        for b in range(blocks):
            contract(new[b], self.stack.block(b), overlap)
        overlap /= -blocks * size
        rows = self.stack.grow(k)
        for b in range(blocks):
            combine(overlap, self.stack.array[b, :old], new[b], keep=1.0)
            gram += new[b] @ new[b].T
        whiten = solve_triangular(np.linalg.cholesky(gram / (blocks * size)), np.eye(k), lower=True)
        np.matmul(whiten.astype(self.dtype, copy=False), new, out=rows)


class Basis:
    """Orthonormal basis of the span of sampled fields, truncated; the fields of one time after those of the other.

    `plan` decides what the fields of a new time add. The new elements are formed with `fill`, block by block, and what rounding took
    from their orthonormality is restored with `correct`, before the next use; both go along with other work on the block, so that the
    basis is not read an extra time. `filled` and `corrected` end the two rounds.

    Parameters
    ----------
    blocks, size : int
    tolerance : float
        Elements of less variance than this, relative to the mean variance of the fields of the time, are left out.
    cap : int
        Largest number of elements.
    dtype : numpy.dtype
    """

    def __init__(self, blocks, size, tolerance, cap, dtype):
        self.rows = Stack(blocks, size, dtype)
        self.samples, self.tolerance, self.cap, self.dtype = blocks * size, tolerance, cap, dtype
        self.added, self._correction = 0, None

    def plan(self, coefficients, gram):
        """Coefficients (n, r) of fields in the extended basis, and the fraction of their variance that is left out.

        Parameters
        ----------
        coefficients, gram : ndarrays (n, r), (n, n)
            <fields rows> and <fields fields>.
        """
        total = np.trace(gram)
        variances, vectors = np.linalg.eigh(gram - coefficients @ coefficients.T)
        variances, vectors = variances[::-1], vectors[:, ::-1]
        kept = min(np.count_nonzero(variances > self.tolerance * total / len(gram)), self.cap - self.rows.count)
        left_out = max(np.sum(variances[kept:]), 0.0) / total if total else 0.0
        self.added = kept
        if not kept:
            return coefficients, left_out
        roots = np.sqrt(variances[:kept])
        mix = (vectors[:, :kept] / roots).T
        self._mix, self._remove = (np.ascontiguousarray(m, self.dtype) for m in (mix, -mix @ coefficients))
        self._overlap, self._norms = np.zeros(self._remove.shape, self.dtype), np.zeros((kept, kept))
        self.rows.grow(kept)
        return np.hstack([coefficients, vectors[:, :kept] * roots]), left_out

    def _split(self, b, added):
        rows = self.rows.block(b)
        return rows[: len(rows) - added], rows[len(rows) - added :]

    def fill(self, b, fields):
        """Form the new elements in block b from the fields (n, B) of the plan."""
        if self.added:
            known, new = self._split(b, self.added)
            np.matmul(self._mix, fields, out=new)
            combine(self._remove, known, new, keep=1.0)
            contract(new, known, self._overlap)
            self._norms += new @ new.T

    def filled(self):
        """All blocks are filled."""
        added, self.added = self.added, 0
        if added:
            overlap = self._overlap / -self.samples
            norms = self._norms / self.samples - overlap @ overlap.T
            if max(np.max(np.abs(overlap), initial=0.0), np.max(np.abs(norms - np.eye(added)))) > _ORTHONORMAL[self.dtype.char]:
                whiten = solve_triangular(np.linalg.cholesky(norms), np.eye(added), lower=True)
                self._correction = tuple(np.ascontiguousarray(m, self.dtype) for m in (whiten @ overlap, whiten))

    def correct(self, b):
        """Make the newest elements orthonormal in block b."""
        if self._correction:
            overlap, whiten = self._correction
            known, new = self._split(b, len(whiten))
            new[:] = whiten @ new
            combine(overlap, known, new, keep=1.0)

    def corrected(self):
        """All blocks are corrected."""
        self._correction = None
