"""Kernels between all times as products of low-rank factors, K(t, s) = F(t) F(s)^T, built time by time.

Rows of earlier times never change; later ones have more columns, which earlier ones lack (zeros). What is left out of K(t, s) at
different times is below `tolerance` times the mean variance of the two times.
"""

import numpy as np
from scipy.linalg import solve_triangular


class MeanFactor:
    """Factor of the mean kernel of several replicas, each given by a factor of its own.

    Parameters
    ----------
    tolerance : float
        Directions of less variance than this, relative to the mean variance of a row, are left out.
    """

    def __init__(self, tolerance):
        self.tolerance = tolerance
        self.count = 0
        self.basis = None

    def append(self, rows):
        """Row F(t), (n, r), of the mean, from those of the replicas, a list of arrays (n, r_i)."""
        vectors = self._vectors(rows)
        known = self.basis[: self.count]
        coefficients = vectors @ known.T
        residual = vectors - coefficients @ known
        correction = residual @ known.T
        residual -= correction @ known
        new, roots, directions = np.linalg.svd(residual, full_matrices=False)
        kept = np.count_nonzero(roots**2 > self.tolerance * np.sum(vectors**2) / len(vectors))
        new, directions = new[:, :kept] * roots[:kept], directions[:kept]
        needed = self.count + kept
        if needed > len(self.basis):
            self.basis = np.pad(self.basis, ((0, needed - len(self.basis) + needed // 4), (0, 0)))
        self.basis[self.count : needed] = directions - (directions @ known.T) @ known
        self.count = needed
        return np.hstack([coefficients + correction, new])

    def _vectors(self, rows):
        """Rows of all replicas side by side, each in columns of its own that stay where they are."""
        largest = max(row.shape[1] for row in rows)
        if self.basis is None:
            self.basis = np.zeros((0, len(rows) * largest))
        width = self.basis.shape[1] // len(rows)
        if largest > width:
            wider = np.zeros((len(self.basis), len(rows), largest + largest // 4))
            wider[:, :, :width] = self.basis.reshape(len(self.basis), len(rows), width)
            self.basis, width = wider.reshape(len(wider), -1), wider.shape[2]
        vectors = np.zeros((len(rows[0]), len(rows), width))
        for i, row in enumerate(rows):
            vectors[:, i, : row.shape[1]] = row
        return vectors.reshape(len(vectors), -1) / np.sqrt(len(rows))


class KernelFactor:
    """Factor of a kernel that is itself given, positive semidefinite: Cholesky factorisation by blocks of times.

    Parameters
    ----------
    tolerance : float
        As in `MeanFactor`.
    """

    def __init__(self, tolerance):
        self.tolerance = tolerance
        self.pivots = []
        self.triangle = np.zeros((0, 0))

    def append(self, past, gram):
        """Row F(t), (n, r), from K(t, s) at all s < t, (n, t n), and K(t, t), (n, n)."""
        n = len(gram)
        if self.pivots:
            known = np.hstack([past[:, s * n : (s + 1) * n] @ directions for s, directions in self.pivots])
            coefficients = solve_triangular(self.triangle, known.T, lower=True).T
        else:
            coefficients = np.zeros((n, 0))
        residual = gram - coefficients @ coefficients.T
        new, variances = _directions(0.5 * (residual + residual.T), np.trace(gram) / n, self.tolerance)
        roots = np.sqrt(variances)
        if len(variances):
            self.pivots.append((past.shape[1] // n, new))
            kept = len(self.triangle)
            self.triangle = np.pad(self.triangle, ((0, len(roots)), (0, len(roots))))
            self.triangle[kept:, :kept] = new.T @ coefficients
            self.triangle[kept:, kept:] = np.diag(roots)
        return np.hstack([coefficients, new * roots])


def signed_factor(kernel, rank):
    """F (n, rank) and signs (rank,) with kernel = F diag(signs) F^T, for a symmetric kernel (n, n) of at most this rank."""
    rank = min(rank, len(kernel))
    probe = np.random.default_rng(0).standard_normal((len(kernel), rank))
    directions, _ = np.linalg.qr(kernel @ probe)
    values, vectors = np.linalg.eigh(directions.T @ kernel @ directions)
    return directions @ vectors * np.sqrt(np.abs(values)), np.sign(values)


def _directions(gram, scale, tolerance):
    """Eigenvectors (n, k) and eigenvalues above the tolerance, the largest first."""
    variances, vectors = np.linalg.eigh(gram)
    kept = np.count_nonzero(variances > tolerance * scale)
    order = slice(None, -kept - 1, -1)
    return vectors[:, order], variances[order]
