"""Coordinate checks: named parameterizations pass, wrong exponents fail, sizes of known powers are judged as they must be."""

import dataclasses
from fractions import Fraction as F

import matplotlib.pyplot as plt
import numpy as np
import pytest

import dmft
from dmft.coordinate_check import judge
from dmft.parameterizations import NAMES

WIDTHS = (32, 64, 128, 256, 512)
RATES = {"ip-llr": 5.0, "hybrid-mup": 5.0}


def problem():
    images = dmft.datasets.digits((3, 8))
    rows = np.random.default_rng(3).permutation(len(images.x))[:6]
    x = images.x[rows] / np.linalg.norm(images.x[rows], axis=1, keepdims=True)
    return dmft.Dataset(x, np.array([1.0, 1.0, 1.0, 1.0, -1.0, 1.0]))


def check(name, activation="relu", depth=3, **options):
    network, training = dmft.DeepNet(depth, name, activation), dmft.GradientDescent(RATES.get(name, 1.0), 2)
    return dmft.coordinate_check(network, problem(), training, **({"widths": WIDTHS, "progress": False} | options))


@pytest.fixture(scope="module")
def mup():
    return check("mup", "tanh")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mup"])
def test_named_parameterizations_pass(name):
    found = check(name, seeds=12)
    assert found.passed, str(found)
    assert sum(row.resolved for row in found.rows) > 0.3 * len(found.rows)


def test_what_is_looked_at(mup):
    assert mup.passed, str(mup)
    exponents = mup.network.abc.analyze("tanh").exponents
    for row in mup.rows:
        assert row.expected == exponents[row.signal, row.layer, row.step]
    keys = {(row.signal, row.layer, row.step) for row in mup.rows}
    assert {("h", 1, 0), ("dh", 3, 0), ("f", 4, 0), ("change of h", 2, 1), ("update of f", 4, 1), ("h", 3, 1)} <= keys
    assert mup.row("f", 4, 0).expected == F(-1, 2)
    unstable = check("sp", widths=(8, 16, 32), seeds=2)
    assert unstable.row("f", 4, 1).expected > 0
    assert ("dh", 1, 1) not in {(row.signal, row.layer, row.step) for row in unstable.rows}
    assert mup.sizes["h", 1, 0].shape == (len(WIDTHS), mup.seeds)
    with pytest.raises(ValueError, match="signal, layer, step must be those of a row"):
        mup.row("h", 9, 0)


def test_wrong_exponents_fail(mup):
    """Those of another parameterization, and any by 1/2 in a row that is resolved."""
    for other in ("ntk", "integrable", "ip-llr"):
        exponents = dmft.parameterization(other, 3).analyze("tanh").exponents
        assert not all(row.passed for row in judge(mup.sizes, mup.widths, exponents))
    resolved = {(row.signal, row.layer, row.step): row.expected for row in mup.rows if row.resolved}
    assert len(resolved) > 15
    for shift in (F(1, 2), F(-1, 2)):
        rows = judge(mup.sizes, mup.widths, {key: value + shift for key, value in resolved.items()})
        assert len(rows) == len(resolved) and not any(row.passed for row in rows)
    failed = dataclasses.replace(mup, rows=rows)
    assert not failed.passed and "FAIL in" in str(failed) and "Coordinate check: PASS" in str(mup)
    assert max(len(line) for line in str(failed).splitlines() if not line.startswith("  DeepNet(")) <= 80


def test_fit_of_known_powers():
    rng, widths = np.random.default_rng(0), np.array(WIDTHS)
    noise = 0.1 * rng.standard_normal((len(widths), 50))
    power = widths[:, None] ** -1.5 * np.exp(noise)
    slow = power * np.exp(3 * widths[:, None] ** -0.5)
    sizes = {("h", 1, 0): power, ("h", 2, 0): slow, ("h", 3, 0): 0 * power, ("change of h", 1, 1): power}
    exact, corrected, zero, _ = judge(sizes, widths, dict.fromkeys(sizes, F(-3, 2)))
    position = np.log(widths) - np.log(widths).mean()
    assert exact.error > 0.1 / np.sqrt(50 * (position**2).sum()) and exact.resolved
    assert abs(exact.slope + 1.5) < 4 * exact.error and exact.passed
    assert abs(corrected.plain + 1.5) > 2 * abs(corrected.slope + 1.5) > 0.02 and corrected.passed
    assert not zero.passed and judge(sizes, widths, {("h", 3, 0): -np.inf})[0].passed
    assert not judge(sizes, widths, {("h", 1, 0): -np.inf})[0].passed


def test_second_step_and_reproducibility():
    options = {"widths": WIDTHS[:3], "steps": (2,), "seeds": 3, "depth": 2}
    found, again = check("mup", rng=5, **options), check("mup", rng=5, **options)
    assert {row.step for row in found.rows} == {2}
    assert all(np.array_equal(found.sizes[key], again.sizes[key]) for key in found.sizes)


def test_activations_that_are_linear_at_leading_order():
    """Integrable parameterizations with large first rates and tanh: layers beyond the second do not move, as derived."""
    found = check("ip-llr", "tanh")
    assert found.row("change of h", 3, 1).expected == F(-1, 2)
    assert found.passed, str(found)


def test_softmax_and_leaky_relu_that_is_linear():
    x, rng = problem().x, np.random.default_rng(1)
    data = dmft.Dataset(x, np.eye(3)[rng.integers(3, size=len(x))])
    network = dmft.DeepNet(2, "mup", "leaky_relu", negative_slope=1.0, outputs=3)
    found = dmft.coordinate_check(network, data, dmft.GradientDescent(1.0, 1), widths=WIDTHS, loss="softmax", progress=False)
    assert found.passed, str(found)


def test_figure(mup):
    ax = dmft.plot.coordinates(mup)
    assert len(ax.get_legend_handles_labels()[1]) == 4 and ax.get_title().endswith("step 1")
    given = plt.subplots()[1]
    assert dmft.plot.coordinates(mup, ax=given, signal="dh", step=0) is given
    assert len(given.get_legend_handles_labels()[1]) == 3
    with pytest.raises(ValueError, match="signal must be one of"):
        dmft.plot.coordinates(mup, signal="x")
    with pytest.raises(ValueError, match="step must be one at which"):
        dmft.plot.coordinates(mup, signal="change of h", step=0)
    plt.close("all")


NET, RUN = dmft.DeepNet(2), dmft.GradientDescent(0.1, 2)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((dmft.DeepLinear(2), RUN), {}, TypeError, "network must be a DeepNet"),
        ((NET, dmft.OnlineSGD(0.1, 2)), {}, TypeError, "training must be a GradientDescent or MinibatchSGD"),
        ((NET, RUN), {"widths": (64, 128)}, ValueError, "widths must be a sequence of at least 3 increasing"),
        ((NET, RUN), {"widths": 64}, TypeError, "widths must be a sequence"),
        ((NET, RUN), {"widths": (128, 64, 256)}, ValueError, "widths must be"),
        ((NET, RUN), {"seeds": 1}, ValueError, "seeds must be an integer >= 2"),
        ((NET, RUN), {"steps": (3,)}, ValueError, "steps must be at most 2"),
        ((NET, dmft.GradientDescent(0.1, 1)), {"steps": (2,)}, ValueError, "training.steps = 1; got 2"),
        ((NET, RUN), {"loss": "l1"}, ValueError, "loss must be one of"),
        ((NET, RUN), {"threshold": 0}, ValueError, "threshold must be"),
    ],
)
def test_bad_input(arguments, options, error, message):
    network, training = arguments
    with pytest.raises(error, match=message):
        dmft.coordinate_check(network, problem(), training, progress=False, **options)
