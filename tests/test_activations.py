"""Activations: values against their definitions, derivatives against complex or central differences."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.special import erf

from solvers.activations import ACTIVATIONS, leaky_relu

CASES = {**ACTIVATIONS, "leaky_relu": leaky_relu(0.1), "steep": leaky_relu(2.0)}
DEFINITIONS = {
    "linear": lambda h: h,
    "relu": lambda h: np.where(h > 0, h, 0.0),
    "leaky_relu": lambda h: np.where(h > 0, h, 0.1 * h),
    "steep": lambda h: np.where(h > 0, h, 2.0 * h),
    "tanh": lambda h: np.sinh(h) / np.cosh(h),
    "erf": erf,
    "gelu": lambda h: h * ndtr(h),
    "softplus": lambda h: np.log1p(np.exp(h)),
}
H = np.random.default_rng(0).normal(size=(7, 11)) * 3


def evaluated(activation, h, orders):
    arrays = [np.full(h.shape, np.nan) for _ in range(orders)]
    activation.evaluate(h, *arrays)
    return arrays


@pytest.mark.parametrize("name", CASES)
def test_value_and_slope(name):
    activation, step = CASES[name], 1e-5
    phi, dphi = evaluated(activation, H, 2)
    np.testing.assert_allclose(phi, DEFINITIONS[name](H), rtol=1e-13, atol=1e-15)
    difference = (DEFINITIONS[name](H + step) - DEFINITIONS[name](H - step)) / (2 * step)
    np.testing.assert_allclose(dphi, difference, atol=1e-9)
    np.testing.assert_array_equal(evaluated(activation, H, 1)[0], phi)


@pytest.mark.parametrize("name", [n for n, a in CASES.items() if a.smooth])
def test_second_derivative(name):
    activation, step = CASES[name], 1e-5
    _, dphi, d2phi = evaluated(activation, H, 3)
    above, below = (evaluated(activation, H + s, 2)[1] for s in (step, -step))
    np.testing.assert_allclose(d2phi, (above - below) / (2 * step), atol=1e-9)
    assert np.all(np.isfinite(dphi))


@pytest.mark.parametrize("name", [n for n, a in CASES.items() if not a.smooth])
def test_kink_has_no_second_derivative(name):
    with pytest.raises(ValueError, match="no second derivative"):
        evaluated(CASES[name], H, 3)


@pytest.mark.parametrize("name", [n for n, a in CASES.items() if a.negative_slope is not None])
def test_homogeneous(name):
    activation = CASES[name]
    (positive,), (negative,) = evaluated(activation, np.array([2.0]), 1), evaluated(activation, np.array([-2.0]), 1)
    assert positive == 2.0
    assert negative == -2.0 * activation.negative_slope
