"""Finite networks on a data set: gradients by differences, the optimizer against its definition, known sums."""

import numpy as np
import pytest

from kernel_systems import inputs, problem
from solvers import finite_mlp
from solvers.finite_network import optimizer_step

WIDTH, LAYERS, RICHNESS = 7, 2, 1.3
OPTIMIZERS = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2, "decoupled": True},
    {"momentum": 0.5, "weight_decay": 0.2},
    {"momentum": 0.5, "weight_decay": 0.2, "decoupled": True},
    {"weight_decay": 0.2},
]


def function(weights, x):
    h = x / np.sqrt(x.shape[1])
    for matrix in weights[:-1]:
        h = np.tanh(h @ matrix.T) / np.sqrt(len(matrix))
    return h @ weights[-1].T / (RICHNESS * np.sqrt(WIDTH))


def loss(weights, x, y, initial):
    return 0.5 * np.sum((y - function(weights, x)[: len(y)] + initial[: len(y)]) ** 2) / len(y)


def numerical_gradient(weights, x, y, initial, step=1e-6):
    gradient = []
    for matrix in weights:
        slope = np.zeros(matrix.shape)
        for index in np.ndindex(matrix.shape):
            kept = matrix[index]
            values = []
            for sign in (1, -1):
                matrix[index] = kept + sign * step
                values.append(loss(weights, x, y, initial))
            matrix[index] = kept
            slope[index] = (values[0] - values[1]) / (2 * step)
        gradient.append(slope)
    return gradient


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_steps_follow_the_gradient_of_the_loss(optimizer):
    x, y = inputs(samples=3, test=1, dim=4, outputs=2)
    rates = np.array([0.4, 0.3, 0.2])
    case = problem(x, y, "tanh", LAYERS, RICHNESS, rates, **optimizer)
    weights = finite_mlp.initial_weights(4, WIDTH, LAYERS, 2, np.random.default_rng(0))
    copies = [w.copy() for w in weights]
    buffers = [np.zeros(w.shape) for w in weights]
    options = [optimizer.get(k, 0) for k in ("momentum", "nesterov", "weight_decay", "decoupled")]
    initial = function(copies, x)
    expected = [np.zeros(initial.shape)]
    for rate in rates:
        for w, buffer, slope in zip(copies, buffers, numerical_gradient(copies, x, y, initial)):
            optimizer_step(w, buffer, -(RICHNESS**2) * WIDTH * slope, rate, *options)
        expected.append(function(copies, x) - initial)
    found = [f for f, _, _ in finite_mlp.march(case, x, weights)]
    np.testing.assert_allclose(found, expected, atol=1e-7)
    for a, b in zip(weights, copies):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_gradients_are_derivatives_of_the_function():
    x, y = inputs(samples=3, test=0, dim=4, outputs=2)
    case = problem(x, y, "tanh", LAYERS, RICHNESS)
    weights = finite_mlp.initial_weights(4, WIDTH, LAYERS, 2, np.random.default_rng(0))
    copies = [w.copy() for w in weights]
    _, features, slopes = next(finite_mlp.march(case, x, weights))
    fields = finite_mlp.gradients(weights, slopes)
    step = 1e-6
    for layer in range(LAYERS):
        changed = [w.copy() for w in copies]
        changed[layer][2, 3] += step
        derivative = (function(changed, x) - function(copies, x)) / step
        expected = fields[layer][:, :, 2] * features[layer][:, 3, None] / (RICHNESS * WIDTH)
        np.testing.assert_allclose(derivative, expected, atol=1e-6)
