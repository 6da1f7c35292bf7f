"""Exponents of losses in time: fitted ones against known power laws and their drift, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

import dmft

TIMES = np.geomspace(0.1, 1e7, 161)


def curve(loss, times=TIMES):
    return SimpleNamespace(times=times, test_loss=loss(times))


@pytest.mark.parametrize("times", [TIMES, np.arange(10**5)], ids=["log grid", "steps"])
def test_power_laws_are_exact(times):
    fit = dmft.fit_exponent(curve(lambda t: 3.0 * np.maximum(t, 1e-300) ** -0.6, times), window=(30.0, 9e4))
    assert fit.value == pytest.approx(0.6, abs=1e-10) and fit.error < 1e-10
    assert fit.limit == pytest.approx(0.6, abs=1e-10) and len(fit.local) >= 9


@pytest.mark.parametrize("power", [0.15, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("size", [-0.5, 0.3, 1.0])
@pytest.mark.parametrize("window", [(1e3, 1e5), (1e2, 1e5), (1e4, 1e6)])
def test_errors_count_the_drift_of_corrections(power, size, window):
    """t^-0.7 (1 + c t^-q): the exponent of late times is within the error up to the square of the correction, and the error is not idle."""
    fit = dmft.fit_exponent(curve(lambda t: t**-0.7 * (1 + size * t**-power)), window)
    nonlinear = (size * window[0] ** -power) ** 2
    assert abs(fit.value - 0.7) <= fit.error + nonlinear
    assert fit.error < 6 * abs(fit.value - 0.7)
    if np.log(window[1] / window[0]) * power > 1:
        assert abs(fit.limit - 0.7) < max(0.2 * abs(fit.value - 0.7), nonlinear)


def test_drift_that_does_not_slow_down_leads_farther_than_it_was_seen():
    fit = dmft.fit_exponent(curve(lambda t: np.exp(-0.1 * np.log(t) - 0.02 * np.log(t) ** 2)), window=(1e2, 1e6))
    thirds = fit.local.reshape(3, -1).mean(axis=1)
    assert fit.limit == pytest.approx(thirds[2] + 2 * (thirds[2] - thirds[0]))
    assert fit.error == pytest.approx(fit.limit - fit.value)


def test_ensembles_count_their_spread():
    """Seeds with amplitudes and exponents of their own: the error of the mean, by theory of small spreads, is that of the jackknife."""
    random, spread, seeds = np.random.default_rng(0), 0.02, 64
    own = 0.5 + spread * random.standard_normal(seeds)
    losses = np.exp(0.1 * random.standard_normal(seeds))[:, None] * (TIMES / 1e3) ** -own[:, None]
    fit = dmft.fit_exponent(SimpleNamespace(times=TIMES, train_loss=losses), (1e2, 1e4), quantity="train_loss")
    assert fit.seed_error == pytest.approx(spread / np.sqrt(seeds), rel=4 * np.sqrt(1 / (2 * seeds)) + 0.1)
    assert abs(fit.value - 0.5) < 4 * fit.seed_error
    assert fit.error >= fit.seed_error and "from seeds" in str(fit)


def test_ends_are_interpolated_and_rounding_of_times_is_no_error():
    law = curve(lambda t: t**-0.5, np.geomspace(1.0, 1e4, 9))
    assert dmft.fit_exponent(law, (2.0, 5e3)).value == pytest.approx(0.5, abs=1e-12)
    assert dmft.fit_exponent(law, (1.0, 1e4 * (1 + 1e-12))).window[1] <= 1e4 * (1 + 1e-12)


def test_lazy_regression_in_theory_and_networks():
    """Both losses of one problem: the exponents of theory and networks agree within the standard error over seeds."""
    problem = dmft.DeepLinear(1), dmft.GaussianData(1.0), dmft.GradientDescent(0.1, 300)
    theory, networks = dmft.solve(*problem, progress=False), dmft.simulate(*problem, dim=200, seeds=16, progress=False)
    for quantity in ("test_loss", "train_loss"):
        expected, found = (dmft.fit_exponent(result, (20, 100), quantity) for result in (theory, networks))
        assert abs(found.value - expected.value) < 4 * found.seed_error
    assert expected.seed_error == 0.0


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        ((10.0, 1.0), ValueError, "start < end"),
        ((5.0, 5.0), ValueError, "start < end"),
        ((0.0, 5.0), ValueError, r"window\[0\]"),
        ((1.0, np.inf), ValueError, r"window\[1\]"),
        ((1.0, 1e8), ValueError, "inside the times > 0 of this trajectory, 0.1 to 1e\\+07"),
        ((0.01, 1e2), ValueError, "inside the times"),
        ((1.0, 1.05), ValueError, "recorded times"),
        ((1.0,), ValueError, "two times"),
        (3.0, TypeError, "two times"),
    ],
)
def test_windows_that_are_refused(window, error, message):
    with pytest.raises(error, match=message):
        dmft.fit_exponent(curve(lambda t: t**-0.5), window)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, np.nan])
def test_losses_that_are_no_power_law_are_refused(bad):
    loss = TIMES**-0.5
    loss[80] = bad
    with pytest.raises(ValueError, match="test_loss must be finite and > 0 in the window"):
        dmft.fit_exponent(SimpleNamespace(times=TIMES, test_loss=loss), (1.0, 1e6))
    assert dmft.fit_exponent(SimpleNamespace(times=TIMES, test_loss=loss), (TIMES[81], 1e6)).error < 1e-9


def test_what_has_no_such_function_of_time_is_refused():
    trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(1.0), dmft.GradientDescent(0.1, 20), progress=False)
    with pytest.raises(ValueError, match="quantity must be .* test_loss or train_loss; got 'loss_of_tests'"):
        dmft.fit_exponent(trajectory, (2, 20), quantity="loss_of_tests")
    with pytest.raises(ValueError, match="quantity"):
        dmft.fit_exponent(trajectory, (2, 20), quantity="times_two")
    with pytest.raises(TypeError, match="trajectory"):
        dmft.fit_exponent([1.0, 2.0], (1, 2))
