"""Gaussian expectations: closed forms against quadrature, expansion, Monte Carlo and values known by hand."""

import numpy as np
import pytest
from scipy.special import ndtr

from solvers import gaussian
from solvers.activations import ACTIVATIONS, Activation, leaky_relu
from solvers.gaussian import expectations
from solvers.reference_shallow import evaluated

CASES = {**ACTIVATIONS, "leaky_relu": leaky_relu(0.1), "steep": leaky_relu(2.0)}
SMOOTH = [name for name, activation in CASES.items() if activation.negative_slope is None]


def directions(rng, count, dim):
    x = rng.normal(size=(count, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def special_points():
    """Unequal norms, a repeated point, its opposite, one nearly the same, the origin."""
    x = directions(np.random.default_rng(0), 9, 5) * np.array([1, 1, 2, 0.3, 0.1, 1, 1, 1, 0])[:, None]
    x[5], x[6], x[7] = x[1], -x[1], x[1] + 1e-6 * x[0]
    return x


def quadrature(activation, covariance, i, j, spacing=0.01):
    """Sums over a square grid in the independent variables z, z' of u = s z, v = s' (rho z + sqrt(1 - rho^2) z')."""
    z = np.arange(-12, 12 + spacing, spacing)
    weights = spacing / np.sqrt(2 * np.pi) * np.exp(-z * z / 2)
    s, t = np.sqrt(covariance[i, i]), np.sqrt(covariance[j, j])
    rho = np.clip(covariance[i, j] / (s * t), -1, 1) if s * t > 0 else 0.0
    first = evaluated(activation, s * z)
    second = evaluated(activation, t * (rho * z[:, None] + np.sqrt(1 - rho**2) * z))
    return [weights @ (u * (v @ weights)) for u, v in zip(first, second)]


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_smooth_against_quadrature(name, scale):
    x = scale * special_points()
    covariance = x @ x.T
    computed = expectations(CASES[name], covariance)
    for i, j in [(0, 1), (1, 1), (1, 5), (1, 6), (1, 7), (2, 3), (3, 4), (2, 8), (8, 8)]:
        for matrix, expected in zip(computed, quadrature(CASES[name], covariance, i, j)):
            assert matrix[i, j] == pytest.approx(expected, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("name", ["linear", "erf"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_expansion_against_closed_form(name, scale):
    x = scale * special_points()
    covariance = x @ x.T
    variances = np.diagonal(covariance)
    expanded = gaussian._mehler(CASES[name], covariance, variances, variances)
    for matrix, expected in zip(expanded, expectations(CASES[name], covariance)):
        np.testing.assert_allclose(matrix, expected, rtol=1e-11, atol=1e-13 * scale**2)


@pytest.mark.parametrize("name", CASES)
def test_monte_carlo(name):
    rng, activation, count = np.random.default_rng(1), CASES[name], 200_000
    x = special_points()
    computed = expectations(activation, x @ x.T)
    for matrix, functions in zip(computed, evaluated(activation, rng.normal(size=(count, 5)) @ x.T)):
        for i in range(len(x)):
            products = functions * functions[:, i : i + 1]
            error = np.std(products, axis=0) / np.sqrt(count)
            rare_flips = 1e-6  # of the masks of the two points 1e-6 apart
            assert np.all(np.abs(np.mean(products, axis=0) - matrix[i]) <= 4.5 * error + rare_flips)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "steep"])
def test_kinks_are_exact_at_equal_and_opposite_points(name):
    activation, slope = CASES[name], CASES[name].negative_slope
    rng = np.random.default_rng(2)
    x = directions(rng, 20, 7) * rng.uniform(0.1, 3, size=(20, 1))
    x = np.concatenate([x, -x, x])
    values, slopes = expectations(activation, x @ x.T)
    i = np.arange(20)
    squares = np.sum(x[:20] ** 2, axis=1)
    for j in (i, i + 40):
        np.testing.assert_allclose(values[i, j], squares * (1 + slope**2) / 2, rtol=1e-14)
        np.testing.assert_allclose(slopes[i, j], (1 + slope**2) / 2, rtol=1e-15)
    np.testing.assert_allclose(values[i, i + 20], -squares * slope, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(slopes[i, i + 20], slope, rtol=1e-14, atol=1e-15)


def test_arccosine_kernels_of_relu():
    """Cho and Saul: J_1 = (sin t + (pi - t) cos t) / 2 pi, J_0 = (pi - t) / 2 pi."""
    t = np.linspace(0.05, 3.1, 50)
    values, slopes = expectations(CASES["relu"], np.cos(t)[None], (np.ones(1), np.ones(50)))
    np.testing.assert_allclose(values[0], (np.sin(t) + (np.pi - t) * np.cos(t)) / (2 * np.pi), atol=1e-14)
    np.testing.assert_allclose(slopes[0], (np.pi - t) / (2 * np.pi), atol=1e-13)


@pytest.mark.parametrize("name", ["tanh", "leaky_relu", "erf"])
def test_rectangular_blocks(name):
    x = special_points()
    covariance = x @ x.T
    variances = np.diagonal(covariance)
    whole = expectations(CASES[name], covariance)
    part = expectations(CASES[name], covariance[:, 2:5], (variances, variances[2:5]))
    for a, b in zip(whole, part):
        np.testing.assert_allclose(a[:, 2:5], b, atol=1e-14)
        np.testing.assert_array_equal(a, a.T)


def test_user_supplied_activation():
    def evaluate(h, phi, dphi=None, d2phi=None):
        np.sin(h, out=phi)
        if dphi is not None:
            np.cos(h, out=dphi)

    x = 2 * special_points()
    covariance = x @ x.T
    variances = np.diagonal(covariance)
    values, slopes = expectations(Activation("sine", evaluate), covariance)
    mean = -(variances[:, None] + variances) / 2
    np.testing.assert_allclose(values, np.exp(mean) * np.sinh(covariance), atol=1e-13)
    np.testing.assert_allclose(slopes, np.exp(mean) * np.cosh(covariance), atol=1e-13)


def test_kink_without_closed_form():
    """Hard tanh: E[phi^2] = 1 - 2 p(1) at unit variance, E[phi'^2] = E[phi'] = P(|z| < 1), which is squared for uncorrelated points."""

    def evaluate(h, phi, dphi=None, d2phi=None):
        np.clip(h, -1, 1, out=phi)
        if dphi is not None:
            np.less(np.abs(h), 1, out=dphi)

    values, slopes = expectations(Activation("hard tanh", evaluate, smooth=False), np.eye(2))
    inside = ndtr(1) - ndtr(-1)
    np.testing.assert_allclose(values, (1 - 2 * np.exp(-0.5) / np.sqrt(2 * np.pi)) * np.eye(2), atol=1e-5)
    np.testing.assert_allclose(slopes, inside**2 + (inside - inside**2) * np.eye(2), atol=5e-3)


def test_slope_expectation_is_the_derivative_of_the_values():
    """Price: dE[phi(u) phi(v)] / dE[uv] = E[phi'(u) phi'(v)]."""
    step, variances = 1e-5, (np.ones(1), np.full(5, 2.0))
    covariance = np.linspace(-1.2, 1.2, 5)[None]
    for activation in CASES.values():
        above, below = (expectations(activation, covariance + s, variances)[0] for s in (step, -step))
        np.testing.assert_allclose((above - below) / (2 * step), expectations(activation, covariance, variances)[1], atol=1e-9)
