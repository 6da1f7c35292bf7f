"""Small problems of kernel evolution and their closed forms, for the tests. Nothing here uses the marches."""

import numpy as np

from solvers.activations import ACTIVATIONS
from solvers.kernel_problem import KernelProblem, squared_error


def inputs(samples=4, test=2, dim=6, outputs=1, seed=1):
    """x (P + M, D) and y (P, C), standard normal."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples + test, dim)), rng.normal(size=(samples, outputs))


def problem(x, y, activation="linear", layers=2, richness=1.0, rates=np.full(10, 0.1), errors=squared_error, **optimizer):
    """`KernelProblem` of x (P + M, D), y (P, C)."""
    gram = x @ x.T / x.shape[1]
    return KernelProblem(gram, errors(y), len(y), y.shape[1], layers, ACTIVATIONS[activation], richness, np.asarray(rates), **optimizer)


def linear_one_hidden_layer(x, y, richness, rates):
    """Predictions of f = w . W x / (gamma N sqrt(D)), one output, as a recursion on three order parameters.

    With e_s = eta_s gamma / P Delta(s)^T x / sqrt(D) in the input space, both W (as N x D matrix) and w move within the span of their
    initial values: W <- W + w e^T, w <- w + W e. With B = W^T w / N, the (D, D) matrix S = W^T W / N and q = w.w / N these obey
        B' = B + S e + q e + e (B . e),   S' = S + B e^T + e B^T + q e e^T,   q' = q + 2 B . e + e^T S e.
    """
    P, dim = len(y), x.shape[1]
    scaled = x / np.sqrt(dim)
    B, S, q = np.zeros(dim), np.eye(dim), 1.0
    predictions = []
    for t in range(len(rates) + 1):
        f = scaled @ B / richness
        predictions.append(f)
        if t < len(rates):
            e = rates[t] * richness / P * (y[:, 0] - f[:P]) @ scaled[:P]
            B, S, q = (
                B + S @ e + q * e + e * (B @ e),
                S + np.outer(B, e) + np.outer(e, B) + q * np.outer(e, e),
                q + 2 * B @ e + e @ S @ e,
            )
    return np.array(predictions)


def arc_cosine(kernel):
    """<phi phi> and <phi' phi'> of ReLU for Gaussian h of covariance `kernel` (Cho and Saul 2009)."""
    scale = np.sqrt(np.outer(np.diag(kernel), np.diag(kernel)))
    angle = np.arccos(np.clip(kernel / scale, -1.0, 1.0))
    return scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def arc_sine(kernel):
    """<phi phi> and <phi' phi'> of erf for Gaussian h of covariance `kernel` (Williams 1997)."""
    diagonal = 1 + 2 * np.diag(kernel)
    scale = np.sqrt(np.outer(diagonal, diagonal))
    return 2 / np.pi * np.arcsin(2 * kernel / scale), 4 / np.pi / np.sqrt(scale**2 - 4 * kernel**2)
