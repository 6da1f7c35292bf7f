"""Limits of deep networks: dense finite networks of every parameterization, exact formulas, error bars, and variants that are wrong."""

import dataclasses
import functools

import numpy as np
import pytest
from scipy import integrate, special

import dmft
from dmft.parameterizations import ABC, parameterization
from dmft.activations import resolve
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
    """Logits (T, P + M, C) of one network, its matrices dense and updates as factors; `start` replaces its initial function."""
    abc, L, activation = net.abc, net.depth, resolve(net)
    matrices, scales = range(L + 1), [*[net.weight_scale] * L, 1.0]

    def power(exponent):
        return 0.0 if exponent is None else float(m) ** -float(exponent)

    shapes = [(m, data.x.shape[1]), *[(m, m)] * (L - 1), (net.outputs, m)]
    U = [s * rng.standard_normal(shape) for s, shape in zip(scales, shapes)]
    mean = [power(None if abc.mean_b is None or abc.mean_b[k] is None else abc.a[k] + abc.mean_b[k]) for k in matrices]
    bias = [s * power(b) * rng.standard_normal(w[0]) for s, b, w in zip(scales, abc.bias_b or [None] * (L + 1), shapes)]
    chi, logits, past = chi_of(loss, data.y), [], [[] for _ in matrices]

    def product(k, t, z, transposed=False):
        """W_t z, or its transpose, for the rows of z."""
        size = power(abc.a[k] + (abc.b_later if t else abc.b)[k])
        total = size * z @ (U[k] if transposed else U[k].T) + mean[k] * z.sum(axis=1, keepdims=True)
        for rate, x, delta in past[k]:
            total -= rate * (z @ delta.T @ x if transposed else z @ x.T @ delta)
        return total

    for t in range(len(rates) + 1):
        x, slopes = [data.points], []
        for k in matrices:
            h = product(k, t, x[-1]) + bias[k]
            if k < L:
                x.append(np.empty_like(h))
                slopes.append(np.empty_like(h))
                activation.evaluate(h, x[-1], slopes[-1])
        origin = h if t == 0 else origin
        logits.append(h if start is None else h - origin + start)
        if t == len(rates):
            return np.array(logits)
        delta, steps = chi(logits[-1][:SAMPLES]), []
        for k in reversed(matrices):
            steps.append((k, rates[t] * power(2 * abc.a[k] + (abc.c_later if t else abc.c)[k]), x[k][:SAMPLES], delta))
            if abc.bias_b is not None:
                bias[k] = bias[k] - rates[t] * power((abc.bias_c_later if t else abc.bias_c)[k]) * delta.sum(axis=0)
            if k:
                delta = product(k, t, delta, transposed=True) * slopes[k - 1][:SAMPLES]
        for k, *step in steps:
            past[k].append(step)


def networks(net, rates, m, seeds, **options):
    logits = np.array([train(net, rates, m, np.random.default_rng([s, m]), **options) for s in range(seeds)])
    return logits.mean(axis=0), logits.std(axis=0, ddof=1) / np.sqrt(seeds)


def extrapolated(net, rates, widths=(256, 1024), seeds=(36, 12), **options):
    """Logits at infinite width from two widths, with standard error.

    Means over networks have corrections of order 1/m, of order m^(-1/2) where kinks meet initial weights that are being forgotten.
    """
    (small, small_error), (large, large_error) = (networks(net, rates, m, n, **options) for m, n in zip(widths, seeds))
    kinked = net.parameterization == "ip-llr" or (net.parameterization == "integrable" and net.activation == "relu")
    growth = (widths[1] / widths[0]) ** (0.5 if kinked else 1.0)
    share = growth / (growth - 1)
    return share * large + (1 - share) * small, np.hypot(share * large_error, (1 - share) * small_error)


def zscores(f, error, logits, spread):
    """After the first entry, which is zero or given; those of points at the same time are strongly correlated."""
    f, error = (array.reshape(logits.shape) for array in (f, error))
    return ((f - logits) / np.sqrt(error**2 + spread**2 + (1e-4 * np.abs(logits).max()) ** 2))[1:]


def agree(z):
    """With a tolerance for correlated entries."""
    return np.sqrt(np.mean(z**2)) < 2.5 and np.abs(z).max() < 4.5


def check_agreement(net, rates, data=DATA, loss="mse", start=None, **options):
    traj = solve(net, rates, data, loss=loss, **options)
    assert traj.status is dmft.Status.COMPLETED
    z = zscores(traj.function, traj.function_error, *extrapolated(net, rates, data=data, loss=loss, start=start))
    assert agree(z), z.round(1)
    return traj


FIRST = [5.0, 0.4, 0.4]
CASES = {
    "muP tanh": (dmft.DeepNet(3, "mup", "tanh", weight_scale=1.3), [1.5] * 4),
    "muP relu": (dmft.DeepNet(2, "mup", "relu"), [0.4] * 3),
    "IP-LLR": (dmft.DeepNet(3, "ip-llr", "leaky_relu", negative_slope=0.05), FIRST),
    "hybrid muP": (dmft.DeepNet(2, "hybrid-mup", "gelu"), [0.8] * 3),
    "IP-bias": (dmft.DeepNet(3, "ip-bias", "gelu"), [2.0, 0.1, 0.1]),
    "IP-non-centered tanh": (dmft.DeepNet(3, "ip-non-centered", "tanh"), [1.0] * 3),
    "IP-non-centered relu": (dmft.DeepNet(3, "ip-non-centered", "relu", weight_scale=1.0), [0.2] * 3),
    "integrable tanh": (dmft.DeepNet(2, "integrable", "tanh"), [2.0] * 4),
    "integrable relu": (dmft.DeepNet(2, "integrable", "relu"), [1.0] * 3),
    "integrable softplus": (dmft.DeepNet(3, "integrable", "softplus"), [1.0] * 4),
}


def start_of(net):
    """What replaces the initial function of networks: noise but for that of a mean readout, and output biases, whose limit is random."""
    return None if net.parameterization == "ip-non-centered" else np.zeros((len(X), net.outputs))


@functools.cache
def of_networks(case):
    net, rates = CASES[case]
    return extrapolated(net, rates, start=start_of(net))


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_dense_networks(case):
    net, rates = CASES[case]
    traj = solve(net, rates, **({"initial_function": np.zeros(len(X))} if net.parameterization == "ip-bias" else {}))
    assert traj.status is dmft.Status.COMPLETED
    z = zscores(traj.function, traj.function_error, *of_networks(case))
    assert agree(z), z.round(1)


WRONG = {
    "muP tanh": {"responses": False},
    "IP-LLR": {"matrices": "always"},
    "IP-bias": {"matrices": "never"},
    "IP-non-centered tanh": {"mean": 0.0},
    "integrable relu": {"tie": False},
}


@pytest.mark.parametrize("case", WRONG)
def test_other_equations_disagree_with_dense_networks(case):
    net, rates = CASES[case]
    equations = deep.limit(net)
    known = {"matrices": equations.matrices, "mean": equations.mean, "bias": equations.bias}

    def zs(**changed):
        values = list(sampled(net, rates, 2048, range(8), **known | changed))
        return zscores(*(np.array([value[i] for value in values]) for i in (0, 1)), *of_networks(case))

    assert agree(zs())
    assert np.abs(zs(**WRONG[case])).max() > 8


def sampled(net, rates, neurons, seeds, data=DATA, **options):
    """Means over systems and their errors, from the solver itself."""
    chi, gram = chi_of("mse", data.y), data.points @ data.points.T
    rates = np.repeat(np.array(rates)[:, None], net.depth + 1, axis=1)
    arguments = gram, SAMPLES, resolve(net), net.weight_scale, net.depth, lambda t, f: chi(f), rates, 1, neurons
    return deep_feature.averaged([deep_feature.march(*arguments, seed, **options) for seed in seeds])


def softmax_data():
    return dataclasses.replace(DATA, y=np.eye(3)[[0, 1, 2, 0]], test_y=np.eye(3)[[1]])


@pytest.mark.parametrize("name", ["mup", "ip-llr"])
def test_several_outputs(name):
    net, rates, data = dmft.DeepNet(2, name, "relu", outputs=3), [3.0 if name == "mup" else 9.0, 1.0, 1.0], softmax_data()
    traj = check_agreement(net, rates, data, "softmax", start_of(net))
    assert traj.function.shape == (4, 5, 3)
    f = traj.predictions
    assert np.allclose(traj.train_loss, -np.log(special.softmax(f, axis=-1)[:, np.arange(4), [0, 1, 2, 0]]).mean(axis=1))
    assert traj.train_loss[0] == pytest.approx(np.log(3)) and traj.train_loss[-1] < traj.train_loss[0]


def test_logistic_loss():
    data = dmft.Dataset(DATA.x, np.array([1.0, 1.0, -1.0, 1.0]), DATA.test_x)
    net, rates = dmft.DeepNet(2, "mup", "tanh"), [4.0] * 3
    check_agreement(net, rates, data, "logistic", start_of(net))


# exact formulas


@pytest.mark.parametrize("name", ["mup", "ip-llr", "integrable", "hybrid-mup"])
def test_one_hidden_layer_is_mean_field(name):
    rates = [1.0] * 6
    traj = solve(dmft.DeepNet(1, name, "tanh"), rates)
    mean_field = solve(dmft.ShallowNet.mean_field(activation="tanh", reference_width=1), rates, loss="mse")
    z = (traj.function - mean_field.function)[1:] / np.hypot(traj.function_error, mean_field.function_error)[1:]
    assert np.abs(z).max() < 4
    assert np.allclose(traj.train_loss, mean_field.train_loss, rtol=0.02)


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

    def integrand(r, u):
        return u * (u - eta * r) * np.exp(-u * u / 4 - r * r / (2 * y * y)) / (2 * np.pi * np.sqrt(2) * y)

    overlap, _ = integrate.dblquad(integrand, 0, 15, -8 * y, lambda u: min(u / eta, 8 * y), epsabs=1e-9)
    expected = eta * overlap * y / 4 + eta**2 * y**2 * overlap * np.sqrt(2) / (2 * np.pi)
    traj = solve(dmft.DeepNet(2, "ip-llr", "relu"), [eta], data, samples=2**17)
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
    first, second = arc_cosine(2.25 * gram), arc_cosine(2.25 * arc_cosine(2.25 * gram)[0])
    expected = {
        dmft.DeepNet(1, "ntk", "linear"): 2 * gram,
        dmft.DeepNet(4, "ntk", "linear"): 5 * gram,
        dmft.DeepNet(1, "ntk", "erf"): 2 / np.pi * np.arcsin(2 * gram / 3) + gram * 4 / np.pi / np.sqrt(9 - 4 * gram**2),
        dmft.DeepNet(2, "ntk", "relu", weight_scale=1.5): second[0] + second[1] * (first[0] + 2.25 * first[1] * gram),
        dmft.DeepNet(2, parameterization("sp", 2, rate=1), "relu", weight_scale=1.5): second[0] + second[1] * first[0],
    }
    for net, kernel in expected.items():
        assert deep.tangent_kernel(net, DATA) == pytest.approx(kernel[:, :SAMPLES], rel=1e-8)
    one = dmft.ShallowNet.ntk(activation="tanh", reference_width=1, sigma=1.0)
    kernel = shallow.tangent_kernel(one, DATA, {"a": 1.0, "w": 1.0})
    assert deep.tangent_kernel(dmft.DeepNet(1, "ntk", "tanh"), DATA) == pytest.approx(kernel)


@pytest.mark.parametrize("name", ["ntk", "sp"])
def test_kernel_regime_agrees_with_dense_networks(name):
    par = parameterization("sp", 2, rate=1) if name == "sp" else "ntk"
    net, rates = dmft.DeepNet(2, par, "tanh", weight_scale=1.4, outputs=2), [0.8] * 5
    data = dataclasses.replace(DATA, y=np.stack([DATA.y, DATA.y**2], axis=1), test_y=None)
    start = np.random.default_rng(2).standard_normal((len(X), 2))
    traj = solve(net, rates, data, initial_function=start)
    assert not np.any(traj.function_error) and np.array_equal(traj.function[0], start)
    logits, spread = extrapolated(net, rates, data=data, start=start)
    assert agree(zscores(traj.function, traj.function_error, logits, spread))
    assert np.abs(logits - traj.function).max() < 0.05 < 0.3 < np.abs(logits[-1] - start).max()


def test_gaussian_process_start():
    net, data = dmft.DeepNet(2, "ntk", "relu", outputs=2000), dataclasses.replace(DATA, y=np.zeros((SAMPLES, 2000)), test_y=None)
    start = solve(net, [0.1], data, rng=3).function[0]
    expected = arc_cosine(2 * arc_cosine(2 * X @ X.T)[0])[0]
    assert np.abs(start @ start.T / 2000 - expected).max() < 5 * expected.max() * np.sqrt(2 / 2000)


# other stable points


def moved(name, depth, **changes):
    """A named parameterization with some of its exponents changed: {"c": {0: 1}} adds one to c_1."""
    par = parameterization(name, depth)
    fields = {key: [e + changes.get(key, {}).get(k, 0) for k, e in enumerate(getattr(par, key))] for key in "abc"}
    return ABC(**fields)


@pytest.mark.parametrize(
    "changes, layers, readout", [({"c": {0: 1}}, (2, 3), 1.0), ({"c": {2: 1}}, (1, 2), 1.0), ({"b": {2: 1}}, (1, 2, 3), 0.0)]
)
def test_frozen_layers_and_forgotten_readout(changes, layers, readout):
    net, rates = dmft.DeepNet(2, moved("mup", 2, **changes), "softplus"), [1.0] * 4
    equations = deep.limit(net)
    assert (equations.layers, equations.readout) == (layers, readout)
    check_agreement(net, rates, start=start_of(net))


def test_rescaling_changes_nothing():
    for name in ("mup", "ip-bias", "ip-non-centered"):
        net = dmft.DeepNet(2, name, "relu")
        other = dmft.DeepNet(2, parameterization(name, 2).rescaled("1/2"), "relu")
        assert np.array_equal(*(solve(n, [1.0], samples=4096).function for n in (net, other)))


@pytest.mark.parametrize("net", [dmft.DeepNet(4, "integrable", "relu"), dmft.DeepNet(2, moved("mup", 2, c={0: 1, 1: 1, 2: 1}), "tanh")])
def test_trivial_limits_stay_where_they_are(net):
    traj = solve(net, [1.0] * 3)
    assert not np.any(traj.function) and traj.report["limit"].startswith("trivial")


# errors and options


def test_standard_errors_are_honest():
    """Deviations of small systems from a large one, in units of the stated error."""
    for case in ("muP tanh", "IP-LLR"):
        net, rates = CASES[case]
        exact = solve(net, rates, rng=99, samples=2**15)
        small = [solve(net, rates, rng=seed, samples=2**12) for seed in range(8)]
        z = [((t.function - exact.function) / np.hypot(t.function_error, exact.function_error))[-1] for t in small]
        assert 0.5 < np.sqrt(np.mean(np.square(z))) < 1.8


def test_the_same_rng_gives_the_same_and_steps_extend():
    net = dmft.DeepNet(2, "mup", "tanh")
    long, short = solve(net, [0.5] * 4, samples=4096, rng=5), solve(net, [0.5] * 2, samples=4096, rng=5)
    assert np.array_equal(long.function[:3], short.function)
    assert not np.array_equal(short.function, solve(net, [0.5] * 2, samples=4096, rng=6).function)


def test_stored_and_resumed(tmp_path):
    net, run = dmft.DeepNet(2, "ip-llr", "relu", outputs=3), dmft.GradientDescent(1.0, 3)
    traj = dmft.solve(net, softmax_data(), run, loss="softmax", samples=4096, progress=False, out=tmp_path / "run.h5")
    again = dmft.load(tmp_path / "run.h5")
    assert np.array_equal(again.function, traj.function) and again.report["limit"] == traj.report["limit"]
    with pytest.warns(dmft.RestartWarning):
        longer = dmft.resume(tmp_path / "run.h5", steps=5, progress=False)
    assert np.array_equal(longer.function[:4], traj.function) and longer.finished == 6


def test_divergence_is_a_result():
    for net in (dmft.DeepNet(3, "mup", "relu"), dmft.DeepNet(3, "ip-llr", "relu"), dmft.DeepNet(2, "ntk", "relu")):
        traj = solve(net, [1e3] * 60, samples=4096)
        assert traj.status is dmft.Status.DIVERGED and np.all(np.isinf(traj.function[traj.diverged_at :]))


def test_bounded_rank_is_reported():
    traj = solve(dmft.DeepNet(2, "mup", "relu"), [0.3] * 20, samples=2048)
    assert 0 < traj.report["dropped variance"] < 0.2
    assert "dropped variance" not in solve(dmft.DeepNet(2, "mup", "linear"), [0.3] * 20, samples=2048).report


@pytest.mark.parametrize(
    "net, options, words",
    [
        (dmft.DeepNet(3, "sp"), {}, ["parameterization", "unstable"]),
        (dmft.DeepNet(3, "ip-llr", "tanh"), {}, ["activation", "homogeneous", "ip-bias"]),
        (dmft.DeepNet(2, dataclasses.replace(parameterization("ip-llr", 2), c=(-1, -2, "-3/2"))), {}, ["parameterization", "known"]),
        (dmft.DeepNet(2, "mup"), {"initial_function": np.zeros(5)}, ["initial_function", "None"]),
        (dmft.DeepNet(2, "ntk"), {"initial_function": np.zeros(4)}, ["initial_function", "(5,)", "(4,)"]),
        (dmft.DeepNet(2, "mup"), {"samples": 10}, ["samples", "16"]),
        (dmft.DeepNet(2, "mup"), {"samples": 160}, ["samples", "64", "160"]),
        (dmft.DeepNet(2, "mup"), {"loss": "softmax"}, ["softmax", "outputs"]),
        (dmft.DeepNet(2, "mup"), {"loss": "hing"}, ["loss", "hinge"]),
        (dmft.DeepNet(2, "mup", outputs=2), {}, ["y", "(4,)"]),
    ],
)
def test_refuses_what_it_does_not_cover(net, options, words):
    with pytest.raises(ValueError) as refusal:
        solve(net, [0.1], **options)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_refuses_other_optimizers_and_too_much_memory():
    net = dmft.DeepNet(2, "mup")
    with pytest.raises(ValueError, match="momentum must be 0"):
        dmft.solve(net, DATA, dmft.GradientDescent(0.1, 2, momentum=0.5))
    with pytest.raises(TypeError, match="width"):
        dmft.solve(net, DATA, dmft.GradientDescent(0.1, 2), width=100)
    with pytest.raises(ValueError, match="memory_limit"):
        dmft.solve(net, DATA, dmft.GradientDescent(0.1, 2), memory_limit=1e5)
