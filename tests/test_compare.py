"""Verdicts on synthetic ensembles of known noise and bias, on real simulations, and what compare refuses."""

import importlib
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
    assert verdict.outcome == "agrees" and verdict.agrees is True and verdict.near_edge is False
    assert 0.7 < np.std(np.append(verdict.zscores, verdict.train_zscores)) < 1.4


@SAFE
def test_rows_are_those_of_the_losses_at_three_times_and_along_their_change():
    simulated = ensemble()
    verdict = compare(TRAJECTORY, simulated)
    assert [row.name for row in verdict.table] == [
        f"{kind} loss, {what}" for kind in ("test", "train") for what in ("t = 10", "t = 20", "t = 30", "change")
    ]
    assert [row.name for row in verdict.table if row.decides] == ["test loss, t = 30", "train loss, t = 30"]
    row = verdict.row("train loss, t = 20")
    relative = simulated.train_loss[:, 20] / TRAJECTORY.train_loss[20] - 1
    assert row.deviation == pytest.approx(relative.mean()) and row.z == pytest.approx(verdict.train_zscores[20])
    assert row.standard_error == pytest.approx(relative.std(ddof=1) / np.sqrt(20)) and row.degrees == pytest.approx(19)
    losses = simulated.train_loss[:, 20]
    assert row.bias == pytest.approx(losses.var(ddof=1) / losses.mean() / TRAJECTORY.train_loss[20])
    change = TRAJECTORY.test_loss - TRAJECTORY.test_loss[0]
    along = (simulated.test_loss - TRAJECTORY.test_loss) @ change / (change @ change)
    assert verdict.row("test loss, change").deviation == pytest.approx(along.mean())
    assert verdict.max_abs_z == max(abs(row.z) for row in verdict.table)
    with pytest.raises(ValueError, match="name must be one of 'test loss, t = 10', .*; got 'loss'"):
        verdict.row("loss")


@SAFE
def test_verdict_text_says_how_it_was_reached():
    verdict = compare(TRAJECTORY, ensemble(), level=0.02)
    text = str(verdict)
    for part in (
        f"Theory and networks agree: largest |z| = {verdict.max_abs_z:.2f} (",
        "20 seeds, D = 400, widths 600, 600, P = 800",
        "Holm's correction, 0.02 for 8 rows",
        "seen: a true deviation that so many seeds find with probability 90%",
        "with confidence 0.98; in rows with * below 10% to agree",
        "standard error 0.6% of the loss",
        "bounded by the spread of single networks",
        "stable at 2.5 times the learning rate",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120 and max(map(len, verdict.table_lines())) <= 100
    assert repr(verdict) == f"<{text.splitlines()[0]}>"


@SAFE
@pytest.mark.parametrize("name, biases", [("test loss", {"bias": 20.0}), ("train loss", {"train_bias": -20.0})])
def test_a_deviation_of_either_loss_is_found(name, biases):
    verdict = compare(TRAJECTORY, ensemble(**biases))
    assert verdict.outcome == "differs" and verdict.max_abs_z > 6
    assert "Theory and networks differ: " + name in str(verdict)
    assert {row.name.split(",")[0] for row in verdict.table if row.differs} == {name}


def test_the_level_decides():
    simulated = ensemble(bias=4.0)
    verdict = compare(TRAJECTORY, simulated, level=0.4)
    chance = min(row.p for row in verdict.table) * len(verdict.table)
    assert chance < 0.4 and compare(TRAJECTORY, simulated, level=1.01 * chance).outcome == "differs"
    assert compare(TRAJECTORY, simulated, level=0.99 * chance).outcome != "differs"


@SAFE
def test_few_seeds_cannot_tell_and_say_how_many_would():
    few = compare(TRAJECTORY, ensemble(seeds=3, noise=1.0))
    assert few.outcome == "cannot tell" and not few.agrees and max(row.at_most(0.01) for row in few.table if row.decides) > 0.1
    assert f"{few.seeds_needed} seeds would do" in str(few) and "possible   t" in str(few) and 4 < few.seeds_needed < 40
    assert compare(TRAJECTORY, ensemble(seeds=2 * few.seeds_needed, noise=1.0)).agrees
    hopeless = compare(TRAJECTORY, ensemble(noise=20.0, seeds=40))
    assert hopeless.outcome == "cannot tell" and hopeless.seeds_needed is None and "take larger networks" in str(hopeless)


@SAFE
def test_a_known_bias_is_fitted_and_extrapolated_away():
    sizes = [ensemble(dim, bias=20.0, rng=dim) for dim in (400, 200, 100)]
    verdict = compare(TRAJECTORY, sizes)
    deviation = (verdict.test.bias - TRAJECTORY.test_loss * 20.0 / 400) / verdict.test.bias_error
    assert np.abs(deviation).max() < 4 and 0.6 < deviation.std() < 1.5
    assert np.abs(verdict.zscores).max() > 6 and compare(TRAJECTORY, sizes[0]).outcome == "differs" and verdict.agrees
    assert "D = 400, 200, 100; at D = 400" in str(verdict) and "ABOVE the standard error" in str(verdict)
    value, error = verdict.test.mean_bias
    assert abs(value - np.mean(TRAJECTORY.test_loss * 20.0 / 400 / verdict.test.standard_error)) < 4 * error < 4
    t = 10
    weights = [np.sqrt(e.seeds * e.dim) for e in sizes]
    slope, limit = np.polyfit([1 / e.dim for e in sizes], [e.mean()[t] for e in sizes], 1, w=weights)
    assert verdict.test.bias[t] == pytest.approx(slope / 400, rel=1e-9)
    row = verdict.row("test loss, t = 10")
    assert row.deviation == pytest.approx(limit / TRAJECTORY.test_loss[t] - 1, rel=1e-6)
    assert row.z == pytest.approx(verdict.test.extrapolated_zscores[t], rel=1e-6)
    covariance = np.polyfit([1 / e.dim for e in sizes], np.zeros(3), 1, w=weights, cov="unscaled")[1]
    assert row.standard_error == pytest.approx(0.5 * np.sqrt(covariance[1, 1]), rel=0.3)


@SAFE
def test_no_bias_is_below_the_standard_error_and_a_wrong_theory_stays_wrong():
    unbiased = compare(TRAJECTORY, [ensemble(400, rng=1), ensemble(200, rng=2)])
    for loss in (unbiased.test, unbiased.train):
        value, error = loss.mean_bias
        assert abs(value) < 3 * error and error == pytest.approx(np.sqrt(3 / 31), rel=0.4)
    assert ", below the standard error" in str(unbiased)
    shifted = [replace(e, test_loss=1.05 * e.test_loss) for e in unbiased.ensembles]
    assert compare(TRAJECTORY, shifted).outcome == "differs"


def test_simulations_agree_with_the_theory_and_dims_simulates_further_sizes():
    simulated = dmft.simulate(*PROBLEM, dim=120, seeds=24, progress=False)
    verdict = compare(TRAJECTORY, simulated, dims=[60], progress=False)
    assert [(e.dim, e.seeds) for e in verdict.ensembles] == [(120, 24), (60, 48)]
    assert verdict.outcome != "differs" and np.abs(verdict.zscores).max() < 5
    narrow = dmft.DeepLinear(2, 1.0)
    assert compare(dmft.solve(narrow, *PROBLEM[1:], progress=False), replace(simulated, network=narrow)).outcome == "differs"


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
    assert both.agrees and both.table[2].name == "test loss, t = 19"
    assert np.all(both.zscores[23:] == 0) and np.all(np.isinf(both.zscores[20:23])) and np.all(both.relative_error[23:] == 0)
    assert "the theory diverges at step 20, 20 of 20 networks do from step 23" in str(both)
    for one_sided in (compare(theory, ensemble()), compare(TRAJECTORY, diverged(ensemble(), 23))):
        assert one_sided.outcome == "differs" and one_sided.max_abs_z == np.inf and not np.isnan(one_sided.relative_error).any()
        assert "differ: test loss, divergence by +inf%" in str(one_sided)
    several = compare(theory, [diverged(ensemble(), 23), diverged(ensemble(200, rng=2), 15)])
    assert several.agrees and np.isnan(several.test.bias[15:]).all() and "bias" in str(several)


@SAFE
def test_zero_spread_and_losses_at_the_numerical_floor():
    exact = compare(TRAJECTORY, ensemble(noise=0.0))
    assert exact.agrees and exact.max_abs_z < 1e-2
    tiny = [TRAJECTORY.test_loss * np.where(TRAJECTORY.times < 15, 1.0, s) for s in (1e-17, -1e-16)]
    simulated = ensemble()
    simulated = replace(simulated, test_loss=np.where(TRAJECTORY.times < 15, simulated.test_loss, tiny[1]))
    verdict = compare(replace(TRAJECTORY, test_loss=tiny[0]), simulated)
    assert verdict.agrees and np.abs(verdict.zscores[15:]).max() < 1e-2


@SAFE
def test_small_losses_are_compared_relative_to_a_part_of_the_initial_one():
    """Their factors e^(+-2) from seed to seed do not matter, a loss that stays at 1% of the initial one does."""
    late = np.where(TRAJECTORY.times < 15, 1.0, 1e-4)
    theory, simulated = replace(TRAJECTORY, test_loss=TRAJECTORY.test_loss * late), ensemble()
    noisy = simulated.test_loss * late
    noisy[:, 15:] *= np.exp(2 * np.random.default_rng(3).standard_normal((20, 16)))
    assert compare(theory, replace(simulated, test_loss=noisy)).agrees
    stuck = noisy + 0.01 * TRAJECTORY.test_loss[0] * (TRAJECTORY.times >= 15) * np.random.default_rng(4).uniform(0.9, 1.1, (20, 1))
    verdict = compare(theory, replace(simulated, test_loss=stuck))
    assert verdict.row("test loss, t = 30").differs and verdict.row("test loss, t = 30").deviation == pytest.approx(0.2, rel=0.05)


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
    refused(ValueError, "level must be a number between 0 and 0.5; got 0.5", TRAJECTORY, simulated, level=0.5)
    refused(TypeError, "dims must be", TRAJECTORY, simulated, dims=200)
    refused(TypeError, "dims must be a sequence of integers", TRAJECTORY, simulated, dims=[200, 1.5])
    refused(ValueError, "dims must be different sizes.* got 400, 200, 400", TRAJECTORY, simulated, dims=[200, 400])
    refused(ValueError, "dims must be different sizes", TRAJECTORY, [simulated, simulated])
    refused(ValueError, "dims must be None", TRAJECTORY, replace(simulated, inputs="100 real samples"), dims=[200])
