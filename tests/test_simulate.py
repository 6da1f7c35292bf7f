"""Finite networks against an independent implementation: explicit matrices, explicit samples, backpropagation of the loss."""

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest

import dmft
from dmft import simulate as simulate_networks
from solvers import finite_network

simulate_module = importlib.import_module("dmft.simulations.deep_linear")
NETWORK = dmft.DeepLinear(2, (1.5, 0.6), richness=0.8)
DATA = dmft.GaussianData(1.4, 0.3)
GD = dmft.GradientDescent(0.05, 12)


def simulate(*args, **options):
    return simulate_networks(*args, **({"progress": False} | options))


def forward(weights, x, richness):
    """Outputs (P, C) and hidden states of all layers for inputs (P, D)."""
    states = [x]
    for matrix in weights[:-1]:
        states.append(states[-1] @ matrix.T / np.sqrt(matrix.shape[1]))
    return states[-1] @ weights[-1].T * np.sqrt(x.shape[1]) / (richness * weights[-1].shape[1]), states


def raw_gradients(weights, x, errors, richness):
    """Backpropagation: minus the gradient of (1/2P) sum errors^2 with respect to every weight, errors = y - f."""
    _, states = forward(weights, x, richness)
    back = errors * np.sqrt(x.shape[1]) / (richness * weights[-1].shape[1]) / len(x)
    gradients = [back.T @ states[-1]]
    back = back @ weights[-1]
    for matrix, state in zip(weights[-2::-1], states[-2::-1]):
        gradients.insert(0, back.T @ state / np.sqrt(matrix.shape[1]))
        back = back @ matrix / np.sqrt(matrix.shape[1])
    return gradients


def train_plainly(weights, richness, training, batches, test_matrix, target):
    """Textbook training loop. `batches(t)`: x, y of the loss and the rows that make the gradient. Losses before every step."""
    buffers = [np.zeros_like(w) for w in weights]
    losses = []
    for t in range(training.steps + 1):
        x, y, rows = batches(t)
        errors = y - forward(weights, x, richness)[0]
        dim = x.shape[1]
        test_errors = test_matrix @ (target - forward(weights, np.eye(dim), richness)[0] * np.sqrt(dim))
        losses.append((np.sum(test_errors**2) / dim, np.sum(errors**2) / len(x)))
        if t == training.steps:
            return np.transpose(losses)
        rate = training.learning_rates[t]
        scale = richness**2 * weights[-1].shape[1]
        for w, m, raw in zip(weights, buffers, raw_gradients(weights, x[rows], errors[rows], richness)):
            g = scale * raw
            if training.decoupled:
                w *= 1 - rate * training.weight_decay
            else:
                g = g - training.weight_decay * w
            m[:] = training.momentum * m + g
            w += rate * (g + training.momentum * m) if training.nesterov else rate * m


def plain_losses(network, data, training, dim, seed=0):
    """`train_plainly` from the very weights and samples of simulate's seed, shape (2, T)."""
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(seed,)))
    sizes = [dim, *(round(r * dim) for r in network.width_ratios)]
    weights = [rng.standard_normal((n, m)) for m, n in zip(sizes, sizes[1:])]
    weights.append(rng.standard_normal((network.outputs, sizes[-1])))
    population = simulate_module._Gaussian(data.spectrum(network.outputs), dim)
    target = population.target(rng).T
    samples = round(data.sample_ratio * dim)
    x, noise = population.samples(rng, samples)
    y = x @ target / np.sqrt(dim) + noise.T

    def batches(t):
        if isinstance(training, dmft.MinibatchSGD):
            return x, y, rng.choice(samples, round(training.batch_fraction * samples), replace=False)
        return x, y, slice(None)

    return train_plainly(weights, network.richness, training, batches, np.diag(np.sqrt(population.eigenvalues)), target)


def test_backpropagation_of_the_reference_is_the_gradient_of_the_loss():
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(s) for s in ((4, 3), (5, 4), (2, 5))]
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))

    def loss(moved):
        return 0.5 * np.sum((y - forward(moved, x, 0.7)[0]) ** 2) / len(x)

    gradients = raw_gradients(weights, x, y - forward(weights, x, 0.7)[0], 0.7)
    for layer, index in ((0, (1, 2)), (1, (4, 0)), (2, (1, 3))):
        moved = [w.astype(complex) for w in weights]
        moved[layer][index] += 1e-30j
        assert -loss(moved).imag / 1e-30 == pytest.approx(gradients[layer][index], rel=1e-12)


OPTIMIZERS = {
    "plain": {},
    "schedule": {"learning_rate": lambda t: 0.06 / (1 + t)},
    "heavy ball": {"momentum": 0.7},
    "nesterov": {"momentum": 0.6, "nesterov": True},
    "decay": {"weight_decay": 0.3},
    "decoupled": {"weight_decay": 0.3, "decoupled": True},
    "momentum and decay": {"momentum": 0.5, "weight_decay": 0.2, "learning_rate": lambda t: 0.05 + 0.01 * np.cos(t)},
    "nesterov and decoupled": {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2, "decoupled": True},
}


@pytest.mark.parametrize("rank", [1, 5, 32])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_against_the_textbook_loop_for_any_flush_rank(name, rank, monkeypatch):
    monkeypatch.setattr(simulate_module, "_rank", lambda *_: rank)
    training = dmft.GradientDescent(**({"learning_rate": 0.05, "steps": 12} | OPTIMIZERS[name]))
    ensemble = simulate(NETWORK, DATA, training, dim=20, seeds=2)
    for seed in range(2):
        expected = plain_losses(NETWORK, DATA, training, 20, seed)
        np.testing.assert_allclose([ensemble.test_loss[seed], ensemble.train_loss[seed]], expected, rtol=1e-12)


SPECTRUM = dmft.StructuredData([3.0, 0.5, 0.0], [0.4, 1.0, 2.0], [0.25, 0.5, 0.25], sample_ratio=0.8, label_noise=0.2)
TWO_OUTPUTS = dmft.GaussianData(1.5, 0.3, target_overlap=[[1.0, 0.4], [0.4, 0.7]], noise_covariance=[[1.0, -0.5], [-0.5, 2.0]])


@pytest.mark.parametrize(
    "network, data, training",
    [
        (dmft.DeepLinear(1, 0.7), DATA, GD),
        (dmft.DeepLinear(3, (0.5, 1.3, 0.8)), DATA, GD),
        (dmft.DeepLinear(2, 1.2, parameterization="ntk"), SPECTRUM, GD),
        (dmft.DeepLinear(1, 2.0, outputs=2), TWO_OUTPUTS, replace(GD, momentum=0.5)),
        (dmft.DeepLinear(3, 0.9, richness=0.6, outputs=2), TWO_OUTPUTS, dmft.MinibatchSGD(0.03, 12, 0.3, momentum=0.4)),
        (NETWORK, DATA, dmft.MinibatchSGD(0.03, 12, 0.5)),
    ],
)
def test_networks_and_data_against_the_textbook_loop(network, data, training):
    ensemble = simulate(network, data, training, dim=24, seeds=1)
    np.testing.assert_allclose([ensemble.test_loss[0], ensemble.train_loss[0]], plain_losses(network, data, training, 24), rtol=1e-12)


def test_default_flush_rank_is_exact_over_several_flushes():
    for training in (dmft.GradientDescent(0.03, 100), dmft.GradientDescent(0.02, 300, momentum=0.5)):
        ensemble = simulate(NETWORK, DATA, training, dim=40, seeds=1)
        np.testing.assert_allclose(ensemble.test_loss[0], plain_losses(NETWORK, DATA, training, 40)[0], rtol=1e-11)


def test_population_training_is_the_limit_of_many_samples():
    population = simulate(NETWORK, replace(DATA, sample_ratio=math.inf), GD, dim=15, seeds=3)
    many = simulate(NETWORK, replace(DATA, sample_ratio=4000.0), GD, dim=15, seeds=3)
    np.testing.assert_allclose(population.test_loss, many.test_loss, rtol=0.03)
    np.testing.assert_allclose(population.train_loss, many.train_loss, rtol=0.03)
    np.testing.assert_allclose(population.train_loss, population.test_loss + 0.3**2, rtol=1e-12)
    assert population.samples is None and many.samples == 60_000


@pytest.mark.parametrize("outputs", [1, 2])
def test_fresh_gaussian_gradient_has_the_law_of_explicit_samples(outputs):
    rng = np.random.default_rng(3)
    dim, batch, draws = 5, 4, 40_000
    eigenvalues = np.array([2.0, 1.0, 0.5, 0.1, 0.0])
    v, noise_factor = rng.standard_normal((outputs, dim)), 0.5 * np.tri(outputs)

    def explicit():
        x = rng.standard_normal((batch, dim)) * np.sqrt(eigenvalues)
        return finite_network.sample_gradient(v, x, noise_factor @ rng.standard_normal((outputs, batch)))

    def fresh():
        return finite_network.fresh_gaussian_gradient(v, eigenvalues, noise_factor, batch, rng)

    def moments(draw):
        values = np.array([np.append(*draw()) for _ in range(draws)])
        values = np.hstack([values, np.log(values[:, -1:])])
        products = np.einsum("ni,nj->nij", values, values).reshape(draws, -1)
        everything = np.hstack([values, products, values**3])
        return everything.mean(axis=0), everything.std(axis=0) / np.sqrt(draws)

    (mean, error), (expected, expected_error) = moments(fresh), moments(explicit)
    scale = np.hypot(error, expected_error)
    used = scale > 0
    assert np.abs(mean - expected)[~used].max(initial=0) == 0
    assert np.abs((mean - expected)[used] / scale[used]).max() < 4.5


def test_online_batches_of_real_inputs_against_the_textbook_loop():
    rng = np.random.default_rng(5)
    dataset = dmft.Dataset(rng.standard_normal((50, 6)) @ rng.standard_normal((6, 6)), rng.standard_normal((50, 2)))
    network, training = dmft.DeepLinear(2, 1.5, outputs=2), dmft.OnlineSGD(0.005, 10, batch_ratio=2.0, momentum=0.3)
    ensemble = simulate(network, dmft.GaussianData(), training, seeds=1, inputs=dataset)

    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0,)))
    weights = [rng.standard_normal(s) for s in ((9, 6), (9, 9), (2, 9))]
    covariance = dataset.x.T @ dataset.x / 50
    rotation = np.linalg.eigh(covariance)[1]
    target = np.sqrt(6) * rotation.T @ np.linalg.lstsq(dataset.x, dataset.y)[0]

    def batches(t):
        rows = rng.integers(50, size=12)
        return dataset.x[rows] @ rotation, dataset.y[rows], slice(None)

    expected = train_plainly(weights, 1.0, training, batches, dataset.x @ rotation / np.sqrt(50), target)
    np.testing.assert_allclose([ensemble.test_loss[0], ensemble.train_loss[0]], expected, rtol=1e-10)
    assert ensemble.dim == 6 and ensemble.samples == 12 and "50 real samples" in str(ensemble)


def test_real_inputs_with_all_samples_train_on_the_whole_data_set():
    rng = np.random.default_rng(6)
    dataset = dmft.Dataset(rng.standard_normal((40, 8)) * np.linspace(0, 2, 8), rng.standard_normal(40))
    data = dmft.StructuredData.from_dataset(*dataset)
    ensemble = simulate(dmft.DeepLinear(1, 4.0), data, dmft.GradientDescent(0.1, 400), inputs=dataset, seeds=2)
    residual = np.mean((dataset.y - dataset.x @ np.linalg.lstsq(dataset.x, dataset.y)[0]) ** 2)
    np.testing.assert_allclose(ensemble.train_loss, ensemble.test_loss + residual, rtol=1e-12)
    assert ensemble.test_loss[:, -1].max() < 0.05 * ensemble.test_loss[:, 0].min()


def test_online_training_of_gaussian_surrogates_and_of_rows_of_the_same_covariance_agree():
    rng = np.random.default_rng(7)
    dataset = dmft.Dataset(rng.standard_normal((4000, 10)) * np.linspace(0.5, 1.5, 10), rng.standard_normal(4000))
    data = dmft.StructuredData.from_dataset(*dataset)
    problem = dmft.DeepLinear(1, 2.0), data, dmft.OnlineSGD(0.05, 30, batch_ratio=2.0)
    surrogate, real = simulate(*problem, dim=10, seeds=150), simulate(*problem, inputs=dataset, seeds=150, rng=1)
    for name in ("test_loss", "train_loss"):
        z = (surrogate.mean(name) - real.mean(name)) / np.hypot(surrogate.standard_error(name), real.standard_error(name))
        assert np.abs(z).max() < 4


@pytest.mark.parametrize(
    "network",
    [dmft.DeepLinear(1, 0.5), dmft.DeepLinear(3, (2.0, 0.5, 1.5), richness=0.7), dmft.DeepLinear(2, 3.0, parameterization="ntk")],
)
def test_initial_loss_is_target_plus_variance_of_the_network(network):
    data = dmft.StructuredData([2.0, 0.5], [0.8, 0.4], [0.3, 0.7])
    power = 0.3 * 2.0 * 0.8 + 0.7 * 0.5 * 0.4
    ensemble = simulate(network, data, dmft.GradientDescent(0.01, 1), dim=100, seeds=60)
    expected = power + network.initial_variance * (0.3 * 2.0 + 0.7 * 0.5)
    assert abs(ensemble.mean()[0] - expected) < 4 * ensemble.standard_error()[0]


def test_target_overlaps_are_exact_and_small_modes_are_gaussian():
    overlap = np.array([[1.0, 0.5], [0.5, 2.0]])
    data = dmft.StructuredData([1.0, 2.0, 3.0], np.array([overlap, np.ones((2, 2)), np.zeros((2, 2))]), [0.8, 0.1, 0.1])
    population = simulate_module._Gaussian(data.spectrum(2), 10)
    target = population.target(np.random.default_rng(0))
    np.testing.assert_allclose(target[:, :8] @ target[:, :8].T, 8 * overlap, rtol=1e-12)
    np.testing.assert_allclose(target[:, 8:9] @ target[:, 8:9].T, np.ones((2, 2)), rtol=1e-12)
    assert np.all(target[:, 9] == 0)
    single = dmft.StructuredData([1.0], overlap[None])
    draws = [simulate_module._Gaussian(single.spectrum(2), 1).target(np.random.default_rng(i))[:, 0] for i in range(2000)]
    np.testing.assert_allclose(np.cov(np.transpose(draws)), overlap, atol=0.2)


def test_mode_counts_follow_the_largest_remainders():
    assert simulate_module._mode_counts(np.array([0.5, 0.3, 0.2]), 9).tolist() == [4, 3, 2]
    assert simulate_module._mode_counts(np.full(7, 0.1), 10).tolist() == [1] * 7
    assert simulate_module._mode_counts(np.full(64, 1 / 64), 64).tolist() == [1] * 64
    with pytest.raises(ValueError, match="dim must be large enough to give each of the 3 modes"):
        simulate_module._mode_counts(np.array([0.05, 0.5, 0.45]), 8)


def test_seeds_do_not_depend_on_their_number_or_on_workers():
    problem = NETWORK, DATA, dmft.MinibatchSGD(0.05, 10)
    three = simulate(*problem, dim=30, seeds=3)
    two = simulate(*problem, dim=30, seeds=2, rng=np.random.SeedSequence(0))
    apart = simulate(*problem, dim=30, seeds=3, workers=2)
    assert np.array_equal(three.test_loss[:2], two.test_loss) and np.array_equal(three.train_loss[:2], two.train_loss)
    np.testing.assert_allclose(apart.test_loss, three.test_loss, rtol=1e-12)
    assert not np.array_equal(three.test_loss, simulate(*problem, dim=30, seeds=3, rng=1).test_loss)


def test_the_stored_rng_repeats_a_run_from_a_generator():
    generator = np.random.default_rng(4)
    first, second = (simulate(NETWORK, DATA, GD, dim=10, seeds=2, rng=generator) for _ in range(2))
    repeated = simulate(NETWORK, DATA, GD, dim=10, seeds=2, rng=eval(first.rng, {"SeedSequence": np.random.SeedSequence}))
    assert np.array_equal(first.test_loss, repeated.test_loss) and not np.array_equal(first.test_loss, second.test_loss)


FAST = replace(GD, learning_rate=5.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("training", [FAST, dmft.OnlineSGD(1e50, 40), replace(FAST, momentum=0.9)])
def test_divergence_ends_in_inf_without_warnings(training):
    ensemble = simulate(NETWORK, dmft.GaussianData(math.inf), training, dim=20, seeds=3)
    assert np.isfinite(ensemble.test_loss[:, 0]).all() and np.isinf(ensemble.test_loss[:, -1]).all()
    assert not np.isnan(ensemble.train_loss).any()
    assert np.isinf(ensemble.mean()[-1]) and np.isinf(ensemble.standard_error()[-1])
    assert "3 of 3 networks diverged" in str(ensemble)


def test_ensemble_states_sizes_and_losses():
    ensemble = simulate(NETWORK, DATA, GD, dim=20, seeds=3)
    assert ensemble.times.tolist() == list(range(13)) and ensemble.test_loss.shape == ensemble.train_loss.shape == (3, 13)
    assert ensemble.widths == (30, 12) and ensemble.samples == 28 and ensemble.seeds == 3
    np.testing.assert_allclose(ensemble.standard_error("train_loss"), ensemble.train_loss.std(axis=0, ddof=1) / np.sqrt(3))
    assert "3 finite networks: D = 20, widths 30, 12, P = 28" in str(ensemble)
    with pytest.raises(ValueError, match="name"):
        ensemble.mean("loss")
    single = simulate(NETWORK, DATA, GD, dim=20, seeds=1)
    assert "test loss" in str(single)
    with pytest.raises(ValueError, match="seeds >= 2"):
        single.standard_error()


def test_progress_bar_counts_all_steps(capsys):
    simulate(NETWORK, DATA, GD, dim=10, seeds=2, progress=True)
    assert "24/24" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error, match, changes",
    [
        (ValueError, "width_ratio must be finite to simulate", {"network": dmft.DeepLinear(2, math.inf)}),
        (TypeError, "network must be a DeepLinear", {"network": "deep"}),
        (TypeError, "data must be a", {"data": dmft.Dataset(np.ones((2, 2)), np.ones(2))}),
        (TypeError, "training must be a", {"training": None}),
        (ValueError, "sample_ratio", {"training": dmft.OnlineSGD(0.1, 10)}),
        (ValueError, "sample_ratio", {"training": dmft.MinibatchSGD(0.1, 10), "data": dmft.GaussianData()}),
        (ValueError, "target_overlap", {"data": TWO_OUTPUTS}),
        (TypeError, "dim must be", {"dim": None}),
        (TypeError, "dim must be", {"dim": 10.0}),
        (ValueError, "dim must be", {"dim": 0}),
        (ValueError, "dim must be large enough for hidden layers of one unit", {"network": dmft.DeepLinear(1, 0.01)}),
        (ValueError, "dim must be large enough for at least one sample", {"data": dmft.GaussianData(0.01)}),
        (ValueError, "dim must be large enough for at least one sample per batch", {"training": dmft.MinibatchSGD(0.1, 10, 0.01)}),
        (ValueError, "dim must be large enough to give each", {"data": dmft.StructuredData(np.ones(40), np.ones(40))}),
        (ValueError, "GiB", {"dim": 10**6}),
        (ValueError, "seeds must be", {"seeds": 0}),
        (TypeError, "seeds must be", {"seeds": True}),
        (ValueError, "rng must be", {"rng": -1}),
        (TypeError, "rng must be .* SeedSequence", {"rng": "zero"}),
        (ValueError, "workers must be", {"workers": 0}),
        (TypeError, "progress must be", {"progress": 1}),
        (TypeError, "inputs must be", {"inputs": np.ones((3, 20))}),
        (ValueError, "dim must be left out or equal to the 5 columns", {"inputs": dmft.Dataset(np.ones((3, 5)), np.ones(3))}),
        (ValueError, "inputs must have as many labels", {"inputs": dmft.Dataset(np.ones((3, 20)), np.ones((3, 2)))}),
    ],
)
def test_bad_input_is_refused_by_name(error, match, changes):
    options = {"network": NETWORK, "data": DATA, "training": GD, "dim": 20, "progress": False} | changes
    with pytest.raises(error, match=match):
        simulate_networks(**options)


def test_memory_of_fresh_batches_is_checked_before_any_work():
    training = dmft.OnlineSGD(0.1, 3, batch_ratio=1e9)
    with pytest.raises(ValueError, match="dim = 20, seeds = 2 and workers = 1 need about 596.0 GiB"):
        dmft.simulate(dmft.DeepLinear(1), dmft.GaussianData(), training, dim=20, seeds=2)
