"""Networks with one hidden layer on a data set: the limit of their scaling exponents, and its equations at finite width.

Which equations hold is derived (`derivations.shallow`): whether the tangent kernel is stationary or the law of the neurons evolves,
what the logits start from, and which limit of the loss derivative survives. Solved are equations (4) and (5) with the rules (3), their
form (6) at finite width, and (7) for the initialization-corrected limit. Source: docs/theory/shallow_limits.md, sections 4 and 5;
arXiv 2006.06574.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import checks, limits, losses
from ..activations import resolve
from ..data import Dataset
from ..divergence import Divergence
from ..function_trajectory import FunctionTrajectory
from ..machine import cores
from ..shallow_scaling import check_width, reach, refuse_unstable, scaling
from ..specification import check_type
from ..threads import one_thread
from ..training import GradientDescent, MinibatchSGD
from .recording import recorded, whole_systems

#: Methods and their options.
METHODS = {"causal": ("loss", "width", "samples", "rng", "initial_function", "track")}
#: Whether `march` takes a memory limit, to choose how to go about.
ADAPTS_TO_MEMORY = False


def continues(network, training):
    """Whether `march` goes on from `start`; it solves those rows again, to the same numbers."""
    return False

TRACKED = (None, "kernels")

#: Particles by default, and the independent systems among which they are divided, as only their spread is an honest error.
SAMPLES = 2**16
REPLICAS = 8


def check_types(data, training):
    """Raise TypeError, naming the argument, for data and training of a kind that this theory does not know."""
    check_type("data", data, (Dataset,))
    check_type("training", training, (GradientDescent, MinibatchSGD))


def check_problem(network, data, training, loss, track):
    """Raise TypeError or ValueError, naming the argument, for what neither theory nor simulation takes."""
    check_types(data, training)
    if training.momentum or training.weight_decay:
        raise ValueError("momentum and weight_decay must be 0 for a ShallowNet, whose limits are those of plain gradient descent")
    losses.check(loss, data, 1)
    checks.choice("track", track, TRACKED)


def check(network, data, training, method="causal", loss="logistic", width=None, samples=SAMPLES, rng=0, initial_function=None, track=None):
    """Raise TypeError or ValueError, naming the argument, unless this theory covers the problem.

    Parameters
    ----------
    network : ShallowNet
    data : Dataset
        One label per sample: -1 or +1 for "logistic" and "hinge".
    training : GradientDescent or MinibatchSGD
        learning_rate is the reduced rate at the reference width; momentum and weight decay must be 0.
    loss, width, samples, rng, initial_function, track
        As in `dmft.solve`.
    """
    check_problem(network, data, training, loss, track)
    if width is not None:
        check_width(network, width)
    checks.integer("samples", samples, 2 * REPLICAS)
    if not isinstance(rng, np.random.Generator):
        checks.seed_sequence("rng", rng)
    scales = scaling(network, loss)
    if scales.limit is None:
        refuse_unstable(network, loss, "No limit exists; dmft.simulate trains such networks with allow_unstable=True")
    if "w" in scales.limit.forgotten and resolve(network).negative_slope is None:
        raise ValueError(
            f"activation must be homogeneous ('leaky_relu', 'relu', 'linear') in the limit {scales.limit.name}, where initial input weights "
            f"are forgotten; got {network.activation!r}"
        )
    if initial_function is not None:
        counts = dict.fromkeys((len(data.points) if _is_seen(network, scales, width) else len(data.x), len(data.points)))
        checks.array("initial_function", initial_function, *((n,) for n in counts), *((n, 1) for n in counts))


def _is_seen(network, scales, width):
    """Whether predictions at a point depend on the initial function there, not only on that at the samples."""
    return network.corrected or scales.persists or width is not None


def memory_estimate(
    network, data, training, method, loss="logistic", width=None, samples=SAMPLES, rng=0, initial_function=None, track=None
):
    """Peak memory in bytes of the arrays.

    In doubles, with n = P + M points and T = steps + 1: 2 T n for the trajectory, T n P for tracked kernels, 6 n^2 for kernels, and
    N (n + 1) for N particles.
    """
    points, rows = len(data.points), training.rows
    particles = samples if scaling(network, loss).evolves else 0
    kernels = rows * len(data.x) if track == "kernels" else 0
    return 8 * points * (2 * rows + kernels + 6 * points) + 8 * particles * (points + 1)


def march(network, data, training, start=None, loss="logistic", width=None, samples=SAMPLES, rng=0, initial_function=None, track=None):
    """Iterate over the trajectory in blocks of steps; arguments as in `check`.

    The rows of `start`, a trajectory with fewer steps, are solved again, to the same numbers, and not shown.
    """
    seed, samples = checks.integer_seed("rng", rng), whole_systems(samples, REPLICAS)
    options = {
        "loss": loss,
        "width": width,
        "samples": samples,
        "rng": seed,
        "initial_function": None if initial_function is None else np.asarray(initial_function, dtype=float),
        "track": track,
    }
    scales = scaling(network, loss)
    function_seed, particle_seed = np.random.SeedSequence(seed).spawn(2)
    initial = None if initial_function is None else options["initial_function"].ravel()
    if initial is None and (_is_seen(network, scales, width) or scales.limit.signs[0] >= 0):
        initial = gaussian_process(network, data.points, np.random.default_rng(function_seed))
    logits = _logits(network, scales, loss, width, initial)
    weights = training.batch_weights(len(data.x)) * training.learning_rates[:, None]
    solver = _particles if scales.evolves else _kernel
    states = solver(network, data, scales, logits, weights, width, samples, particle_seed, track)
    name = f"{scales.limit.name}, initialization-corrected" if network.corrected else scales.limit.name
    report = {"limit": name, "normalisation": f"logits R^-({scales.logits:g}), tangent kernel R^-({scales.kernel:g})"}

    seen = None if initial is None else initial.reshape(-1, *data.label_axes)

    def build(status, finished, arrays, elapsed):
        took = {"elapsed": elapsed}
        return FunctionTrajectory(
            network, data, training, status, finished, initial_function=seen, options=options, report=report | took, **arrays
        )

    diverged = Divergence(loss, data.targets, reach(network, width))
    rows = _rows(data, logits, states, loss, diverged, width is not None or scales.logits == 0, track)
    for trajectory in recorded(rows, training.rows, build):
        if start is None or trajectory.finished > start.finished:
            yield trajectory


class _Logits(NamedTuple):
    """Normalised logits offset + factor g of the solver's own function g, zero at the start, and the loss derivatives there.

    At width d, R = d / d*: offset = R^(e0 - e1) F0, factor = R^(kappa - e1), and the derivative is that of the loss at amplitude = R^e1
    times the logits. Infinite width keeps of this the limits, rules (3): `first` at F0 until anything moves, then `later`.
    """

    initial: np.ndarray | float
    offset: np.ndarray | float
    factor: float
    first_amplitude: float
    amplitude: float
    first: Callable
    later: Callable

    def at(self, g):
        return self.offset + self.factor * g

    def derivative(self, y, weights):
        """The callable of `solvers.shallow` for systems that start afresh; it takes g of shape (P,) or (systems, P)."""
        initial, offset = (_part(function, slice(len(y))) for function in (self.initial, self.offset))
        first, moved = self.first(y, self.first_amplitude * np.broadcast_to(initial, len(y))), False

        def evaluated(step, g):
            nonlocal moved
            if moved:
                return self.later(y, self.amplitude * (offset + self.factor * g))
            moved = bool(np.any(weights[step] * first))
            return np.broadcast_to(first, g.shape)

        return evaluated


def _part(function, samples):
    return function[samples] if np.ndim(function) else function


def _logits(network, scales, loss, width, initial):
    finite = losses.derivative(limits.shallow(loss).derivation.loss.finite)
    initial = 0.0 if initial is None else initial
    if network.corrected:
        return _Logits(initial, initial, 1.0, 1.0, 1.0, finite, finite)
    if width is None:
        return _Logits(initial, initial if scales.persists else 0.0, 1.0, 1.0, 1.0, *map(losses.derivative, scales.limit.rules))
    growth = width / network.reference_width
    initial_power, factor = (growth ** (e - scales.logits) for e in (scales.initial, scales.kernel))
    return _Logits(initial, initial_power * initial, factor, growth**scales.initial, growth**scales.logits, finite, finite)


def gaussian_process(network, points, rng):
    """F0 at the points, shape (P + M,): Gaussian with covariance sigma*^2 d* E[phi phi]."""
    from solvers.gaussian import expectations

    values, _ = expectations(resolve(network), points @ points.T)
    return network.sigma * math.sqrt(network.reference_width) * rng.multivariate_normal(np.zeros(len(points)), values, method="eigh")


def tangent_kernel(network, data, shares):
    """The stationary tangent kernel sigma*^2 d* (share_a E[phi phi] + share_w E[phi' phi'] x.x'), (P + M, P), without learning rate."""
    from solvers.gaussian import expectations

    points, samples = data.points, len(data.x)
    gram = points @ points.T
    values, slopes = expectations(resolve(network), gram)
    kernel = shares["a"] * values + shares["w"] * slopes * gram
    return network.sigma**2 * network.reference_width * kernel[:, :samples]


def _kernel(network, data, scales, logits, weights, width, samples, seed, track):
    """States (g, its error, tangent kernel) of the kernel regime."""
    from solvers.shallow import kernel_march

    growth = math.inf if width is None else width / network.reference_width
    largest = max(network.q_etas)
    kernel = tangent_kernel(network, data, {layer: growth ** float(q - largest) for layer, q in zip("aw", network.q_etas)})
    for g in kernel_march(kernel, logits.derivative(data.targets[:, 0], weights), weights):
        yield g, 0.0, kernel


def _particles(network, data, scales, logits, weights, width, samples, seed, track):
    """States of the mean-field regime: mean over independent systems, and its standard error from their spread.

    Layers that do not move at infinite width do so at finite width, and initial weights are not yet forgotten.
    """
    from solvers.particles import Particles, initial
    from solvers.shallow import particle_march

    limit = scales.limit
    scale, rates = network.sigma * network.reference_width / samples, {"a": network.sigma, "w": network.sigma}
    if width is None:
        rates = {layer: rate if layer in limit.layers else 0.0 for layer, rate in rates.items()}
        forgotten = limit.forgotten
    else:
        growth, forgotten = width / network.reference_width, ()
        scale *= growth ** (float(network.q_sigma) + 1 - scales.logits)
        rates = {layer: rate * growth ** float(network.q_sigma + q) for (layer, rate), q in zip(rates.items(), network.q_etas)}
    a, h = initial(np.random.default_rng(seed), samples, data.points, antithetic=True)
    if "a" in forgotten:
        a[:] = 0.0
    march = particle_march(
        Particles(a, h, data.points, len(data.x), resolve(network), groups=REPLICAS, threads=cores()),
        scale,
        rates["a"],
        rates["w"],
        logits.derivative(data.targets[:, 0], weights),
        weights,
        range(len(weights) + 1) if track == "kernels" else (),
        independent=True,
        forget_inputs="w" in forgotten,
    )
    for state in one_thread(march):
        yield state.logits, state.error, None if state.kernels is None else logits.factor * sum(state.kernels)


def _rows(data, logits, states, loss, diverged, finite_logits, track):
    """Rows of the trajectory, up to divergence; where logits are not finite at infinite width, the normalised ones decide about it."""
    mean_loss, samples, shape = losses.OUTPUT_LOSSES[loss], len(data.x), (len(data.points), *data.label_axes)
    for g, error, kernel in states:
        function = logits.at(g)
        z = logits.amplitude * function[:, None]
        if diverged(z):
            return
        error = np.broadcast_to(logits.factor * error, function.shape)
        row = {"function": function.reshape(shape), "function_error": error.reshape(shape)}
        if finite_logits:
            row["train_loss"] = mean_loss(data.targets, z[:samples])
            if data.test_y is not None:
                row["test_loss"] = mean_loss(data.test_targets, z[samples:])
        if track == "kernels":
            row["tangent_grams"] = kernel
        yield row
