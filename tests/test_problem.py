"""The problem as one value: what it holds, how parts of it are replaced, and that every function takes it for the triple."""

import pickle

import numpy as np
import pytest

import dmft

NETWORK, DATA, TRAINING = dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.1, 6)
PROBLEM = dmft.Problem(NETWORK, DATA, TRAINING)
X = np.random.default_rng(0).standard_normal((4, 8))
ON_DATA = dmft.Problem(dmft.MLP(1), dmft.Dataset(X, np.sign(X[:, 0])), TRAINING, loss="logistic", samples=64, rng=3)


def test_functions_take_it_for_the_triple():
    triple = dmft.solve(NETWORK, DATA, TRAINING, progress=False)
    assert dmft.solve(PROBLEM, progress=False) == triple
    assert dmft.solve(PROBLEM, method="fixed-point", window=3, progress=False).options["window"] == 3
    assert list(dmft.march(PROBLEM))[-1] == triple
    assert dmft.memory_estimate(PROBLEM) == dmft.memory_estimate(NETWORK, DATA, TRAINING)
    networks = dmft.simulate(PROBLEM, dim=10, seeds=2, progress=False)
    assert networks == dmft.simulate(NETWORK, DATA, TRAINING, dim=10, seeds=2, progress=False)


def test_options_are_those_of_the_problem_or_of_the_call():
    solved = dmft.solve(ON_DATA, progress=False)
    assert solved.options["loss"] == "logistic" and solved.options["rng"] == 3
    assert dmft.solve(ON_DATA, rng=4, progress=False).options | {"rng": 3} == solved.options
    assert "samples" not in dmft.solve(ON_DATA.replaced({"options": {}}), method="ntk", progress=False).options
    assert dmft.simulate(ON_DATA, width=8, seeds=2, progress=False).options["loss"] == "logistic"
    assert dmft.simulate(ON_DATA, width=8, seeds=2, loss="mse", progress=False).options["loss"] == "mse"


def test_another_method_does_not_take_the_options_of_this_one():
    windows = PROBLEM.replaced({"method": "fixed-point", "options.window": 2})
    assert dmft.solve(windows, method="reference", progress=False).options == {}
    assert dmft.solve(windows, tolerance=1e-8, progress=False).options["window"] == 2


def test_parts_that_depend_on_each_other_are_replaced_at_once():
    scheduled = PROBLEM.replaced({"training.learning_rate": [0.1, 0.2]} | {"training.steps": 2})
    changed = scheduled.replaced({"training.learning_rate": [1.0, 2.0, 3.0], "training.steps": 3, "network.depth": 2})
    np.testing.assert_array_equal(changed.training.learning_rates, [1.0, 2.0, 3.0])
    assert changed.network == dmft.DeepLinear(2) and scheduled.training.steps == 2
    assert PROBLEM.replaced({"training": dmft.GradientDescent(1.0, 1)}).training.steps == 1
    assert PROBLEM.replaced({}) == PROBLEM


def test_ntk_networks_stay_ntk():
    ntk = PROBLEM.replaced({"network": dmft.DeepLinear(1, 4.0, parameterization="ntk")})
    assert ntk.replaced({"network.width_ratio": 16.0}).network.richness == 0.25


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"training.rate": 1}, ValueError, "training.rate cannot be set; training has learning_rate, steps"),
        ({"plot.steps": 1}, ValueError, "plot cannot be set; a problem has network, data, training"),
        ({"samples": 1}, ValueError, "samples cannot be set; a problem has network, data, training, method, options"),
        ({"training.steps.x": 1}, ValueError, "training.steps.x cannot be set: training.steps is 6, which has no parts"),
        ({"training": 1, "training.steps": 1}, ValueError, "training must be set once"),
        ({"training.steps": -1, "training.learning_rate": 0.1}, ValueError, "steps must be an integer >= 1; got -1"),
        ({"": 1}, ValueError, "a name must be set once, by a dotted name such as training.learning_rate"),
        ({"training..steps": 1}, ValueError, "training. must be set once"),
        ({"options": 3}, TypeError, "options must be a dict; got 3"),
        ({"options.window": 3}, TypeError, "window is not an option of method 'causal' for a DeepLinear"),
        ({"method": "euler"}, ValueError, "method must be one of 'causal', 'fixed-point', 'reference'; got 'euler'"),
        ({"data": ON_DATA.data}, TypeError, "data must be a GaussianData"),
        ({"training": DATA}, TypeError, "training must be a GradientDescent"),
        ({"network": DATA}, TypeError, "network must be a DeepLinear"),
        (3, TypeError, "changes must be a dict of new values by dotted names; got 3"),
        ({3: 4}, TypeError, "changes must be a dict of new values by dotted names; got {3: 4}"),
    ],
)
def test_bad_changes_are_refused_by_name(changes, error, message):
    with pytest.raises(error, match=message):
        PROBLEM.replaced(changes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dmft.Problem(NETWORK, DATA, TRAINING, progress=False), "progress is no part of a problem"),
        (lambda: dmft.Problem(NETWORK, DATA, TRAINING, samples=3), "samples is not an option of method 'causal'"),
        (lambda: ON_DATA.replaced({"options.mc_error": object()}), "mc_error must be a number, text, array"),
        (lambda: dmft.solve(PROBLEM, DATA, TRAINING), "data and training must be left out with a Problem"),
        (lambda: dmft.simulate(PROBLEM, DATA, dim=10), "data and training must be left out with a Problem"),
        (lambda: dmft.solve(NETWORK, DATA), "training must be a GradientDescent .*; got NoneType"),
        (lambda: dmft.simulate(NETWORK, dim=10), "data must be a GaussianData .*; got NoneType"),
    ],
)
def test_what_is_no_problem_is_refused_by_name(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_only_causal_problems_march():
    with pytest.raises(ValueError, match="method must be one of 'causal'; got 'reference'"):
        dmft.march(PROBLEM.replaced({"method": "reference"}))


def test_equal_problems_are_equal_wherever_they_come_from():
    same = dmft.Problem(dmft.DeepLinear(1, width_ratio=1), dmft.GaussianData(2), dmft.GradientDescent(np.float32(0.5), 6), method="causal")
    same = same.replaced({"training.learning_rate": 0.1})
    for problem, other in ((PROBLEM, same), (ON_DATA, pickle.loads(pickle.dumps(ON_DATA)))):
        assert problem == other and hash(problem) == hash(other) and problem.fingerprint == other.fingerprint
    others = {"options.rng": 4}, {"options.loss": "mse"}, {"method": "ntk", "options": {}}, {"training.steps": 7}
    distinct = {ON_DATA, PROBLEM, *map(ON_DATA.replaced, others)}
    assert len(distinct) == len({problem.fingerprint for problem in distinct}) == 6
    assert PROBLEM != "problem" and PROBLEM.fingerprint != PROBLEM.replaced({"method": "reference"}).fingerprint


def test_it_is_a_value():
    start = np.zeros(4)
    options = {"initial_function": start, "width": np.int64(8), "rng": np.random.default_rng(0)}
    problem = dmft.Problem(dmft.ShallowNet.ntk(), ON_DATA.data, TRAINING, **options)
    before = problem.fingerprint
    start[0] = 1.0
    assert problem.fingerprint == before and type(problem.options["width"]) is int and type(problem.options["rng"]) is int
    for change in (lambda: problem.options["initial_function"].__setitem__(0, 1.0), lambda: setattr(problem, "method", "ntk")):
        with pytest.raises((ValueError, AttributeError)):
            change()
    options = pickle.loads(pickle.dumps(problem)).options
    with pytest.raises(ValueError):
        options["initial_function"][0] = 1.0
