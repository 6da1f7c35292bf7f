"""Kernel evolution of infinitely wide networks: exact cases, approximations, finite networks, files, activations of one's own."""

import dataclasses

import numpy as np
import pytest

import dmft
from dmft import Status
from dmft.theories import kernel_rows, kernel_sampled, mlp
from solvers import gaussian, kernel_march, kernel_replicas
from solvers.activations import ACTIVATIONS

from kernel_systems import arc_cosine, inputs, linear_one_hidden_layer

X, Y = inputs(samples=4, test=2, dim=6, outputs=2)
DATA = dmft.Dataset(X[:4], Y[:, 0], X[4:], [0.5, -0.5])
TWO = dmft.Dataset(X[:4], Y, X[4:])
RUN = dmft.GradientDescent(0.6, 8)
GRAM = X @ X.T / 6


def solve(net, data=DATA, run=RUN, **options):
    return dmft.solve(net, data, run, progress=False, **options)


def root_mean_square(values):
    return np.sqrt(np.mean(values**2))


# ---- exact cases


@pytest.mark.parametrize(
    "optimizer",
    [{}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2}, {"momentum": 0.5, "weight_decay": 0.2, "decoupled": True}],
    ids=str,
)
def test_linear_network_against_the_fixed_point(optimizer):
    net, run = dmft.MLP(3, "linear", richness=1.3, outputs=2), dmft.GradientDescent(np.linspace(0.3, 0.2, 8), 8, **optimizer)
    marched, swept = (solve(net, TWO, run, method=method) for method in ("causal", "fixed-point"))
    assert marched.predictions.shape == (9, 4, 2) and marched.test_predictions.shape == (9, 2, 2)
    np.testing.assert_allclose(marched.function, swept.function, atol=1e-8)
    for layer in (1, 2, 3):
        np.testing.assert_allclose(marched.feature_kernel(layer, test=True), swept.feature_kernel(layer, test=True), atol=1e-8)
        np.testing.assert_allclose(marched.gradient_kernel(layer), swept.gradient_kernel(layer), atol=1e-8)
    np.testing.assert_allclose(marched.tangent_grams, swept.tangent_grams, atol=1e-8)
    assert not np.any(marched.function_error)


def test_one_hidden_linear_layer_is_a_closed_recursion():
    solved = solve(dmft.MLP(1, "leaky_relu", richness=1.5, negative_slope=1.0))
    np.testing.assert_allclose(solved.function, linear_one_hidden_layer(X, Y[:, :1], 1.5, RUN.learning_rates), atol=1e-12)
    np.testing.assert_allclose(solved.train_loss, np.mean((DATA.y - solved.predictions) ** 2, axis=1))
    np.testing.assert_allclose(solved.test_loss, np.mean((DATA.test_y - solved.test_predictions) ** 2, axis=1))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_small_richness_is_the_lazy_limit(activation):
    for momentum in (0.0, 0.5):
        run = dmft.GradientDescent(0.6, 8, momentum=momentum)
        lazy = solve(dmft.MLP(2, activation, richness=1e-3), run=run, method="ntk")
        rich = solve(dmft.MLP(2, activation, richness=1e-3), run=run, samples=2048)
        np.testing.assert_array_less(np.abs(rich.function - lazy.function), 6 * rich.function_error + 1e-4)
        assert root_mean_square(lazy.predictions[-1]) > 0.1
    error = np.abs(rich.feature_kernel(2) - lazy.feature_kernel(2))
    assert error.max() < 0.02 * lazy.feature_kernel(2).max()


def test_lazy_linear_network_of_two_outputs():
    net = dmft.MLP(2, "linear", richness=1e-4, outputs=2)
    lazy, rich = solve(net, TWO, method="ntk"), solve(net, TWO)
    np.testing.assert_allclose(lazy.function, rich.function, atol=1e-6)
    np.testing.assert_allclose(lazy.gradient_kernel(1), rich.gradient_kernel(1), atol=1e-6)
    np.testing.assert_allclose(lazy.tangent_grams, rich.tangent_grams, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_initial_kernels(activation):
    solved = solve(dmft.MLP(2, activation), run=dmft.GradientDescent(0.3, 1), track="test kernels")
    values, slopes = [GRAM], []
    for _ in range(2):
        value, slope = gaussian.expectations(ACTIVATIONS[activation], values[-1])
        values.append(value)
        slopes.append(slope)
    if activation == "relu":
        np.testing.assert_allclose(values[1], arc_cosine(GRAM)[0], rtol=1e-7)
    tangent = values[2] + slopes[1] * values[1] + slopes[1] * slopes[0] * GRAM
    for found, error, expected in (
        (solved.feature_kernel(1, test=True)[0, :, 0], solved.feature_gram_errors[0, 0], values[1]),
        (solved.feature_kernel(2, test=True)[0, :, 0], solved.feature_gram_errors[0, 1], values[2]),
        (solved.gradient_kernel(2, test=True)[0, :, 0], solved.gradient_gram_errors[0, 1], slopes[1]),
        (solved.gradient_kernel(1, test=True)[0, :, 0], solved.gradient_gram_errors[0, 0], slopes[1] * slopes[0]),
        (solved.tangent_grams[0], solved.tangent_gram_errors[0], tangent[:, :4]),
    ):
        assert error.max() < 0.02 * np.abs(expected).max()
        np.testing.assert_array_less(np.abs(found - expected), 6 * error + 1e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(solved.feature_kernel(0)[0, :, 1], GRAM[:4, :4])
    np.testing.assert_array_equal(solved.gradient_kernel(3), 1)


# ---- finite networks


def extrapolated(net, data, run, name, widths=(512, 1024), seeds=16, **options):
    """Mean over networks at infinite width, from two widths in the ratio 1 : 2, and its standard error."""
    small, large = (dmft.simulate(net, data, run, width=width, seeds=seeds, rng=width, progress=False, **options) for width in widths)
    return 2 * large.mean(name) - small.mean(name), np.hypot(2 * large.standard_error(name), small.standard_error(name))


NETWORKS = {
    "tanh": (dmft.MLP(3, "tanh", richness=1.5), DATA, {}, {}),
    "relu": (dmft.MLP(2, "relu"), DATA, {"momentum": 0.4}, {}),
    "gelu": (dmft.MLP(2, "gelu"), DATA, {"learning_rate": 1.0, "weight_decay": 0.03}, {}),
    "logistic, two outputs": (
        dmft.MLP(2, "tanh", richness=2.0, outputs=2),
        dmft.Dataset(X[:4], np.sign(Y), X[4:]),
        {},
        {"loss": "logistic"},
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_finite_networks(name):
    net, data, optimizer, options = NETWORKS[name]
    run = dmft.GradientDescent(**({"learning_rate": 0.6, "steps": 8} | optimizer))
    theory = solve(net, data, run, samples=2048, **options)
    mean, error = extrapolated(net, data, run, "function", **options)
    z = (mean - theory.function)[1:] / np.hypot(error, theory.function_error)[1:]
    assert np.abs(z).max() < 5 and 0.2 < root_mean_square(z) < 2.5
    assert root_mean_square(error[1:]) < 0.2 * root_mean_square(theory.function[1:])


def test_kernels_of_finite_networks():
    net = dmft.MLP(2, "tanh", richness=2.0)
    theory = solve(net, samples=2048)
    networks = dmft.simulate(net, DATA, RUN, width=1024, seeds=16, track="kernels", kernel_times=[0, 4, 8], progress=False)
    for found, expected in ((networks.feature_kernel, theory.feature_kernel), (networks.gradient_kernel, theory.gradient_kernel)):
        for layer in (1, 2):
            kernels = found(layer)
            error = kernels.std(axis=0, ddof=1) / 4
            exact = expected(layer)[np.ix_(networks.kernel_times, range(4), networks.kernel_times, range(4))]
            z = (kernels.mean(axis=0) - exact) / np.hypot(error, 2e-3 * np.abs(exact).max())
            assert root_mean_square(z) < 2
            change = exact[2, :, 2] - exact[0, :, 0]
            assert np.abs(change).max() > 5 * error.max()


def test_gradient_independence_is_wrong_and_the_exact_theory_is_not():
    net, run = dmft.MLP(3, "tanh", richness=1.5), dmft.GradientDescent(0.6, 8)
    networks = dmft.simulate(net, DATA, run, width=768, seeds=12, progress=False)
    exact, approximate = solve(net, run=run, samples=2048), solve(net, run=run, method="gradient-independence", samples=2048)
    mean, error = networks.mean("train_loss")[-1], networks.standard_error("train_loss")[-1]
    assert abs(exact.train_loss[-1] - mean) < 5 * error + 0.01 * mean
    assert abs(approximate.train_loss[-1] - mean) > 10 * error
    assert approximate.method == "gradient-independence" and "mc_error" not in approximate.options


def test_perturbation_theory_of_deep_linear_networks():
    differences = []
    for richness in (0.1, 0.2):
        net = dmft.MLP(3, "linear", richness=richness)
        exact, expanded = solve(net), solve(net, method="perturbative")
        pairs = ((exact.feature_kernel(2), expanded.feature_kernel(2)), (exact.gradient_kernel(1), expanded.gradient_kernel(1)))
        differences.append([np.abs(a - b).max() for a, b in pairs])
        assert all(d < 0.3 * np.abs(a - a[:1, :, :1]).max() for d, (a, _) in zip(differences[-1], pairs))
    ratios = np.divide(*differences[::-1])
    np.testing.assert_allclose(ratios, 16, rtol=0.3)


def test_sampled_fixed_point():
    """With the same samples in every sweep its error is that of a few thousand samples."""
    net, run = dmft.MLP(2, "tanh", richness=1.5), dmft.GradientDescent(0.8, 3)
    swept, marched = solve(net, run=run, method="fixed-point", samples=2000), solve(net, run=run)
    assert root_mean_square(swept.function - marched.function) < 0.08 * root_mean_square(marched.function)
    kernel = marched.feature_kernel(2)
    assert np.abs(swept.feature_kernel(2) - kernel).max() < 0.15 * kernel.max()


# ---- sampling


def test_kernels_are_those_of_the_replicas():
    net = dmft.MLP(2, "tanh")
    solved = solve(net, samples=1024, replicas=3, rng=7, tolerance=1e-5)
    records = [kernel_replicas.Record() for _ in range(3)]
    stated = mlp.problem(net, DATA, RUN, "mse")
    for i, record in enumerate(records):
        for step in kernel_march.march(stated, 1024, kernel_replicas.replica_seed(7, i), tolerance=1e-5):
            record.append(step)
    np.testing.assert_array_equal(solved.function[:, :, None], np.mean([record.predictions() for record in records], axis=0))
    for layer in (1, 2):
        expected = np.mean([record.feature_kernel(layer) for record in records], axis=0)
        np.testing.assert_allclose(solved.feature_kernel(layer, test=True), expected, atol=3e-5 * expected.max())
        expected = np.mean([record.gradient_kernel(layer) for record in records], axis=0)[:, :, 0, :, :, 0]
        np.testing.assert_allclose(solved.gradient_kernel(layer), expected, atol=3e-5 * expected.max())


def test_replicas_one_after_the_other_give_the_same():
    net = dmft.MLP(2, "tanh")
    beside = solve(net, samples=512, replicas=3)
    limit = 1.5 * dmft.memory_estimate(net, DATA, RUN, samples=512, replicas=3)
    np.testing.assert_array_equal(solve(net, samples=512, replicas=3, memory_limit=limit).function, beside.function)
    with pytest.raises(ValueError, match="memory_limit must cover"):
        solve(net, samples=512, memory_limit=limit / 3)


def test_requested_error_is_reached_and_honest():
    net = dmft.MLP(2, "tanh")
    reference = solve(net, samples=2**14, track=None)
    solved = solve(net, mc_error=2e-3, track=None)
    assert kernel_sampled.relative_error(solved) <= solved.report["mc_error_reached"] <= 2e-3
    scale = np.sqrt(np.mean(reference.predictions**2, axis=1)).max()
    distance = np.sqrt(np.mean((solved.predictions - reference.predictions) ** 2, axis=1)).max()
    assert distance < 6e-3 * scale
    assert solved.options["samples"] >= 4096 and "relative standard error" in str(solved)


def test_requested_error_beyond_memory_is_said():
    net = dmft.MLP(1, "tanh")
    limit = 1.1 * dmft.memory_estimate(net, DATA, RUN, samples=2048, track=None)
    solved = solve(net, mc_error=1e-6, track=None, memory_limit=limit)
    assert "memory_limit allows no more samples" in solved.report["accuracy"] and solved.report["mc_error_reached"] > 1e-6


def test_interrupted_search_keeps_the_last_complete_solve(monkeypatch):
    net, complete = dmft.MLP(1, "tanh"), kernel_sampled.trajectories
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return complete(*arguments)

    monkeypatch.setattr(kernel_sampled, "trajectories", interrupted)
    with pytest.raises(dmft.Interrupted) as stop:
        solve(net, mc_error=1e-6, track=None)
    solved = stop.value.result
    assert solved.status is Status.COMPLETED and "interrupted before the requested 1.0e-06" in solved.report["accuracy"]
    assert solved.options["samples"] > 1024


def test_largest_rank_is_said():
    solved = solve(dmft.MLP(2, "relu"), samples=64, replicas=2)
    assert "of the variance left out at the largest rank" in solved.report["accuracy"]


def test_samples_are_rounded_up_and_repeatable():
    net = dmft.MLP(1, "relu")
    first, again, other = solve(net, samples=1000), solve(net, samples=1024), solve(net, samples=1024, rng=1)
    np.testing.assert_array_equal(first.function, again.function)
    assert first.options["samples"] == 1024 and np.any(other.function != first.function)
    assert solve(net, samples=512, replicas=1).function.shape == (9, 6)


def test_preactivations():
    solved = solve(dmft.MLP(2, "tanh"), samples=512, replicas=2, preactivation_times=[8, 0])
    assert solved.preactivations.shape == (2, 2, 6, 1024)
    for row, t in enumerate((0, 8)):
        phi = np.tanh(solved.preactivations[row, 1])
        np.testing.assert_allclose(phi @ phi.T / 1024, solved.feature_grams[t, 1], rtol=1e-10)


def test_labelled_view():
    xarray = pytest.importorskip("xarray")
    for data, net in ((DATA, dmft.MLP(2, "tanh")), (TWO, dmft.MLP(2, "linear", outputs=2))):
        view = solve(net, data, **({} if data is TWO else {"samples": 256})).to_xarray()
        assert isinstance(view, xarray.Dataset) and view.sizes["time"] == 9 and view.sizes["layer"] == 2
        assert view["function"].dims == ("time", "point", "output")[: 1 + data.y.ndim]


def test_logistic_loss_and_alignment():
    data = dmft.Dataset(X[:4], np.sign(Y[:, 0]))
    solved = solve(dmft.MLP(1, "tanh", richness=2.0), data, loss="logistic", samples=512)
    np.testing.assert_allclose(solved.train_loss, np.logaddexp(0, -data.y * solved.predictions).mean(axis=1))
    assert solved.train_loss[0] == pytest.approx(np.log(2)) and np.all(np.diff(solved.train_loss) < 0)
    K = solved.feature_kernel(1)[8, :, 8]
    assert solved.alignment("features")[8] == pytest.approx(data.y @ K @ data.y / np.linalg.norm(K) / 4)
    assert np.all(np.diff(solved.alignment()) > 0)


# ---- files, blocks, divergence


@pytest.mark.parametrize(
    ("net", "data", "options"),
    [
        (dmft.MLP(2, "tanh"), DATA, {"samples": 256, "preactivation_times": [0, 3]}),
        (dmft.MLP(2, "leaky_relu", outputs=2, negative_slope=0.3), TWO, {"samples": 256, "track": "test kernels"}),
        (dmft.MLP(2, "linear"), DATA, {}),
        (dmft.MLP(1, "relu"), DATA, {"samples": 256, "track": None}),
    ],
    ids=["tanh", "two outputs", "linear", "function only"],
)
def test_files_and_resume(net, data, options, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    solved = solve(net, data, out=path, **options)
    loaded = dmft.load(path)
    assert type(loaded) is type(solved) and loaded.network == net and str(loaded) == str(solved)
    for name, array in solved.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], array)
    longer = dataclasses.replace(RUN, steps=11)
    whole = solve(net, data, longer, **options)
    monkeypatch.setattr(kernel_rows, "BLOCK_SECONDS", 0.0)
    with pytest.warns(dmft.RestartWarning, match="run.h5 holds the results of its 9 rows, not the state of the march"):
        resumed = dmft.resume(path, steps=11, progress=False)
    for trajectory in (resumed, dmft.load(path)):
        for name, array in whole.arrays().items():
            np.testing.assert_array_equal(trajectory.arrays()[name], array)


def test_other_methods_and_networks_in_files(tmp_path):
    net = dmft.MLP(2, "linear")
    for method in ("ntk", "perturbative", "fixed-point"):
        solved = solve(net, method=method)
        solved.save(tmp_path / f"{method}.h5")
        loaded = dmft.load(tmp_path / f"{method}.h5")
        np.testing.assert_array_equal(loaded.feature_kernel(2), solved.feature_kernel(2))
        assert loaded.method == method and loaded.options == solved.options
    networks = dmft.simulate(net, DATA, RUN, width=32, seeds=2, track="kernels", kernel_times=[0, 8], progress=False)
    networks.save(tmp_path / "networks.h5")
    read = dmft.load(tmp_path / "networks.h5")
    np.testing.assert_array_equal(read.feature_kernel(2), networks.feature_kernel(2))
    assert read.width == 32 and str(read) == str(networks) and list(read.kernel_times) == [0, 8]


def test_interrupted_files_hold_the_rows_done(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_rows, "BLOCK_SECONDS", 0.0)
    blocks = dmft.march(dmft.MLP(2, "tanh"), DATA, RUN, samples=256)
    for block in blocks:
        if block.finished == 4:
            break
    block.save(tmp_path / "run.h5")
    loaded = dmft.load(tmp_path / "run.h5")
    assert loaded.status is Status.INTERRUPTED and loaded.feature_kernel(2).shape == (4, 4, 4, 4)
    with pytest.warns(dmft.RestartWarning):
        resumed = dmft.resume(tmp_path / "run.h5", steps=8, progress=False)
    np.testing.assert_array_equal(resumed.feature_kernel(2), solve(dmft.MLP(2, "tanh"), samples=256).feature_kernel(2))


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("method", ["causal", "ntk"])
def test_divergence_is_a_result(activation, method, tmp_path):
    run = dmft.GradientDescent(40.0, 60)
    solved = solve(dmft.MLP(1, activation), run=run, method=method, **({"samples": 256} if method == "causal" else {}))
    assert solved.status is Status.DIVERGED and 0 < solved.diverged_at < 61
    assert np.isinf(solved.function[solved.diverged_at :]).all() and np.isfinite(solved.function[: solved.diverged_at]).all()
    assert np.isinf(solved.feature_kernel(1)[solved.diverged_at :]).all() and not np.isnan(solved.feature_kernel(1)).any()
    solved.save(tmp_path / "run.h5")
    np.testing.assert_array_equal(dmft.load(tmp_path / "run.h5").feature_kernel(1), solved.feature_kernel(1))
    networks = dmft.simulate(dmft.MLP(1, activation), DATA, run, width=64, seeds=2, track="kernels", progress=False)
    assert np.isinf(networks.train_loss[:, -1]).all()


# ---- activations of one's own


def swish(name="swish", **changes):
    def sigmoid(h):
        return 0.5 * (1 + np.tanh(h / 2))

    functions = {"phi": lambda h: h * sigmoid(h), "dphi": lambda h: sigmoid(h) * (1 + h * (1 - sigmoid(h)))}
    return dmft.Activation(**(functions | changes), name=name)


def test_own_activation_is_taken_everywhere(tmp_path):
    own = dmft.Activation(
        phi=np.tanh, dphi=lambda h: 1 - np.tanh(h) ** 2, d2phi=lambda h: 2 * np.tanh(h) * (np.tanh(h) ** 2 - 1), name="my tanh"
    )
    for method, options in (("causal", {"samples": 256}), ("ntk", {}), ("fixed-point", {"samples": 200})):
        run = dmft.GradientDescent(0.3, 3)
        expected, found = (solve(dmft.MLP(2, phi), run=run, method=method, **options) for phi in ("tanh", own))
        np.testing.assert_allclose(found.function, expected.function, atol=1e-6)
    ensembles = [dmft.simulate(dmft.MLP(2, phi), DATA, RUN, width=32, seeds=2, progress=False) for phi in ("tanh", own)]
    np.testing.assert_allclose(*(e.function for e in ensembles), atol=1e-12)
    shallow = [solve(dmft.ShallowNet.ntk(activation=phi), loss="mse") for phi in ("tanh", own)]
    np.testing.assert_allclose(*(s.function for s in shallow), atol=1e-6)


def test_own_activation_in_files(tmp_path):
    path, net = tmp_path / "run.h5", dmft.MLP(2, swish())
    solved = solve(net, samples=256, out=path)
    loaded = dmft.load(path)
    assert loaded.network == net and "Activation(name='swish')" in str(loaded)
    np.testing.assert_array_equal(loaded.function, solved.function)
    for go_on in (lambda: dmft.resume(path, steps=10, progress=False), lambda: solve(loaded.network)):
        with pytest.raises(ValueError, match="activation 'swish' must be supplied again.*files hold its name only"):
            go_on()
    with pytest.raises(ValueError, match="name that the file holds, 'swish'; got 'other'"):
        dmft.resume(path, steps=10, activation=swish("other"), progress=False)
    with pytest.warns(dmft.RestartWarning):
        resumed = dmft.resume(path, steps=10, activation=swish(), progress=False)
    np.testing.assert_array_equal(resumed.function, solve(net, run=dmft.GradientDescent(0.6, 10), samples=256).function)
    solve(dmft.MLP(1), samples=256, out=path, overwrite=True)
    with pytest.raises(ValueError, match="activation must not be given here"):
        dmft.resume(path, steps=10, activation=swish(), progress=False)


BAD_ACTIVATIONS = {
    "no derivative": (lambda: dmft.Activation(phi=np.tanh), ValueError, "dphi must be given"),
    "wrong derivative": (lambda: swish(dphi=np.cos), ValueError, "dphi must be the derivative of phi.* finite differences of phi give"),
    "wrong second derivative": (lambda: swish(d2phi=np.sin), ValueError, "d2phi must be the derivative of dphi"),
    "not callable": (lambda: swish(phi=3), TypeError, "phi must be a callable that takes a numpy array; got 3"),
    "scalar": (
        lambda: swish(phi=lambda h: 1.0),
        ValueError,
        r"phi must return an array of the shape of its argument, \(2, 60\); got shape \(\)",
    ),
    "branches": (
        lambda: swish(phi=lambda h: h if h > 0 else 0.0),
        ValueError,
        "phi must take a numpy array of any shape.*it raised ValueError",
    ),
    "nan": (lambda: swish(phi=np.sqrt), ValueError, "phi must be finite; at h = "),
    "in place": (lambda: swish(phi=lambda h: np.tanh(h, out=h)), ValueError, "phi must leave its argument unchanged"),
    "taken name": (lambda: swish("relu"), ValueError, "name must be none of the names of built-in activations; got 'relu'"),
    "name": (lambda: swish(3), TypeError, "name must be a string"),
}


BAD = BAD_ACTIVATIONS | {
    "depth": (lambda: dmft.MLP(0), ValueError, "depth must be an integer >= 1"),
    "richness": (lambda: dmft.MLP(1, richness=0), ValueError, "richness must be a finite number > 0"),
    "activation": (lambda: dmft.MLP(1, "step"), ValueError, "activation must be one of 'leaky_relu'.* or a dmft.Activation; got 'step'"),
    "function": (lambda: dmft.MLP(1, np.tanh), TypeError, "activation must be one of"),
    "slope": (lambda: dmft.MLP(1, "tanh", negative_slope=0.1), ValueError, "negative_slope must be None"),
    "data": (lambda: solve(dmft.MLP(1), dmft.GaussianData()), TypeError, "data must be a Dataset"),
    "batches": (lambda: solve(dmft.MLP(1), run=dmft.MinibatchSGD(0.1, 3)), TypeError, "training must be a GradientDescent"),
    "outputs": (
        lambda: solve(dmft.MLP(1), TWO),
        ValueError,
        r"y must have shape \(P, C\) for a network with outputs = C = 1; got \(4, 2\)",
    ),
    "labels": (lambda: solve(dmft.MLP(1), loss="logistic"), ValueError, r"y must be -1 or \+1 for loss='logistic'"),
    "loss": (lambda: solve(dmft.MLP(1), loss="hinge"), ValueError, "loss must be one of 'mse', 'logistic'"),
    "samples": (
        lambda: solve(dmft.MLP(1), samples=40),
        ValueError,
        "samples must be an integer >= 48, 8 for every point and output; got 40",
    ),
    "replicas": (lambda: solve(dmft.MLP(1), replicas=1, mc_error=0.1), ValueError, "replicas must be at least 2 for mc_error"),
    "mc_error": (lambda: solve(dmft.MLP(1), mc_error=0), ValueError, "mc_error must be a number in"),
    "track": (lambda: solve(dmft.MLP(1), track="all"), ValueError, "track must be one of None, 'kernels', 'test kernels'"),
    "times": (lambda: solve(dmft.MLP(1), preactivation_times=[9]), ValueError, "preactivation_times must be steps from 0 to 8; got 9"),
    "time": (lambda: solve(dmft.MLP(1), preactivation_times=3), TypeError, "preactivation_times must be a sequence of steps; got 3"),
    "linear": (lambda: solve(dmft.MLP(1, "linear"), preactivation_times=[1]), ValueError, "must be empty for a linear network"),
    "option": (lambda: solve(dmft.MLP(1), method="ntk", samples=100), TypeError, "samples is not an option of method 'ntk' for a MLP"),
    "method": (lambda: solve(dmft.MLP(1), method="reference"), ValueError, "method must be one of 'causal', 'fixed-point', 'gradient-ind"),
    "ntk": (
        lambda: solve(dmft.MLP(1), run=dmft.GradientDescent(0.1, 2, weight_decay=0.1), method="ntk"),
        ValueError,
        "weight_decay must be 0",
    ),
    "momentum": (
        lambda: solve(dmft.MLP(1), run=dmft.GradientDescent(0.1, 2, momentum=0.1), method="gradient-independence"),
        ValueError,
        "momentum and weight_decay must be 0 for method 'gradient-independence'",
    ),
    "perturbative": (lambda: solve(dmft.MLP(1), method="perturbative"), ValueError, "activation must be 'linear' and outputs 1"),
    "second derivative": (
        lambda: solve(dmft.MLP(1, swish()), method="fixed-point"),
        ValueError,
        r"second derivative \(d2phi\).*'swish' has none",
    ),
    "many outputs": (
        lambda: solve(dmft.MLP(1, outputs=2), TWO, method="fixed-point"),
        ValueError,
        "outputs must be 1 for method 'fixed-point'",
    ),
    "layer": (lambda: solve(dmft.MLP(1, "linear")).feature_kernel(2), ValueError, "layer must be an integer from 0 to 1; got 2"),
    "kernels": (lambda: solve(dmft.MLP(1, "linear"), track=None).feature_kernel(1), ValueError, "solve with track='kernels'"),
    "test kernels": (lambda: solve(dmft.MLP(1), samples=64).gradient_kernel(1, test=True), ValueError, "track='test kernels'"),
    "no convergence": (lambda: solve(dmft.MLP(2, "linear"), method="fixed-point", max_sweeps=2), dmft.SolverError, "after 2 sweeps"),
    "width": (lambda: dmft.simulate(dmft.MLP(1), DATA, RUN), TypeError, "width must be an integer"),
    "kernel times": (
        lambda: dmft.simulate(dmft.MLP(1), DATA, RUN, width=8, kernel_times=[1]),
        ValueError,
        "kernel_times needs track='kernels'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
