"""Training of finite fully connected networks on a data set by full-batch gradient descent, step by step.

    h^1 = W^0 x / sqrt(D),  h^{l+1} = W^l phi(h^l) / sqrt(N),  f_c = w_c . phi(h^L) / (gamma N) - f_c at initialisation

All weights start from N(0, 1); the raw rate is eta gamma^2 N on the mean loss. With X^0 = x / sqrt(D), X^l = phi(h^l) / sqrt(N) and

    v^L_nu = sum_c Delta_{nu c} w_c o phi'(h^L_nu),   v^l_nu = (W^{lT} v^{l+1}_nu / sqrt(N)) o phi'(h^l_nu)

the directions of ascent, in units of eta, are

    G_{W^l} = gamma / P  sum_nu v^{l+1}_nu X^{lT}_nu,    G_{w_c} = gamma sqrt(N) / P  sum_nu Delta_{nu c} X^L_nu.

Source: arXiv 2205.09653; docs/theory/kernel_evolution.md, section 1.
"""

import numpy as np
from scipy.linalg.blas import daxpy, dgemm

from .kernel_problem import errors_on_points


def initial_weights(inputs, width, layers, outputs, rng):
    """Standard normal matrices: `layers` hidden ones, shapes (N, D), (N, N), ..., and the readout (C, N)."""
    fans = [inputs] + [width] * (layers - 1)
    return [rng.standard_normal((width, fan)) for fan in fans] + [rng.standard_normal((outputs, width))]


class Optimizer:
    """Weights under a linear optimizer (`finite_network.optimizer_step`); gradients are products left^T right, added in place."""

    def __init__(self, weights, momentum, nesterov, weight_decay, decoupled):
        self.weights, self.options = weights, (momentum, nesterov, weight_decay, decoupled)
        self.buffers = [np.zeros_like(w) for w in weights] if momentum else None

    def step(self, layer, left, right, scale, rate):
        """Gradient scale left^T right, left (k, N_out), right (k, N_in)."""
        weights = self.weights[layer]
        momentum, nesterov, weight_decay, decoupled = self.options
        keep = 1.0 - rate * weight_decay
        if momentum:
            buffer = self.buffers[layer]
            _accumulate(buffer, left, right, scale, momentum)
            if weight_decay and not decoupled:
                _add(buffer, -weight_decay, weights)
        if nesterov or not momentum:
            _accumulate(weights, left, right, rate * scale, keep)
        elif weight_decay and decoupled:
            weights *= keep
        if momentum:
            _add(weights, rate * momentum if nesterov else rate, buffer)


def _add(matrix, scale, other):
    """matrix <- matrix + scale other, in place."""
    daxpy(other.ravel(), matrix.ravel(), a=scale)


def _accumulate(matrix, left, right, scale, keep):
    """matrix <- keep matrix + scale left^T right, in place."""
    dgemm(scale, right.T, left.T, beta=keep, c=matrix.T, trans_b=True, overwrite_c=True)


def forward(weights, x, activation):
    """X^0 ... X^L and phi'(h^1) ... phi'(h^L), each of shape (P + M, N_l)."""
    features, slopes = [x / np.sqrt(x.shape[1])], []
    for matrix in weights[:-1]:
        h = features[-1] @ matrix.T
        phi, slope = np.empty_like(h), np.empty_like(h)
        activation.evaluate(h, phi, slope)
        phi /= np.sqrt(len(matrix))
        features.append(phi)
        slopes.append(slope)
    return features, slopes


def backward(weights, slopes, top):
    """Fields W^T ... of every layer, shapes of `slopes`, from `top` (P, N), a combination of readout vectors for each point."""
    fields = [top * slopes[-1]]
    for matrix, slope in zip(weights[-2:0:-1], slopes[-2::-1]):
        z = fields[0] @ matrix
        z *= slope
        z /= np.sqrt(matrix.shape[1])
        fields.insert(0, z)
    return fields


def gradients(weights, slopes):
    """g^l_{nu c} of every layer, shapes (P, C, N): G^l = <g g> is their mean product."""
    outputs = [backward(weights, slopes, readout) for readout in weights[-1]]
    return [np.stack(fields, axis=1) for fields in zip(*outputs)]


def march(problem, x, weights, center=True):
    """Train one network.

    Parameters
    ----------
    problem : KernelProblem
        Its Gram matrix is not used.
    x : ndarray (P + M, D)
        Samples, then test points.
    weights : list of ndarray
        As from `initial_weights`; overwritten.
    center : bool
        Subtract the initial function.

    Yields
    ------
    f : ndarray (P + M, C)
        Predictions before each step and after the last, T in all.
    features : list of L + 1 ndarrays (P + M, N_l)
        X^0 ... X^L; Phi^l = X^l X^{lT}.
    slopes : list of L ndarrays (P + M, N)
        phi'(h^l), for `gradients`.
    """
    P, gamma, width = problem.samples, problem.richness, weights[-1].shape[1]
    optimizer = Optimizer(weights, problem.momentum, problem.nesterov, problem.weight_decay, problem.decoupled)
    initial = 0.0
    for t in range(problem.times):
        features, slopes = forward(weights, x, problem.activation)
        f = features[-1] @ weights[-1].T / (gamma * np.sqrt(width))
        if t == 0 and center:
            initial = f
        f = f - initial
        yield f, features, slopes
        if t == len(problem.rates):
            return
        delta = errors_on_points(problem, f)[:P]
        fields = backward(weights, [slope[:P] for slope in slopes], delta @ weights[-1])
        for layer, (field, feature) in enumerate(zip(fields, features)):
            optimizer.step(layer, field, feature[:P], gamma / P, problem.rates[t])
        optimizer.step(problem.layers, delta, features[-1][:P], gamma * np.sqrt(width) / P, problem.rates[t])
