"""Sizes of inputs, labels and rates: laws of scaling far from one, one criterion of divergence, inputs of a wrong size, labels (P, 1)."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

import dmft
from dmft import Status, datasets
from dmft.divergence import FACTOR, Divergence

RNG = np.random.default_rng(5)
X = 0.5 * RNG.standard_normal((6, 4))
Y = np.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
POWERS = (-40, -9, 9, 40)


def solve(net, data, run, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dmft.ScaleWarning)
        return dmft.solve(net, data, run, progress=False, **options)


def simulate(net, data, run, **options):
    return dmft.simulate(net, data, run, width=24, seeds=2, progress=False, **options)


def run_of(rate=0.1, steps=4):
    return dmft.GradientDescent(rate, steps)


#: Functions of networks after x -> c x, y -> c y, ..., in units in which they do not depend on c; exact for homogeneous activations.
LAWS = {
    "MLP linear, labels": lambda c: solve(dmft.MLP(2, "linear", 1 / c), dmft.Dataset(X, c * Y), run_of()).function / c,
    "MLP relu, labels": lambda c: solve(dmft.MLP(2, "relu", 1 / c), dmft.Dataset(X, c * Y), run_of(), samples=256, replicas=2).function / c,
    "MLP relu, inputs": lambda c: (
        solve(dmft.MLP(2, "relu", c**0.5), dmft.Dataset(c**0.5 * X, Y), run_of(0.1 / c), samples=256, replicas=2).function
    ),
    "MLP lazy, inputs": lambda c: solve(dmft.MLP(2, "relu"), dmft.Dataset(c**0.5 * X, Y), run_of(0.1 / c), method="ntk").function,
    "networks of MLP, inputs": lambda c: simulate(dmft.MLP(2, "relu", c**0.5), dmft.Dataset(c**0.5 * X, Y), run_of(0.1 / c)).function,
    "networks of MLP, labels": lambda c: simulate(dmft.MLP(2, "tanh", 1 / c), dmft.Dataset(X, c * Y), run_of()).function / c,
    "ShallowNet MF, inputs": lambda c: (
        solve(dmft.ShallowNet("-1", "1", sigma=0.1 / c), dmft.Dataset(c * X, Y), run_of(0.5), samples=256).function
    ),
    "ShallowNet NTK, inputs": lambda c: solve(dmft.ShallowNet("-1/2", "0", sigma=0.1 / c), dmft.Dataset(c * X, Y), run_of(0.5)).function,
    "networks of ShallowNet, inputs": lambda c: (
        simulate(dmft.ShallowNet("-1/2", "0", sigma=0.1 / c), dmft.Dataset(c * X, Y), run_of(0.5)).function
    ),
    "DeepNet NTK": lambda c: solve(dmft.DeepNet(2, "ntk"), dmft.Dataset(c**0.5 * X, c**0.5 * Y), run_of(0.1 / c)).function / c**0.5,
    "networks of DeepNet NTK": lambda c: (
        simulate(dmft.DeepNet(2, "ntk"), dmft.Dataset(c**0.5 * X, c**0.5 * Y), run_of(0.1 / c)).function / c**0.5
    ),
    "DeepLinear, labels": lambda c: (
        solve(dmft.DeepLinear(2, richness=c**-0.5), dmft.GaussianData(2.0, 0.3 * c**0.5, target_overlap=[[c]]), run_of(0.05)).test_loss / c
    ),
    "DeepLinear, inputs": lambda c: (
        solve(
            dmft.DeepLinear(2, richness=c**0.5), dmft.StructuredData([c, 2 * c], [1 / c, 1 / c], sample_ratio=2.0), run_of(0.05 / c)
        ).test_loss
    ),
    "networks of DeepLinear, inputs": lambda c: (
        dmft.simulate(
            dmft.DeepLinear(2, richness=c**0.5),
            dmft.StructuredData([c, 2 * c], [1 / c, 1 / c], sample_ratio=2.0),
            run_of(0.05 / c),
            dim=16,
            seeds=2,
            progress=False,
        ).test_loss
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_scaling_laws_hold_far_from_one(name):
    expected = LAWS[name](1.0)
    assert np.ptp(expected, axis=0).max() > 1e-3
    for power in POWERS:
        with np.errstate(all="raise", under="ignore"):
            np.testing.assert_allclose(LAWS[name](10.0**power), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


# ---- one criterion of divergence


def test_divergence_is_growth_of_the_loss_beyond_its_scale():
    y = np.array([[1.0], [-3.0]])
    limit = np.sqrt(FACTOR * np.mean(y**2))
    asked = [Divergence("mse", y) for _ in range(3)]
    assert not any(diverged(np.zeros((2, 1))) for diverged in asked)
    below, above, beyond_test = y + 0.999 * limit, y + 1.001 * limit, np.concatenate((y, [[np.inf]]))
    assert [diverged(f) for diverged, f in zip(asked, (below, above, beyond_test))] == [False, True, True]


def test_divergence_scales_with_labels_start_and_reach():
    y = np.ones((4, 1))
    for large, diverged in (
        (1e8 * y, Divergence("mse", 1e9 * y)),
        (1e8 * y, Divergence("mse", y, reach=1e6)),
    ):
        assert not diverged(0 * y) and not diverged(large)
    diverged = Divergence("mse", y)
    assert not diverged(1e6 * y) and not diverged(1e8 * y) and diverged(2e9 * y)
    diverged = Divergence("mse", y)
    assert not diverged(0 * y) and diverged(2e3 * y)


def test_bounded_derivatives_may_move_far_in_the_first_step_and_grow_while_the_loss_falls():
    y = np.array([[1.0], [-1.0]])
    diverged = Divergence("logistic", y)
    assert not diverged(0 * y) and not diverged(-1e9 * y) and not diverged(-1e12 * y) and not diverged(1e60 * y) and diverged(-1e16 * y)


def test_start_that_is_not_finite_is_an_error():
    with pytest.raises(dmft.SolverError, match="not finite in double precision even before training"):
        Divergence("mse", np.ones((1, 1)))(np.array([[np.inf]]))
    cubic = dmft.Activation(lambda h: h**3, lambda h: 3 * h**2, name="cubic")
    huge = dmft.Dataset(1e40 * X, Y)
    for call in (dmft.solve, dmft.simulate):
        options = {"samples": 64, "replicas": 2} if call is dmft.solve else {"width": 8, "seeds": 1}
        with pytest.raises(dmft.SolverError, match="even before training"):
            call(dmft.MLP(2, cubic), huge, run_of(), progress=False, **options)


NETS = {
    "MLP": (dmft.MLP(2, "relu"), {"samples": 256, "replicas": 2}),
    "MLP linear": (dmft.MLP(2, "linear"), {}),
    "MLP lazy": (dmft.MLP(2, "tanh"), {"method": "ntk"}),
    "DeepNet": (dmft.DeepNet(2, "mup"), {"samples": 512}),
    "DeepNet NTK": (dmft.DeepNet(2, "ntk"), {}),
    "ShallowNet": (dmft.ShallowNet("-1", "1"), {"samples": 256, "loss": "mse"}),
    "ShallowNet NTK": (dmft.ShallowNet("-1/2", "0"), {"loss": "mse"}),
}


@pytest.mark.parametrize("name", NETS)
def test_unstable_training_diverges_at_the_same_step_at_every_scale_of_the_labels(name):
    """A rate at which the loss grows, by what no completed trajectory may show."""
    net, options = NETS[name]
    run = run_of(1e3 if "Shallow" in name else 200.0, 60)
    data = dmft.Dataset(X, Y)
    solved = solve(net, data, run, **options)
    assert solved.status is Status.DIVERGED and 0 < solved.diverged_at < 60
    scale = max(1.0, solved.train_loss[0])
    assert solved.train_loss[: solved.diverged_at].max() <= FACTOR * max(1.0, 1e2 * scale)
    networks = simulate(net, data, run, **({"loss": "mse"} if "Shallow" in name else {}))
    assert np.isinf(networks.train_loss[:, -1]).all() and not np.isnan(networks.function).any()


def test_catapults_of_lazy_networks_come_back():
    """At small richness the loss grows until the kernel has shrunk: far beyond the labels, and yet no divergence."""
    edge = len(X) / np.linalg.eigvalsh(X @ X.T / X.shape[1])[-1]  # of eta 2 K / P < 2
    run = dmft.GradientDescent(1.3 * edge, 200)
    solved = solve(dmft.MLP(1, "linear", richness=1e-4), dmft.Dataset(X, Y), run, track=None)
    assert solved.status is Status.COMPLETED
    assert solved.train_loss.max() > FACTOR * solved.train_loss[0] / 10 and solved.train_loss[-1] < solved.train_loss[0]


def test_a_kernel_regime_whose_logits_grow_while_all_are_right_is_no_divergence():
    solved = solve(dmft.ShallowNet("-1/2", "0"), dmft.Dataset(1e9 * np.eye(4), np.array([1.0, -1, 1, -1])), run_of(1.0, 4))
    assert solved.status is Status.COMPLETED and np.abs(solved.function[-1]).max() > 1e12 and solved.train_loss[-1] == 0


# ---- inputs that nothing can be computed from, or that are zero


def test_zero_inputs_leave_the_function_at_rest():
    data = dmft.Dataset(np.zeros((3, 2)), np.ones(3))
    for net, options in NETS.values():
        solved = solve(net, data, run_of(), **options)
        assert solved.status is Status.COMPLETED and not np.any(solved.function) and np.all(solved.train_loss == 1.0), net


def test_kernels_of_saturated_activations_are_refused_not_wrong():
    data = dmft.Dataset(1e3 * X, Y)
    for net, options in (
        (dmft.DeepNet(2, "ntk", "tanh"), {}),
        (dmft.MLP(2, "tanh"), {"method": "ntk"}),
        (dmft.ShallowNet("-1/2", "0", "tanh"), {}),
    ):
        with pytest.raises(ValueError, match="^x must be smaller: preactivations of standard deviation"):
            solve(net, data, run_of(), **options)


def test_a_single_replica_has_no_finite_error():
    solved = solve(dmft.MLP(2, "tanh"), dmft.Dataset(X, Y), run_of(), samples=128, replicas=1)
    assert solved.status is Status.COMPLETED and np.all(np.isinf(solved.function_error)) and np.all(np.isfinite(solved.function))
    assert not any(np.isnan(array).any() for array in solved.arrays().values())
    assert "a single replica has no standard error" in str(solved)


# ---- inputs of a wrong size

DIGITS = {norm: datasets.binary_digits((3, 8), samples=12, test_samples=8, norm=norm) for norm in (1.0, 8.0)}
README = {
    "MLP": (dmft.MLP(3, "tanh"), dmft.GradientDescent(0.2, 25), {"samples": 256, "replicas": 2, "track": None}, 8.0),
    "DeepNet": (dmft.DeepNet(3, "mup"), dmft.GradientDescent(0.2, 20), {"samples": 2048}, 1.0),
    "DeepNet NTK": (dmft.DeepNet(3, "ntk"), dmft.GradientDescent(0.2, 20), {}, 1.0),
    "ShallowNet": (dmft.ShallowNet("-1/2", "0"), dmft.GradientDescent(5.0, 50), {}, 1.0),
    "ShallowNet MF": (dmft.ShallowNet.mean_field(), dmft.GradientDescent(5.0, 50), {"samples": 1024}, 1.0),
}


@pytest.mark.parametrize("name", README)
def test_digits_of_the_wrong_norm_are_mentioned_once_with_the_remedy(name):
    net, run, options, right = README[name]
    wrong = 8.0 / right
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dmft.solve(net, DIGITS[right], run, progress=False, **options)
    with pytest.warns(dmft.ScaleWarning) as caught:
        dmft.solve(net, DIGITS[wrong], run, progress=False, **options)
    (warning,) = caught
    assert warning.filename == __file__
    text = str(warning.message)
    assert text.startswith(f"x has a root mean square norm |x| = {wrong:g}, but {type(net).__name__} takes |x| about ")
    factor = float(re.search(r"Multiply x by ([0-9.]+)$", text)[1])
    assert factor == right / wrong


def test_no_warning_without_harm_nor_about_rates_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dmft.solve(dmft.MLP(3, "tanh"), DIGITS[8.0], dmft.GradientDescent(1e-9, 3), progress=False, samples=256, replicas=2)
        dmft.solve(dmft.MLP(1, "linear"), DIGITS[1.0], dmft.GradientDescent(10.0, 20), progress=False)
        dmft.solve(dmft.MLP(1, "linear"), DIGITS[1.0], dmft.GradientDescent([0.0, 0.1], 2), progress=False)


# ---- labels (P, 1) are one output


@pytest.mark.parametrize("name", NETS)
def test_columns_of_labels_are_one_output(name, tmp_path):
    net, options = NETS[name]
    tracked = {"track": "kernels"} if name.startswith("Shallow") else {}
    row = dmft.Dataset(X[:4], Y[:4], X[4:], Y[4:])
    column = replace(row, y=row.y[:, None], test_y=row.test_y[:, None])
    expected, found = (solve(net, data, run_of(), **options, **tracked) for data in (row, column))
    assert found.predictions.shape == (5, 4, 1) and found.test_predictions.shape == (5, 2, 1)
    np.testing.assert_array_equal(found.function[..., 0], expected.function)
    np.testing.assert_array_equal(found.train_loss, expected.train_loss)
    np.testing.assert_array_equal(found.test_loss, expected.test_loss)
    simulated = {"loss": "mse"} if name.startswith("Shallow") else {}
    many, one = (simulate(net, data, run_of(), **simulated) for data in (row, column))
    assert one.function.shape == (2, 5, 6, 1) and one.initial_function.shape == (2, 6, 1)
    np.testing.assert_array_equal(one.function[..., 0], many.function)
    np.testing.assert_array_equal(one.train_loss, many.train_loss)
    for file, result in (("theory.h5", found), ("networks.h5", one)):
        result.save(tmp_path / file)
        np.testing.assert_array_equal(dmft.load(tmp_path / file).function, result.function)
    verdicts = [dmft.compare(theory, networks, progress=False) for theory, networks in ((expected, many), (found, one))]
    assert str(verdicts[0]).splitlines()[0] == str(verdicts[1]).splitlines()[0]


@pytest.mark.parametrize("name", ["MLP", "DeepNet", "ShallowNet"])
def test_columns_of_labels_are_drawn(name):
    import matplotlib.pyplot as plt

    net, options = NETS[name]
    tracked = {"track": "kernels"} if name != "DeepNet" else {}
    solved = solve(net, dmft.Dataset(X, Y[:, None]), run_of(), **options, **tracked)
    networks = simulate(net, solved.data, run_of(), **({"loss": "mse"} if name.startswith("Shallow") else {}))
    ax = dmft.plot.predictions(solved, networks)
    drawn = [line.get_ydata()[-1] for line in ax.lines if line.get_linestyle() == "-" and len(line.get_ydata()) == 5]
    np.testing.assert_array_equal(np.sort(drawn), np.sort(solved.predictions[-1, :, 0]))
    if tracked:
        dmft.plot.tangent_kernel(solved)
    dmft.plot.overview(solved)
    plt.close("all")
