"""Finite deep linear networks at proportional sizes: explicit random weights and samples.

Nothing here knows the theory: no order parameters, no memory kernels. Definitions: docs/theory/deep_linear.md, section 0; the
optimizer's order of operations: `training.Optimizer`; the numerics: `solvers/finite_network.py`.
"""

from functools import partial

import numpy as np

from solvers import finite_flow, finite_network

from .. import checks
from ..data import Dataset, check_data
from ..ensemble import LinearEnsemble
from ..specification import check_type
from ..training import GradientDescent, GradientFlow, MinibatchSGD, OnlineSGD, check_combination
from .plan import Plan, check_memory

OPTIONS = ("dim", "inputs")
FLUSH_RANK = 32
MOMENTUM_FLUSH_RANK = 128
#: Of a flow, whose steps take three gradients each.
FLOW_FLUSH_RANK = 96
#: Explicit steps of a flow.
MOST_STEPS = 100_000


def plan(network, data, training, seeds, workers, dim=None, inputs=None):
    """The `Plan` of checked arguments, as in `dmft.simulate`."""
    check_data(data)
    check_type("training", training, (GradientDescent, OnlineSGD, MinibatchSGD, GradientFlow))
    check_combination(data, training)
    if inputs is not None:
        dim = _checked_inputs(inputs, network, dim)
    dim = checks.integer("dim", dim, 1)
    widths = _widths(network, dim)
    samples = _sample_size(data, training, dim)
    remedy = "a smaller dim (cost grows as dim**2, the standard error falls as 1/sqrt(seeds * dim))"
    check_memory(f"dim = {dim}", *_numbers(network, training, dim, widths, samples, inputs), seeds, workers, remedy)
    population = _Gaussian(data.spectrum(network.outputs), dim) if inputs is None else _Empirical(inputs)
    if isinstance(training, GradientFlow):
        _check_time(network, training, population.eigenvalues, samples)

    def collect(losses, **provenance):
        return LinearEnsemble(
            network=network,
            data=data,
            training=training,
            test_loss=np.array([test for test, _ in losses]),
            train_loss=np.array([train for _, train in losses]),
            dim=dim,
            widths=widths,
            samples=samples,
            inputs=None if inputs is None else f"{len(inputs.x)} real samples" + ("" if samples is None else ", drawn with replacement"),
            **provenance,
        )

    return Plan(f"D = {dim}", partial(_train, network, training, population, widths, samples), collect)


def _check_time(network, training, eigenvalues, samples):
    """Raise ValueError where explicit steps that are stable for the largest curvature of the initial network are too many."""
    spread = 0.0 if samples is None else np.sqrt(np.sum(eigenvalues) / samples)
    kernel = (len(network.width_ratios) + 1) * (1 + (network.branch or 0.0) ** 2) ** network.depth
    reach = MOST_STEPS * finite_flow.STABILITY_LIMIT / (kernel * (np.sqrt(eigenvalues.max()) + spread) ** 2)
    if training.time > reach:
        raise ValueError(
            f"time must be at most about {reach:.0e} to simulate networks on these data, whose explicit steps are {MOST_STEPS} at most; "
            f"got {training.time:g}. The theory takes any time"
        )


def _checked_inputs(inputs, network, dim):
    check_type("inputs", inputs, (Dataset,))
    if inputs.targets.shape[1] != network.outputs:
        raise ValueError(
            f"inputs must have as many labels per sample as the network has outputs = {network.outputs}; got {inputs.targets.shape[1]}"
        )
    if dim is not None and checks.integer("dim", dim, 1) != inputs.x.shape[1]:
        raise ValueError(f"dim must be left out or equal to the {inputs.x.shape[1]} columns of inputs; got {checks.shown(dim)}")
    return inputs.x.shape[1]


def _widths(network, dim):
    if np.isinf(network.depth):
        raise ValueError(
            "depth must be finite to simulate, as no computer holds infinitely many layers; got inf. "
            "Simulate a large finite depth, 64 or more, which is within O(1 / depth) of the limit"
        )
    if np.isinf(network.width_ratios[0]):
        raise ValueError(
            "width_ratio must be finite to simulate, as no computer holds an infinitely wide network; got inf. "
            "Simulate a large finite width_ratio, or solve the theory, which takes math.inf exactly"
        )
    widths = tuple(round(ratio * dim) for ratio in network.width_ratios)
    if min(widths) < 1:
        raise ValueError(
            f"dim must be large enough for hidden layers of one unit; got dim = {dim} at width_ratio = {min(network.width_ratios):g}"
        )
    return widths


def _sample_size(data, training, dim):
    ratio = training.batch_ratio if isinstance(training, OnlineSGD) else data.sample_ratio
    if np.isinf(ratio):
        return None
    samples = round(ratio * dim)
    if samples < 1:
        raise ValueError(f"dim must be large enough for at least one sample; got dim = {dim} at {ratio:g} samples per dimension")
    if isinstance(training, MinibatchSGD) and round(training.batch_fraction * samples) < 1:
        raise ValueError(
            "dim must be large enough for at least one sample per batch; "
            f"got dim = {dim}, P = {samples}, batch_fraction = {training.batch_fraction:g}"
        )
    return samples


def _numbers(network, training, dim, widths, samples, inputs):
    """Those of `check_memory`: weights and samples, of fresh Gaussian ones what is seen of them; and losses."""
    sizes = (dim, *widths)
    weights = sum(a * b for a, b in zip(sizes, sizes[1:])) * (2 if getattr(training, "momentum", 0.0) else 1)
    per_sample = 4 * network.outputs if isinstance(training, OnlineSGD) and inputs is None else dim
    return weights + (samples or 0) * per_sample, 2 * training.rows


class _Gaussian:
    """Gaussian inputs of a spectrum at D dimensions, in the eigenbasis of their covariance."""

    def __init__(self, spectrum, dim):
        self.counts = _mode_counts(spectrum.fractions, dim)
        self.eigenvalues = np.zeros(dim)
        self.eigenvalues[: self.counts.sum()] = np.repeat(spectrum.eigenvalues, self.counts)
        self.target_factors = [_root(power) for power in spectrum.target]
        self.noise_factor = _root(spectrum.noise)
        self.noise_power = np.trace(spectrum.noise)

    def target(self, rng):
        """w*, shape (C, D): in every mode a random direction with w*^T w* = n_k times the target power, Gaussian where n_k is too small."""
        target = np.zeros((len(self.noise_factor), len(self.eigenvalues)))
        stop = np.cumsum(self.counts)
        for first, count, factor in zip(stop - self.counts, self.counts, self.target_factors):
            directions = rng.standard_normal((count, factor.shape[1]))
            if count >= factor.shape[1]:
                directions = np.sqrt(count) * np.linalg.qr(directions)[0]
            target[:, first : first + count] = factor @ directions.T
        return target

    def samples(self, rng, count):
        """Inputs (P, D) and label noise (C, P)."""
        x = rng.standard_normal((count, len(self.eigenvalues)))
        x *= np.sqrt(self.eigenvalues)
        return x, self.noise_factor @ rng.standard_normal((self.noise_factor.shape[1], count))

    def fresh_gradient(self, v, rng, batch):
        return finite_network.fresh_gaussian_gradient(v, self.eigenvalues, self.noise_factor, batch, rng)


class _Empirical:
    """The rows of a data set, rotated to the eigenbasis of their covariance: a network with Gaussian weights does not see the rotation."""

    def __init__(self, dataset):
        samples, dim = dataset.x.shape
        eigenvalues, vectors = np.linalg.eigh(dataset.x.T @ dataset.x / samples)
        linear = dataset.linear_target()
        self.eigenvalues = np.maximum(eigenvalues, 0.0)
        self.x = dataset.x @ vectors
        self.residuals = (dataset.targets - dataset.x @ linear).T
        self.weights = np.sqrt(dim) * (vectors.T @ linear).T
        self.noise_power = np.sum(self.residuals**2) / samples

    def target(self, rng):
        return self.weights

    def samples(self, rng, count):
        rows = rng.integers(len(self.x), size=count)
        return self.x[rows], self.residuals[:, rows]

    def fresh_gradient(self, v, rng, batch):
        return finite_network.sample_gradient(v, *self.samples(rng, batch))


def _mode_counts(fractions, dim):
    """Whole numbers of dimensions in proportion to `fractions`, by largest remainders."""
    shares = fractions * dim
    counts = np.floor(shares + 1e-9).astype(int)
    missing = round(shares.sum()) - counts.sum()
    counts[np.argsort(counts - shares, kind="stable")[:missing]] += 1
    if counts.min() == 0:
        raise ValueError(
            f"dim must be large enough to give each of the {len(counts)} modes a dimension; "
            f"got {dim}, which leaves none for the mode with the fraction {fractions[counts.argmin()]:.3g}"
        )
    return counts


def _root(covariance):
    """F, shape (C, rank), with F F^T the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-12 * max(values[-1], 0.0)
    return vectors[:, kept] * np.sqrt(values[kept])


def _train(network, training, population, widths, samples, stream, advance=lambda steps: None):
    """Test and training losses of one network, shape (T,) each."""
    rng = np.random.default_rng(stream)
    dim = len(population.eigenvalues)
    sizes = (dim, *widths)
    matrices = [rng.standard_normal((n, m)) for m, n in zip(sizes, sizes[1:])]
    readout = rng.standard_normal((network.outputs, widths[-1]))
    target = population.target(rng)
    problem = network.richness, target, population.eigenvalues, _data_gradient(training, population, samples, rng)
    losses = np.full((2, training.rows), np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for t, pair in enumerate(_run(network, training, matrices, readout, problem)):
            losses[:, t] = pair
            if t > 0:
                advance(1)
    advance(training.rows - 1 - t)
    return losses


def _run(network, training, matrices, readout, problem):
    """Iterator over the losses of one network with these weights, with the arguments of `finite_network.march` that follow them."""
    outputs = network.outputs
    if isinstance(training, GradientFlow):
        rank = max(FLOW_FLUSH_RANK, 8 * outputs)
        return finite_flow.integrate(matrices, readout, *problem, training.weight_decay, training.times, rank, branch=network.branch)
    return finite_network.march(
        matrices,
        readout,
        *problem,
        {name: getattr(training, name) for name in ("momentum", "nesterov", "weight_decay", "decoupled")},
        training.learning_rates,
        rank=_rank(training, outputs, max(max(matrix.shape) for matrix in matrices)),
        divergence_factor=1e3 * max(1.0, network.width_ratios[-1], network.richness**-2),
        branch=network.branch,
    )


def _rank(training, outputs, size):
    """Rows of update factors kept before a flush; with momentum all, where they are cheaper to read than a second matrix per layer."""
    if not training.momentum:
        return max(FLUSH_RANK, outputs)
    everything = training.steps * outputs
    return everything if everything <= size else max(MOMENTUM_FLUSH_RANK, outputs)


def _data_gradient(training, population, samples, rng):
    if isinstance(training, OnlineSGD):
        return partial(population.fresh_gradient, rng=rng, batch=samples)
    if samples is None:
        return partial(finite_network.population_gradient, eigenvalues=population.eigenvalues, noise_power=population.noise_power)
    x, noise = population.samples(rng, samples)
    if isinstance(training, (GradientDescent, GradientFlow)):
        return partial(finite_network.sample_gradient, x=x, noise=noise)
    batch = round(training.batch_fraction * samples)
    return lambda v: finite_network.sample_gradient(v, x, noise, kept=rng.choice(samples, batch, replace=False))
