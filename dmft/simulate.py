"""Finite networks: the same network, data and training as the theory, with explicit random weights and samples.

Nothing here knows the theory: no order parameters, no memory kernels. Definitions: theory/deep_linear.md, section 0; the
optimizer's order of operations: `training.Optimizer`; the numerics: `solvers/finite_network.py`.
"""

import os
import time
from dataclasses import dataclass
from functools import partial

import joblib
import numpy as np
import threadpoolctl
from tqdm.auto import tqdm

from solvers import finite_network

from . import checks
from .data import Dataset, check_data
from .networks import DeepLinear
from .specification import Specification, check_type
from .training import GradientDescent, MinibatchSGD, OnlineSGD, check_combination

FLUSH_RANK = 32
MOMENTUM_FLUSH_RANK = 128


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Losses of several finite networks trained on the same problem.

    Attributes
    ----------
    times : ndarray, shape (T,)
        Steps 0 ... `training.steps`; entry t is before update t.
    test_loss, train_loss : ndarray, shape (seeds, T)
        Mean squares, summed over outputs; label noise counts in the training loss only. ``inf`` once a network has diverged.
    dim : int
        Input dimension D.
    widths : tuple of int
        N_1 ... N_L.
    samples : int or None
        Training samples P, the batch for `OnlineSGD`, None for training on the population.
    network, data, training : Specification
        The problem.
    rng : str
        Seed i used the stream ``SeedSequence(entropy, spawn_key=(*spawn_key, i))`` of the entropy and spawn_key stated here.
    inputs : str or None
        What real inputs were used, None for Gaussian inputs.
    elapsed : float
        Wall time in seconds.
    """

    times: np.ndarray
    test_loss: np.ndarray
    train_loss: np.ndarray
    dim: int
    widths: tuple
    samples: int | None
    network: Specification
    data: Specification
    training: Specification
    rng: str
    inputs: str | None
    elapsed: float

    @property
    def seeds(self):
        return len(self.test_loss)

    @property
    def sizes(self):
        """D, widths and number of samples in words."""
        text = f"D = {self.dim}, widths {', '.join(map(str, self.widths))}"
        if self.samples is None:
            return text
        return f"{text}, {'batch' if isinstance(self.training, OnlineSGD) else 'P'} = {self.samples}"

    def mean(self, name="test_loss"):
        """Mean over seeds of "test_loss" or "train_loss", shape (T,); infinite where any seed has diverged."""
        return self._losses(name).mean(axis=0)

    def standard_error(self, name="test_loss"):
        """Standard error of `mean`, shape (T,); infinite where any seed has diverged.

        Raises
        ------
        ValueError
            With a single seed, which has no spread.
        """
        if self.seeds < 2:
            raise ValueError("a standard error needs seeds >= 2; this ensemble has one seed")
        losses = self._losses(name)
        finite = np.isfinite(losses).all(axis=0)
        error = np.full(losses.shape[1], np.inf)
        error[finite] = losses[:, finite].std(axis=0, ddof=1) / np.sqrt(self.seeds)
        return error

    def _losses(self, name):
        return getattr(self, checks.choice("name", name, ("test_loss", "train_loss")))

    def save(self, path):
        """Write an HDF5 file that `dmft.load` reads back."""
        from .storage import save

        save(self, path)

    def __str__(self):
        lines = [f"Ensemble of {self.seeds} finite networks: {self.sizes}", f"  {self.inputs or 'Gaussian inputs'}; {self.rng}"]
        for name, label in (("test_loss", "test loss "), ("train_loss", "train loss")):
            mean = self.mean(name)
            error = f" +- {self.standard_error(name)[-1]:.2g}" if self.seeds > 1 and np.isfinite(mean[-1]) else ""
            lines.append(f"  {label} {mean[0]:.4g} at t = 0, {mean[-1]:.4g}{error} at t = {self.times[-1]}")
        diverged = int(np.isinf(self.test_loss[:, -1]).sum())
        if diverged:
            lines.append(f"  {diverged} of {self.seeds} networks diverged")
        return "\n".join([*lines, f"  computed in {self.elapsed:.2f} s"])


def simulate(network, data, training, *, dim=None, seeds=8, rng=0, progress=True, workers=1, inputs=None):
    """Train finite networks.

    All weights are N(0, 1); widths are round(nu_l D), samples round(alpha D), batches round(batch_ratio D) or round(p P). Every mode of
    the spectrum gets a whole number of dimensions: take `dim` a multiple of the number of modes, or much larger. The target
    weights are random directions with exactly the stated overlaps, as far as a mode has dimensions enough for them.

    Parameters
    ----------
    network : DeepLinear
    data : GaussianData or StructuredData
    training : GradientDescent, OnlineSGD or MinibatchSGD
    dim : int
        Input dimension D; may be left out with `inputs`.
    seeds : int
        Number of networks, each with its own weights and data.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator
        Seed i has the same stream whatever `seeds` and `workers` are, and gives the same losses bit for bit at equal numbers of
        BLAS threads. A generator is advanced.
    progress : bool
        Show a progress bar.
    workers : int
        Processes that share the seeds.
    inputs : Dataset, optional
        Real data instead of Gaussian samples: each seed draws its training rows from it with replacement, inputs and labels. The test
        loss is the error against the data set's least-squares linear target under the data set's covariance; at
        ``sample_ratio=math.inf`` networks are trained on all of it.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument.
    """
    check_type("network", network, (DeepLinear,))
    check_data(data)
    check_type("training", training, (GradientDescent, OnlineSGD, MinibatchSGD))
    check_combination(data, training)
    if inputs is not None:
        dim = _checked_inputs(inputs, network, dim)
    dim = checks.integer("dim", dim, 1)
    seeds = checks.integer("seeds", seeds, 1)
    workers = min(seeds, checks.integer("workers", workers, 1))
    progress = checks.flag("progress", progress)
    root = _seed_sequence(rng)
    widths = _widths(network, dim)
    samples = _sample_size(data, training, dim)
    _check_memory(dim, widths, samples, training, workers)
    population = _Gaussian(data.spectrum(network.outputs), dim) if inputs is None else _Empirical(inputs)

    start = time.perf_counter()
    streams = [np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, i)) for i in range(seeds)]
    train = partial(_train, network, training, population, widths, samples)
    with tqdm(total=seeds * training.steps, desc=f"simulate D = {dim}", unit="step", disable=not progress) as bar:
        if workers == 1:
            losses = [train(stream, bar.update) for stream in streams]
        else:
            threads = max(1, os.cpu_count() // workers)
            tasks = (joblib.delayed(_train_apart)(threads, train, stream) for stream in streams)
            losses = []
            for result in joblib.Parallel(workers, return_as="generator")(tasks):
                losses.append(result)
                bar.update(training.steps)
    return Ensemble(
        times=np.arange(training.steps + 1),
        test_loss=np.array([test for test, _ in losses]),
        train_loss=np.array([train for _, train in losses]),
        dim=dim,
        widths=widths,
        samples=samples,
        network=network,
        data=data,
        training=training,
        rng=f"SeedSequence(entropy={root.entropy}, spawn_key={root.spawn_key})",
        inputs=None if inputs is None else f"{len(inputs.x)} real samples" + ("" if samples is None else ", drawn with replacement"),
        elapsed=time.perf_counter() - start,
    )


def _checked_inputs(inputs, network, dim):
    check_type("inputs", inputs, (Dataset,))
    if inputs.targets.shape[1] != network.outputs:
        raise ValueError(
            f"inputs must have as many labels per sample as the network has outputs = {network.outputs}; got {inputs.targets.shape[1]}"
        )
    if dim not in (None, inputs.x.shape[1]):
        raise ValueError(f"dim must be left out or equal to the {inputs.x.shape[1]} columns of inputs; got {dim!r}")
    return inputs.x.shape[1]


def _seed_sequence(rng):
    if isinstance(rng, np.random.SeedSequence):
        return rng
    if isinstance(rng, np.random.Generator):
        return np.random.SeedSequence(rng.integers(2**63, size=2).tolist())
    try:
        return np.random.SeedSequence(checks.integer("rng", rng, 0))
    except TypeError:
        checks.fail("rng", rng, "an integer >= 0, a numpy SeedSequence or a numpy Generator", TypeError)


def _widths(network, dim):
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


def _check_memory(dim, widths, samples, training, workers):
    sizes = (dim, *widths)
    weights = sum(a * b for a, b in zip(sizes, sizes[1:])) * (2 if training.momentum else 1)
    inputs = 0 if samples is None or isinstance(training, OnlineSGD) else samples * dim
    needed, limit = 8 * (weights + inputs) * workers, checks.machine_memory()
    if needed > limit:
        raise ValueError(
            f"dim = {dim} with {workers} worker(s) needs {needed / 2**30:.1f} GiB, above this machine's limit of {limit / 2**30:.1f} GiB. "
            "Take a smaller dim and more seeds (cost grows as dim**2, the standard error falls as 1/sqrt(seeds * dim)), or fewer workers"
        )


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
    """Test and training losses of one network, shape (steps + 1,) each."""
    rng = np.random.default_rng(stream)
    dim = len(population.eigenvalues)
    sizes = (dim, *widths)
    matrices = [rng.standard_normal((n, m)) for m, n in zip(sizes, sizes[1:])]
    readout = rng.standard_normal((network.outputs, widths[-1]))
    target = population.target(rng)
    run = finite_network.march(
        matrices,
        readout,
        network.richness,
        target,
        population.eigenvalues,
        _data_gradient(training, population, samples, rng),
        {name: getattr(training, name) for name in ("momentum", "nesterov", "weight_decay", "decoupled")},
        training.learning_rates,
        rank=_rank(training, network.outputs, max(sizes)),
        divergence_factor=1e3 * max(1.0, network.width_ratios[-1], network.richness**-2),
    )
    losses = np.full((2, training.steps + 1), np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for t, pair in enumerate(run):
            losses[:, t] = pair
            if t > 0:
                advance(1)
    advance(training.steps - t)
    return losses


def _train_apart(threads, train, stream):
    with threadpoolctl.threadpool_limits(threads):
        return train(stream)


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
    if isinstance(training, GradientDescent):
        return partial(finite_network.sample_gradient, x=x, noise=noise)
    batch = round(training.batch_fraction * samples)
    return lambda v: finite_network.sample_gradient(v, x, noise, kept=rng.choice(samples, batch, replace=False))
