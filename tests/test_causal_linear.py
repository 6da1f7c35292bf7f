"""The compiled march against its readable twin, and the two-field block against a matrix inverse."""

import math
import warnings

import numpy as np
import pytest

import dmft
from dmft.theories import deep_linear
from solvers import causal_linear, low_rank_history, reference

GD, SGD, BATCHES = dmft.GradientDescent, dmft.OnlineSGD, dmft.MinibatchSGD
NOISY = dmft.GaussianData(sample_ratio=1.5, label_noise=0.3)
POPULATION = dmft.GaussianData(label_noise=0.3)
CORRELATED = dmft.GaussianData(0.8, 0.3, target_overlap=[[1.0, 0.6], [0.6, 1.5]], noise_covariance=[[1.0, -0.3], [-0.3, 2.0]])
TWO_LEVELS = dmft.StructuredData([2.0, 0.5], [0.5, 1.25], [1 / 3, 2 / 3], sample_ratio=1.5, label_noise=0.3)
TWO_TARGETS = dmft.StructuredData([2.0, 0.5, 0.0], [np.eye(2), [[1.0, 0.5], [0.5, 0.5]], np.eye(2)], sample_ratio=1.5, label_noise=0.3)

RESNET = dmft.DeepLinearResNet

#: Network or (depth, width ratio, richness or None for NTK, outputs), data, training class, learning rate, other training arguments
CASES = {
    "one layer": ((1, 1.0, 1.0, 1), NOISY, GD, 0.1, {}),
    "two layers, rich": ((2, 0.5, 3.0, 1), NOISY, GD, 0.02, {}),
    "three layers, unequal": ((3, (0.5, 2.0, 1.0), 1.0, 1), NOISY, GD, 0.03, {}),
    "five layers": ((5, 1.0, 1.0, 1), NOISY, GD, 0.02, {}),
    "population": ((2, 1.0, 1.0, 1), POPULATION, GD, 0.05, {}),
    "infinite width": ((2, math.inf, 1.0, 1), NOISY, GD, 0.05, {}),
    "lazy": ((3, math.inf, None, 1), NOISY, GD, 0.03, {}),
    "NTK": ((2, 2.0, None, 1), NOISY, GD, 0.05, {}),
    "online": ((2, 1.0, 1.0, 1), POPULATION, SGD, 0.05, dict(batch_ratio=2.0)),
    "random subsets": ((2, 1.0, 1.0, 1), NOISY, BATCHES, 0.03, dict(batch_fraction=0.25)),
    "heavy ball": ((2, 1.0, 1.0, 1), NOISY, GD, 0.01, dict(momentum=0.9)),
    "Nesterov, coupled decay": ((2, 1.0, 1.0, 1), NOISY, GD, 0.01, dict(momentum=0.9, nesterov=True, weight_decay=0.1)),
    "decoupled decay, schedule": ((3, 1.0, 1.0, 1), NOISY, GD, lambda t: 0.05 / (1 + t / 50), dict(weight_decay=0.1, decoupled=True)),
    "two levels": ((2, 1.0, 1.0, 1), TWO_LEVELS, GD, 0.04, {}),
    "two outputs": ((2, 1.0, 1.0, 2), CORRELATED, GD, 0.03, {}),
    "two outputs, online, decay": ((1, 1.0, 1.0, 2), POPULATION, SGD, 0.03, dict(weight_decay=0.1)),
    "all together": ((3, (2.0, 1.0, 0.5), 0.8, 2), TWO_TARGETS, BATCHES, 0.01, dict(batch_fraction=0.5, momentum=0.5, weight_decay=0.1)),
    "residual": (RESNET(4, 0.5, 1.5), NOISY, GD, 0.02, {}),
    "residual, lazy": (RESNET(3, math.inf, parameterization="ntk"), NOISY, GD, 0.03, {}),
    "residual, one constant branch, online": (RESNET(1, 1.0, 1.0, 0.8, 0), POPULATION, SGD, 0.03, dict(momentum=0.5, nesterov=True)),
    "residual, two outputs, schedule": (RESNET(3, 1.0, outputs=2), CORRELATED, GD, lambda t: 0.02 / (1 + t / 50), {}),
    "residual, all together": (
        RESNET(2, 2.0, 0.8, 1.2, 1, 2), TWO_TARGETS, BATCHES, 0.01, dict(batch_fraction=0.5, momentum=0.5, weight_decay=0.1)
    ),
}


def problem(name, steps):
    network, data, training, rate, options = CASES[name]
    if isinstance(network, tuple):
        network = dmft.DeepLinear(*network, parameterization="ntk" if network[2] is None else "mup")
    return deep_linear.problem(network, data, training(rate, steps, **options))


def run(p, state=None, done=0):
    for state, done, diverged in causal_linear.march(p, state, done):
        pass
    return causal_linear.order_parameters(p, state), state, done, diverged


def assert_equal(found, expected, rows, outputs, tolerance):
    """Lower triangles of all two-time functions relative to their largest entry, losses relative to the first."""
    for name, a, b in zip(found._fields, found, expected):
        if a.ndim == 1:
            a, b, scale = a[:rows], b[:rows], b[0]
        else:
            n = rows * outputs
            a, b = np.tril(a[..., :n, :n]), np.tril(b[..., :n, :n])
            scale = np.abs(b).max()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.fixture
def compressing(monkeypatch):
    monkeypatch.setattr(low_rank_history, "_SHORTEST", 0)
    monkeypatch.setattr(low_rank_history, "_BLOCK", 8)


@pytest.fixture(scope="module")
def twin():
    """Order parameters of the readable march, 70 rows."""
    known = {}
    return lambda name: known.setdefault(name, reference.march(problem(name, 69)))


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, twin):
    p = problem(name, 69)
    found, _, done, diverged = run(p)
    assert done == 70 and not diverged
    assert_equal(found, twin(name), 70, p.outputs, 1e-11)


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference_with_a_compressed_past(name, twin, compressing):
    """The tolerance 1e-14 per entry grows over 70 rows to at most 1e-10, the contract of the compiled march."""
    p = problem(name, 69)
    found, state, _, _ = run(p)
    assert state.history.finished == 64 * p.outputs
    assert_equal(found, twin(name), 70, p.outputs, 1e-10)


def test_how_many_rows_are_computed_at_a_stretch_changes_nothing(compressing, monkeypatch):
    monkeypatch.setattr(causal_linear, "BLOCK_ROWS", 8)
    p = problem("all together", 69)
    expected = run(p)[0]
    monkeypatch.setattr(causal_linear, "_SECONDS", 0.0)
    assert [done for _, done, _ in causal_linear.march(p)] == list(range(8, 71))
    for a, b in zip(run(p)[0], expected):
        np.testing.assert_array_equal(a, b)


def test_long_marches_compress_by_themselves(monkeypatch):
    p = problem("two layers, rich", low_rank_history._SHORTEST + 9)
    found, state, _, _ = run(p)
    assert state.history.finished == low_rank_history._SHORTEST
    monkeypatch.setattr(low_rank_history, "_SHORTEST", np.inf)
    assert_equal(found, run(p)[0], p.rows, 1, 1e-10)


@pytest.mark.parametrize("cut", [1, 64, 65])
@pytest.mark.parametrize("name", CASES)
def test_restore_continues_exactly(name, cut):
    """H and G come back from resolvents: the same numbers up to rounding."""
    p = problem(name, 69)
    expected = run(p)[0]
    state = causal_linear.restore(p, expected, cut)
    later = [np.tril(f[..., cut * p.outputs :, :]) for f in causal_linear.order_parameters(p, state) if f.ndim > 1]
    assert not any(map(np.any, later)), "restore takes the finished rows only"
    found, _, done, _ = run(p, state, cut)
    assert done == 70
    assert_equal(found, expected, 70, p.outputs, 1e-12)


@pytest.mark.parametrize("name", ["three layers, unequal", "all together"])
def test_losses_of_many_problems_are_those_of_each(name):
    """The memory is used again, also after a training that has diverged into infinities."""
    p = problem(name, 39)
    points = [p._replace(memory=p.memory * factor) for factor in (1.0, 1e200, 0.5)]
    found = causal_linear.losses(points)
    assert found.shape == (3, 2, 40) and np.isinf(found[1, :, -1]).all()
    for point, losses in zip(points, found):
        order = run(point)[0]
        np.testing.assert_array_equal(losses, [order.test_loss, order.train_loss])


DIVERGENT = {
    "rate 0.6": ("two layers, rich", 0.6),
    "rate 1e100": ("one layer", 1e100),
    "lazy": ("lazy", 0.9),
    "online": ("online", 0.8),
    "two outputs": ("all together", 0.5),
    "residual": ("residual, all together", 0.5),
}


@pytest.mark.parametrize("case", DIVERGENT)
def test_divergence_stops_at_its_row(case):
    """Rows before it are the exact ones, losses from it on are infinite, nothing is NaN, and there is no warning."""
    name, rate = DIVERGENT[case]
    p = problem(name, 69)
    p = p._replace(memory=p.memory * rate / p.memory[1, 0])
    with np.errstate(all="ignore"):
        expected = reference.march(p)
    stable = np.isfinite(expected.test_loss) & (expected.test_loss <= p.divergence_factor * expected.test_loss[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _, done, diverged = run(p)
    assert diverged and 0 < done == np.argmin(stable) < 70
    assert np.all(np.isinf(found.test_loss[done:])) and np.all(np.isinf(found.train_loss[done:]))
    with np.errstate(all="ignore"):
        for f in found:
            assert not np.any(np.isnan(f[..., : done * p.outputs, :] if f.ndim > 1 else f))
        assert_equal(found, expected, done, p.outputs, 1e-11)


@pytest.mark.parametrize("coupling", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("outputs", [1, 3])
def test_two_field_block_is_a_matrix_inverse(outputs, coupling):
    """h = a + c A g, g = b + B h marched row by row against (1 - c B A)^-1; the compiled block is held to this twin above."""
    times, c = 9, coupling
    n = times * outputs
    rng = np.random.default_rng(outputs)
    time = np.arange(n) // outputs
    A = np.where(time[:, None] >= time, rng.standard_normal((n, n)), 0.0) / np.sqrt(n)
    B = np.where(time[:, None] > time, rng.standard_normal((n, n)), 0.0) / np.sqrt(n)
    Ca, Cb = (x @ x.T / n for x in rng.standard_normal((2, n, n)))

    block = reference.TwoField(n, c)
    for t in range(times):
        P, I, J = slice(0, t * outputs), slice(t * outputs, (t + 1) * outputs), slice(0, (t + 1) * outputs)
        block.backward(I, P, J, B[I, P], Ca, Cb)
        block.forward(I, P, J, A[I, J], Ca, Cb)

    G = np.linalg.inv(np.eye(n) - c * B @ A)
    Rg, Rh = G @ B, A @ G
    H = np.eye(n) + c * A @ Rg
    expected = dict(H=H, Rh=Rh, G=G, Rg=Rg, Ch=H @ Ca @ H.T + c * Rh @ Cb @ Rh.T, Cg=c * Rg @ Ca @ Rg.T + G @ Cb @ G.T)
    for name, exact in expected.items():
        np.testing.assert_allclose(getattr(block, name), exact, rtol=0, atol=1e-13 * np.abs(exact).max(), err_msg=name)
