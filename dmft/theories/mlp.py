"""Infinitely wide fully connected networks that learn features on a data set: kernel evolution, and its approximations.

"causal" is exact, up to sampling for nonlinear activations: one march over time, of the equations of every finite step of the optimizer.
Linear networks need no samples. "fixed-point" is the independent second method. "gradient-independence" drops the responses of the
fields to each other's initial weights and integrates the tangent kernel, "ntk" is the lazy limit, "perturbative" the kernels of a deep
linear network to second order in the richness, at lazy predictions.

Source: arXiv 2205.09653; docs/theory/kernel_evolution.md.
"""

import math

import numpy as np

from .. import checks, machine
from ..activations import resolve
from ..data import Dataset
from ..specification import check_type
from ..training import GradientDescent
from . import kernel_closed, kernel_sampled
from .kernel_rows import divergence, recorded

_SAMPLED = ("loss", "samples", "rng", "replicas", "tolerance", "track")
#: Methods and their options.
METHODS = {
    "causal": (*_SAMPLED, "mc_error", "preactivation_times"),
    "fixed-point": ("loss", "samples", "rng", "tolerance", "damping", "max_sweeps", "track"),
    "gradient-independence": _SAMPLED,
    "ntk": ("loss", "track"),
    "perturbative": ("loss", "track"),
}
#: Whether `march` takes a memory limit, to choose how to go about.
ADAPTS_TO_MEMORY = True


def continues(network, training):
    """Whether `march` goes on from `start`; it solves those rows again, to the same numbers."""
    return False

LOSSES = ("mse", "logistic")
TRACKED = (None, "kernels", "test kernels")
#: Smallest error for which samples are searched: it takes some 10^12 of them.
_SMALLEST_ERROR = 1e-6


def check_types(data, training):
    """Raise TypeError, naming the argument, for data and training of a kind that this theory does not know."""
    check_type("data", data, (Dataset,))
    check_type("training", training, (GradientDescent,))


def check(
    network,
    data,
    training,
    method="causal",
    loss="mse",
    samples=None,
    rng=0,
    replicas=kernel_sampled.REPLICAS,
    mc_error=None,
    tolerance=None,
    track="kernels",
    preactivation_times=(),
    damping=None,
    max_sweeps=200,
):
    """Raise TypeError or ValueError, naming the argument, unless this theory covers the problem.

    Parameters
    ----------
    network : MLP
    data : Dataset
        One label per sample and output.
    training : GradientDescent
    method : {"causal", "fixed-point", "gradient-independence", "ntk", "perturbative"}
    loss, samples, rng, replicas, mc_error, tolerance, track, preactivation_times, damping, max_sweeps
        As in `dmft.solve`.
    """
    check_types(data, training)
    if data.targets.shape[1] != network.outputs:
        raise ValueError(f"y must have shape (P, C) for a network with outputs = C = {network.outputs}; got {data.y.shape}")
    check_labels(data, loss)
    activation = resolve(network)
    checks.choice("track", track, TRACKED)
    if tolerance is not None:
        checks.number("tolerance", tolerance, "a number in (0, 1)", lambda v: 0 < v < 1)
    if not isinstance(rng, np.random.Generator):
        checks.seed_sequence("rng", rng)
    if checks.integer("replicas", replicas, 1) < 2 and mc_error is not None:
        raise ValueError("replicas must be at least 2 for mc_error, which is estimated from their spread; got 1")
    if mc_error is not None:
        checks.number("mc_error", mc_error, f"a number in [{_SMALLEST_ERROR:g}, 1)", lambda v: _SMALLEST_ERROR <= v < 1)
    _check_samples(network, data, samples, method)
    _check_times(preactivation_times, training, network)
    _check_method(network, training, method, activation)
    if damping is not None:
        checks.number("damping", damping, "a number in (0, 1]", lambda v: 0 < v <= 1)
    checks.integer("max_sweeps", max_sweeps, 1)


def check_labels(data, loss):
    """Raise ValueError unless `loss` is one of `LOSSES` and fits the labels."""
    checks.choice("loss", loss, LOSSES)
    for name, labels in (("y", data.y), ("test_y", data.test_y)):
        if labels is not None and loss == "logistic" and not np.all(np.abs(labels) == 1):
            wrong = labels[np.abs(labels) != 1][0]
            raise ValueError(f"{name} must be -1 or +1 for loss='logistic'; got {wrong:g}. Other labels: loss='mse'")


def _check_samples(network, data, samples, method):
    if samples is None:
        return
    needed = 16 if method == "fixed-point" else max(16, 8 * len(data.points) * network.outputs)
    if checks.integer("samples", samples, 16) < needed:
        checks.fail("samples", samples, f"an integer >= {needed}, 8 for every point and output")
    if method == "fixed-point" and samples % 2:
        checks.fail("samples", samples, "even, for pairs of mirror images")


def _check_times(times, training, network):
    for t in checks.sequence("preactivation_times", times, "a sequence of steps"):
        if checks.integer("preactivation_times", t, 0) > training.steps:
            checks.fail("preactivation_times", t, f"steps from 0 to {training.steps}")
    if len(times) and is_linear(network):
        raise ValueError(
            "preactivation_times must be empty for a linear network: its preactivations are Gaussian, of covariance feature_kernel(layer)"
        )


def _check_method(network, training, method, activation):
    """What the methods besides "causal" do not cover."""
    plain = not training.momentum and not training.weight_decay
    if method == "ntk" and training.weight_decay:
        raise ValueError("weight_decay must be 0 for method 'ntk': weights that shrink change the tangent kernel")
    if method in ("gradient-independence", "perturbative") and not plain:
        raise ValueError(f"momentum and weight_decay must be 0 for method {method!r}, which is worked out for plain gradient descent")
    if method == "perturbative" and not (is_linear(network) and network.outputs == 1):
        raise ValueError(
            "activation must be 'linear' and outputs 1 for method 'perturbative', the expansion of deep linear networks in the richness; "
            f"got {network.activation!r} and {network.outputs}"
        )
    if method == "fixed-point" and not is_linear(network):
        if network.outputs != 1:
            raise ValueError(
                f"outputs must be 1 for method 'fixed-point' and a nonlinear activation; got {network.outputs}. "
                "Method 'causal' takes any number"
            )
        if not activation.smooth:
            raise ValueError(
                f"activation must have a second derivative (d2phi) for method 'fixed-point'; {activation.name!r} has none. "
                "Method 'causal' needs none"
            )


def is_linear(network):
    """Whether phi(h) = h, by its name or its slope."""
    return resolve(network).negative_slope == 1.0


def problem(network, data, training, loss, gram=None):
    """The `solvers.kernel_problem.KernelProblem` of a checked specification; its Gram matrix is computed if not given."""
    from solvers import kernel_problem

    errors = {"mse": kernel_problem.squared_error, "logistic": kernel_problem.logistic}[loss]
    return kernel_problem.KernelProblem(
        gram=data.points @ data.points.T / data.x.shape[1] if gram is None else gram,
        errors=errors(data.targets),
        samples=len(data.x),
        outputs=network.outputs,
        layers=network.depth,
        activation=resolve(network),
        richness=network.richness,
        rates=training.learning_rates,
        momentum=training.momentum,
        nesterov=training.nesterov,
        weight_decay=training.weight_decay,
        decoupled=training.decoupled,
    )


def memory_estimate(network, data, training, method, **options):
    """Peak memory in bytes of the arrays.

    Of the trajectory and of the solver. Sampled methods need the state of one replica at a time, and take that of all where there is
    room; the ranks of their kernels are what was measured for problems of order one, see `kernel_sampled.expected_ranks`.
    """
    from solvers import kernel_linear

    sizes_only = np.broadcast_to(0.0, 2 * (len(data.points),))
    stated, track = problem(network, data, training, options.get("loss", "mse"), sizes_only), options.get("track", "kernels")
    times, points, layers = stated.times, stated.points, stated.layers
    fields = (points if track == "test kernels" else stated.samples) * stated.outputs
    ranks, solver = (times * points, times * fields), 0
    if method == "fixed-point":
        n, m = times * points, times * (stated.outputs if is_linear(network) else points)
        solver = 8 * layers * (4 * n * n + 4 * n * m + 4 * m * m)
        if not is_linear(network):
            solver += 4 * 8 * (options.get("samples") or kernel_closed.FIXED_POINT_SAMPLES) * n * n
    elif method == "ntk":
        ranks = points, fields
    elif method == "perturbative":
        ranks, solver = (2 * points + 1, points + 2), 8 * layers * 4 * (times * points) ** 2
    elif method == "causal" and is_linear(network):
        ranks, solver = (points + times * stated.outputs,) * 2, kernel_linear.memory_estimate(stated)
    else:
        samples = kernel_sampled.samples_of(stated, options.get("samples"), options.get("mc_error"))
        replicas = options.get("replicas", kernel_sampled.REPLICAS)
        solver = sum(kernel_sampled.memory_estimates(stated, samples, replicas, track))
        single = kernel_sampled.expected_ranks(stated, samples, track)
        ranks = tuple(kernel_sampled.mean_rank(rank, full, replicas) for rank, full in zip(single, ranks))
    kernels = times * layers * (points * min(ranks[0], times * points) + fields * min(ranks[1], times * fields))
    kernels += 2 * times * ((layers + 1) * (points**2 + fields**2))
    return int(solver + 8 * (2 * times * points * stated.outputs + (kernels if track else 0)))


def march(network, data, training, start=None, memory_limit=math.inf, **options):
    """Iterate over the trajectory in blocks of rows; options as in `check`.

    The rows of `start`, a trajectory with fewer steps, are solved again, to the same numbers, and not shown.
    """
    stated = problem(network, data, training, options.get("loss", "mse"))
    stored = {"loss": options.get("loss", "mse"), "track": options.get("track", "kernels")}
    if is_linear(network):
        rows = kernel_closed.linear_rows(stated, stored["track"])
        blocks = recorded(network, data, training, rows, options=stored, report={"sampling": "none: the linear theory is closed"})
    else:
        stored |= kernel_sampled.options_of(stated, options)
        stated_problem = network, data, training, stated
        if stored["mc_error"] is None or start is not None:
            blocks = kernel_sampled.trajectories(*stated_problem, stored, memory_limit)
        else:

            def memory(samples):
                return memory_estimate(network, data, training, "causal", **(stored | {"samples": samples, "mc_error": None}))

            blocks = kernel_sampled.searched(*stated_problem, stored, memory, memory_limit)
    for trajectory in blocks:
        if start is None or trajectory.finished > start.finished:
            yield trajectory


def whole(network, data, training, method, bar, **options):
    """Iterate over the trajectory, by the other methods, in blocks of rows; `bar` is the progress bar, of no use here."""
    stated = problem(network, data, training, options.get("loss", "mse"))
    stored = {"loss": options.get("loss", "mse"), "track": options.get("track", "kernels")}
    if method == "gradient-independence":
        stored |= {name: value for name, value in kernel_sampled.options_of(stated, options).items() if name in METHODS[method]}
        approximation = {"responses": False, "readout": "tangent"}
        blocks = kernel_sampled.trajectories(network, data, training, stated, stored, machine.memory(), method, **approximation)
    else:
        if method == "ntk":
            rows, arrays, report = kernel_closed.lazy_rows(stated, stored["track"]), {}, {}
        elif method == "perturbative":
            (rows, arrays), report = kernel_closed.small_richness_rows(stated, stored["track"], divergence(network, data, stored["loss"])), {}
        else:
            report, arrays = {}, {}
            stored |= kernel_closed.fixed_point_options(is_linear(network), options)
            rows = kernel_closed.fixed_point_rows(stated, stored, report)
        blocks = recorded(network, data, training, rows, method=method, options=stored, report=report, **arrays)
    return blocks
