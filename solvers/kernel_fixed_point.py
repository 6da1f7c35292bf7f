"""Kernel evolution as a fixed point: damped sweeps over whole (T P, T P) arrays, the second method and check of the marches.

All order parameters are guessed for all times at once, the single-site problem of every layer is solved for them, and its averages are
the next guess. For a deep linear network the single site is a Gaussian linear system, solved by an inverse; for a nonlinear one its fields
are sampled, with the same normal numbers in every sweep, and responses are averages of explicit Jacobians. Everything is causal, so that
every sweep makes at least one more time final; in long windows the iterates on the way may overflow.

Source: arXiv 2205.09653 (the published algorithm); equations of docs/theory/kernel_evolution.md, sections 1 and 3.
"""

from typing import NamedTuple

import numpy as np

from .kernel_problem import errors_on_points
from .kernel_reduced import lazy, linear_tangent_kernel
from .memory_kernel import memory_kernel


class OrderParameters(NamedTuple):
    """Time-major two-time arrays of all layers, n = T (P + M); m = T C in the linear theory, m = n in the nonlinear one.

    Attributes
    ----------
    features : ndarray (L, n, n)
        Phi^l.
    gradients : ndarray (L, m, m)
        G^l.
    forward_responses : ndarray (L, n, m)
        A^l = d phi^l / d r^l.
    backward_responses : ndarray (L, m, n)
        B^{l-1} = d g^l / d u^l.
    predictions : ndarray (T, P + M, C)
    """

    features: np.ndarray
    gradients: np.ndarray
    forward_responses: np.ndarray
    backward_responses: np.ndarray
    predictions: np.ndarray


class NoConvergence(RuntimeError):
    """The sweeps did not settle; this says nothing about the training itself."""


def _memory(problem):
    return memory_kernel(problem.rates, problem.momentum, problem.nesterov, problem.weight_decay, problem.decoupled)


def _errors(problem, predictions):
    return np.array([errors_on_points(problem, f) for f in predictions])


def _start(problem):
    """Predictions to start from: the lazy limit of the deep linear network."""
    return lazy(problem._replace(weight_decay=0.0), linear_tangent_kernel(problem))


def _iterate(sweep, order, damping, tolerance, sweeps):
    """Damped sweeps until the largest relative change is below `tolerance`; returns the order parameters and the changes."""
    changes = []
    for _ in range(sweeps):
        try:
            with np.errstate(all="ignore"):
                new = sweep(order)
                change = max(np.max(np.abs(b - a)) / (np.max(np.abs(b)) or 1.0) for a, b in zip(order, new))
        except np.linalg.LinAlgError:
            change = np.nan
        changes.append(change)
        if not np.isfinite(change):
            raise NoConvergence(f"the iterates overflowed in sweep {len(changes)}: take fewer steps or a smaller damping factor")
        order = OrderParameters(*((1.0 - damping) * a + damping * b for a, b in zip(order, new)))
        if change < tolerance:
            return order, changes
    raise NoConvergence(f"a change of {changes[-1]:.1e} is left after {sweeps} sweeps")


def solve_linear(problem, damping=1.0, tolerance=1e-12, sweeps=1000):
    """Deep linear network, exact.

    Parameters
    ----------
    problem : KernelProblem
    damping : float
        Weight of the new iterate.
    tolerance : float
        Largest relative change at which the iteration ends.
    sweeps : int
        Most sweeps.

    Returns
    -------
    OrderParameters
    changes : list of float
    """
    T, points, C, L, gamma = problem.times, problem.points, problem.outputs, problem.layers, problem.richness
    n, m = T * points, T * C
    decay, kappa = _memory(problem)
    d_h, d_g = np.repeat(decay, points), np.repeat(decay, C)
    lowest, highest = np.tile(problem.gram, (T, T)), np.tile(np.eye(C), (T, T))
    unit = np.eye(n)

    def sweep(order):
        drive = gamma / problem.samples * kappa[:, :, None, None] * _errors(problem, order.predictions)
        Phi, G, A, B = (array.copy() for array in order[:4])
        for l in range(L):
            below = Phi[l - 1] if l else lowest
            above = G[l + 1] if l + 1 < L else highest
            forward = np.einsum("tpsq,tsqc->tpsc", below.reshape(T, points, T, points), drive).reshape(n, m)
            backward = np.einsum("tcse,tsqe->tcsq", above.reshape(T, C, T, C), drive).reshape(m, n)
            if l:
                forward += d_h[:, None] * A[l - 1]
            if l + 1 < L:
                backward += d_g[:, None] * B[l + 1]
            resolvent = np.linalg.solve(unit - forward @ backward, np.hstack([unit * d_h, forward * d_g]))
            to_u, to_r = resolvent[:, :n], resolvent[:, n:]
            g_to_u, g_to_r = backward @ to_u, np.diag(d_g) + backward @ to_r
            Phi[l] = to_u @ below @ to_u.T + to_r @ above @ to_r.T
            G[l] = g_to_u @ below @ g_to_u.T + g_to_r @ above @ g_to_r.T
            A[l], B[l] = to_r, g_to_u
        from_initial = decay[:, None, None] * A[-1].reshape(T, points, T, C).sum(axis=2)
        f = from_initial + np.einsum("tpsq,tsqc->tpc", Phi[-1].reshape(T, points, T, points), drive)
        return OrderParameters(Phi, G, A, B, f / gamma)

    start = OrderParameters(
        np.tile(lowest, (L, 1, 1)), np.tile(highest, (L, 1, 1)), np.zeros((L, n, m)), np.zeros((L, m, n)), _start(problem)
    )
    return _iterate(sweep, start, damping, tolerance, sweeps)


def solve_sampled(problem, samples=2000, seed=0, damping=0.7, tolerance=1e-4, sweeps=200, jitter=1e-10):
    """Nonlinear network with a smooth activation and one output, by Monte Carlo: memory 8 samples (T (P + M))^2 * 4 bytes.

    Parameters
    ----------
    problem : KernelProblem
    samples, seed : int
        Samples, in antithetic pairs (r -> -r at the same u), the same in every sweep.
    damping, tolerance, sweeps
        As in `solve_linear`. The fixed point of a finite sample has a sampling error of its own.
    jitter : float
        Added to the kernels, relative to their mean diagonal, before the Cholesky factorisation.

    Returns
    -------
    OrderParameters
    changes : list of float
    """
    if problem.outputs != 1 or not problem.activation.smooth:
        raise ValueError("the sampled fixed point is for one output and activations with a second derivative")
    T, points, L, gamma = problem.times, problem.points, problem.layers, problem.richness
    n, half = T * points, samples // 2
    decay, kappa = _memory(problem)
    d = np.repeat(decay, points)
    rng = np.random.Generator(np.random.Philox(seed))
    normals = rng.standard_normal((L, 2, half, n))
    signs = np.repeat([1.0, -1.0], half)[:, None]
    lowest = np.tile(problem.gram, (T, T))

    def draw(kernel, normal):
        kernel = 0.5 * (kernel + kernel.T)
        root = np.linalg.cholesky(kernel + jitter * np.mean(np.diag(kernel)) * np.eye(n))
        return np.tile(normal @ root.T, (2, 1))

    def layer(below, above, forward, backward, normal):
        u, r = draw(below, normal[0]) * d, signs * draw(above, normal[1]) * d
        return _single_site(problem, u, r, forward, backward, d)

    def sweep(order):
        drive = gamma / problem.samples * (kappa[:, :, None] * _errors(problem, order.predictions)[:, :, 0])
        weights = np.repeat(drive.reshape(T, n), points, axis=0)
        Phi, G, A, B = (array.copy() for array in order[:4])
        for l in range(L):
            below = Phi[l - 1] if l else lowest
            above = G[l + 1] if l + 1 < L else np.ones((n, n))
            forward, backward = weights * below, weights * above
            if l:
                forward += d[:, None] * A[l - 1]
            if l + 1 < L:
                backward += d[:, None] * B[l + 1]
            Phi[l], G[l], A[l], B[l] = layer(below, above, forward, backward, normals[l])
        response = (decay[:, None] * A[-1].reshape(T, points, n).sum(axis=2))[:, :, None]
        f = response + np.einsum("ij,ij->i", weights, Phi[-1]).reshape(T, points, 1)
        return OrderParameters(Phi, G, A, B, f / gamma)

    zeros = np.zeros((L, n, n))
    start = OrderParameters(np.tile(lowest, (L, 1, 1)), np.ones((L, n, n)), zeros, zeros, _start(problem))
    return _iterate(sweep, start, damping, tolerance, sweeps)


def _single_site(problem, u, r, forward, backward, d):
    """Fields h = u + forward g, z = r + backward phi, time by time with their Jacobians; returns Phi, G, A, B of this layer.

    u, r are (S, n) samples, the sources times the decay d of the initial weights.
    """
    S, n = u.shape
    points = problem.points
    phi, g = np.zeros((2, S, n))
    phi_u, phi_r, g_u, g_r = np.zeros((4, S, n, n))
    for start in range(0, n, points):
        now, known, past = slice(start, start + points), slice(0, start + points), slice(0, start)
        h = u[:, now] + g[:, past] @ forward[now, past].T
        value, first, second = np.empty((3, *h.shape))
        problem.activation.evaluate(h, value, first, second)
        phi[:, now] = value
        h_u, h_r = (forward[now, past] @ jacobian[:, past, known] for jacobian in (g_u, g_r))
        h_u[:, range(points), range(start, start + points)] += d[now]
        phi_u[:, now, known], phi_r[:, now, known] = first[:, :, None] * h_u, first[:, :, None] * h_r
        z = r[:, now] + phi[:, known] @ backward[now, known].T
        z_u, z_r = (backward[now, known] @ jacobian[:, known, known] for jacobian in (phi_u, phi_r))
        z_r[:, range(points), range(start, start + points)] += d[now]
        g[:, now] = first * z
        g_u[:, now, known] = (second * z)[:, :, None] * h_u + first[:, :, None] * z_u
        g_r[:, now, known] = (second * z)[:, :, None] * h_r + first[:, :, None] * z_r
    return phi.T @ phi / S, g.T @ g / S, phi_r.mean(axis=0), g_u.mean(axis=0)
