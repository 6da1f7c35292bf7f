"""Deep linear kernel evolution: against the solution in closed variables, the fixed point, reduced theories and finite networks."""

import numpy as np
import pytest

from solvers import finite_mlp, kernel_fixed_point, kernel_linear, kernel_reduced
from solvers.kernel_problem import logistic

from kernel_systems import inputs, linear_one_hidden_layer, problem

OPTIMIZERS = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
    {"weight_decay": 0.2, "decoupled": True},
]


def test_one_hidden_layer_closes_on_three_order_parameters():
    x, y = inputs()
    rates = np.linspace(0.5, 0.2, 40)
    kernels, done = kernel_linear.solve(problem(x, y, layers=1, richness=1.3, rates=rates))
    assert done == 41
    np.testing.assert_allclose(kernels.predictions[:, :, 0], linear_one_hidden_layer(x, y, 1.3, rates), atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("layers", [1, 3])
def test_march_is_the_fixed_point(layers, optimizer):
    x, y = inputs(samples=3, test=1, outputs=2)
    case = problem(x, y, layers=layers, rates=np.linspace(0.1, 0.06, 9), **optimizer)
    kernels, _ = kernel_linear.solve(case)
    order, changes = kernel_fixed_point.solve_linear(case)
    n = case.times * case.points
    np.testing.assert_allclose(kernels.predictions, order.predictions, atol=1e-11)
    for l, layer in enumerate(kernels.layers):
        np.testing.assert_allclose(kernels.feature_kernel(l + 1).reshape(n, n), order.features[l], atol=1e-11)
        np.testing.assert_allclose(layer.G, order.gradients[l], atol=1e-11)
        np.testing.assert_allclose(layer.A, order.forward_responses[l], atol=1e-11)
        np.testing.assert_allclose(layer.Gu, order.backward_responses[l], atol=1e-11)


@pytest.mark.parametrize("errors", [None, logistic])
def test_small_richness_is_lazy(errors):
    x, y = inputs(outputs=2)
    options = {} if errors is None else {"errors": errors}
    case = problem(x, np.sign(y), layers=3, richness=1e-6, rates=np.linspace(0.3, 0.2, 20), momentum=0.4, **options)
    lazy = kernel_reduced.lazy(case, kernel_reduced.linear_tangent_kernel(case))
    np.testing.assert_allclose(kernel_linear.solve(case)[0].predictions, lazy, atol=1e-10)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_second_order_in_richness(layers):
    x, y = inputs(samples=3, test=1)
    residuals = []
    for richness in (0.02, 0.04):
        case = problem(x, y, layers=layers, richness=richness)
        kernels, _ = kernel_linear.solve(case)
        features, gradients = kernel_reduced.small_richness_linear(case)
        exact = np.array([kernels.feature_kernel(l + 1) for l in range(layers)]), np.array([layer.G for layer in kernels.layers])
        residuals.append([np.max(np.abs(a - b)) for a, b in zip(exact, (features, gradients))])
    np.testing.assert_allclose(residuals[1], 16 * np.array(residuals[0]), rtol=0.05)


def test_finite_networks_and_order_parameters_of_every_layer():
    x, y = inputs(outputs=2)
    case = problem(x, y, layers=3, rates=np.full(12, 0.25), momentum=0.3, weight_decay=0.05)
    kernels, _ = kernel_linear.solve(case)
    width, runs, features, gradients = 400, [], [], []
    for seed in range(16):
        weights = finite_mlp.initial_weights(x.shape[1], width, 3, 2, np.random.default_rng(seed))
        steps = list(finite_mlp.march(case, x, weights))
        runs.append([f for f, _, _ in steps])
        features.append(steps[-1][1][2] @ steps[-1][1][2].T)
        g = finite_mlp.gradients(weights, steps[-1][2])[1][0]
        gradients.append(g @ g.T / width)
    for found, expected in (
        (runs, kernels.predictions),
        (features, kernels.feature_kernel(2)[-1, :, -1]),
        (gradients, kernels.gradient_kernel(2)[-1, :, -1]),
    ):
        found = np.array(found)
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        z = (found.mean(axis=0) - expected)[error > 0] / error[error > 0]
        assert np.sqrt(np.mean(z**2)) < 2.5


def test_divergence_ends_the_march():
    x, y = inputs()
    _, done = kernel_linear.solve(problem(x, y, layers=3, rates=np.full(60, 50.0)))
    assert 1 < done < 61


def test_memory_estimate():
    x, y = inputs()
    case = problem(x, y, layers=3)
    matrices = sum(array.nbytes for layer in kernel_linear.empty_layers(case) for array in layer)
    assert kernel_linear.memory_estimate(case) == matrices
