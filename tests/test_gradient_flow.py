"""Gradient flow of deep linear networks against closed forms, extrapolated small steps, and finite networks."""

import math

import numpy as np
import pytest
import systems

import dmft
from solvers import finite_flow, gradient_flow

SPECTRUM = dmft.StructuredData([2.0, 0.5], [0.5, 1.25], multiplicity=[1 / 3, 2 / 3], sample_ratio=1.5, label_noise=0.2)
OVERLAP = dict(target_overlap=[[1.0, 0.6], [0.6, 1.5]], noise_covariance=[[1.0, -0.3], [-0.3, 2.0]])

CASES = {
    "L=1": (dmft.DeepLinear(1), dmft.GaussianData(2.0, label_noise=0.3)),
    "L=3, rich": (dmft.DeepLinear(3, richness=2.0), dmft.GaussianData(0.8, label_noise=0.3)),
    "unequal widths, population": (dmft.DeepLinear(2, width_ratio=(0.5, 2.0)), dmft.GaussianData(math.inf)),
    "two levels": (dmft.DeepLinear(2), SPECTRUM),
    "two outputs": (dmft.DeepLinear(2, outputs=2), dmft.GaussianData(1.5, label_noise=0.3, **OVERLAP)),
    "residual": (dmft.DeepLinearResNet(3), dmft.GaussianData(2.0, label_noise=0.3)),
    "infinite width, lazy": (dmft.DeepLinear(2, width_ratio=math.inf, parameterization="ntk"), dmft.GaussianData(2.0)),
}


def solved(*problem, **options):
    return dmft.solve(*problem, progress=False, **options)


def extrapolated(network, data, time, weight_decay=0.0, steps=(25, 50, 100, 200)):
    """Losses at a time by gradient descent, extrapolated to vanishing steps, and the change by the last order."""
    runs = [solved(network, data, dmft.GradientDescent(time / n, n, weight_decay=weight_decay)) for n in steps]
    values = [np.array([run.test_loss[-1], run.train_loss[-1]]) for run in runs]
    for order in range(1, len(values)):
        before = values[-1]
        values = [(2**order * fine - coarse) / (2**order - 1) for coarse, fine in zip(values, values[1:])]
    return values[-1], np.abs(values[-1] - before).max()


@pytest.mark.parametrize("name", CASES)
def test_equals_extrapolated_small_steps(name):
    network, data = CASES[name]
    flow = solved(network, data, dmft.GradientFlow(0.5, first_time=0.05))
    expected, uncertainty = extrapolated(network, data, 0.5)
    assert uncertainty < 1e-4
    assert np.abs([flow.test_loss[-1], flow.train_loss[-1]] - expected).max() < 1e-5
    assert flow.loss_error[0] == 0.0 and 0.0 < flow.loss_error[-1] < 1e-6


def test_weight_decay_equals_extrapolated_small_steps():
    network, data = CASES["two levels"]
    flow = solved(network, data, dmft.GradientFlow(0.5, first_time=0.05, weight_decay=0.4))
    expected, _ = extrapolated(network, data, 0.5, weight_decay=0.4)
    assert np.abs([flow.test_loss[-1], flow.train_loss[-1]] - expected).max() < 1e-5
    assert abs(flow.test_loss[-1] - solved(network, data, dmft.GradientFlow(0.5, first_time=0.05)).test_loss[-1]) > 5e-3


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_lazy_flow_is_that_of_linear_regression(layers):
    """v(t) = v(0) exp(-(L+1) s t) and noise, averaged over the Marchenko-Pastur law, from first to very late times."""
    network = dmft.DeepLinear(layers, width_ratio=math.inf, parameterization="ntk")
    data, training = dmft.GaussianData(0.5, label_noise=0.3), dmft.GradientFlow(1e6)
    trajectory = solved(network, data, training)
    s, weights = systems.marchenko_pastur(0.5)
    s = np.maximum(s, 0.0)
    decays = np.exp(-(layers + 1) * s * training.times[:, None])
    noise = np.divide(1.0 - decays, np.sqrt(s), out=np.zeros_like(decays), where=s > 0.0) * 0.3 / math.sqrt(0.5)
    test = ((1.0 + network.initial_variance) * decays**2 + noise**2) @ weights
    assert np.all(np.abs(trajectory.test_loss - test) < 1e-6 * test[0])
    assert np.all(trajectory.loss_error < 1e-5)


def test_population_modes_decay_exponentially_in_the_lazy_limit():
    """From twice the target, as the initial function has variance 1 and nothing to do with it."""
    data = dmft.StructuredData([1.0, 0.01, 1e-4], [1.0, 1.0, 1.0], multiplicity=[0.2, 0.3, 0.5], sample_ratio=math.inf)
    trajectory = solved(dmft.DeepLinear(2, width_ratio=math.inf, parameterization="ntk"), data, dmft.GradientFlow(1e5))
    rates, power = 3.0 * np.array([1.0, 0.01, 1e-4]), 2.0 * np.array([0.2, 0.3, 0.5]) * [1.0, 0.01, 1e-4]
    expected = np.exp(-2.0 * np.outer(trajectory.times, rates)) @ power
    assert np.abs(trajectory.test_loss - expected).max() < 1e-6 * expected[0]
    late = expected > 1e-4 * expected[0]
    np.testing.assert_allclose(trajectory.test_loss[late], expected[late], rtol=1e-5)


@pytest.mark.parametrize("network", [dmft.DeepLinear(2, richness=3.0), dmft.DeepLinearResNet(2)])
def test_late_times_reach_the_fit_of_the_training_set(network):
    """With fewer samples than dimensions the training loss vanishes; nothing moves after that, not to the saddle W = 0 either."""
    trajectory = solved(network, dmft.GaussianData(0.5, label_noise=0.3), dmft.GradientFlow(1e5))
    assert abs(trajectory.train_loss[-1]) < 1e-8 < trajectory.train_loss[0]
    late = trajectory.test_loss[trajectory.times > 1e3]
    assert np.ptp(late) < 1e-6 * late[-1]


def test_more_output_times_do_not_change_the_solution():
    problem = CASES["two levels"]
    few, many = (solved(*problem, dmft.GradientFlow(100.0, points_per_decade=points)) for points in (2, 8))
    shared = np.isin(many.times.round(9), few.times.round(9))
    assert shared.sum() == len(few.times) == 10
    error = few.loss_error + many.loss_error[shared]
    assert np.all(np.abs(few.test_loss - many.test_loss[shared]) <= 4.0 * error + 1e-10)


def test_stated_error_covers_the_true_one(monkeypatch):
    problem = (*CASES["L=3, rich"], dmft.GradientFlow(50.0))
    exact = solved(*problem)
    monkeypatch.setattr(gradient_flow, "TOLERANCE", 1e-2)
    monkeypatch.setattr(gradient_flow, "STAGES", 2)
    coarse = solved(*problem)
    true = np.abs([coarse.test_loss - exact.test_loss, coarse.train_loss - exact.train_loss]).max(axis=0)
    assert true.max() > 1e-5
    assert np.all(true <= 10.0 * coarse.loss_error + 1e-6)


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 5])
def test_radau_has_its_order(stages):
    A = gradient_flow.radau(stages)
    nodes = A.sum(axis=1)
    assert nodes[-1] == pytest.approx(1.0) and np.all(nodes > 0.0)
    for power in range(2 * stages - 1):
        assert A[-1] @ nodes**power == pytest.approx(1.0 / (power + 1), abs=1e-12)
    assert abs(A[-1] @ nodes ** (2 * stages - 1) - 1.0 / (2 * stages)) > 1e-6
    z = -1e9
    assert abs(1.0 + z * A[-1] @ np.linalg.solve(np.eye(stages) - z * A, np.ones(stages))) < 1e-6


def test_responses_are_those_to_constant_sources_between_times():
    """Sums of the responses of many small steps."""
    network, data = CASES["L=1"]
    flow = solved(network, data, dmft.GradientFlow(1.0, first_time=0.25, points_per_decade=1))
    np.testing.assert_allclose(flow.times, [0.0, 0.25, 1.0])
    steps, ends = 400, np.array([0, 100, 400])
    descent = solved(network, data, dmft.GradientDescent(1.0 / steps, steps))
    for name, layer in (("delta", None), ("v", None), ("h", 1), ("g", 1)):
        np.testing.assert_allclose(flow.correlation(name, layer), descent.correlation(name, layer)[np.ix_(ends, ends)], atol=2e-2)
    R = descent.response("v")
    sums = np.array([[R[t, 0:100].sum(), R[t, 100:400].sum()] for t in ends])
    np.testing.assert_allclose(flow.response("v")[:, 1:], sums, atol=1e-2)


Z_CASES = {
    "L=2": (dmft.DeepLinear(2), dmft.GaussianData(2.0, label_noise=0.3), 30.0),
    "two outputs": (dmft.DeepLinear(2, width_ratio=2.0, outputs=2), dmft.GaussianData(1.5, label_noise=0.3, **OVERLAP), 10.0),
    "residual": (dmft.DeepLinearResNet(3, branch_scale=0.7), dmft.GaussianData(2.0, label_noise=0.3), 10.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", Z_CASES)
def test_finite_networks(name):
    network, data, time = Z_CASES[name]
    problem = network, data, dmft.GradientFlow(time)
    ensemble, trajectory = dmft.simulate(*problem, dim=200, seeds=12, progress=False), solved(*problem)
    for loss in ("test_loss", "train_loss"):
        error = ensemble.standard_error(loss)
        assert np.all(error < 0.1 * ensemble.mean(loss))
        assert np.abs((ensemble.mean(loss) - getattr(trajectory, loss)) / error).max() < 4.0


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_finite_network_equals_extrapolated_small_steps(weight_decay):
    problem = dmft.DeepLinear(2), dmft.GaussianData(2.0, label_noise=0.3)
    flow = dmft.simulate(*problem, dmft.GradientFlow(1.0, 0.1, weight_decay=weight_decay), dim=40, seeds=1, progress=False)
    steps = (100, 200, 400)
    runs = [dmft.GradientDescent(1.0 / n, n, weight_decay=weight_decay) for n in steps]
    coarse, middle, fine = (dmft.simulate(*problem, run, dim=40, seeds=1, progress=False).test_loss[0, -1] for run in runs)
    expected = (4.0 * (2.0 * fine - middle) - (2.0 * middle - coarse)) / 3.0
    assert flow.test_loss[0, -1] == pytest.approx(expected, abs=1e-5)
    assert flow.test_loss.shape == (1, len(flow.times))


def test_explicit_steps_stay_within_their_limit():
    with pytest.raises(ValueError, match="time must be at most about .* got 1e[+]07. The theory takes any time"):
        dmft.simulate(*CASES["L=1"], dmft.GradientFlow(1e7), dim=50, seeds=1)
    assert finite_flow.STABILITY_LIMIT == pytest.approx(2.5127, abs=1e-2)


def test_resume_to_a_longer_time(tmp_path):
    path = tmp_path / "flow.h5"
    short = solved(*CASES["L=1"], dmft.GradientFlow(3.0), out=path)
    assert dmft.load(path) == short
    with pytest.warns(dmft.RestartWarning):
        longer = dmft.resume(path, time=50.0, progress=False)
    assert longer == solved(*CASES["L=1"], dmft.GradientFlow(50.0)) == dmft.load(path)
    assert dmft.resume(path, time=50.0, progress=False) == longer
    for arguments, message in (
        ({"steps": 5}, "time, and nothing else"), ({}, "time, and nothing else"), ({"time": 1.0}, "time must be a number from 50 on"),
        ({"time": 60.0, "learning_rate": 0.1}, "learning_rate must be left out"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            dmft.resume(path, **arguments)


def test_resume_of_steps_takes_no_time(tmp_path):
    solved(*CASES["L=1"], dmft.GradientDescent(0.1, 5), out=tmp_path / "steps.h5")
    with pytest.raises(ValueError, match="steps, and nothing else"):
        dmft.resume(tmp_path / "steps.h5", time=5.0)


def test_march_shows_every_second_time():
    problem = (*CASES["L=1"], dmft.GradientFlow(1.0))
    blocks = list(dmft.march(*problem))
    assert [block.finished for block in blocks] == [3, 5, 7, 9, 11, 12]
    assert [block.status.name for block in blocks] == 5 * ["INTERRUPTED"] + ["COMPLETED"]
    assert blocks[2].test_loss.shape == blocks[2].times.shape == (7,) and blocks[-1] == solved(*problem)
    np.testing.assert_array_equal(blocks[2].test_loss, blocks[-1].test_loss[:7])


def test_compare_and_plots_of_a_flow():
    problem = (*CASES["L=1"], dmft.GradientFlow(10.0))
    trajectory, ensemble = solved(*problem), dmft.simulate(*problem, dim=50, seeds=4, progress=False)
    verdict = dmft.compare(trajectory, ensemble, progress=False)
    assert not verdict.near_edge and "no edge of stability" in str(verdict)
    assert "test loss, t = 10" in [row.name for row in verdict.table]
    for ax in (dmft.plot.loss(trajectory, ensemble), dmft.plot.zscores(verdict), dmft.plot.kernels(trajectory)[0]):
        assert ax.get_xscale() == "log"
    assert dmft.plot.loss(trajectory).get_xlabel() == "time $t$"


@pytest.mark.parametrize("arguments, message", [
    ({"time": 0.0}, "time must be"), ({"time": math.inf}, "time must be"),
    ({"time": 1.0, "first_time": 2.0}, "first_time must be .* up to time = 1"),
    ({"time": 1.0, "points_per_decade": 0}, "points_per_decade must be"), ({"time": 1.0, "weight_decay": -1.0}, "weight_decay must be"),
    ({"time": 1.0, "momentum": 0.9}, "momentum must be left out .* 1 / [(]1 - mu[)]"),
    ({"time": 1.0, "batch_ratio": 1.0}, "take OnlineSGD"),
    ({"time": 1.0, "batch_fraction": 0.5}, "take MinibatchSGD"),
    ({"time": 1.0, "learning_rate": 0.1}, "its time is learning_rate [*] step"),
])  # fmt: skip
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        dmft.GradientFlow(**arguments)


@pytest.mark.parametrize("method", ["fixed-point", "reference"])
def test_other_methods_refuse(method):
    with pytest.raises(ValueError, match="method must be 'causal' for a GradientFlow"):
        dmft.solve(*CASES["L=1"], dmft.GradientFlow(1.0), method=method)


@pytest.mark.parametrize("network", [dmft.MLP(1), dmft.ShallowNet.mean_field(), dmft.DeepNet(2)])
def test_other_networks_refuse(network):
    data = dmft.Dataset(np.eye(4), [1.0, -1.0, 1.0, -1.0])
    for use in (dmft.solve, dmft.simulate):
        with pytest.raises(TypeError, match="training must be a GradientDescent.*; got GradientFlow"):
            use(network, data, dmft.GradientFlow(1.0))


def test_times():
    np.testing.assert_allclose(dmft.GradientFlow(1.0, 0.01, 2).times, [0.0, 0.01, 0.1**1.5, 0.1, 0.1**0.5, 1.0])
    np.testing.assert_allclose(dmft.GradientFlow(0.05, 0.01, 1).times, [0.0, 0.01, 0.05])
    assert dmft.GradientFlow(1.0, 1.0).times.tolist() == [0.0, 1.0] and dmft.GradientFlow(1e6).rows == 42


def test_problem_file_and_labelled_view(tmp_path):
    from dmft.problem_file import read

    path = tmp_path / "flow.toml"
    training = '[training]\ntype = "GradientFlow"\ntime = 2.0\n'
    path.write_text('[network]\ntype = "DeepLinear"\ndepth = 1\n[data]\ntype = "GaussianData"\n' + training)
    problem = read(path).problem
    assert problem.training == dmft.GradientFlow(2.0)
    trajectory = solved(problem)
    assert trajectory.to_dataframe("test_loss", "loss_error").index.tolist() == trajectory.times.tolist()
    assert dmft.memory_estimate(problem) > trajectory.nbytes
