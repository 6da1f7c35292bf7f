"""What every theory of kernel evolution takes: an infinitely wide network, a data set and an optimizer, as arrays and scalars.

    h^1 = W^0 x / sqrt(D),  h^{l+1} = W^l phi(h^l) / sqrt(N),  f = w . phi(h^L) / (gamma N),   W, w ~ N(0, 1)

trained by full-batch gradient descent on the mean loss of the samples at the raw rate eta gamma^2 N. Points beyond the first P
samples are test points: they are followed and have no error. e = eta gamma / P couples the fields, and every linear optimizer
enters through one scalar recursion (`optimizer_step`), since it acts on all entries of all weights alike.

Source: arXiv 2205.09653; docs/theory/kernel_evolution.md, sections 1 and 7.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from .activations import Activation


class KernelProblem(NamedTuple):
    """Network, data and optimizer as the solvers see them. P samples, M test points, C outputs, L hidden layers, T = steps + 1 times.

    Attributes
    ----------
    gram : ndarray (P + M, P + M)
        x x^T / D of samples and test points.
    errors : callable(f)
        Delta = -d loss / d f, shape (P, C), for predictions of the samples, shape (P, C).
    samples, outputs, layers : int
        P, C, L.
    activation : Activation
    richness : float
        gamma > 0.
    rates : ndarray (steps,)
        Learning rates eta.
    momentum, nesterov, weight_decay, decoupled
        As in `dmft.GradientDescent`.
    """

    gram: np.ndarray
    errors: Callable
    samples: int
    outputs: int
    layers: int
    activation: Activation
    richness: float
    rates: np.ndarray
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled: bool = False

    @property
    def points(self):
        return len(self.gram)

    @property
    def times(self):
        return len(self.rates) + 1


def squared_error(y):
    """Delta = y - f of the loss (y - f)^2 / 2, for targets y, shape (P, C)."""
    return lambda f: y - f


def logistic(y):
    """Delta of the loss ln(1 + exp(-y f)), for labels y = +-1, shape (P, C)."""
    return lambda f: y * expit(-y * f)


def errors_on_points(problem, f):
    """Delta for predictions f (P + M, C) of all points; zero on test points."""
    delta = np.zeros(f.shape)
    delta[: problem.samples] = problem.errors(f[: problem.samples])
    return delta
