"""Limits of deep networks: dense finite networks of every parameterization, exact formulas, error bars, and variants that are wrong."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, special

import dmft
from dmft.parameterizations import ABC, parameterization
from dmft.theories import deep, shallow
from solvers import deep_feature

SAMPLES, TEST = 4, 1


def points(seed=1):
    x = np.random.default_rng(seed).standard_normal((SAMPLES + TEST, 4))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


X = points()
DATA = dmft.Dataset(X[:SAMPLES], np.array([1.0, 0.6, -0.3, 0.8]), X[SAMPLES:], np.array([0.5]))


def solve(net, rates, data=DATA, **options):
    return dmft.solve(net, data, dmft.GradientDescent(np.asarray(rates, float), len(rates)), progress=False, **options)


def chi_of(loss, y):
    """Derivative of the mean loss, typed anew."""
    y = y.reshape(len(y), -1)
    rules = {
        "mse": lambda f: f - y,
        "logistic": lambda f: -y / (1 + np.exp(y * f)),
        "softmax": lambda f: np.exp(f) / np.exp(f).sum(axis=1, keepdims=True) - y,
    }
    return lambda f: rules[loss](f) / len(y)


def train(net, rates, m, rng, data=DATA, loss="mse", start=None):
    """Logits (T, P + M, C) of one dense network; `start` replaces its initial function."""
    abc, L, activation = net.abc, net.depth, shallow.activation(net)
    matrices, scales = range(L + 1), [*[net.weight_scale] * L, 1.0]

    def power(exponent):
        return 0.0 if exponent is None else float(m) ** -float(exponent)

    def phi(h):
        values, slopes = np.empty_like(h), np.empty_like(h)
        activation.evaluate(h, values, slopes)
        return values, slopes

    shapes = [(m, data.x.shape[1]), *[(m, m)] * (L - 1), (net.outputs, m)]
    U = [s * rng.standard_normal(shape) for s, shape in zip(scales, shapes)]
    means = [power(None if abc.mean_b is None or abc.mean_b[k] is None else abc.a[k] + abc.mean_b[k]) for k in matrices]
    W = [power(abc.a[k] + abc.b[k]) * U[k] + means[k] for k in matrices]
    v = [np.zeros(len(w)) for w in W]
    if abc.bias_b is not None:
        v = [s * power(b) * rng.standard_normal(len(w)) for s, b, w in zip(scales, abc.bias_b, W)]
    chi, logits = chi_of(loss, data.y), []
    for t in range(len(rates) + 1):
        x, slopes = [data.points], []
        for k in matrices:
            h = x[-1] @ W[k].T + v[k]
            if k < L:
                values, slope = phi(h)
                x.append(values)
                slopes.append(slope[: len(data.x)])
        shift = 0.0 if start is None else start - (h if t == 0 else origin)
        origin = h if t == 0 else origin
        logits.append(h + shift)
        if t == len(rates):
            return np.array(logits)
        gradient, steps = chi(logits[-1][: len(data.x)]), []
        for k in reversed(matrices):
            steps.append((k, gradient.T @ x[k][: len(data.x)], gradient.sum(axis=0)))
            gradient = gradient @ W[k] * slopes[k - 1] if k else None
        for k, step, bias_step in steps:
            W[k] -= rates[t] * power(2 * abc.a[k] + (abc.c_later if t else abc.c)[k]) * step
            if t == 0 and abc.b_later != abc.b:
                W[k] += (power(abc.a[k] + abc.b_later[k]) - power(abc.a[k] + abc.b[k])) * U[k]
            if abc.bias_b is not None:
                v[k] -= rates[t] * power((abc.bias_c_later if t else abc.bias_c)[k]) * bias_step


def networks(net, rates, m, seeds, **options):
    logits = np.array([train(net, rates, m, np.random.default_rng([s, m]), **options) for s in range(seeds)])
    return logits.mean(axis=0), logits.std(axis=0, ddof=1) / np.sqrt(seeds)


def extrapolated(net, rates, widths=(256, 1024), seeds=(40, 16), **options):
    """Logits at infinite width from two widths of ratio 4, corrections being of order m^(-1/2), with standard error."""
    (small, small_error), (large, large_error) = (networks(net, rates, m, n, **options) for m, n in zip(widths, seeds))
    return 2 * large - small, np.hypot(2 * large_error, small_error)


def zscores(traj, net, rates, **options):
    """After the first entry, which is zero or given; those of points at the same time are strongly correlated."""
    logits, error = extrapolated(net, rates, **options)
    shape = (*traj.function.shape[:2], -1)
    floor = 1e-4 * np.abs(logits).max()
    difference = traj.function.reshape(shape) - logits
    return (difference / np.sqrt(error**2 + traj.function_error.reshape(shape) ** 2 + floor**2))[1:]


def agree(z):
    return np.sqrt(np.mean(z**2)) < 2.0 and np.abs(z).max() < 4.5


FIRST = [5.0, 0.4, 0.4]
CASES = {
    "muP tanh": (dmft.DeepNet(3, "mup", "tanh", weight_scale=1.3), [1.5] * 4),
    "muP relu": (dmft.DeepNet(2, "mup", "relu"), [0.4] * 3),
    "IP-LLR relu": (dmft.DeepNet(3, "ip-llr", "relu"), FIRST),
    "IP-LLR leaky relu": (dmft.DeepNet(2, "ip-llr", "leaky_relu", negative_slope=0.2), FIRST),
    "hybrid muP gelu": (dmft.DeepNet(2, "hybrid-mup", "gelu"), [0.8] * 3),
    "IP-bias tanh": (dmft.DeepNet(3, "ip-bias", "tanh"), [3.0, 0.3, 0.3]),
    "IP-bias gelu": (dmft.DeepNet(2, "ip-bias", "gelu", weight_scale=1.0), [1.0, 0.4, 0.4]),
    "IP-non-centered tanh": (dmft.DeepNet(3, "ip-non-centered", "tanh"), [1.0] * 3),
    "IP-non-centered relu": (dmft.DeepNet(4, "ip-non-centered", "relu", weight_scale=1.0), [0.2] * 3),
    "integrable tanh": (dmft.DeepNet(2, "integrable", "tanh"), [2.0] * 4),
    "integrable relu": (dmft.DeepNet(2, "integrable", "relu"), [1.0] * 3),
    "integrable softplus": (dmft.DeepNet(3, "integrable", "softplus"), [1.0] * 4),
}


def start_of(net):
    """The output bias is subtracted: its limit is random."""
    return np.zeros((len(X), net.outputs)) if net.parameterization == "ip-bias" else None


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_dense_networks(case):
    net, rates = CASES[case]
    start = start_of(net)
    options = {} if start is None else {"initial_function": start[:, 0]}
    traj = solve(net, rates, **options)
    assert traj.status is dmft.Status.COMPLETED
    assert np.all(traj.function_error[1:] > 0) or case == "integrable softplus"
    z = zscores(traj, net, rates, start=start)
    assert agree(z), z.round(1)


WRONG = {
    "muP tanh": {"responses": False},
    "IP-LLR relu": {"matrices": "always"},
    "IP-bias tanh": {"matrices": "never"},
    "IP-non-centered tanh": {"mean": 0.0},
    "integrable relu": {"tie": False},
}


@pytest.mark.parametrize("case", WRONG)
def test_other_equations_disagree_with_dense_networks(case):
    net, rates = CASES[case]
    equations = deep.limit(net)
    known = {"matrices": equations.matrices, "mean": equations.mean, "bias": equations.bias}
    chi = chi_of("mse", DATA.y)
    trained = np.repeat(np.array(rates)[:, None], net.depth + 1, axis=1)

    def zs(**changed):
        systems = [
            deep_feature.march(
                X @ X.T, SAMPLES, shallow.activation(net), net.weight_scale, net.depth, lambda t, f: chi(f), trained, 1, 2048, s, **known | changed
            )
            for s in range(8)
        ]
        values = list(deep_feature.averaged(systems))
        f, error = (np.array([v[i] for v in values]) for i in (0, 1))
        return ((f - logits) / np.sqrt(error**2 + spread**2 + 1e-8))[1:]

    logits, spread = extrapolated(net, rates, seeds=(24, 10), start=start_of(net))
    assert agree(zs())
    assert np.abs(zs(**WRONG[case])).max() > 8


def softmax_data():
    return dataclasses.replace(DATA, y=np.eye(3)[[0, 1, 2, 0]], test_y=np.eye(3)[[1]])


@pytest.mark.parametrize("name", ["mup", "ip-llr"])
def test_several_outputs(name):
    net, rates, data = dmft.DeepNet(2, name, "relu", outputs=3), [3.0 if name == "mup" else 9.0, 1.0, 1.0], softmax_data()
    traj = solve(net, rates, data, loss="softmax")
    assert traj.function.shape == (4, 5, 3)
    assert agree(zscores(traj, net, rates, data=data, loss="softmax"))
    f = traj.predictions
    assert np.allclose(traj.loss, -np.log(special.softmax(f, axis=-1)[:, np.arange(4), [0, 1, 2, 0]]).mean(axis=1))
    assert traj.loss[0] == pytest.approx(np.log(3)) and traj.loss[-1] < traj.loss[0]


def test_logistic_loss():
    data = dmft.Dataset(DATA.x, np.array([1.0, 1.0, -1.0, 1.0]), DATA.test_x)
    net, rates = dmft.DeepNet(2, "mup", "tanh"), [4.0] * 3
    assert agree(zscores(solve(net, rates, data, loss="logistic"), net, rates, data=data, loss="logistic"))


# exact formulas


@pytest.mark.parametrize("name", ["mup", "ip-llr", "integrable", "hybrid-mup"])
def test_one_hidden_layer_is_mean_field(name):
    rates = [1.0] * 6
    traj = solve(dmft.DeepNet(1, name, "tanh"), rates)
    mean_field = solve(dmft.ShallowNet.mean_field(activation="tanh", reference_width=1), rates, loss="mse")
    z = (traj.function - mean_field.function)[1:] / np.hypot(traj.function_error, mean_field.function_error)[1:]
    assert np.abs(z).max() < 4
    assert np.allclose(traj.loss, mean_field.loss, rtol=0.02)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_first_step_of_linear_muP(depth):
    """Layers contribute alike, and products of updates are odd in V: f_1 = -eta (L + 1) K chi."""
    traj = solve(dmft.DeepNet(depth, "mup", "linear"), [0.7])
    expected = (depth + 1) * 0.7 * (X @ X.T)[:, :SAMPLES] @ DATA.y / SAMPLES
    if depth <= 2:
        assert np.allclose(traj.function[1], expected, atol=5 * traj.function_error[1].max() + 1e-12)
    assert traj.function_error[1].max() < 0.01


def test_first_step_of_large_initial_rates_by_quadrature():
    """relu, L = 2, one point of norm one, chi_0 = -y: all expectations are known but one, of two Gaussian variables."""
    eta, y = 4.0, 0.9
    data = dmft.Dataset(np.array([[1.0]]), np.array([y]))
    density = lambda z, variance: np.exp(-z * z / 2 / variance) / np.sqrt(2 * np.pi * variance)  # noqa: E731
    overlap, _ = integrate.dblquad(
        lambda r, u: u * max(u - eta * r, 0.0) * density(u, 2.0) * density(r, y * y), 0, 15, -8 * y, lambda u: min(u / eta, 8 * y), epsabs=1e-9
    )
    expected = eta * overlap * y / 4 + eta**2 * y**2 * overlap * np.sqrt(2) / (2 * np.pi)
    traj = solve(dmft.DeepNet(2, "ip-llr", "relu"), [eta], data, samples=2**18)
    assert traj.function[1, 0] == pytest.approx(expected, abs=4 * traj.function_error[1, 0])
    assert traj.function_error[1, 0] < 0.01 * expected


def test_positively_homogeneous_hybrid_is_the_limit_of_large_initial_rates():
    hybrid, large = (solve(dmft.DeepNet(3, name, "relu"), FIRST) for name in ("hybrid-mup", "ip-llr"))
    assert np.array_equal(hybrid.function, large.function)


# kernel regime


def arc_cosine(gram):
    theta = np.arccos(np.clip(gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram))), -1, 1))
    size = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    return size * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi), (np.pi - theta) / (2 * np.pi)


def test_tangent_kernels_by_hand():
    gram = X @ X.T
    feature, slope, kernel, features = gram, None, gram, [gram]
    for layer in range(3):
        value, slope = arc_cosine(1.5**2 * feature)
        scale = 1.0 if layer == 2 else 1.5**2
        kernel, feature = value + slope * kernel if layer == 2 else 1.5**2 * (slope * kernel) + value, value
        features.append(value)
        del scale
    assert deep.tangent_kernel(dmft.DeepNet(1, "ntk", "linear"), DATA) == pytest.approx(2 * gram[:, :SAMPLES])
    assert deep.tangent_kernel(dmft.DeepNet(4, "ntk", "linear"), DATA) == pytest.approx(5 * gram[:, :SAMPLES])
    erf = 2 / np.pi * np.arcsin(2 * gram / 3), 4 / np.pi / np.sqrt(9 - 4 * gram**2)
    assert deep.tangent_kernel(dmft.DeepNet(1, "ntk", "erf"), DATA) == pytest.approx((erf[0] + gram * erf[1])[:, :SAMPLES])
    one = dmft.ShallowNet.ntk(activation="relu", reference_width=1, sigma=1.0)
    assert deep.tangent_kernel(dmft.DeepNet(1, "ntk", "relu", weight_scale=1.0), DATA) == pytest.approx(
        shallow.tangent_kernel(one, DATA, {"a": 1.0, "w": 1.0})
    )
