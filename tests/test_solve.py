"""`dmft.solve`: exact limits, properties that every solution has, and how a solve can end."""

import dataclasses
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmft
import systems
from solvers import causal_linear, fixed_point, reference

GD, SGD, BATCHES = dmft.GradientDescent, dmft.OnlineSGD, dmft.MinibatchSGD
LAZY = dict(width_ratio=math.inf, parameterization="ntk")
POPULATION = dmft.GaussianData()


def solve(network, data, training, **options):
    return dmft.solve(network, data, training, progress=False, **options)


def assert_losses(trajectory, test, train, tolerance=1e-12):
    """Deviations in units of the initial losses: rounding errors of sums that start there."""
    np.testing.assert_allclose(trajectory.test_loss, test, rtol=0, atol=tolerance * test[0])
    np.testing.assert_allclose(trajectory.train_loss, train, rtol=0, atol=tolerance * train[0])


def layers(network, name):
    return range(1, network.hidden_states + 1) if name in ("h", "g") else (None,)


# ---- exact limits


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_lazy_population_training_is_geometric(depth):
    """The kernel is L + 1 times that of linear regression."""
    trajectory = solve(dmft.DeepLinear(depth, **LAZY), POPULATION, GD(0.1, 20))
    expected = 2 * (1 - (depth + 1) * 0.1) ** (2 * np.arange(21))
    assert_losses(trajectory, expected, expected)


OPTIMIZERS = {
    "plain": dict(),
    "schedule": dict(learning_rate=lambda t: 0.1 / (1 + t / 10)),
    "heavy ball": dict(momentum=0.8),
    "Nesterov": dict(momentum=0.8, nesterov=True),
    "coupled decay": dict(weight_decay=0.1),
    "decoupled decay": dict(weight_decay=0.1, decoupled=True),
    "Nesterov, coupled decay": dict(momentum=0.8, nesterov=True, weight_decay=0.1),
    "heavy ball, decoupled decay": dict(momentum=0.8, weight_decay=0.1, decoupled=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("depth, sample_ratio, noise", [(1, 2.0, 0.5), (3, 0.7, 0.3), (2, 1.0, 0.0), (2, math.inf, 0.3)])
def test_lazy_training_is_linear_regression(depth, sample_ratio, noise, optimizer):
    network, data = dmft.DeepLinear(depth, **LAZY), dmft.GaussianData(sample_ratio, noise)
    training = GD(**dict(learning_rate=0.1 / depth, steps=80) | OPTIMIZERS[optimizer])
    assert_losses(solve(network, data, training), *systems.lazy(network, data, training))


@pytest.mark.parametrize("depth, batch_ratio, noise", [(1, 0.5, 0.0), (2, 2.0, 0.5)])
def test_lazy_online_training_is_a_scalar_recursion(depth, batch_ratio, noise):
    network, data = dmft.DeepLinear(depth, **LAZY), dmft.GaussianData(label_noise=noise)
    training = SGD(lambda t: 0.1 / (1 + t / 20), 60, batch_ratio)
    assert_losses(solve(network, data, training), *systems.lazy_online(network, data, training))


@pytest.mark.parametrize("richness", [0.1, 1.0, 3.0])
def test_shallow_population_training_at_infinite_width(richness):
    network, training = dmft.DeepLinear(1, math.inf, richness), GD(lambda t: 0.03 * (1 + t / 30), 60)
    data = dmft.GaussianData(label_noise=0.2)
    assert_losses(solve(network, data, training), *systems.shallow_population(network, data, training))


TWO_LEVELS = dmft.StructuredData([2.0, 0.5], [0.5, 1.25], [1 / 3, 2 / 3], sample_ratio=1.5, label_noise=0.3)
PARTLY_EMPTY = dmft.StructuredData([3.0, 1.0, 0.0], [np.eye(2), [[1.0, 0.5], [0.5, 0.5]], np.eye(2)], sample_ratio=0.8, label_noise=0.3)
OVERLAP = dict(target_overlap=[[1.0, 0.6], [0.6, 1.5]], noise_covariance=[[1.0, -0.3], [-0.3, 2.0]])
NETWORKS = {
    "one layer, population": (dmft.DeepLinear(1, 0.5), POPULATION, GD(0.05, 60)),
    "one layer": (dmft.DeepLinear(1, 2.0), dmft.GaussianData(0.8, 0.3), GD(0.1, 60)),
    "two layers, infinite width": (dmft.DeepLinear(2, math.inf, 2.0), dmft.GaussianData(2.0, 0.3), GD(0.03, 60)),
    "three layers, unequal": (dmft.DeepLinear(3, (0.5, 2.0, 1.0)), dmft.GaussianData(1.5, 0.3), GD(0.03, 60)),
    "five layers": (dmft.DeepLinear(5, 1.0), dmft.GaussianData(2.0, 0.1), GD(0.02, 60)),
    "NTK": (dmft.DeepLinear(2, 2.0, parameterization="ntk"), dmft.GaussianData(1.0, 0.3), GD(0.05, 60)),
    "heavy ball": (dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), GD(0.01, 60, momentum=0.9)),
    "Nesterov, coupled decay": (dmft.DeepLinear(2), TWO_LEVELS, GD(0.01, 60, momentum=0.9, nesterov=True, weight_decay=0.2)),
    "schedule, decoupled decay": (
        dmft.DeepLinear(3),
        dmft.GaussianData(1.5, 0.3),
        GD(lambda t: 0.05 / (1 + t / 20), 60, momentum=0.5, weight_decay=0.2, decoupled=True),
    ),
    "online": (dmft.DeepLinear(2), dmft.GaussianData(label_noise=0.3), SGD(0.05, 60, 2.0)),
    "online, modes, momentum": (
        dmft.DeepLinear(1, 2.0),
        dmft.StructuredData([2.0, 0.5], [0.5, 1.25], label_noise=0.3),
        SGD(0.01, 40, 1.0, momentum=0.9, weight_decay=0.1),
    ),
    "random subsets": (dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), BATCHES(0.03, 60, 0.25)),
    "two outputs": (dmft.DeepLinear(2, 1.0, outputs=2), dmft.GaussianData(0.8, 0.3, **OVERLAP), GD(0.03, 30)),
    "two outputs, online": (dmft.DeepLinear(2, 1.0, outputs=2), dmft.GaussianData(label_noise=0.3, **OVERLAP), SGD(0.03, 30, 2.0)),
    "all together": (
        dmft.DeepLinear(3, (2.0, 1.0, 0.5), 0.8, outputs=2),
        PARTLY_EMPTY,
        BATCHES(0.01, 20, 0.5, momentum=0.5, nesterov=True, weight_decay=0.1, decoupled=True),
    ),
    "residual": (dmft.DeepLinearResNet(4, 0.5, 1.5), dmft.GaussianData(1.5, 0.3), GD(0.02, 20)),
    "residual, online": (dmft.DeepLinearResNet(2, 2.0, branch_scale=0.5, depth_exponent=0), POPULATION, SGD(0.03, 20, momentum=0.5)),
    "residual, all together": (
        dmft.DeepLinearResNet(2, 2.0, 0.8, 1.2, outputs=2),
        PARTLY_EMPTY,
        BATCHES(0.003, 8, 0.5, momentum=0.5, nesterov=True, weight_decay=0.1, decoupled=True),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_is_the_infinite_network_itself(name):
    """Losses and all correlations, without the approximation of a finite size and without the equations of the theory."""
    network, data, training = NETWORKS[name]
    test, train, fields, _ = systems.infinite_network(network, data, training)
    trajectory = solve(network, data, training)
    assert_losses(trajectory, test, train, tolerance=1e-11)
    for field, expected in systems.correlations(fields).items():
        for layer in layers(network, field):
            exact = expected if layer is None else expected[layer - 1]
            if field == "delta" and isinstance(training, SGD):  # the theory keeps what fresh samples need
                exact = exact * np.eye(len(exact))[:, None, :, None]
            found = trajectory.correlation(field, layer=layer)
            bound = 1e-11 * np.abs(exact).max()
            np.testing.assert_allclose(found.reshape(exact.shape), exact, rtol=0, atol=bound, err_msg=f"{field} {layer}")


@pytest.mark.parametrize("name", NETWORKS)
def test_responses_are_those_of_the_infinite_network(name):
    """Kicks of size 1e-5 in random directions: what remains are rounding errors times 1e5, and third derivatives times 1e-10."""
    network, data, training = NETWORKS[name]
    training = dataclasses.replace(training, learning_rate=5 * training.learning_rates[:5], steps=5)
    trajectory = solve(network, data, training)
    for field in ("h", "g", "v", "u", "delta"):
        for layer in layers(network, field):
            found = trajectory.response(field, layer=layer)
            if field == "delta" and math.isinf(data.sample_ratio):
                exact = np.eye(6 * network.outputs).reshape(found.shape)
            else:
                exact = systems.response(network, data, training, field, layer).reshape(found.shape)
            np.testing.assert_allclose(found, exact, rtol=0, atol=1e-7 * np.abs(exact).max(), err_msg=f"{field} {layer}")


# ---- how the limits are approached


def _orders(distances):
    return np.log2(distances[:-1] / distances[1:])


@pytest.mark.parametrize("depth", [1, 3])
def test_small_richness_approaches_the_lazy_limit_quadratically(depth):
    """Richness enters through gamma^2 only; at infinite width the function starts at zero in both."""
    network = dmft.DeepLinear(depth, math.inf, 1e-9)
    data, training = dmft.GaussianData(1.5, 0.3), GD(0.1, 40)
    limit = systems.lazy(network, data, training)[0]
    losses = [solve(dmft.DeepLinear(depth, math.inf, gamma), data, training).test_loss for gamma in (0.04, 0.02, 0.01)]
    distance = [np.abs(loss - limit).max() for loss in losses]
    np.testing.assert_allclose(_orders(np.array(distance)), 2.0, atol=0.05)


@pytest.mark.parametrize(
    "limit, at",
    [
        ((dmft.DeepLinear(2), POPULATION), lambda x: (dmft.DeepLinear(2), dmft.GaussianData(x))),
        ((dmft.DeepLinear(2, math.inf), POPULATION), lambda x: (dmft.DeepLinear(2, x), POPULATION)),
        ((dmft.DeepLinear(2, **LAZY), POPULATION), lambda x: (dmft.DeepLinear(2, x, parameterization="ntk"), POPULATION)),
    ],
    ids=["samples", "width", "width, NTK"],
)
def test_infinite_ratios_are_limits_of_finite_ones(limit, at):
    """To first order in one over the ratio."""
    training = GD(0.05, 40)
    exact = solve(*limit, training).test_loss
    distance = [np.abs(solve(*at(ratio), training).test_loss - exact).max() for ratio in (1e4, 2e4, 4e4)]
    np.testing.assert_allclose(_orders(np.array(distance)), 1.0, atol=0.02)


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("width, richness, outputs", [(2.0, 0.5, 1), ((3.0, 0.5), 2.0, 1), (0.5, None, 1), (2.0, 1.0, 2)])
def test_initial_losses(depth, width, richness, outputs):
    """Test: tr Omega + C / (gamma^2 nu_L); training adds sigma^2 tr Sigma. NTK means gamma^2 nu_L = 1."""
    width = (width * depth)[:depth] if isinstance(width, tuple) else width
    network = dmft.DeepLinear(depth, width, richness, outputs, "ntk" if richness is None else "mup")
    overlap = OVERLAP if outputs == 2 else {}
    trajectory = solve(network, dmft.GaussianData(1.5, 0.3, **overlap), GD(0.01, 1))
    initial = 1.0 if richness is None else 1 / (richness**2 * network.width_ratios[-1])
    power, noise = (2.5, 3.0) if outputs == 2 else (1.0, 1.0)
    assert trajectory.test_loss[0] == pytest.approx(power + outputs * initial, rel=1e-14)
    assert trajectory.train_loss[0] == pytest.approx(power + outputs * initial + 0.09 * noise, rel=1e-14)


@pytest.mark.parametrize("pair", ["StructuredData", "MinibatchSGD"])
def test_special_members_of_larger_families(pair):
    """Split modes of eigenvalue one are isotropic data; random subsets of all samples are full batches."""
    network, data, training = dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), GD(0.05, 30)
    expected = solve(network, data, training)
    if pair == "StructuredData":
        data = dmft.StructuredData([1.0, 1.0], [0.5, 2.0], [2 / 3, 1 / 3], sample_ratio=1.5, label_noise=0.3)
    else:
        training = BATCHES(0.05, 30, 1.0)
    assert_losses(solve(network, data, training), expected.test_loss, expected.train_loss)


def test_independent_outputs_of_a_lazy_network_are_two_networks():
    data, training = dmft.GaussianData(1.5, 0.3), GD(0.1, 30)
    one, two = (solve(dmft.DeepLinear(2, outputs=outputs, **LAZY), data, training) for outputs in (1, 2))
    assert_losses(two, 2 * one.test_loss, 2 * one.train_loss)
    both = two.correlation("g", layer=1)
    np.testing.assert_allclose(both[:, 0, :, 1], 0.0, atol=1e-14)
    np.testing.assert_allclose(both[:, 1, :, 1], one.correlation("g", layer=1), rtol=1e-12)


# ---- properties of every solution


@st.composite
def problems(draw):
    """Networks, data and training below the edge of stability, of all kinds."""
    depth, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    ratio = st.floats(0.3, 4.0)
    width = draw(ratio | st.just(math.inf) | st.tuples(*[ratio] * depth))
    options = dict(momentum=draw(st.sampled_from([0.0, 0.5])), weight_decay=draw(st.sampled_from([0.0, 0.1])))
    steps, rate = draw(st.integers(1, 25)), draw(st.floats(1e-3, 0.02))
    kind = draw(st.sampled_from([GD, SGD, BATCHES]))
    samples = math.inf if kind is SGD else draw(st.floats(0.3, 4.0) | (st.just(math.inf) if kind is GD else st.nothing()))
    noise = draw(st.just(0.0) | st.floats(1e-3, 0.5))
    if draw(st.booleans()):
        overlap = np.array([[1.0, 0.5], [0.5, 2.0]])[:outputs, :outputs]
        data = dmft.GaussianData(samples, noise, target_overlap=overlap)
    else:
        data = dmft.StructuredData([1.5, 0.5], [0.5, 1.5], [0.4, 0.6], sample_ratio=samples, label_noise=noise)
    return dmft.DeepLinear(depth, width, draw(st.floats(0.2, 2.0)), outputs), data, kind(rate, steps, **options)


EACH_KIND = settings(max_examples=40, deadline=None)


@EACH_KIND
@given(problems())
def test_correlations_are_symmetric_and_positive(problem):
    network, _, training = problem
    trajectory = solve(*problem)
    rows, C = training.steps + 1, network.outputs
    n = rows * C
    for name in ("h", "g", "v", "u", "delta"):
        for layer in layers(network, name):
            matrix = trajectory.correlation(name, layer=layer).reshape(n, n)
            np.testing.assert_array_equal(matrix, matrix.T)
            values = np.linalg.eigvalsh(matrix)
            assert values[0] >= -1e-13 * n * values[-1], f"{name} {layer}: rounding errors of n products"
    np.testing.assert_array_equal(np.einsum("tctc->t", trajectory.correlation("v").reshape(rows, C, rows, C)), trajectory.test_loss)


@EACH_KIND
@given(problems())
def test_responses_are_causal(problem):
    """Later sources change nothing; g, v answer with a delay, h, u at once, and delta to its own source with one."""
    network, data, training = problem
    C, rows = network.outputs, training.steps + 1
    trajectory = solve(*problem)
    later = np.triu(np.ones((rows, rows), bool), 1)
    for name in ("h", "g", "v", "u", "delta"):
        for layer in layers(network, name):
            response = trajectory.response(name, layer=layer).reshape(rows, C, rows, C).transpose(0, 2, 1, 3)
            assert not np.any(response[later])
            now = response[np.arange(rows), np.arange(rows)]
            if name in ("g", "v"):
                np.testing.assert_array_equal(now, 0.0)
            elif name == "delta":
                np.testing.assert_array_equal(now, np.broadcast_to(np.eye(C), now.shape))
            elif name == "u":
                power = 1.0 if isinstance(data, dmft.GaussianData) else np.sum(data.multiplicity * data.eigenvalues)
                np.testing.assert_allclose(now, np.broadcast_to(power * np.eye(C), now.shape), atol=1e-14)


@EACH_KIND
@given(problems(), st.data())
def test_earlier_rows_do_not_know_the_future(problem, draw):
    """Fewer steps, or other learning rates later, leave them equal bit by bit."""
    network, data, training = problem
    known = draw.draw(st.integers(0, training.steps - 1), label="steps known")
    rates = training.learning_rates.copy()
    rates[known:] *= 0.5
    whole = solve(*problem)
    options = dict(momentum=training.momentum, weight_decay=training.weight_decay)
    changed = solve(network, data, type(training)(rates, training.steps, **options))
    n = (known + 1) * network.outputs
    others = [changed] + ([solve(network, data, type(training)(rates[:known], known, **options))] if known else [])
    for other in others:
        np.testing.assert_array_equal(other.test_loss[: known + 1], whole.test_loss[: known + 1])
        np.testing.assert_array_equal(other.train_loss[: known + 1], whole.train_loss[: known + 1])
        for name, values in whole.kernels.items():
            np.testing.assert_array_equal(np.tril(other.kernels[name][..., :n, :n]), np.tril(values[..., :n, :n]), err_msg=name)
    assert changed.test_loss[known + 1] != whole.test_loss[known + 1]


@EACH_KIND
@given(problems())
def test_reference_gives_the_same(problem):
    found, expected = solve(*problem), solve(*problem, method="reference")
    assert expected.method == "reference" and expected.status is dmft.Status.COMPLETED
    assert_losses(found, expected.test_loss, expected.train_loss)


# ---- how a solve goes and ends

MARCHED = dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), GD(0.05, 199)


def test_march_yields_growing_blocks_of_the_solution():
    expected = solve(*MARCHED)
    parts = [(part.finished, part.status, part.test_loss.copy(), part.kernels["Cv"].shape) for part in dmft.march(*MARCHED)]
    ends = [0, *(finished for finished, *_ in parts)]
    assert all(0 < rows <= 64 for rows in np.diff(ends)) and ends[-1] == 200
    assert [status for _, status, *_ in parts] == (len(parts) - 1) * [dmft.Status.INTERRUPTED] + [dmft.Status.COMPLETED]
    for finished, _, losses, shape in parts:
        np.testing.assert_array_equal(losses, expected.test_loss[:finished])
        assert shape == (finished, finished)


def test_march_checks_its_arguments_before_the_first_block():
    with pytest.raises(TypeError, match="network must be"):
        dmft.march(1.0, *MARCHED[1:])


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C arrives while the rows from number 128 on are computed."""
    march_rows = causal_linear._march_rows

    def until(problem, state, work, first, last):
        if first >= 128:
            raise KeyboardInterrupt
        return march_rows(problem, state, work, first, last)

    monkeypatch.setattr(causal_linear, "_march_rows", until)
    return monkeypatch.undo


def test_interruption_keeps_the_finished_rows(interrupted, tmp_path):
    with pytest.raises(dmft.Interrupted, match="128 of 200 rows are solved, in .*run.h5; dmft.resume goes on") as stop:
        solve(*MARCHED, out=tmp_path / "run.h5")
    trajectory = stop.value.result
    assert trajectory.status is dmft.Status.INTERRUPTED and trajectory.finished == 128 == len(trajectory.times)
    assert "dmft.resume" in str(trajectory) and "128 of 200 rows" in str(trajectory)
    interrupted()
    expected = solve(*MARCHED)
    np.testing.assert_array_equal(trajectory.test_loss, expected.test_loss[:128])
    np.testing.assert_array_equal(trajectory.correlation("h", layer=2), expected.correlation("h", layer=2)[:128, :128])
    stored = dmft.load(tmp_path / "run.h5")
    assert stored.status is dmft.Status.INTERRUPTED
    np.testing.assert_array_equal(stored.train_loss, trajectory.train_loss)

    resumed = dmft.resume(tmp_path / "run.h5", steps=199, progress=False)
    assert resumed.status is dmft.Status.COMPLETED and resumed.finished == 200
    assert_losses(resumed, expected.test_loss, expected.train_loss)
    for name, values in expected.kernels.items():
        np.testing.assert_allclose(np.tril(resumed.kernels[name]), np.tril(values), rtol=0, atol=1e-12 * np.abs(values).max(), err_msg=name)


def test_interruption_ends_loops_over_solves(interrupted):
    with pytest.raises(KeyboardInterrupt, match="128 of 200 rows are solved; they are the result") as stop:
        for _ in range(3):
            solve(*MARCHED)
    assert stop.type is dmft.Interrupted and stop.value.result.finished == 128


@pytest.mark.parametrize("method", ["causal", "fixed-point", "reference"])
def test_interruption_before_any_row_has_no_result(method, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(causal_linear, "_march_rows", interrupt)
    monkeypatch.setattr(fixed_point, "solve", interrupt)
    monkeypatch.setattr(reference, "march", interrupt)
    with pytest.raises(dmft.Interrupted, match="no row was finished") as stop:
        solve(*MARCHED, method=method)
    assert stop.value.result is None


DIVERGENT = {
    "rich": (dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), GD(0.6, 100)),
    "lazy": (dmft.DeepLinear(2, **LAZY), POPULATION, GD(0.7, 100)),
    "at once": (dmft.DeepLinear(1), POPULATION, GD(1e50, 100)),
    "two outputs, online": (dmft.DeepLinear(2, outputs=2), POPULATION, SGD(0.6, 100)),
    "momentum": (dmft.DeepLinear(3), POPULATION, GD(0.3, 100, momentum=0.9)),
}


@pytest.mark.parametrize("name", DIVERGENT)
def test_divergence_is_a_result(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trajectory = solve(*DIVERGENT[name], out=tmp_path / "run.h5")
        print(trajectory)
        step = trajectory.diverged_at
        kernels = [trajectory.correlation(field, layer=layer) for field in "hgvu" for layer in layers(trajectory.network, field)]
        kernels += [trajectory.response(field, layer=layer) for field in "hgvu" for layer in layers(trajectory.network, field)]
    assert trajectory.status is dmft.Status.DIVERGED and 0 < step == trajectory.finished <= 100
    assert "lower learning_rate" in trajectory.status.remedy and f"diverged at step {step}" in str(trajectory)
    for losses in (trajectory.test_loss, trajectory.train_loss):
        assert losses.shape == (101,) and np.all(np.isfinite(losses[:step])) and np.all(losses[step:] == np.inf)
    for kernel in kernels:
        assert not np.any(np.isnan(kernel))
        assert np.all(np.isfinite(kernel[:step, ..., :step] if kernel.ndim == 2 else kernel[:step, :, :step]))
        assert np.all(np.isinf(kernel[step:, ..., 0] if kernel.ndim == 2 else kernel[step:, :, 0, 0]))
    stored = dmft.load(tmp_path / "run.h5")
    assert stored.status is dmft.Status.DIVERGED and stored.diverged_at == step
    np.testing.assert_array_equal(stored.test_loss, trajectory.test_loss)


@pytest.mark.parametrize("method", ["reference", "fixed-point"])
@pytest.mark.parametrize("name", DIVERGENT)
def test_all_methods_diverge_at_the_same_step(name, method):
    expected = solve(*DIVERGENT[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve(*DIVERGENT[name], method=method)
    assert (found.status, found.diverged_at) == (dmft.Status.DIVERGED, expected.diverged_at)
    n = found.finished
    np.testing.assert_allclose(found.test_loss[:n], expected.test_loss[:n], rtol=1e-8)
    for losses in (found.test_loss, found.train_loss):
        assert np.all(np.isfinite(losses[:n])) and np.all(losses[n:] == np.inf)
    assert not np.any(np.isnan(found.correlation("h", layer=1)))


def test_catapults_that_come_back_are_not_divergence():
    """NTK at nu = 256: the loss rises to more than ten times its initial value and then falls (docs/theory/deep_linear.md, section 7)."""
    trajectory = solve(dmft.DeepLinear(2, 256.0, parameterization="ntk"), POPULATION, GD(0.84, 100))
    assert trajectory.status is dmft.Status.COMPLETED
    assert trajectory.test_loss.max() > 20 and trajectory.test_loss[-1] < 1e-5


# ---- memory

MEMORY = """
import resource, sys
import dmft
from solvers import low_rank_history

def peak():
    if sys.platform == "linux":  # ru_maxrss would remember the process that started this one
        with open("/proc/self/status") as status:
            return 1024 * int(next(line.split()[1] for line in status if line.startswith("VmHWM")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def problem(steps):
    return dmft.DeepLinear(3), dmft.GaussianData(1.5, 0.3), dmft.GradientDescent(0.03, steps)

low_rank_history._SHORTEST, long = 0, low_rank_history._SHORTEST
dmft.solve(*problem(129), progress=False)
low_rank_history._SHORTEST = long
before = peak()
dmft.solve(*problem(699), progress=False)
print((peak() - before) / dmft.memory_estimate(*problem(699)))
"""


def test_memory_estimate():
    """Within 20% of the peak that the operating system sees, beyond what a small solve needs."""
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert 0.8 < float(result.stdout) < 1.2


@pytest.mark.parametrize("method", ["causal", "fixed-point", "reference"])
def test_memory_limit_is_checked_before_any_work(method):
    huge = dmft.DeepLinear(3), POPULATION, GD(0.1, 100_000)
    assert dmft.memory_estimate(*huge, method=method) > 8 * 30 * 1e10
    with pytest.raises(ValueError, match=r"memory_limit must cover the solve, about .* GiB; .*fewer steps"):
        solve(*huge, method=method)
    with pytest.raises(ValueError, match="memory_limit must cover"):
        solve(*MARCHED, method=method, memory_limit=1e5)


def test_nbytes_counts_all_arrays():
    trajectory = solve(*MARCHED)
    assert trajectory.nbytes == 8 * ((4 * 2 + 6) * 200**2 + 2 * 200)


# ---- views


@pytest.mark.parametrize("outputs", [1, 2])
def test_to_xarray(outputs):
    trajectory = solve(dmft.DeepLinear(2, outputs=outputs), dmft.GaussianData(1.5, 0.3), GD(0.05, 9))
    view = trajectory.to_xarray()
    assert view.attrs == {"status": "completed", "method": "causal"}
    np.testing.assert_array_equal(view["test_loss"].sel(time=9), trajectory.test_loss[9])
    np.testing.assert_array_equal(view["C_h"].sel(layer=2).values, trajectory.correlation("h", layer=2))
    np.testing.assert_array_equal(view["R_delta"].values, trajectory.response("delta"))
    assert view["C_v"].dims == (("time", "time_2") if outputs == 1 else ("time", "output", "time_2", "output_2"))
