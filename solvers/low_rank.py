"""Kernels between all times as products of low-rank factors, K(t, s) = F(t) F(s)^T."""

import numpy as np


class MeanFactor:
    """Factor of the mean kernel of several replicas, each given by a factor of its own, built time by time.

    Rows of earlier times never change; later ones have more columns, which earlier ones lack (zeros).

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
            self.basis, width = wider.reshape(len(wider), len(rows) * wider.shape[2]), wider.shape[2]
        vectors = np.zeros((len(rows[0]), len(rows), width))
        for i, row in enumerate(rows):
            vectors[:, i, : row.shape[1]] = row
        return vectors.reshape(len(vectors), len(rows) * width) / np.sqrt(len(rows))


def factor(kernel, tolerance=1e-16):
    """F (n, r) with kernel = F F^T, for a positive semidefinite kernel (n, n), up to `tolerance` times its largest eigenvalue."""
    values, vectors = np.linalg.eigh(0.5 * (kernel + kernel.T))
    kept = values > tolerance * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def signed_factor(kernel, rank):
    """F (n, rank) and signs (rank,) with kernel = F diag(signs) F^T, for a symmetric kernel (n, n) of at most this rank."""
    rank = min(rank, len(kernel))
    probe = np.random.default_rng(0).standard_normal((len(kernel), rank))
    directions, _ = np.linalg.qr(kernel @ probe)
    values, vectors = np.linalg.eigh(directions.T @ kernel @ directions)
    return directions @ vectors * np.sqrt(np.abs(values)), np.sign(values)
