"""The memory of linear optimizers: closed forms, and any of them against a run on random gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dmft
from solvers.memory_kernel import memory_kernel
from systems import optimizer_step

STEPS = 40
LAG = np.subtract.outer(np.arange(STEPS + 1), np.arange(STEPS + 1))
ETA, MU, DECAY = 0.3, 0.8, 0.25
RATES = ETA / (1 + np.arange(STEPS))
SHRINK = (1 - ETA * DECAY) ** np.maximum(LAG, 0.0)
ONE = np.ones(STEPS + 1)

CLOSED_FORMS = {
    "gradient descent": (dict(), ONE, ETA * np.ones_like(SHRINK)),
    "heavy ball": (dict(momentum=MU), ONE, ETA * (1 - MU ** np.maximum(LAG, 0)) / (1 - MU)),
    "nesterov": (dict(momentum=MU, nesterov=True), ONE, ETA * (1 - MU ** np.maximum(LAG + 1, 0)) / (1 - MU)),
    "coupled decay": (dict(weight_decay=DECAY), SHRINK[:, 0], ETA * SHRINK / (1 - ETA * DECAY)),
    "decoupled decay": (dict(weight_decay=DECAY, decoupled=True), SHRINK[:, 0], ETA * SHRINK / (1 - ETA * DECAY)),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(name):
    options, d_expected, kappa_expected = CLOSED_FORMS[name]
    d, kappa = memory_kernel(np.full(STEPS, ETA), **options)
    np.testing.assert_allclose(d, d_expected, rtol=1e-13)
    np.testing.assert_allclose(kappa, np.where(LAG > 0, kappa_expected, 0.0), rtol=1e-13)


def test_schedule():
    d, kappa = memory_kernel(RATES)
    np.testing.assert_array_equal(d, ONE)
    np.testing.assert_array_equal(kappa, np.where(LAG > 0, np.append(RATES, 0.0), 0.0))


def test_heavy_ball_with_decay():
    """d + 1 steps of the recursion d(t+1) = (1 - eta lambda + mu) d(t) - mu d(t-1), solved by its characteristic roots."""
    d, _ = memory_kernel(np.full(STEPS, ETA), momentum=MU, weight_decay=DECAY)
    middle = 1 - ETA * DECAY + MU
    first, second = np.roots([1, -middle, MU])
    c = (1 - ETA * DECAY - second) / (first - second)
    np.testing.assert_allclose(d, (c * first ** np.arange(STEPS + 1) + (1 - c) * second ** np.arange(STEPS + 1)).real, rtol=0, atol=1e-13)


@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 30),
    momentum=st.floats(0.05, 0.99),
    nesterov=st.booleans(),
    weight_decay=st.floats(0.01, 0.5),
    decoupled=st.booleans(),
)
def test_any_optimizer_on_random_gradients(seed, steps, momentum, nesterov, weight_decay, decoupled):
    rng = np.random.default_rng(seed)
    run = dmft.GradientDescent(rng.uniform(0, 1, steps), steps, momentum, nesterov, weight_decay, decoupled)
    gradients = rng.standard_normal(steps)
    path, buffer = [rng.standard_normal()], 0.0
    for rate, gradient in zip(run.learning_rates, gradients):
        weight, buffer = optimizer_step(path[-1], buffer, gradient, rate, run)
        path.append(weight)
    d, kappa = memory_kernel(run.learning_rates, momentum, nesterov, weight_decay, decoupled)
    assert not np.any(np.triu(kappa))
    size = np.abs(path[0]) + np.abs(kappa[:, :-1]) @ np.abs(gradients)
    np.testing.assert_allclose(d * path[0] + kappa[:, :-1] @ gradients, path, rtol=0, atol=1e-13 * size.max())
