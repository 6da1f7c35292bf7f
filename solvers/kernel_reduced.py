"""Reduced theories of kernel evolution: the lazy limit, and small richness for deep linear networks.

The gradient-independence approximation is `kernel_march.march(..., responses=False, readout="tangent")`, and for one hidden layer the
march needs no basis at all (`outer_kernels=False`).

Source: arXiv 2205.09653; docs/theory/kernel_evolution.md, section 1.2.
"""

import numpy as np

from .finite_network import optimizer_step
from .kernel_problem import errors_on_points


def linear_tangent_kernel(problem):
    """K = (L + 1) x x^T / D of a deep linear network at initialisation, (P + M, P + M), the same for every output."""
    return (problem.layers + 1) * problem.gram


def lazy(problem, tangent_kernel):
    """Predictions in the lazy limit gamma -> 0: f is linear in the weights, f <- f + eta / P K Delta for plain gradient descent.

    Parameters
    ----------
    problem : KernelProblem
        Without weight decay, which no tangent kernel at rest can describe. gamma is not used.
    tangent_kernel : ndarray (P + M, P) or (P + M, C, P, C)
        At initialisation; columns beyond the samples are ignored. Two axes: the same for every output, which do not interact.

    Returns
    -------
    ndarray (T, P + M, C)
    """
    if problem.weight_decay:
        raise ValueError("the lazy limit has no weight decay here: weights that shrink change the tangent kernel")
    P, shape = problem.samples, (problem.points, problem.outputs)
    f, buffer, predictions = np.zeros(shape), np.zeros(shape), np.zeros((problem.times, *shape))
    for t in range(problem.times):
        predictions[t] = f
        if t < len(problem.rates):
            delta = errors_on_points(problem, f)[:P]
            if tangent_kernel.ndim == 2:
                gradient = tangent_kernel[:, :P] @ delta / P
            else:
                gradient = np.tensordot(tangent_kernel[:, :, :P], delta, axes=2) / P
            optimizer_step(f, buffer, gradient, problem.rates[t], problem.momentum, problem.nesterov, 0.0, False)
    return predictions


def small_richness_linear(problem):
    """Kernels of a deep linear network to order gamma^2, for one output and plain gradient descent.

    With v(t) = 1/P sum_{s<t} eta_s Delta(s) and V(t) = 1/P sum_{s<t} eta_s Delta(s) v(s)^T for the lazy Delta, K = x x^T / D,

        Phi^l(t, s) = K + gamma^2 {a_l K v(t) v(s)^T K + b_l [K V(t) K + (K V(s) K)^T]}
        G^l(t, s)   = 1 + gamma^2 {a_m v(t)^T K v(s) + b_m [tr K V(t) + tr K V(s)]},   m = L - l + 1

    and a_l = l (l + 1) (2 l + 1) / 6, b_l = sum_{k<=l} (L - k + 1) k.

    Returns
    -------
    features : ndarray (L, T, P + M, T, P + M)
    gradients : ndarray (L, T, T)
    """
    if problem.outputs != 1 or problem.momentum or problem.weight_decay:
        raise ValueError("small richness is worked out for one output and plain gradient descent only")
    K, L, T = problem.gram, problem.layers, problem.times
    predictions = lazy(problem, linear_tangent_kernel(problem))
    v, V = np.zeros((T, len(K))), np.zeros((T, len(K), len(K)))
    for t, rate in enumerate(problem.rates):
        step = rate / problem.samples * errors_on_points(problem, predictions[t])[:, 0]
        v[t + 1] = v[t] + step
        V[t + 1] = V[t] + np.outer(step, v[t])
    Kv, KVK, trace = v @ K, K @ V @ K, np.einsum("ij,tji->t", K, V)
    feature_outer = np.einsum("ti,sj->tisj", Kv, Kv)
    feature_past = KVK.transpose(0, 1, 2)[:, :, None, :] + KVK.transpose(2, 0, 1)[None]
    gradient_outer, gradient_past = Kv @ v.T, trace[:, None] + trace
    features, gradients = [], []
    for l in range(1, L + 1):
        features.append(K[:, None, :] + problem.richness**2 * (_squares(l) * feature_outer + _products(L, l) * feature_past))
        m = L - l + 1
        gradients.append(1.0 + problem.richness**2 * (_squares(m) * gradient_outer + _products(L, m) * gradient_past))
    return np.array(features), np.array(gradients)


def _squares(l):
    return l * (l + 1) * (2 * l + 1) / 6


def _products(L, l):
    return sum((L - k + 1) * k for k in range(1, l + 1))
