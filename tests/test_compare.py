"""Verdicts on synthetic ensembles of known noise and bias, on real simulations, and what compare refuses."""

import importlib
import warnings
from dataclasses import replace

import numpy as np
import pytest

import dmft
from dmft import Status, compare
from dmft.ensemble import LinearEnsemble

linear = importlib.import_module("dmft.comparisons.linear")
PROBLEM = dmft.DeepLinear(2, 1.5), dmft.GaussianData(2.0, 0.3), dmft.GradientDescent(0.03, 30)
TRAJECTORY = dmft.solve(*PROBLEM, progress=False)
SAFE = pytest.mark.filterwarnings("error")


def ensemble(dim=400, seeds=20, rng=0, noise=0.5, bias=0.0, train_bias=0.0, trajectory=TRAJECTORY):
    """Losses theory (1 + bias / D + noise xi / sqrt(D))."""
    generator = np.random.default_rng(rng)

    def losses(theory, bias):
        return theory * (1 + bias / dim + noise / np.sqrt(dim) * generator.standard_normal((seeds, len(theory))))

    return LinearEnsemble(
        test_loss=losses(trajectory.test_loss, bias),
        train_loss=losses(trajectory.train_loss, train_bias),
        dim=dim,
        widths=(600, 600),
        samples=800,
        network=trajectory.network,
        data=trajectory.data,
        training=trajectory.training,
        rng="synthetic",
        inputs=None,
        elapsed=0.0,
    )


def diverged(trajectory, step):
    """The trajectory or ensemble with all losses infinite from `step` on."""
    losses = {}
    for name in ("test_loss", "train_loss"):
        losses[name] = getattr(trajectory, name).copy()
        losses[name][..., step:] = np.inf
    return replace(trajectory, **losses)


@SAFE
def test_unbiased_noise_agrees_and_zscores_follow_their_definition():
    simulated = ensemble()
    verdict = compare(TRAJECTORY, simulated)
    error = simulated.test_loss.std(axis=0, ddof=1) / np.sqrt(20)
    np.testing.assert_allclose(verdict.zscores, (simulated.test_loss.mean(axis=0) - TRAJECTORY.test_loss) / error, rtol=1e-12)
    np.testing.assert_allclose(verdict.relative_error, simulated.test_loss.mean(axis=0) / TRAJECTORY.test_loss - 1, rtol=1e-9)
    assert verdict.max_abs_z == max(np.abs(verdict.zscores).max(), np.abs(verdict.train_zscores).max())
    assert verdict.agrees is True and verdict.near_edge is False
    assert 0.7 < np.std(np.append(verdict.zscores, verdict.train_zscores)) < 1.4


@SAFE
def test_verdict_text_says_how_it_was_reached():
    text = str(compare(TRAJECTORY, ensemble(), threshold=3.5))
    for part in (
        "Theory and simulation agree: max |z| = ",
        "threshold 3.5",
        "20 seeds, D = 400, widths 600, 600, P = 800",
        "chance of |z| > 3.5 at one time: 0.002",
        "31 of 31 times counted",
        "standard error 0.6% of the loss",
        "stable at 2.5 times the learning rate",
    ):
        assert part in text
    assert "bias" not in text


@SAFE
@pytest.mark.parametrize("name, biases", [("test loss", {"bias": 20.0}), ("training loss", {"train_bias": -20.0})])
def test_a_deviation_of_either_loss_is_found(name, biases):
    verdict = compare(TRAJECTORY, ensemble(**biases))
    assert not verdict.agrees and verdict.max_abs_z > 6
    assert "DISAGREE" in str(verdict) and f"({name})" in str(verdict)


def test_the_threshold_decides():
    simulated = ensemble(bias=4.0)
    worst = compare(TRAJECTORY, simulated).max_abs_z
    assert compare(TRAJECTORY, simulated, threshold=worst + 0.01).agrees
    assert not compare(TRAJECTORY, simulated, threshold=worst - 0.01).agrees


@SAFE
def test_a_known_bias_is_fitted_and_extrapolated_away():
    sizes = [ensemble(dim, bias=20.0, rng=dim) for dim in (400, 200, 100)]
    verdict = compare(TRAJECTORY, sizes)
    deviation = (verdict.test.bias - TRAJECTORY.test_loss * 20.0 / 400) / verdict.test.bias_error
    assert np.abs(deviation).max() < 4 and 0.6 < deviation.std() < 1.5
    assert np.abs(verdict.zscores).max() > 6 and verdict.agrees
    assert verdict.max_abs_z == max(np.abs(loss.extrapolated_zscores).max() for loss in (verdict.test, verdict.train))
    assert "D = 400, 200, 100: at D = 400" in str(verdict) and "ABOVE the standard error" in str(verdict)
    value, error = verdict.test.mean_bias
    assert abs(value - np.mean(TRAJECTORY.test_loss * 20.0 / 400 / verdict.test.standard_error)) < 4 * error < 4
    t = 7
    weights = [1 / each.standard_error()[t] for each in sizes]
    (slope, limit), covariance = np.polyfit([1 / e.dim for e in sizes], [e.mean()[t] for e in sizes], 1, w=weights, cov="unscaled")
    assert verdict.test.bias[t] == pytest.approx(slope / 400, rel=1e-9)
    assert verdict.test.bias_error[t] == pytest.approx(np.sqrt(covariance[0, 0]) / 400, rel=1e-9)
    expected = (limit - TRAJECTORY.test_loss[t]) / np.sqrt(covariance[1, 1])
    assert verdict.test.extrapolated_zscores[t] == pytest.approx(expected, rel=1e-6)


@SAFE
def test_no_bias_is_below_the_standard_error_and_a_wrong_theory_stays_wrong():
    unbiased = compare(TRAJECTORY, [ensemble(400, rng=1), ensemble(200, rng=2)])
    for loss in (unbiased.test, unbiased.train):
        value, error = loss.mean_bias
        assert abs(value) < 3 * error and error == pytest.approx(np.sqrt(3 / 31), rel=0.4)
    assert ", below the standard error" in str(unbiased)
    shifted = [replace(e, test_loss=1.05 * e.test_loss) for e in unbiased.ensembles]
    assert not compare(TRAJECTORY, shifted).agrees


def test_simulations_agree_with_the_theory_and_dims_simulates_further_sizes():
    simulated = dmft.simulate(*PROBLEM, dim=120, seeds=24, progress=False)
    verdict = compare(TRAJECTORY, simulated, dims=[60], progress=False)
    assert [(e.dim, e.seeds) for e in verdict.ensembles] == [(120, 24), (60, 48)]
    assert verdict.agrees and np.abs(verdict.zscores).max() < 5
    narrow = dmft.DeepLinear(2, 1.0)
    assert not compare(dmft.solve(narrow, *PROBLEM[1:], progress=False), replace(simulated, network=narrow)).agrees


def test_near_the_edge_of_stability_a_warning_and_a_note():
    fast = dmft.GradientDescent(0.2, 30)
    trajectory = dmft.solve(*PROBLEM[:2], fast, progress=False)
    assert trajectory.status is Status.COMPLETED
    with pytest.warns(dmft.EdgeOfStabilityWarning, match="2.5 times"):
        verdict = compare(trajectory, ensemble(trajectory=trajectory))
    assert verdict.near_edge and "NEAR THE EDGE" in str(verdict)


def test_the_edge_check_is_short_and_scales_schedules(monkeypatch):
    seen = []
    monkeypatch.setattr(linear, "solve", lambda *problem, progress: seen.append(problem[2]) or TRAJECTORY)
    rates = np.linspace(0.1, 0.01, 500)
    assert not linear.near_edge(*PROBLEM[:2], dmft.OnlineSGD(rates, 500, momentum=0.5))
    assert seen[0].steps == 200 and seen[0].momentum == 0.5
    for training, factor in zip(seen, (1.0, 2.5), strict=True):
        np.testing.assert_allclose(training.learning_rates, factor * rates[:200])


@SAFE
def test_divergence_of_both_agrees_and_of_one_disagrees():
    theory = replace(diverged(TRAJECTORY, 20), status=Status.DIVERGED)
    both = compare(theory, diverged(ensemble(), 23))
    assert both.agrees and both.test.counted.sum() == 20
    assert np.all(both.zscores[23:] == 0) and np.all(np.isinf(both.zscores[20:23])) and np.all(both.relative_error[23:] == 0)
    assert "the theory diverges at step 20, 20 of 20 networks do from step 23" in str(both)
    for one_sided in (compare(theory, ensemble()), compare(TRAJECTORY, diverged(ensemble(), 23))):
        assert not one_sided.agrees and one_sided.max_abs_z == np.inf and not np.isnan(one_sided.relative_error).any()
        assert "DISAGREE" in str(one_sided)
    several = compare(theory, [diverged(ensemble(), 23), diverged(ensemble(200, rng=2), 15)])
    assert several.agrees and np.isnan(several.test.bias[15:]).all() and "bias" in str(several)


@SAFE
def test_zero_spread_and_losses_at_the_numerical_floor():
    exact = compare(TRAJECTORY, ensemble(noise=0.0))
    assert exact.agrees and exact.max_abs_z < 1e-2
    tiny = [TRAJECTORY.test_loss * np.where(TRAJECTORY.times < 10, 1.0, s) for s in (1e-17, -1e-16)]
    simulated = ensemble()
    simulated = replace(simulated, test_loss=np.where(TRAJECTORY.times < 10, simulated.test_loss, tiny[1]))
    verdict = compare(replace(TRAJECTORY, test_loss=tiny[0]), simulated)
    assert verdict.agrees and verdict.test.counted.sum() == 10 and np.abs(verdict.zscores[10:]).max() < 1e-2


@SAFE
def test_times_of_poor_precision_do_not_count():
    simulated = ensemble()
    noisy = simulated.test_loss.copy()
    noisy[:, 20:] *= np.exp(2 * np.random.default_rng(3).standard_normal((20, 11)))
    verdict = compare(TRAJECTORY, replace(simulated, test_loss=noisy))
    assert verdict.agrees and verdict.test.counted[:20].all() and not verdict.test.counted[20:].any()
    assert "20 of 31 times counted" in str(verdict)
    hopeless = compare(TRAJECTORY, ensemble(noise=400.0, seeds=40))
    assert not hopeless.agrees and np.isnan(hopeless.max_abs_z) and "cannot be compared" in str(hopeless)


def refused(error, match, *args, **options):
    with pytest.raises(error, match=match):
        compare(*args, **options)


def test_other_problems_are_refused_naming_what_differs():
    simulated = ensemble()
    refused(ValueError, "network differs: width_ratio = 1.5 and 2.0", TRAJECTORY, replace(simulated, network=dmft.DeepLinear(2, 2.0)))
    refused(ValueError, "data differs: label_noise = 0.3 and 0.1", TRAJECTORY, replace(simulated, data=dmft.GaussianData(2.0, 0.1)))
    minibatch = replace(simulated, training=dmft.MinibatchSGD(0.03, 30))
    refused(ValueError, "training differs: GradientDescent and MinibatchSGD", TRAJECTORY, minibatch)
    refused(ValueError, "training differs: steps = 30 and 40", TRAJECTORY, replace(simulated, training=dmft.GradientDescent(0.03, 40)))
    stopped = replace(TRAJECTORY, status=Status.INTERRUPTED, finished=25)
    refused(ValueError, "same number of steps; got 24 .* and 30", stopped, simulated)
    refused(ValueError, "network differs", TRAJECTORY, [simulated, replace(simulated, network=dmft.DeepLinear(2, 2.0))])


def test_bad_arguments_are_refused_by_name():
    simulated = ensemble()
    refused(TypeError, "trajectory must be a Trajectory", simulated, simulated)
    refused(TypeError, "ensemble must be an Ensemble", TRAJECTORY, TRAJECTORY)
    refused(ValueError, "ensemble must be an Ensemble or a non-empty sequence", TRAJECTORY, [])
    refused(ValueError, "ensemble must have at least two seeds", TRAJECTORY, ensemble(seeds=1))
    refused(ValueError, "threshold must be", TRAJECTORY, simulated, threshold=0)
    refused(TypeError, "dims must be", TRAJECTORY, simulated, dims=200)
    refused(TypeError, "dims must be a sequence of integers", TRAJECTORY, simulated, dims=[200, 1.5])
    refused(ValueError, "dims must be different sizes.* got 400, 200, 400", TRAJECTORY, simulated, dims=[200, 400])
    refused(ValueError, "dims must be different sizes", TRAJECTORY, [simulated, simulated])
    refused(ValueError, "dims must be None", TRAJECTORY, replace(simulated, inputs="100 real samples"), dims=[200])
