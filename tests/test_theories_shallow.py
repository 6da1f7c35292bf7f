"""Limits of one-hidden-layer networks: all 13 classes against equations typed anew, finite width towards the limit, networks."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

import dmft
from dmft import Status
from dmft.theories import recording, shallow

#: Exponents of every class, away from its boundaries, so that powers of the width act fast.
CLASSES = {
    "A1": ("-2", "7/4"),
    "A2": ("-3/4", "1/2"),
    "A3": ("-5/8", "3/8"),
    "A4": ("-1/2", "1/4"),
    "A5": ("1", "-5/4"),
    "M1": ("-2", "2"),
    "M2": ("-1", "1"),
    "M3": ("-3/4", "3/4"),
    "M4": ("-1/2", "1/2"),
    "M5": ("1", "-1"),
    "N1": ("-2", "3/2"),
    "N2": ("-1/2", "0"),
    "N3": ("1", "-3/2"),
}
#: Loss derivative at step 0 and later: constant, logistic, hard (the table of docs/theory/shallow_limits.md, section 4).
RULES = {name: pair for name, pair in zip(CLASSES, ("--", "-0", "-+", "0+", "++", "--", "-0", "-+", "0+", "++", "--", "00", "++"))}
RULE = {"-": lambda y, z: -y / 2, "0": lambda y, z: -y / (1 + np.exp(y * z)), "+": lambda y, z: -y * (y * z < 0)}
RATE, STEPS = 2.0, 8


def digits(samples=24, test=6, seed=3):
    images = dmft.datasets.digits()
    x = images.x / np.linalg.norm(images.x, axis=1, keepdims=True)
    rows = np.random.default_rng(seed).permutation(len(x))
    train, rest = rows[:samples], rows[samples : samples + test]
    y = np.sign(images.y)
    flipped = y[train].copy()
    flipped[:3] *= -1
    return dmft.Dataset(x[train], flipped, x[rest], y[rest])


DATA = digits()
RUN = dmft.GradientDescent(RATE, STEPS)


def solve(net, data=DATA, run=RUN, **options):
    return dmft.solve(net, data, run, progress=False, **options)


def net_of(name, **arguments):
    return dmft.ShallowNet(*CLASSES[name], **arguments)


def initial_function(seed=5):
    return 0.8 * np.random.default_rng(seed).standard_normal(len(DATA.points))


def kernel_by_hand(slope=0.1):
    """kappa* (E[phi phi] + E[phi' phi'] x.x') for unit inputs (docs/theory/shallow_limits.md, section 4); sigma*^2 d* = 1."""
    x = DATA.points
    cosine = x @ x.T
    theta = 2 * np.arctan2(np.linalg.norm(x[:, None] - x, axis=-1), np.linalg.norm(x[:, None] + x, axis=-1))
    b, g = (1 + slope) / 2, (1 - slope) / 2
    values = b**2 * cosine + g**2 * (2 / np.pi) * (np.sin(theta) + (np.pi / 2 - theta) * cosine)
    return (values + (b**2 + g**2 * (1 - 2 * theta / np.pi)) * cosine)[:, : len(DATA.x)]


def particles_by_hand(size, seed=11):
    rng = np.random.default_rng(seed)
    a, w = rng.standard_normal(size), rng.standard_normal((size, DATA.x.shape[1]))
    return np.concatenate((a, -a)), np.concatenate((w, w))


def limit_by_hand(name, f0, particles=None, slope=0.1):
    """Rows f(0) ... f(STEPS) of equations (3), (4) and (5)."""
    samples, y = len(DATA.x), DATA.y
    persists = name[0] == "N"
    f = f0.copy() if persists else np.zeros(len(f0))
    a, w = particles if particles else (None, None)
    kernel, rows, moved = kernel_by_hand(), [f], False
    for _ in range(STEPS):
        first, later = RULES[name]
        c = RULE[later](y, f[:samples]) if moved else RULE[first](y, f0[:samples])
        moved = moved or np.any(c != 0)
        if name[0] == "M":
            h = w @ DATA.points.T
            mask = np.where(h > 0, 1, slope)
            rate = RATE / np.sqrt(128) / samples
            driven = c * a[:, None] * mask[:, :samples]
            a, w = a - rate * (mask * h)[:, :samples] @ c, w - rate * driven @ DATA.x
            h = w @ DATA.points.T
            f = np.sqrt(128) * np.mean(a[:, None] * np.where(h > 0, h, slope * h), axis=0)
        else:
            f = f - RATE / samples * kernel @ c
        rows.append(f)
    return np.array(rows)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_found_and_its_rules_are_the_table(name):
    limit = dmft.limits.shallow().classify(*CLASSES[name])
    assert limit.name == name
    signs = {"-": -1, "0": 0, "+": 1}
    assert limit.signs == tuple(signs[s] for s in RULES[name])


@pytest.mark.parametrize("name", [n for n in CLASSES if n[0] != "M"])
def test_kernel_regime_against_the_equations_typed_anew(name):
    f0 = initial_function()
    solved = solve(net_of(name), initial_function=f0)
    np.testing.assert_allclose(solved.function, limit_by_hand(name, f0), rtol=1e-10, atol=1e-11)
    assert solved.report["limit"] == name and not np.any(solved.function_error)


@pytest.mark.parametrize("name", [n for n in CLASSES if n[0] == "M"])
def test_mean_field_regime_against_own_particles(name):
    """Two Monte Carlo estimates; hard gradients switch single samples on and off, so few steps count there."""
    f0, steps = initial_function(), 3 if RULES[name][1] == "+" else STEPS
    solved = solve(net_of(name), initial_function=f0, samples=2**15, rng=1)
    groups = np.array([limit_by_hand(name, f0, particles_by_hand(2**10, seed)) for seed in range(32)])[:, 1 : steps + 1]
    error = np.hypot(solved.function_error[1 : steps + 1], groups.std(axis=0, ddof=1) / np.sqrt(32))
    z = (solved.function[1 : steps + 1] - groups.mean(axis=0)) / error
    assert np.abs(z).max() < 5 and 0.3 < np.sqrt(np.mean(z**2)) < 1.7
    assert np.all(solved.function[0] == 0) and np.all(solved.function_error[0] == 0)
    wrong = (1.15 * solved.function[1 : steps + 1] - groups.mean(axis=0)) / error
    assert np.abs(wrong).max() > 5


@pytest.mark.parametrize("name", CLASSES)
def test_equations_at_finite_width_approach_the_limit(name):
    f0 = initial_function()
    limit = solve(net_of(name), initial_function=f0, samples=2**9)
    distances = []
    for power in (16, 32, 64, 128):
        near = solve(net_of(name), initial_function=f0, samples=2**9, width=128 * 10**power)
        distances.append(np.abs(near.function - limit.function).max() / np.abs(limit.function).max())
    assert distances[-1] < 1e-6
    assert all(later <= max(0.1 * earlier, 1e-9) for earlier, later in zip(distances, distances[1:]))


@pytest.mark.parametrize("name", CLASSES)
def test_finite_networks_follow_the_equations_at_their_width(name):
    """Relative errors at width 2^14 of networks with their own initial function; about 1% is the fluctuation of a single network."""
    exponents = {
        "A1": ("-7/8", "1/2"),
        "A5": ("-3/8", "1/8"),
        "M1": ("-5/4", "5/4"),
        "M5": ("-3/8", "3/8"),
        "N1": ("-3/4", "1/4"),
        "N3": ("-3/8", "-1/8"),
    }
    net = dmft.ShallowNet(*exponents.get(name, CLASSES[name]))
    assert dmft.limits.shallow().classify(net.q_sigma, net.q_eta).name == name
    networks = dmft.simulate(net, DATA, RUN, width=2**14, seeds=3, rng=1, progress=False)
    errors = []
    for function, f0 in zip(networks.function, networks.initial_function):
        theory = solve(net, width=2**14, initial_function=f0, samples=2**14).function
        errors.append(np.linalg.norm(function - theory, axis=1)[1:] / np.linalg.norm(theory, axis=1)[1:])
    assert np.mean(errors) < 0.03
    without = solve(net, width=2**14, initial_function=initial_function(), samples=2**14).function
    distance = np.linalg.norm(networks.function[0] - without, axis=1)[1:] / np.linalg.norm(without, axis=1)[1:]
    assert distance.mean() > 2 * np.mean(errors)


@pytest.mark.parametrize(
    "net, expected", [(net_of(n), 0.03) for n in ("N1", "N2", "N3")] + [(dmft.ShallowNet.initialization_corrected(), 0.03)]
)
def test_networks_against_the_limit_itself(net, expected):
    networks = dmft.simulate(net, DATA, RUN, width=2**14, seeds=3, rng=2, progress=False)
    for function, f0 in zip(networks.function, networks.initial_function):
        limit = solve(net, initial_function=f0, samples=2**14).function
        assert np.linalg.norm(function - limit) < expected * np.linalg.norm(limit)


def test_the_correction_does_not_vanish():
    """IC-MF networks stay away from the mean-field limit, and their initial function is of the reference size at every width."""
    net = dmft.ShallowNet.initialization_corrected()
    wide = dmft.simulate(net, DATA, RUN, width=2**13, seeds=2, progress=False)
    plain = solve(dmft.ShallowNet.mean_field(), samples=2**14).function
    assert all(np.linalg.norm(f - plain) > 0.2 * np.linalg.norm(plain) for f in wide.function)
    narrow = dmft.simulate(net, DATA, RUN, width=128, seeds=200, progress=False).initial_function
    reference = dmft.simulate(dmft.ShallowNet.mean_field(), DATA, RUN, width=128, seeds=200, progress=False).initial_function
    np.testing.assert_array_equal(narrow, reference)
    variances = np.mean(narrow**2, axis=0), kernel_by_hand_diagonal()
    np.testing.assert_allclose(variances[0], variances[1], rtol=5 * np.sqrt(2 / 200))


def kernel_by_hand_diagonal(slope=0.1):
    return np.full(len(DATA.points), (1 + slope**2) / 2)


@pytest.mark.parametrize("name", ["N2", "A2", "M2"])
@pytest.mark.parametrize("loss", ["mse", "hinge"])
def test_other_losses_against_networks(name, loss):
    run = dmft.GradientDescent(0.5, 12)
    net = net_of(name)
    networks = dmft.simulate(net, DATA, run, width=2**13, seeds=3, loss=loss, progress=False)
    for function, loss_row, f0 in zip(networks.function, networks.train_loss, networks.initial_function):
        theory = solve(net, run=run, width=2**13, initial_function=f0, samples=2**14, loss=loss)
        assert np.linalg.norm(function - theory.function) < 0.04 * np.linalg.norm(theory.function)
        np.testing.assert_allclose(loss_row, theory.train_loss, rtol=0.1)
    logistic = solve(net, run=run, width=2**13, initial_function=networks.initial_function[-1], samples=2**14).function
    assert np.linalg.norm(networks.function[-1] - logistic) > 0.2 * np.linalg.norm(logistic)


#: Layer-wise exponents (q_sigma, q_eta of a, q_eta of w): for networks of width 2^13, and so far inside that powers of the width act fast.
LAYER_WISE = {
    "A[a]2": (("-3/4", "1/2", "0"), None),
    "A[w]2": (("-3/4", "-1/4", "1/2"), None),
    "N[a]2": (("-1/2", "0", "-1"), None),
    "N[w]2": (("-1/2", "-1", "0"), None),
    "M[w]2": (("-1", "0", "1"), ("-1", "-1", "1")),
    "M[w*]2": (("-3/2", "1/2", "2"), ("-2", "-1", "3")),
    "M[aw*]2": (("-3/2", "1", "2"), ("-2", "1", "3")),
    "M[a*w]2": (("-3/2", "2", "1"), ("-2", "3", "1")),
    "M[a*w]4": (("-1/2", "1", "0"), None),
}


@pytest.mark.parametrize("name", LAYER_WISE)
def test_layer_wise_rates_against_networks_and_limit(name):
    (q_sigma, *q_eta), _ = LAYER_WISE[name]
    net = dmft.ShallowNet(q_sigma, tuple(q_eta))
    networks = dmft.simulate(net, DATA, RUN, width=2**13, seeds=4, progress=False)
    errors = []
    for function, f0 in zip(networks.function, networks.initial_function):
        theory = solve(net, width=2**13, initial_function=f0, samples=2**15)
        assert theory.report["limit"] == name
        errors.append(np.linalg.norm(function - theory.function) / np.linalg.norm(theory.function))
    assert np.mean(errors) < 0.035
    (q_sigma, *q_eta) = LAYER_WISE[name][1] or LAYER_WISE[name][0]
    net, f0 = dmft.ShallowNet(q_sigma, tuple(q_eta)), initial_function()
    limit = solve(net, initial_function=f0, samples=2**9).function
    near = [solve(net, initial_function=f0, samples=2**9, width=128 * 10**power).function for power in (8, 16, 32)]
    distances = [np.linalg.norm(f - limit) / np.linalg.norm(limit) for f in near]
    assert distances[2] < 1e-3 and distances[2] < 0.1 * max(distances[0], 1e-9)


def test_default_scaling_is_recognised_and_solved():
    """Library defaults lie on the edge alpha_a + alpha_w = 0, where the initial output weights are forgotten."""
    net = dmft.ShallowNet.default()
    solved = solve(net, samples=2**10)
    assert solved.report["limit"] == "M[a*w]4" and dmft.limits.shallow(rates="layer-wise").classify("-1/2", (1, 0)).forgotten == ("a",)
    assert net == dmft.ShallowNet("-1/2", (1, 0)) and dmft.ShallowNet("-1/2", ("1/2", 0.5)) == dmft.ShallowNet.sym_default()


@pytest.mark.parametrize("activation", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("name", ["N2", "M2"])
def test_other_activations_against_networks(name, activation):
    net = net_of(name, activation=activation)
    networks = dmft.simulate(net, DATA, RUN, width=2**13, seeds=2, progress=False)
    for function, f0 in zip(networks.function, networks.initial_function):
        theory = solve(net, width=2**13, initial_function=f0, samples=2**14).function
        assert np.linalg.norm(function - theory) < 0.05 * np.linalg.norm(theory)
        other = solve(net_of(name, activation="linear"), width=2**13, initial_function=f0, samples=2**14).function
        assert np.linalg.norm(function - other) > 0.1 * np.linalg.norm(other)


def test_ray_below_the_band_of_the_square_loss():
    """kappa = 0, q_sigma > -1/2: targets become negligible and kernel gradient descent shrinks the initial function."""
    net, run = dmft.ShallowNet("0", "-1"), dmft.GradientDescent(0.5, 12)
    f0 = initial_function()
    solved = solve(net, run=run, loss="mse", initial_function=f0)
    f, samples = f0, len(DATA.x)
    for row in solved.function:
        np.testing.assert_allclose(row, f, rtol=1e-10, atol=1e-12)
        f = f - 0.5 / samples * kernel_by_hand() @ f[:samples]
    networks = dmft.simulate(net, DATA, run, width=2**14, seeds=2, loss="mse", progress=False)
    np.testing.assert_allclose(networks.function[:, 0], networks.initial_function, rtol=1e-12)
    for function, start in zip(networks.function, networks.initial_function):
        theory = solve(net, run=run, loss="mse", initial_function=start, width=2**14).function
        assert np.linalg.norm(function - theory) < 0.02 * np.linalg.norm(theory)


@pytest.mark.parametrize("name", ["N2", "M2"])
def test_minibatches_are_shared_by_theory_and_networks(name):
    net = net_of(name)
    run = dmft.MinibatchSGD(RATE, 12, batch_fraction=0.25, batch_seed=7)
    weights = run.batch_weights(24)
    assert np.all((weights > 0).sum(axis=1) == 6) and np.allclose(weights.sum(axis=1), 1)
    networks = dmft.simulate(net, DATA, run, width=2**14, seeds=2, progress=False)
    for function, f0 in zip(networks.function, networks.initial_function):
        theory = solve(net, run=run, width=2**14, initial_function=f0, samples=2**14).function
        assert np.linalg.norm(function - theory) < 0.03 * np.linalg.norm(theory)
    other = solve(
        net, run=dataclasses.replace(run, batch_seed=8), width=2**14, initial_function=networks.initial_function[-1], samples=2**14
    )
    assert np.linalg.norm(networks.function[-1] - other.function) > 0.1 * np.linalg.norm(other.function)


def test_tangent_kernels():
    """Stationary and equal to the formula in the kernel regime; evolving and equal to the networks' in the mean-field regime."""
    lazy = solve(net_of("N2"), track="kernels").tangent_kernel(test=True)
    np.testing.assert_allclose(lazy, np.broadcast_to(kernel_by_hand(), lazy.shape), rtol=1e-7, atol=1e-9)
    net, run = dmft.ShallowNet.mean_field(), dmft.GradientDescent(10.0, 20)
    theory = solve(net, run=run, track="kernels", width=2**13, samples=2**15).tangent_kernel(test=True)
    networks = dmft.simulate(net, DATA, run, width=2**13, seeds=8, track="kernels", progress=False)
    mean, error = networks.mean("tangent_grams"), networks.standard_error("tangent_grams")
    assert np.abs(mean - theory).max() < 0.05 * np.abs(theory).max()
    assert np.median(np.abs(mean - theory) / error) < 2
    assert np.linalg.norm(theory[-1] - theory[0]) > 0.1 * np.linalg.norm(theory[0])


def test_losses_are_those_of_the_logits():
    solved = solve(net_of("M2"), width=2**12, samples=2**10)
    expected = np.mean(np.log1p(np.exp(-DATA.y * solved.predictions)), axis=1)
    np.testing.assert_allclose(solved.train_loss, expected, rtol=1e-12)
    np.testing.assert_allclose(solved.test_loss, np.mean(np.log1p(np.exp(-DATA.test_y * solved.test_predictions)), axis=1), rtol=1e-12)
    assert solve(net_of("M1"), samples=2**10).train_loss is None
    at_width = solve(net_of("N3"), width=2**10)
    logits = 8**1.5 * at_width.predictions
    np.testing.assert_allclose(at_width.train_loss, np.logaddexp(0, -DATA.y * logits).mean(axis=1), rtol=1e-10)


def test_monte_carlo_error_is_honest():
    """Spread over seeds of the mean-field limit, in units of the error that each run states."""
    runs = [solve(net_of("M2"), samples=2**10, rng=seed) for seed in range(24)]
    functions, errors = (np.array([getattr(r, name)[1:] for r in runs]) for name in ("function", "function_error"))
    ratio = functions.std(axis=0, ddof=1) / np.sqrt(np.mean(errors**2, axis=0))
    assert 0.8 < np.sqrt(np.mean(ratio**2)) < 1.25
    more = solve(net_of("M2"), samples=2**14)
    assert 0.15 < np.median(more.function_error[-1] / np.sqrt(np.mean(errors[:, -1] ** 2, axis=0))) < 0.4


def test_same_seed_same_numbers_and_initial_function_apart_from_samples():
    net = dmft.ShallowNet.initialization_corrected()
    first, again, more = (solve(net, samples=n, rng=3) for n in (2**9, 2**9, 2**10))
    np.testing.assert_array_equal(first.function, again.function)
    np.testing.assert_array_equal(first.initial_function, more.initial_function)
    assert not np.array_equal(first.function, more.function)
    assert not np.array_equal(first.initial_function, solve(net, samples=2**9, rng=4).initial_function)


def test_drawn_initial_functions_have_the_covariance_of_the_process():
    draws = np.array([shallow.gaussian_process(dmft.ShallowNet.ntk(), DATA.points[:4], np.random.default_rng(i)) for i in range(4000)])
    networks = dmft.simulate(dmft.ShallowNet.ntk(), DATA, dmft.GradientDescent(1.0, 1), width=64, seeds=2000, progress=False)
    for sample in (draws, networks.initial_function[:, :4]):
        covariance = sample.T @ sample / len(sample)
        cosine = DATA.points[:4] @ DATA.points[:4].T
        theta = np.arccos(np.clip(cosine, -1, 1))
        expected = 0.55**2 * cosine + 0.45**2 * 2 / np.pi * (np.sin(theta) + (np.pi / 2 - theta) * cosine)
        assert np.abs(covariance - expected).max() < 5 * 0.505 * np.sqrt(2 / len(sample))


@pytest.mark.parametrize("name", ["M2", "N2"])
def test_files_and_resume(name, tmp_path):
    path = tmp_path / "run.h5"
    solved = solve(net_of(name), samples=2**9, out=path, track="kernels")
    loaded = dmft.load(path)
    assert type(loaded) is type(solved) and loaded.network == solved.network and loaded.data == solved.data
    for key, array in solved.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[key], array)
    assert loaded.network.q_sigma == Fraction(CLASSES[name][0])
    with pytest.warns(dmft.RestartWarning):
        longer = dmft.resume(path, steps=STEPS + 5, progress=False)
    whole = solve(net_of(name), run=dmft.GradientDescent(RATE, STEPS + 5), samples=2**9, track="kernels")
    np.testing.assert_array_equal(longer.function, whole.function)
    np.testing.assert_array_equal(dmft.load(path).tangent_grams, whole.tangent_grams)
    networks = dmft.simulate(net_of(name), DATA, RUN, width=64, seeds=2, progress=False)
    networks.save(tmp_path / "networks.h5")
    read = dmft.load(tmp_path / "networks.h5")
    np.testing.assert_array_equal(read.function, networks.function)
    assert read.width == 64 and str(read) == str(networks)


def test_samples_are_rounded_up_to_whole_systems():
    odd, even = (solve(net_of("M2"), samples=n) for n in (1001, 1008))
    assert odd.options == even.options and odd.options["samples"] == 1008
    np.testing.assert_array_equal(odd.function, even.function)


def test_divergence_is_a_result():
    run = dmft.GradientDescent(1e4, 400)
    solved = solve(net_of("N2"), run=run, loss="mse")
    assert (
        solved.status is Status.DIVERGED and np.isinf(solved.function[solved.diverged_at :]).all() and "lower learning_rate" in str(solved)
    )
    networks = dmft.simulate(net_of("N2"), DATA, run, width=64, seeds=2, loss="mse", progress=False)
    assert np.isinf(networks.train_loss[:, -1]).all() and "2 of 2 networks diverged" in str(networks)


def test_unstable_exponents_can_be_simulated():
    net = dmft.ShallowNet("-1/2", "1")
    networks = dmft.simulate(net, DATA, dmft.GradientDescent(1.0, 2), width=256, seeds=2, allow_unstable=True, progress=False)
    assert np.all(np.isfinite(networks.function))


def test_steps_come_in_blocks_and_interruption_keeps_them(monkeypatch):
    monkeypatch.setattr(recording, "BLOCK_SECONDS", 0.0)
    blocks = list(dmft.march(net_of("N2"), DATA, RUN))
    assert [b.finished for b in blocks] == list(range(1, STEPS + 2))
    assert [b.status for b in blocks] == [Status.INTERRUPTED] * STEPS + [Status.COMPLETED]
    assert blocks[2].function.shape == (3, 30)


BAD = {
    "upper edge": (lambda: solve(dmft.ShallowNet("-1/2", "1")), ValueError, r"q_eta \+ q_sigma <= 0 \(it is 1/2\).*allow_unstable=True"),
    "lower edge": (lambda: solve(dmft.ShallowNet("-2", "0")), ValueError, r"q_eta \+ q_sigma >= -1/2 \(it is -2\)"),
    "unstable network": (
        lambda: dmft.simulate(dmft.ShallowNet("-1/2", "1"), DATA, RUN, width=8, progress=False),
        ValueError,
        r"q_eta \+ q_sigma <= 0 \(it is 1/2\).*allow_unstable=True",
    ),
    "exponent": (lambda: dmft.ShallowNet("a", "0"), ValueError, "q_sigma must be a finite real number or a string"),
    "activation": (lambda: dmft.ShallowNet("-1", "1", activation="step"), ValueError, "activation must be one of 'leaky_relu'"),
    "slope": (lambda: dmft.ShallowNet("-1", "1", activation="tanh", negative_slope=0.1), ValueError, "negative_slope must be None"),
    "correction": (lambda: dmft.ShallowNet("-1/2", "0", corrected=True), ValueError, "corrected=True needs the mean-field exponents"),
    "data": (lambda: solve(net_of("N2"), data=dmft.GaussianData()), TypeError, "data must be a Dataset; got GaussianData"),
    "online": (lambda: solve(net_of("N2"), run=dmft.OnlineSGD(0.1, 3)), TypeError, "training must be a GradientDescent or MinibatchSGD"),
    "momentum": (
        lambda: solve(net_of("N2"), run=dmft.GradientDescent(0.1, 3, momentum=0.5)),
        ValueError,
        "momentum and weight_decay must be 0",
    ),
    "loss": (lambda: solve(net_of("N2"), loss="l1"), ValueError, "loss must be one of 'logistic', 'hinge', 'mse'"),
    "softmax": (lambda: solve(net_of("N2"), loss="softmax"), ValueError, "loss='softmax' needs a network with outputs >= 2"),
    "labels": (
        lambda: solve(net_of("N2"), data=dmft.Dataset(DATA.x, 0.5 * DATA.y)),
        ValueError,
        "y must be -1 or \\+1 for loss='logistic'",
    ),
    "samples": (lambda: solve(net_of("M2"), samples=10), ValueError, "samples must be an integer >= 16"),
    "F0": (lambda: solve(net_of("N2"), initial_function=np.zeros(3)), ValueError, r"initial_function must be an array of shape \(30,\)"),
    "homogeneous": (lambda: solve(dmft.ShallowNet("-2", (1, 3), activation="tanh")), ValueError, r"must be homogeneous.* limit M\[aw\*\]2"),
    "pair": (lambda: dmft.ShallowNet("-1", (1, 2, 3)), ValueError, "q_eta must be one exponent or a pair"),
    "width": (lambda: solve(net_of("N2"), width=0), ValueError, "width must be an integer >= 1"),
    "track": (lambda: solve(net_of("N2"), track="all"), ValueError, "track must be one of None, 'kernels'"),
    "option": (
        lambda: solve(net_of("N2"), window=3),
        TypeError,
        "window is not an option of method 'causal' for a ShallowNet.*loss, width",
    ),
    "method": (lambda: solve(net_of("N2"), method="reference"), ValueError, "method must be one of 'causal'"),
    "width missing": (lambda: dmft.simulate(net_of("N2"), DATA, RUN), TypeError, "width must be an integer"),
    "dim": (lambda: dmft.simulate(net_of("N2"), DATA, RUN, dim=3), TypeError, "dim is not an option of simulating a ShallowNet"),
    "test labels": (lambda: dmft.Dataset(DATA.x, DATA.y, test_y=DATA.y), ValueError, "test_y needs test_x"),
    "test inputs": (lambda: dmft.Dataset(DATA.x, DATA.y, np.ones((2, 3))), ValueError, r"test_x must be an array of shape \(M, 64\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
