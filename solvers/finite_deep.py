"""Training of one finite network with L hidden layers of width m, step by step, with explicit random weights.

    h^1 = W^1 x + v^1,  h^l = W^l phi(h^{l-1}) + v^l,  f = W^{L+1} phi(h^L) + v^{L+1},

    W^l = A_l U^l + M_l 1 1^T + changes,  v^l = B_l u^l + changes,  U, u Gaussian,
    Delta W^l = -eta E_l dLoss/dW^l,  Delta v^l = -eta e_l dLoss/dv^l

with numbers A_l ... e_l (`Scales`) that carry every power of the width. Only they distinguish parameterizations: with W^l = m^(-a_l) w^l
they are A_l ~ m^(-a_l-b_l) and E_l = m^(-2a_l-c_l). Source: docs/theory/deep_parameterizations.md, section 1; arXiv 2110.15596, 2011.14522.

A signal is an (n, m) array, one row per input. The gradient of a matrix by the P samples of a batch has rank P, so a hidden matrix is kept
as its initial Gaussians and the factors of its changes (`LowRankMatrix`): a step costs two products of a matrix with P vectors and, at
small P, is bound by the memory traffic of reading U^l twice. All is in double precision: single
precision would end the exact identities between parameterizations at 1e-6.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .finite_network import add_product

#: Order of the sizes in `State`.
SIGNALS = ("h", "x", "dh", "change of h", "update of h")


class Scales(NamedTuple):
    """Numbers that multiply Gaussians and gradients, one for each of the L + 1 weight matrices; zero where there is no mean or bias.

    Attributes
    ----------
    size, size_later : sequence of float
        A_l, of the gradients of the first step, and after it. The first layer must not change.
    mean, bias : sequence of float
        M_l and B_l.
    rate, rate_later : sequence of float
        E_l of the first step and of the others.
    bias_rate, bias_rate_later : sequence of float
        e_l, likewise.
    """

    size: Sequence
    size_later: Sequence
    mean: Sequence
    bias: Sequence
    rate: Sequence
    rate_later: Sequence
    bias_rate: Sequence
    bias_rate_later: Sequence


class Gaussians(NamedTuple):
    """Standard Gaussian variables that a network starts from.

    Attributes
    ----------
    first : ndarray, shape (m, D)
    hidden : list of L - 1 ndarrays, shape (m, m)
    readout : ndarray, shape (C, m)
    biases : list of ndarrays, L of shape (m,) and one of shape (C,)
    """

    first: np.ndarray
    hidden: list
    readout: np.ndarray
    biases: list


class State(NamedTuple):
    """A network before a step.

    Attributes
    ----------
    logits : ndarray, shape (n, C)
    sizes : ndarray, shape (5, L + 1), or None
        Root mean squares over neurons and samples, layer by layer, of `SIGNALS`: h, phi(h), derivative of the loss by h, change of h since
        initialization, and the part of it due to the changes of the layer's own weights and bias. Layer L + 1 are the logits, x = h there.
    """

    logits: np.ndarray
    sizes: np.ndarray | None


def draw(rng, inputs, width, depth, outputs):
    """`Gaussians` of a network with `inputs` input dimensions and `depth` hidden layers, from a numpy.random.Generator."""
    return Gaussians(
        rng.standard_normal((width, inputs)),
        [rng.standard_normal((width, width)) for _ in range(depth - 1)],
        rng.standard_normal((outputs, width)),
        [*(rng.standard_normal(width) for _ in range(depth)), rng.standard_normal(outputs)],
    )


class LowRankMatrix:
    """scale G + mean 1 1^T + left^T right, exact; when the factors fill their store they are added to G, overwritten.

    Parameters
    ----------
    gaussian : ndarray, shape (m, m)
    scale, mean : float
    rank : int
        Rows that the store holds.
    """

    def __init__(self, gaussian, scale, mean, rank):
        self.gaussian, self.scale, self.mean = gaussian, scale, mean
        self.left, self.right = (np.empty((rank, len(gaussian))) for _ in range(2))
        self.count = 0

    def initial(self, x):
        """(scale G + mean 1 1^T) x for the rows of x."""
        return self._shared(self.scale * (x @ self.gaussian.T), x)

    def changes(self, x):
        """left^T right x for the rows of x."""
        return (x @ self.right[: self.count].T) @ self.left[: self.count]

    def transposed(self, g):
        """The transpose of all of it times the rows of g."""
        return self._shared(self.scale * (g @ self.gaussian), g) + (g @ self.left[: self.count].T) @ self.right[: self.count]

    def _shared(self, product, x):
        return product + self.mean * x.sum(axis=1, keepdims=True) if self.mean else product

    def add(self, left, right):
        """Add left^T right, factors of shape (k, m) with k at most the rank."""
        if self.count + len(left) > len(self.left):
            add_product(self.gaussian, self.scale, self.left[: self.count], self.right[: self.count])
            self.scale, self.count = 1.0, 0
        new = slice(self.count, self.count + len(left))
        self.left[new], self.right[new] = left, right
        self.count = new.stop


class _Network:
    """Weights and the signals of the last forward pass; arguments as in `march`."""

    def __init__(self, gaussians, scales, points, samples, activation, rank):
        self.activation, self.scales, self.samples = activation, scales, samples
        self.overlaps = points @ points[:samples].T
        self.first = scales.size[0] * (points @ gaussians.first.T) + scales.mean[0] * points.sum(axis=1, keepdims=True)
        self.first_change = np.zeros_like(self.first)
        self.matrices = [LowRankMatrix(g, *pair, rank) for g, *pair in zip(gaussians.hidden, scales.size[1:], scales.mean[1:])]
        self.readout = scales.size[-1] * gaussians.readout + scales.mean[-1]
        self.readout_change = np.zeros_like(gaussians.readout)
        self.biases = [scale * bias for scale, bias in zip(scales.bias, gaussians.biases)]
        self.bias_changes = [np.zeros_like(bias) for bias in self.biases]

    def forward(self):
        """Logits; keeps preactivations, what changed weights add to them, activations and slopes of all layers."""
        self.h, self.own, self.x, self.slopes = [], [], [], []
        self._add_layer(self.first, self.first_change)
        for matrix in self.matrices:
            self._add_layer(matrix.initial(self.x[-1]), matrix.changes(self.x[-1]))
        self._add_layer(self.x[-1] @ self.readout.T, self.x[-1] @ self.readout_change.T, last=True)
        return self.h[-1]

    def _add_layer(self, initial, changes, last=False):
        layer = len(self.h)
        self.own.append(changes + self.bias_changes[layer])
        self.h.append(initial + self.biases[layer] + self.own[-1])
        if not last:
            x, slope = np.empty_like(initial), np.empty_like(initial)
            self.activation.evaluate(self.h[-1], x, slope)
            self.x.append(x)
            self.slopes.append(slope)

    def backward(self, chi):
        """Derivatives of the loss by the preactivations of layers 1 ... L + 1, where `chi`, that by the logits, is not zero."""
        self.rows = np.flatnonzero(chi.any(axis=1))
        self.dh = [chi[self.rows]]
        for layer in reversed(range(len(self.x))):
            dh = self.dh[0]
            dx = self.matrices[layer].transposed(dh) if layer < len(self.matrices) else dh @ (self.readout + self.readout_change)
            self.dh.insert(0, dx * self.slopes[layer][self.rows])

    def update(self, eta, first):
        """A step with the last derivatives; `first`: the first of all."""
        scales = self.scales
        rates, bias_rates = (scales.rate, scales.bias_rate) if first else (scales.rate_later, scales.bias_rate_later)
        for change, rate, dh in zip(self.bias_changes, bias_rates, self.dh):
            change -= eta * rate * dh.sum(axis=0)
        self.first_change -= eta * rates[0] * (self.overlaps[:, self.rows] @ self.dh[0])
        for matrix, rate, dh, x in zip(self.matrices, rates[1:], self.dh[1:], self.x):
            matrix.add(-eta * rate * dh, x[self.rows])
        self.readout_change -= eta * rates[-1] * (self.dh[-1].T @ self.x[-1][self.rows])
        if first:
            for matrix, size, later in zip(self.matrices, scales.size[1:], scales.size_later[1:]):
                matrix.scale *= later / size
            self.readout *= scales.size_later[-1] / scales.size[-1]

    def sizes(self, start):
        """`State.sizes`, with the preactivations at initialization."""
        change = (h - h0 for h, h0 in zip(self.h, start))
        at_samples = (self.h, [*self.x, self.h[-1]], self.dh, change, self.own)
        return np.array([[np.sqrt((v[: self.samples] ** 2).sum() / (self.samples * v.shape[1])) for v in signal] for signal in at_samples])


def march(gaussians, scales, points, samples, activation, derivative, rates, rank, track=False):
    """Iterator over the steps of one training run.

    Parameters
    ----------
    gaussians : Gaussians
        Hidden matrices are overwritten.
    scales : Scales
        Initial weights that shrink after the first step must have no mean.
    points : ndarray, shape (n, D)
        Inputs, the training samples first.
    samples : int
        P; the others follow the forward pass only.
    activation : activations.Activation
    derivative : callable(step, f)
        Derivative of the batch's loss by the logits, shape (P, C), for logits of shape (P, C).
    rates : sequence of float
        eta of every step.
    rank : int
        Rows of factors kept for a hidden matrix, at least P; with `track` at least P times the number of steps, so that changes stay apart.
    track : bool
        Give the sizes of signals; they include the backward pass after the last step.

    Yields
    ------
    State
        Before each step and after the last.
    """
    network, steps, start = _Network(gaussians, scales, points, samples, activation, rank), len(rates), None
    for step in range(steps + 1):
        logits = network.forward()
        start = network.h if start is None else start
        if step == steps and not track:
            yield State(logits, None)
            return
        network.backward(derivative(min(step, steps - 1), logits[:samples]))
        yield State(logits, network.sizes(start) if track else None)
        if step < steps:
            network.update(rates[step], first=step == 0)
