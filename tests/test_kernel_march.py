"""Sampled march of kernel evolution: exact cases, closed forms at the start, finite networks, and what its options do."""

import tracemalloc

import numpy as np
import pytest

from solvers import finite_mlp, kernel_linear, kernel_march, kernel_reduced, kernel_replicas
from solvers.kernel_problem import logistic, squared_error

from kernel_systems import arc_cosine, arc_sine, inputs, problem

OPTIMIZERS = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
    {"momentum": 0.5, "weight_decay": 0.2, "decoupled": True},
    {"weight_decay": 0.2},
]


def record(case, **options):
    result = kernel_replicas.Record()
    for step in kernel_march.march(case, **options):
        result.append(step)
    return result


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_linear_network_has_no_sampling_error(optimizer):
    x, y = inputs(samples=3, test=1, outputs=2)
    case = problem(x, y, layers=3, rates=np.linspace(0.3, 0.2, 11), **optimizer)
    exact, _ = kernel_linear.solve(case)
    sampled = record(case, samples=1024, tolerance=1e-9, test_gradients=True)
    np.testing.assert_allclose(sampled.predictions(), exact.predictions, atol=1e-6)
    for layer in (1, 2, 3):
        np.testing.assert_allclose(sampled.feature_kernel(layer), exact.feature_kernel(layer), atol=1e-5)
        gradients = sampled.gradient_kernel(layer)
        np.testing.assert_allclose(gradients[:, 0, :, :, 3], exact.gradient_kernel(layer), atol=1e-5)


@pytest.mark.parametrize(("activation", "closed_form"), [("relu", arc_cosine), ("erf", arc_sine)])
def test_initial_kernels_and_lazy_limit(activation, closed_form):
    x, y = inputs()
    case = problem(x, y, activation, layers=2, richness=1e-3, rates=np.full(15, 0.3))
    phi1, slopes1 = closed_form(case.gram)
    phi2, slopes2 = closed_form(phi1)
    tangent = phi2 + slopes2 * phi1 + slopes2 * slopes1 * case.gram
    lazy = kernel_reduced.lazy(case, tangent)[-1]
    runs = list(kernel_replicas.march(case, 8, samples=4096, test_gradients=True))
    for samples, expected in (
        ([step.feature_grams[1] for step in runs[0]], phi1),
        ([step.features[2] @ step.features[2].T for step in runs[0]], phi2),
        ([step.gradient_grams[1][:, 0, :, 0] for step in runs[0]], slopes2),
        ([step.gradient_grams[0][:, 0, :, 0] for step in runs[0]], slopes2 * slopes1),
        ([step.tangent_kernel()[:, 0, :, 0] for step in runs[0]], tangent),
        ([step.predictions for step in runs[-1]], lazy),
    ):
        mean, error = kernel_replicas.mean_and_error(samples)
        assert np.max(error) < 0.02 * np.max(np.abs(expected))
        np.testing.assert_array_less(np.abs(mean - expected), 6 * error + 2e-4 * np.max(np.abs(expected)))


NETWORKS = [("tanh", 1, 2.0, {}), ("tanh", 3, 1.0, {}), ("relu", 2, 1.0, {}), ("gelu", 3, 1.5, {"momentum": 0.4, "weight_decay": 0.05})]


def compare(activation, layers, richness, optimizer, outputs=1, errors=squared_error, width=600, seeds=12, **options):
    """Mean predictions of networks less the march, and their standard error, (T, P + M, C)."""
    x, y = inputs(samples=4, test=1, dim=5, outputs=outputs, seed=3)
    y = np.sign(y) if errors is logistic else y
    case = problem(x, y, activation, layers, richness, np.full(12, 0.25), errors, **optimizer)
    networks = []
    for seed in range(seeds):
        weights = finite_mlp.initial_weights(x.shape[1], width, layers, outputs, np.random.default_rng(seed))
        networks.append([f for f, _, _ in finite_mlp.march(case, x, weights)])
    theory = [
        [step.predictions for step in steps] for steps in zip(*kernel_replicas.march(case, 6, samples=2048, outer_kernels=False, **options))
    ]
    (mean, error), (limit, limit_error) = kernel_replicas.mean_and_error(networks), kernel_replicas.mean_and_error(theory)
    return (mean - limit)[1:], np.hypot(error, limit_error)[1:]


@pytest.mark.parametrize(("activation", "layers", "richness", "optimizer"), NETWORKS)
def test_finite_networks(activation, layers, richness, optimizer):
    difference, error = compare(activation, layers, richness, optimizer)
    assert np.sqrt(np.mean((difference / error) ** 2)) < 2.5


def test_finite_networks_of_several_outputs_with_logistic_loss():
    difference, error = compare("tanh", 2, 1.0, {}, outputs=2, errors=logistic)
    assert np.sqrt(np.mean((difference / error) ** 2)) < 2.5


def test_responses_matter():
    difference, error = compare("tanh", 3, 1.0, {}, responses=False, readout="tangent")
    assert np.max(np.abs(difference / error)) > 10


def test_tangent_readout_is_the_limit_of_small_steps():
    x, y = inputs(samples=4, test=1)
    gaps = []
    for steps in (40, 160):
        case = problem(x, y, layers=2, rates=np.full(steps, 2.0 / steps))
        options = {"samples": 512, "tolerance": 1e-9}
        ends = [list(kernel_march.march(case, readout=r, **options))[-1].predictions for r in ("network", "tangent")]
        gaps.append(np.max(np.abs(ends[0] - ends[1])))
    np.testing.assert_allclose(gaps[1], gaps[0] / 4, rtol=0.1)


def test_test_points_change_nothing_else():
    x, y = inputs(samples=4, test=2)
    runs = []
    for points in (4, 6):
        case = problem(x[:points], y, "tanh", 2)
        runs.append(list(kernel_replicas.march(case, 6, samples=2048))[-1])
    (a, da), (b, db) = (kernel_replicas.mean_and_error([step.predictions[:4] for step in steps]) for steps in runs)
    np.testing.assert_array_less(np.abs(a - b), 6 * np.hypot(da, db) + 1e-4)


def test_repeatable_and_independent_replicas():
    x, y = inputs()
    case = problem(x, y, "tanh", 2)
    steps = list(kernel_replicas.march(case, 2, seed=5, samples=512))[-1]
    alone = list(kernel_march.march(case, 512, seed=kernel_replicas.replica_seed(5, 1)))[-1]
    np.testing.assert_array_equal(steps[1].predictions, alone.predictions)
    assert np.all(steps[0].predictions != steps[1].predictions)


def test_errors_of_replicas_cover_the_truth():
    x, y = inputs()
    case = problem(x, y, "tanh", 2)
    truth = list(kernel_march.march(case, 2**15, seed=1, outer_kernels=False))[-1].predictions
    steps = list(kernel_replicas.march(case, 8, samples=1024, outer_kernels=False))[-1]
    mean, error = kernel_replicas.mean_and_error([step.predictions for step in steps])
    assert np.sqrt(np.mean(((mean - truth) / error) ** 2)) < 4


def test_preactivations_have_the_covariance_of_the_layer_below():
    x, y = inputs()
    case = problem(x, y, "tanh", 2)
    for step in kernel_march.march(case, 4096, save_preactivations=(0, 10)):
        if step.t not in (0, 10):
            assert step.preactivations is None
            continue
        first, second = step.preactivations
        assert first.shape == second.shape == (6, 4096)
        np.testing.assert_allclose(np.tanh(first) @ np.tanh(first).T / 4096, step.feature_grams[1], rtol=1e-12)
        if step.t == 0:
            np.testing.assert_allclose(first @ first.T / 4096, case.gram, atol=1e-10)


def test_truncation_is_reported_and_converges():
    x, y = inputs()
    case = problem(x, y, "tanh", 2, rates=np.full(12, 0.3))
    ends = {}
    for tolerance in (1e-2, 1e-4, 1e-7):
        *_, last = kernel_march.march(case, 4096, tolerance=tolerance)
        assert last.dropped < tolerance
        ends[tolerance] = last
    assert ends[1e-2].features[1].shape[1] < ends[1e-4].features[1].shape[1] < ends[1e-7].features[1].shape[1]
    gap = {t: np.max(np.abs(ends[t].predictions - ends[1e-7].predictions)) for t in (1e-2, 1e-4)}
    assert gap[1e-4] < 0.3 * gap[1e-2]


def test_single_precision():
    x, y = inputs(samples=3, test=1, outputs=2)
    case = problem(x, y, layers=3, rates=np.linspace(0.3, 0.2, 11), momentum=0.3, weight_decay=0.05)
    exact, _ = kernel_linear.solve(case)
    predictions = record(case, samples=1024, tolerance=1e-6, dtype=np.float32).predictions()
    np.testing.assert_allclose(predictions, exact.predictions, atol=2e-4)


def test_rank_cap_is_kept_and_noticed():
    x, y = inputs()
    *_, last = kernel_march.march(problem(x, y, "relu", 2), 1024, cap=12)
    assert last.features[1].shape[1] == 12
    assert last.dropped > 1e-5


@pytest.mark.parametrize(("activation", "rate"), [("relu", 30.0), ("relu", 1e6), ("tanh", 1e9), ("linear", 300.0)])
def test_divergence_ends_the_march(activation, rate):
    x, y = inputs()
    steps = list(kernel_march.march(problem(x, y, activation, 3, rates=np.full(60, rate)), 512))
    assert 0 < len(steps) < 61
    assert np.all(np.isfinite(steps[-1].predictions))


@pytest.mark.parametrize("samples", [1000, 8])
def test_samples_must_be_a_power_of_two(samples):
    x, y = inputs()
    with pytest.raises(ValueError, match="power of two"):
        next(kernel_march.march(problem(x, y), samples))


def test_cap_leaves_samples_enough():
    x, y = inputs()
    with pytest.raises(ValueError, match="cap"):
        next(kernel_march.march(problem(x, y), 256, cap=100))


def test_too_few_samples_for_the_points():
    x, y = inputs(samples=30)
    with pytest.raises(ValueError, match="samples"):
        next(kernel_march.march(problem(x, y, "tanh"), 128))


def test_memory_estimate():
    x, y = inputs(samples=8, test=0, dim=8)
    case = problem(x, y, "tanh", 3, rates=np.full(15, 0.3))
    tracemalloc.start()
    *_, last = kernel_march.march(case, 2**14)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    ranks = [np.mean([row.shape[-1] for row in rows]) for rows in (last.features[1:], last.gradients[:-1])]
    assert 0.9 < kernel_march.memory_estimate(case, 2**14, ranks) / peak < 1.5


def test_flop_estimate(monkeypatch):
    x, y = inputs(samples=8, test=0, dim=8)
    case = problem(x, y, "tanh", 3, rates=np.full(15, 0.3))
    counted = [0.0]

    def counting(product):
        def run(small, rows, out, **options):
            array = rows if product is not kernel_march.deposit else out
            counted[0] += 2.0 * small.shape[0] * array.shape[0] * array.shape[1]
            product(small, rows, out, **options)

        return run

    for name in ("combine", "contract", "deposit"):
        monkeypatch.setattr(kernel_march, name, counting(getattr(kernel_march, name)))
    ranks = [np.mean([row.shape[-1] for row in step.features + step.gradients]) for step in kernel_march.march(case, 1024)]
    assert 0.6 < kernel_march.flop_estimate(case, 1024, np.mean(ranks)) / counted[0] < 1.5
