"""Finite networks of any abc-parameterization against a twin with dense matrices, multipliers and weights apart, and explicit loops."""

import dataclasses
import importlib

import numpy as np
import pytest

import dmft
from dmft import losses
from dmft.activations import resolve
from dmft.parameterizations import NAMES
from solvers import finite_deep
from solvers.activations import ACTIVATIONS

deep = importlib.import_module("dmft.simulations.deep")

DEPTH, WIDTH, SEED = 3, 24, 4
BLANK = (None,) * (DEPTH + 1)
RUN = dmft.GradientDescent([0.3, 0.5, 0.0, 0.2], 4)
#: Biases, a mean, changing rates of both, exponents that no name has.
WILD = dmft.ABC(
    ("1/2", "1/4", "3/4", "1/2"),
    ("-1/2", "1/4", 0, "1/2"),
    (-2, "-1/2", "-1", 0),
    c_later=(-1, "-1/4", -1, "1/2"),
    mean_b=("1/2", None, "1/2", "3/4"),
    bias_b=(0, "1/2", None, "1/4"),
    bias_c=("-1/2", 0, 0, "1/2"),
    bias_c_later=(0, 0, 0, "1/4"),
)
#: A readout that shrinks together with hidden weights.
SHRINKING = dataclasses.replace(dmft.parameterization("mup", DEPTH), b_later=("1/2", 1, "3/4", 1))


def problem(outputs=1, samples=5, test=3, seed=2):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples + test, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    signs, classes = np.where(rng.random(samples + test) < 0.7, 1.0, -1.0), rng.integers(outputs, size=samples + test)
    y = signs if outputs == 1 else np.eye(outputs)[classes]
    return dmft.Dataset(x[:samples], y[:samples], x[samples:], y[samples:])


def simulate(network, data, training=RUN, width=WIDTH, **options):
    return dmft.simulate(network, data, training, width=width, **({"seeds": 1, "rng": SEED, "progress": False} | options))


PHI = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "softplus": (lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),
}


def chi(loss, y, f):
    """Derivative of the loss of every sample by its logits."""
    if loss == "mse":
        return f - y
    return -y / (1 + np.exp(y * f)) if loss == "logistic" else np.exp(f) / np.exp(f).sum(axis=1, keepdims=True) - y


def twin(network, data, training, loss, width=WIDTH):
    """Logits before every step, shape (T, P + M, C); W = m^(-a) w with gradient steps on w."""
    abc, depth, samples = network.abc, network.depth, len(data.x)
    rng = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(0,)))
    shapes = [(width, data.x.shape[1]), *[(width, width)] * (depth - 1), (network.outputs, width)]
    scale = [network.weight_scale] * depth + [1.0]

    def power(exponent):
        return 0.0 if exponent is None else float(width) ** -float(exponent)

    gaussians = [rng.standard_normal(shape) for shape in shapes]
    initial = [s * power(b) * g for s, b, g in zip(scale, abc.b, gaussians)]
    w = [g + power(mean) for g, mean in zip(initial, abc.mean_b or (None,) * (depth + 1))]
    v = [s * power(b) * rng.standard_normal(len(g)) for s, b, g in zip(scale, abc.bias_b or (None,) * (depth + 1), gaussians)]
    phi, slope = PHI[network.activation]
    functions = []
    for t in range(training.steps + 1):
        x, h = [data.points], []
        for k in range(depth + 1):
            h.append(x[-1] @ (power(abc.a[k]) * w[k]).T + v[k])
            x.append(phi(h[-1]))
        functions.append(h[-1])
        if t == training.steps:
            return np.array(functions)
        back = training.batch_weights(samples)[t][:, None] * chi(loss, data.targets, h[-1][:samples])
        for k in reversed(range(depth + 1)):
            eta, dh, late = training.learning_rates[t], back, t > 0
            if k:
                back = dh @ (power(abc.a[k]) * w[k]) * slope(h[k - 1][:samples])
            w[k] = w[k] - eta * power((abc.c_later if late else abc.c)[k]) * power(abc.a[k]) * dh.T @ x[k][:samples]
            if abc.bias_b is not None and abc.bias_b[k] is not None:
                v[k] = v[k] - eta * power((abc.bias_c_later if late else abc.bias_c)[k]) * dh.sum(axis=0)
        if t == 0:
            w = [new - first + power(later) / power(b) * first for new, first, b, later in zip(w, initial, abc.b, abc.b_later)]


@pytest.mark.parametrize("parameterization", [*NAMES, WILD, SHRINKING], ids=[*NAMES, "wild", "shrinking"])
@pytest.mark.parametrize("activation", PHI)
def test_every_parameterization_against_dense_matrices(parameterization, activation):
    network, data = dmft.DeepNet(DEPTH, parameterization, activation), problem()
    training = RUN if parameterization != "sp" else dataclasses.replace(RUN, learning_rate=0.01)
    found = simulate(network, data, training)
    np.testing.assert_allclose(found.function[0], twin(network, data, training, "mse")[..., 0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "outputs, loss, training",
    [
        (1, "logistic", RUN),
        (3, "softmax", RUN),
        (3, "mse", dmft.MinibatchSGD(0.4, 6, 0.4, batch_seed=3)),
        (1, "logistic", dmft.MinibatchSGD(0.4, 6, 0.6)),
    ],
)
@pytest.mark.parametrize("depth, name", [(1, "mup"), (2, "ip-bias"), (DEPTH, "hybrid-mup"), (4, "ip-llr")])
def test_losses_batches_and_outputs_against_dense_matrices(depth, name, outputs, loss, training):
    network, data = dmft.DeepNet(depth, name, "tanh", outputs=outputs), problem(outputs)
    found = simulate(network, data, training, loss=loss)
    expected = twin(network, data, training, loss)
    np.testing.assert_allclose(found.function[0].reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)
    y, z = data.targets, expected[:, : len(data.x)]
    mean = {
        "mse": lambda: ((y - z) ** 2).sum(axis=-1).mean(axis=-1),
        "logistic": lambda: np.log(1 + np.exp(-y * z)).mean(axis=(1, 2)),
        "softmax": lambda: -np.log((np.exp(z) * y).sum(axis=-1) / np.exp(z).sum(axis=-1)).mean(axis=-1),
    }[loss]()
    np.testing.assert_allclose(found.train_loss[0], mean, rtol=1e-10)
    assert np.array_equal(found.initial_function[0], found.function[0, 0])
    assert found.predictions.shape[2] == len(data.x) and found.test_predictions.shape[2] == len(data.test_x)


@pytest.mark.parametrize("rank", [5, 7, 10, 60])
def test_any_rank_gives_the_same(rank, monkeypatch):
    monkeypatch.setattr(deep, "_rank", lambda *_: rank)
    training = dmft.GradientDescent(0.4, 12)
    for name in ("hybrid-mup", "ip-non-centered"):
        network = dmft.DeepNet(DEPTH, name, "tanh")
        found = simulate(network, problem(), training).function[0]
        np.testing.assert_allclose(found, twin(network, problem(), training, "mse")[..., 0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("parameterization", [*NAMES[1:], WILD], ids=[*NAMES[1:], "wild"])
def test_abc_symmetry(parameterization):
    """Multipliers, weights and rates moved: nothing changes at any step, here and in the twin that keeps them apart."""
    network, data = dmft.DeepNet(DEPTH, parameterization, "tanh"), problem()
    moved = dataclasses.replace(network, parameterization=network.abc.rescaled(("1/2", "-3/4", "1/8", 1)))
    found = simulate(network, data).function
    np.testing.assert_allclose(simulate(moved, data).function, found, rtol=1e-12)
    np.testing.assert_allclose(twin(moved, data, RUN, "mse")[..., 0], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss, outputs", [("mse", 1), ("logistic", 1), ("softmax", 3), ("mse", 2)])
def test_first_changes_are_finite_differences_of_the_loss(loss, outputs):
    """A change of the readout, and of a hidden matrix, bias and input matrix, is minus the gradient of the mean loss."""
    rng, data = np.random.default_rng(1), problem(outputs)
    samples, width, depth = len(data.x), 7, 2
    gaussians = finite_deep.draw(rng, data.x.shape[1], width, depth, outputs)
    ones, small = np.ones(depth + 1), np.full(depth + 1, 0.3)
    scales = finite_deep.Scales(ones, ones, 0 * ones, small, ones, ones, ones, ones)
    derivative, mean_loss = losses.of_outputs(loss)
    halved = 0.5 if loss == "mse" else 1.0

    def network():
        copies = finite_deep.Gaussians(gaussians.first, [g.copy() for g in gaussians.hidden], gaussians.readout, gaussians.biases)
        return finite_deep._Network(copies, scales, data.x, samples, ACTIVATIONS["tanh"], samples)

    trained = network()
    trained.backward(derivative(data.targets, trained.forward()) / samples)
    trained.update(1.0, first=True)
    matrix = trained.matrices[0]
    found = {
        "readout": trained.readout_change,
        "hidden": matrix.left.T @ matrix.right,
        "bias": trained.bias_changes[1],
        "first": trained.first_change,
    }

    def moved_loss(name, direction, step):
        moved = network()
        match name:
            case "readout":
                moved.readout = moved.readout + step * direction
            case "hidden":
                moved.matrices[0].gaussian += step * direction
            case "bias":
                moved.biases[1] = moved.biases[1] + step * direction
            case "first":
                moved.first = moved.first + step * data.x @ direction.T
        return halved * mean_loss(data.targets, moved.forward())

    for name, change in found.items():
        direction = rng.standard_normal((width, data.x.shape[1]) if name == "first" else change.shape)
        slope = (moved_loss(name, direction, 1e-5) - moved_loss(name, direction, -1e-5)) / 2e-5
        if name == "first":
            change = np.linalg.lstsq(data.x, change, rcond=None)[0].T
        assert -np.sum(change * direction) == pytest.approx(slope, rel=1e-7, abs=1e-9)


def centred(network, data, training):
    """`simulate` with the derivative of the first step taken at zero logits."""
    stream = np.random.SeedSequence(SEED, spawn_key=(0,))
    gaussians = finite_deep.draw(np.random.default_rng(stream), data.x.shape[1], WIDTH, network.depth, 1)
    states = finite_deep.march(
        gaussians,
        deep.scales(network, WIDTH),
        data.points,
        len(data.x),
        resolve(network),
        lambda step, f: (f * (step > 0) - data.targets) / len(data.x),
        training.learning_rates,
        len(data.x),
    )
    return np.array([state.logits[:, 0] for state in states])


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_large_first_rates_are_hybrid_mup_if_the_first_derivative_is_at_zero(depth, activation):
    """docs/theory/deep_parameterizations.md, section 2.5: an identity at any width, for positively homogeneous activations."""
    data, training = problem(), dmft.GradientDescent([5.0, 0.3, 0.3], 3)
    llr, hybrid = (centred(dmft.DeepNet(depth, name, activation), data, training) for name in ("ip-llr", "hybrid-mup"))
    assert np.abs(llr[1]).max() > 1e-3
    np.testing.assert_allclose(llr[1:], hybrid[1:], rtol=1e-12, atol=1e-12 * np.abs(llr[1:]).max())


WIDTHS = (32, 64, 128, 256)


@pytest.fixture(scope="module")
def differences():
    """Log of the differences between large first rates and muP, hybrid or plain, at steps 1 to 3: {name: (widths, seeds, 3)}."""
    data = dmft.Dataset(problem().x, np.array([1.0, 1.0, 0.5, 1.0, -0.5]))
    training, found = dmft.GradientDescent([4.0, 0.3, 0.3], 3), {"hybrid-mup": [], "mup": []}
    for width in WIDTHS:
        llr, *others = (
            simulate(dmft.DeepNet(3, name), data, training, width=width, seeds=24, rng=width).function[:, 1:] for name in ("ip-llr", *found)
        )
        for rows, other in zip(found.values(), others):
            rows.append(np.log(np.sqrt(((llr - other) ** 2).mean(axis=2))))
    return {name: np.array(rows) for name, rows in found.items()}


def test_large_first_rates_approach_hybrid_mup_and_not_mup(differences):
    positions = np.log(WIDTHS) - np.log(WIDTHS).mean()
    weights = positions / (positions**2).sum()
    fits = {}
    for name, logs in differences.items():
        fits[name] = weights @ logs.mean(axis=1), np.sqrt(weights**2 @ logs.var(axis=1, ddof=1) / logs.shape[1])
    slopes, errors = fits["hybrid-mup"]
    assert np.all(np.abs(slopes + 0.5) < 4 * errors) and np.all(errors < 0.25)
    slopes, errors = fits["mup"]
    assert np.all(slopes + 0.5 > 4 * errors) and np.all(slopes > -0.1)
    assert np.all(differences["mup"][-1].mean(axis=0) > differences["hybrid-mup"][-1].mean(axis=0) + 1)


WILD_2 = dmft.ABC((0, "1/2", 1), (0, 0, 0), (-1, 0, -1), mean_b=(None, "1/2", None), bias_b=(0, 0, None), bias_c=(-1, "-1/2", 0))


def test_sizes_of_signals():
    network, data = dmft.DeepNet(2, WILD_2, "tanh"), problem()
    ensemble = simulate(network, data, track="coordinates", seeds=2)
    assert ensemble.coordinates.shape == (2, RUN.steps + 1, len(finite_deep.SIGNALS), 3)
    h, x, dh, change, own = np.moveaxis(ensemble.coordinates, 2, 0)
    predictions = ensemble.predictions
    np.testing.assert_allclose(h[..., -1], np.sqrt((predictions**2).mean(axis=2)), rtol=1e-12)
    np.testing.assert_allclose(x[..., -1], h[..., -1], rtol=1e-12)
    np.testing.assert_allclose(change[..., -1], np.sqrt(((predictions - predictions[:, :1]) ** 2).mean(axis=2)), rtol=1e-9)
    np.testing.assert_allclose(dh[..., -1], np.sqrt((((predictions - data.y) / len(data.y)) ** 2).mean(axis=2)), rtol=1e-12)
    np.testing.assert_allclose(own[:, 1:, 0], change[:, 1:, 0], rtol=1e-9)
    assert not change[:, 0].any() and not own[:, 0].any() and np.all(own[:, 1:] > 0)
    assert np.array_equal(change[:, 2], change[:, 3]), "a step with rate zero"
    plain = simulate(network, data, seeds=2)
    np.testing.assert_allclose(plain.function, ensemble.function, rtol=1e-12)
    assert plain.coordinates is None


@pytest.mark.parametrize("outputs, track", [(1, "coordinates"), (3, None)])
def test_ensembles_are_stored_with_the_names_of_their_dimensions(outputs, track, tmp_path):
    import h5py

    network = dmft.DeepNet(DEPTH, WILD, "tanh", outputs=outputs)
    ensemble = simulate(network, problem(outputs), seeds=2, track=track)
    path = tmp_path / "deep.h5"
    ensemble.save(path)
    loaded = dmft.load(path)
    assert (loaded.network, loaded.data, loaded.training) == (network, problem(outputs), RUN)
    assert (loaded.width, loaded.options) == (WIDTH, {"loss": "mse", "track": track})
    assert loaded.arrays().keys() == ensemble.arrays().keys()
    for name, array in ensemble.arrays().items():
        assert np.array_equal(getattr(loaded, name), array), name
    with h5py.File(path) as file:
        labels = [dimension.label for dimension in file["function"].dims]
        assert labels == ["seed", "time", "point", "output"][: 3 + (outputs > 1)]
        assert [dimension.label for dimension in file["initial_function"].dims] == ["seed", "point", "output"][: 2 + (outputs > 1)]
        if track:
            assert [dimension.label for dimension in file["coordinates"].dims] == ["seed", "time", "signal", "layer"]


def test_networks_that_diverge_end_in_infinity():
    ensemble = simulate(dmft.DeepNet(DEPTH, "ntk"), problem(), dmft.GradientDescent(1e6, 30), track="coordinates")
    assert np.isinf(ensemble.train_loss[0, -1]) and np.isinf(ensemble.function[0, -1]).all() and np.isinf(ensemble.coordinates[0, -1]).all()
    assert "diverged" in str(ensemble)


def test_seeds_do_not_depend_on_each_other():
    network, data = dmft.DeepNet(DEPTH, "mup"), problem()
    many = simulate(network, data, seeds=3, workers=2).function
    assert np.array_equal(many, simulate(network, data, seeds=3).function)
    assert np.array_equal(many[:1], simulate(network, data, seeds=1).function)


NET, DATA = dmft.DeepNet(2), problem()


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((NET, dmft.GaussianData(), RUN), {}, TypeError, "data must be a Dataset"),
        ((NET, DATA, dmft.OnlineSGD(0.1, 2)), {}, TypeError, "training must be a GradientDescent or MinibatchSGD"),
        ((NET, DATA, dmft.GradientDescent(0.1, 2, momentum=0.9)), {}, ValueError, "momentum must be 0 for a DeepNet"),
        ((NET, DATA, dmft.GradientDescent(0.1, 2, weight_decay=0.1)), {}, ValueError, "weight_decay must be 0 for a DeepNet"),
        ((NET, DATA, RUN), {"width": 0}, ValueError, "width must be an integer >= 1"),
        ((NET, DATA, RUN), {"width": 10**7}, ValueError, r"width = 10000000, seeds = 1 and workers = 1 need about .* GiB"),
        ((NET, DATA, RUN), {"loss": "l1"}, ValueError, "loss must be one of"),
        ((NET, DATA, RUN), {"loss": "softmax"}, ValueError, "loss='softmax' needs a network with outputs >= 2"),
        ((NET, DATA, RUN), {"track": "kernels"}, ValueError, "track must be one of None, 'coordinates'"),
        ((NET, problem(3), RUN), {}, ValueError, r"y must have shape \(.,\), a label per output"),
        ((dmft.DeepNet(2, outputs=3), problem(3), RUN), {"loss": "logistic"}, ValueError, "loss='logistic' needs a network with outputs=1"),
        ((NET, dmft.Dataset(DATA.x, 2 * DATA.y), RUN), {"loss": "logistic"}, ValueError, "y must be -1 or"),
        (
            (dmft.DeepNet(2, outputs=3), dmft.Dataset(DATA.x, 0.5 * problem(3).y), RUN),
            {"loss": "softmax"},
            ValueError,
            "y must be one-hot",
        ),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        simulate(*arguments, **options)
