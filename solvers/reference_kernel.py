"""Slow readable twin of the sampled march, with dense kernels and full histories.

The equations are those of docs/theory/kernel_evolution.md, section 1. Fields are sampled conditionally on their past: row t of a Gaussian
process is a row of the growing Cholesky factor of its kernel times normal numbers. Responses follow from
Stein's lemma in those numbers, A = <phi eps^T> L^-1. Small sizes only: (T P)^2 per array, T P far below the number of samples.
"""

import numpy as np

from .kernel_problem import errors_on_points
from .memory_kernel import memory_kernel


def extend_cholesky(factor, kernel, start, jitter):
    """Rows `start` ... of the lower Cholesky factor of `kernel`, given the rows before."""
    past, now = slice(0, start), slice(start, len(kernel))
    factor[now, past] = np.linalg.solve(factor[past, past], kernel[past, now]).T if start else 0.0
    rest = kernel[now, now] - factor[now, past] @ factor[now, past].T
    factor[now, now] = np.linalg.cholesky(0.5 * (rest + rest.T) + jitter * np.mean(np.diag(kernel)) * np.eye(len(rest)))


def march(problem, samples=20000, seed=0, jitter=1e-6):
    """Solve `KernelProblem` for one output and without test points.

    Returns
    -------
    predictions : ndarray (T, P)
    features, gradients : ndarray (L, T P, T P)
        Phi^l and G^l, time-major.
    """
    T, P, L, gamma, S = problem.times, problem.samples, problem.layers, problem.richness, samples
    n = T * P
    d, kappa = memory_kernel(problem.rates, problem.momentum, problem.nesterov, problem.weight_decay, problem.decoupled)
    rng = np.random.default_rng(seed)
    eps_u = rng.standard_normal((L, S // 2, n)).repeat(2, axis=1)
    eps_r = rng.standard_normal((L, S // 2, n)).repeat(2, axis=1) * np.tile([1.0, -1.0], S // 2)[:, None]

    Phi = np.zeros((L + 1, n, n))
    Phi[0] = np.tile(problem.gram, (T, T))
    G = np.zeros((L + 2, n, n))
    G[L + 1] = 1.0
    Lu, Lr, A, B = np.zeros((4, L + 2, n, n))
    u, r, h, phi, slope, g, z = np.zeros((7, L + 2, S, n))
    f, Delta = np.zeros((2, T, P))
    for t in range(T):
        past, now, known = slice(0, t * P), slice(t * P, (t + 1) * P), slice(0, (t + 1) * P)
        weight = gamma / P * np.repeat(kappa[t, :t], P) * Delta[:t].ravel()
        for l in range(1, L + 1):
            extend_cholesky(Lu[l], Phi[l - 1][known, known], t * P, jitter)
            u[l, :, now] = eps_u[l - 1][:, known] @ Lu[l][now, known].T
            memory = weight * Phi[l - 1][now, past]
            h[l, :, now] = d[t] * (u[l, :, now] + g[l][:, past] @ A[l - 1][now, past].T) + g[l][:, past] @ memory.T
            value, derivative = np.empty((2, S, P))
            problem.activation.evaluate(np.ascontiguousarray(h[l, :, now]), value, derivative)
            phi[l, :, now], slope[l, :, now] = value, derivative
            Phi[l][now, known] = value.T @ phi[l][:, known] / S
            Phi[l][known, now] = Phi[l][now, known].T
            if t > 0:
                A[l][now, past] = np.linalg.solve(Lr[l][past, past].T, (value.T @ eps_r[l - 1][:, past] / S).T).T
        f[t] = (d[t] * A[L][now, past].sum(axis=1) + Phi[L][now, past] @ weight) / gamma
        Delta[t] = errors_on_points(problem, f[t][:, None])[:, 0]
        for l in range(L, 0, -1):
            extend_cholesky(Lr[l], G[l + 1][known, known], t * P, jitter)
            r[l, :, now] = eps_r[l - 1][:, known] @ Lr[l][now, known].T
            memory = weight * G[l + 1][now, past]
            z[l, :, now] = d[t] * (r[l, :, now] + phi[l][:, known] @ B[l + 1][now, known].T) + phi[l][:, past] @ memory.T
            g[l, :, now] = slope[l, :, now] * z[l, :, now]
            G[l][now, known] = g[l, :, now].T @ g[l][:, known] / S
            G[l][known, now] = G[l][now, known].T
            B[l][now, known] = np.linalg.solve(Lu[l][known, known].T, (g[l, :, now].T @ eps_u[l - 1][:, known] / S).T).T
    return f, Phi[1 : L + 1], G[1 : L + 1]
