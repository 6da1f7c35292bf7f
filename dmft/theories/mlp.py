"""Infinitely wide fully connected networks that learn features on a data set: kernel evolution, and its approximations.

"causal" is exact, up to sampling for nonlinear activations: one march over time, of the equations of every finite step of the optimizer.
Linear networks need no samples. "fixed-point" is the independent second method. "gradient-independence" drops the responses of the
fields to each other's initial weights and integrates the tangent kernel, "ntk" is the lazy limit, "perturbative" the kernels of a deep
linear network to second order in the richness, at lazy predictions.

Source: arXiv 2205.09653; theory/kernel_evolution.md.
"""

import math
import time

import numpy as np

from .. import checks
from ..activations import resolve
from ..data import Dataset
from ..errors import SolverError
from ..specification import check_type
from ..threads import one_thread
from ..training import GradientDescent
from .kernel_rows import Kernels, Row, mean_loss, recorded, tangent_kernel

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
LOSSES = ("mse", "logistic")
TRACKED = (None, "kernels", "test kernels")

#: Of every replica by default, and of the pilot that finds out how many a requested error needs.
SAMPLES = 4096
PILOT_SAMPLES = 1024
REPLICAS = 8
TOLERANCE = 1e-5
#: Of the factors of kernels that are known exactly.
_EXACT = 1e-13
#: Predictions of this size count as infinite.
_DIVERGED = 1e8
_FIXED_POINT_SAMPLES = 2000


def check(
    network,
    data,
    training,
    method="causal",
    loss="mse",
    samples=None,
    rng=0,
    replicas=REPLICAS,
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
    loss : {"mse", "logistic"}
        Mean over samples, sum over outputs, of (y - f)^2 / 2 (reported without the factor 1/2) or of ln(1 + exp(-y f)), y = +-1.
    samples : int, optional
        Monte Carlo samples of every replica, mirror images included, rounded up to a power of two; default 4096, or more if there are
        many points. Sampling errors are smaller than samples**-1/2, and a bias of order (rank of the kernels) / samples does not average
        out over replicas. Linear networks are solved without. "fixed-point": 2000 by default, any even number.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator
    replicas : int
        Independent repetitions, whose mean is the result and whose spread is its standard error; at least 6 for one to rely on.
    mc_error : float, optional
        Choose the samples: double them, starting from `samples` (default 1024), until the root mean square standard error of the
        predictions at the training samples, relative to the largest root mean square of these over time, is at most this at
        all times, with the bias that the change from the last but one solve suggests. The report says what was reached,
        also where memory ended the search. Rows come at the end only; Ctrl-C then keeps the last complete solve.
    tolerance : float, optional
        Variance, relative to that of a field, that the growing bases of the kernels leave out; its bias is systematic, of order 40
        times it. Default 1e-5, or 1e-2 mc_error if that is less. "fixed-point": largest relative change at the end, 1e-4 if sampled,
        otherwise 1e-12.
    track : {"kernels", "test kernels", None}
        "kernels": keep the feature kernels of all points and the gradient and tangent kernels of the training samples; "test kernels":
        follow gradients at test points too; None: the function only.
    preactivation_times : sequence of int, optional
        Times at which samples of the preactivations are kept, for nonlinear activations.
    damping : float, optional
        "fixed-point": weight of the new iterate in (0, 1]; default 1 for linear networks, 0.7 for others.
    max_sweeps : int
        "fixed-point".
    """
    check_type("data", data, (Dataset,))
    check_type("training", training, (GradientDescent,))
    if data.targets.shape[1] != network.outputs:
        raise ValueError(f"y must have shape (P, C) for a network with outputs = C = {network.outputs}; got {data.y.shape}")
    check_labels(data, loss)
    activation = resolve(network.activation, network.negative_slope)
    checks.choice("track", track, TRACKED)
    if tolerance is not None:
        checks.number("tolerance", tolerance, "a number in (0, 1)", lambda v: 0 < v < 1)
    if not isinstance(rng, np.random.Generator):
        checks.seed_sequence("rng", rng)
    if checks.integer("replicas", replicas, 1) < 2 and mc_error is not None:
        raise ValueError("replicas must be at least 2 for mc_error, which is estimated from their spread; got 1")
    if mc_error is not None:
        checks.number("mc_error", mc_error, "a number in (0, 1)", lambda v: 0 < v < 1)
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
            raise ValueError(f"{name} must be -1 or +1 for loss='logistic'; got {labels[np.abs(labels) != 1][0]:g}. Other labels: loss='mse'")


def _check_samples(network, data, samples, method):
    if samples is None:
        return
    needed = 16 if method == "fixed-point" else max(16, 8 * len(data.points) * network.outputs)
    if checks.integer("samples", samples, 16) < needed:
        checks.fail("samples", samples, f"an integer >= {needed}, 8 for every point and output")
    if method == "fixed-point" and samples % 2:
        checks.fail("samples", samples, "even, for pairs of mirror images")


def _check_times(times, training, network):
    if np.ndim(times) != 1:
        checks.fail("preactivation_times", times, "a sequence of steps")
    for t in times:
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
            raise ValueError(f"outputs must be 1 for method 'fixed-point' and a nonlinear activation; got {network.outputs}. Method 'causal' has no limit")
        if not activation.smooth:
            raise ValueError(
                f"activation must have a second derivative (d2phi) for method 'fixed-point'; {activation.name!r} has none. Method 'causal' needs none"
            )


def is_linear(network):
    """Whether phi(h) = h, by its name or its slope."""
    return resolve(network.activation, network.negative_slope).negative_slope == 1.0


def problem(network, data, training, loss):
    """The `solvers.kernel_problem.KernelProblem` of a checked specification."""
    from solvers import kernel_problem

    errors = {"mse": kernel_problem.squared_error, "logistic": kernel_problem.logistic}[loss]
    return kernel_problem.KernelProblem(
        gram=data.points @ data.points.T / data.x.shape[1],
        errors=errors(data.targets),
        samples=len(data.x),
        outputs=network.outputs,
        layers=network.depth,
        activation=resolve(network.activation, network.negative_slope),
        richness=network.richness,
        rates=np.array(training.learning_rates),
        momentum=training.momentum,
        nesterov=training.nesterov,
        weight_decay=training.weight_decay,
        decoupled=training.decoupled,
    )


def memory_estimate(network, data, training, method, **options):
    """Peak memory in bytes of the arrays.

    Of the trajectory, of the solver, and for sampled methods of at least one replica at a time, with kernels of rank about 8 sqrt(P T C)
    for smooth activations and P T C otherwise (P counts all points), at most samples / 8.
    """
    from solvers import kernel_linear, kernel_march

    stated = problem(network, data, training, options.get("loss", "mse"))
    times, points, fields, layers = stated.times, stated.points, stated.points * stated.outputs, stated.layers
    tracked = options.get("track", "kernels") is not None
    linear, rank = is_linear(network), points * (times if method == "causal" else 1)
    if method == "fixed-point":
        n, m = times * points, times * (stated.outputs if linear else points)
        solver = 8 * layers * (4 * n * n + 4 * n * m + 4 * m * m)
        solver += 0 if linear else 4 * 8 * options.get("samples", _FIXED_POINT_SAMPLES) * n * n
    elif linear and method in ("causal", "perturbative", "ntk"):
        solver, rank = (kernel_linear.memory_estimate(stated), points + times * stated.outputs) if method == "causal" else (0, 2 * points + 1)
    elif method == "ntk":
        solver = 8 * layers * 4 * points * points
    else:
        samples = _samples(network, data, options.get("samples"), options.get("mc_error"))
        rank = _rank(stated, samples)
        solver = kernel_march.memory_estimate(stated, samples, rank)
    kernels = tracked * times * (layers * (points + fields) * min(rank, times * points) + (2 * layers + 2) * (points**2 + fields**2))
    return int(solver + 8 * (2 * times * fields + kernels))


def _rank(problem, samples):
    """About the rank of the bases of a sampled march."""
    fields = problem.points * problem.outputs
    full = fields * problem.times
    expected = fields + 8 * math.sqrt(full) if problem.activation.smooth else full
    return min(full, int(expected), samples // 8)


def _samples(network, data, samples, mc_error):
    """Samples of every replica, a power of two; those of the pilot where an error is requested."""
    if samples is None:
        samples = max(16 * len(data.points) * network.outputs, SAMPLES if mc_error is None else PILOT_SAMPLES)
    return 1 << (samples - 1).bit_length()


def march(network, data, training, start=None, memory_limit=math.inf, **options):
    """Iterate over the trajectory in blocks of rows; options as in `check`.

    The rows of `start`, a trajectory with fewer steps, are solved again, to the same numbers, and not shown.
    """
    stated = problem(network, data, training, options.get("loss", "mse"))
    if is_linear(network):
        options = {"loss": options.get("loss", "mse"), "track": options.get("track", "kernels")}
        rows = _linear_rows(stated, options["track"])
        blocks = recorded(network, data, training, rows, options=options, report={"sampling": "none: the linear theory is closed"})
    else:
        options = _sampled_options(network, data, options)
        searched = options["mc_error"] is not None and start is None
        blocks = (_searched if searched else _sampled)(network, data, training, stated, options, memory_limit)
    for trajectory in blocks:
        if start is None or trajectory.finished > start.finished:
            yield trajectory


def _sampled_options(network, data, given):
    """All options of a sampled march, checked, as they are stored."""
    mc_error = given.get("mc_error")
    default = TOLERANCE if mc_error is None else min(TOLERANCE, 1e-2 * mc_error)
    return {
        "loss": given.get("loss", "mse"),
        "samples": _samples(network, data, given.get("samples"), mc_error),
        "rng": checks.integer_seed("rng", given.get("rng", 0)),
        "replicas": int(given.get("replicas", REPLICAS)),
        "mc_error": mc_error,
        "tolerance": default if given.get("tolerance") is None else float(given["tolerance"]),
        "track": given.get("track", "kernels"),
        "preactivation_times": sorted({int(t) for t in given.get("preactivation_times", ())}),
    }


def _sampled(network, data, training, stated, options, memory_limit, method="causal", **approximation):
    """Blocks of the trajectory from replicas of the sampled march."""
    report = {"sampling": f"{options['replicas']} replicas of {options['samples']} samples"}
    steps = one_thread(_replicas(stated, options, memory_limit, **approximation))
    rows = _sampled_rows(stated, data, options, steps, report)
    times, stored = options.get("preactivation_times", ()), {"method": method, "options": options, "report": report}
    for trajectory in recorded(network, data, training, rows, times, **stored):
        trajectory.report["accuracy"] = _accuracy(relative_error(trajectory))
        yield trajectory


def _replicas(stated, options, memory_limit, **approximation):
    """Lists of the steps of all replicas: side by side, or one replica after the other where memory is short."""
    from solvers import kernel_march, kernel_replicas

    arguments = {
        "samples": options["samples"],
        "tolerance": options["tolerance"],
        "test_gradients": options["track"] == "test kernels",
        "outer_kernels": options["track"] is not None,
        "save_preactivations": options.get("preactivation_times", ()),
    } | approximation
    one = kernel_march.memory_estimate(stated, options["samples"], _rank(stated, options["samples"]))
    if one * options["replicas"] <= 0.8 * memory_limit:
        return kernel_replicas.march(stated, options["replicas"], options["rng"], **arguments)
    seeds = (kernel_replicas.replica_seed(options["rng"], i) for i in range(options["replicas"]))
    return zip(*[list(kernel_march.march(stated, seed=seed, **arguments)) for seed in seeds])


def _sampled_rows(stated, data, options, steps, report):
    """`Row` of the replicas at every time."""
    from solvers.kernel_replicas import mean_and_error
    from solvers.low_rank import MeanFactor

    features, gradients = ([MeanFactor(0.1 * options["tolerance"]) for _ in range(stated.layers)] for _ in range(2))
    samples = stated.samples
    for replicas in steps:
        function, error = mean_and_error([step.predictions for step in replicas])
        _, loss_error = mean_and_error([mean_loss(options["loss"], data.targets, step.predictions[:samples]) for step in replicas])
        preactivations = None
        if replicas[0].preactivations is not None:
            preactivations = np.concatenate([np.array(step.preactivations) for step in replicas], axis=-1)
        kernels = None if options["track"] is None else _mean_kernels(replicas, features, gradients, samples)
        report["dropped_variance"] = max(report.get("dropped_variance", 0.0), *(float(step.dropped) for step in replicas))
        yield Row(function, error, loss_error, kernels, preactivations)


def _mean_kernels(replicas, features, gradients, samples):
    from solvers.kernel_replicas import mean_and_error

    def flat(array, width):
        return array.reshape(width, -1)

    fields = len(replicas[0].gradient_grams[0]) * replicas[0].gradient_grams[0].shape[1]
    feature_grams, feature_errors = mean_and_error([step.feature_grams[1:] for step in replicas])
    gradient_grams, gradient_errors = mean_and_error(
        [[flat(gram, fields) for gram in step.gradient_grams[:-1]] for step in replicas]
    )
    tangent, tangent_error = mean_and_error([step.tangent_kernel()[:, :, :samples] for step in replicas])
    return Kernels(
        feature_factors=[factor.append([step.features[l + 1] for step in replicas]) for l, factor in enumerate(features)],
        gradient_factors=[factor.append([flat(step.gradients[l], fields) for step in replicas]) for l, factor in enumerate(gradients)],
        feature_grams=feature_grams,
        gradient_grams=gradient_grams,
        tangent=tangent,
        feature_gram_errors=feature_errors,
        gradient_gram_errors=gradient_errors,
        tangent_error=tangent_error,
    )


def relative_error(trajectory):
    """Largest root mean square over training samples of the standard error, relative to that of the predictions, both over time."""
    done, samples = slice(0, trajectory.finished), len(trajectory.data.x)
    errors, values = (_root_mean_square(array[done, :samples]) for array in (trajectory.function_error, trajectory.function))
    return float(errors.max() / values.max()) if values.max() else 0.0


def _root_mean_square(values):
    return np.sqrt(np.mean(values.reshape(len(values), -1) ** 2, axis=1))


def _accuracy(error, bias=None):
    text = "a single replica has no standard error" if math.isnan(error) else f"relative standard error {error:.1e}"
    return text if bias is None else f"{text}, bias about {bias:.1e}"


def _searched(network, data, training, stated, options, memory_limit):
    """The trajectory at as many samples as the requested error needs, or as memory allows."""
    began, before, target = time.perf_counter(), None, options["mc_error"]
    while True:
        try:
            *_, now = _sampled(network, data, training, stated, options, memory_limit)
        except KeyboardInterrupt:
            if before is None:
                raise
            yield before
            return
        error, bias = relative_error(now), None if before is None else _bias(before, now)
        now.report["mc_error_reached"] = max(error, bias or 0.0)
        now.report["accuracy"] = _accuracy(error, bias)
        reached = bias is not None and now.report["mc_error_reached"] <= target
        more = _more_samples(before, now, error, max(error, bias or 0.0) / target)
        enough = memory_estimate(network, data, training, "causal", **(options | {"samples": more, "mc_error": None})) <= memory_limit
        now.report["elapsed"] = time.perf_counter() - began
        if reached or not enough:
            if not reached:
                now.report["accuracy"] += f": more than the requested {target:.1e}, as memory_limit allows no more samples"
            yield now
            return
        before, options = now, options | {"samples": more}


def _bias(before, now):
    """Bias of order 1 / samples of the second of two solves, from what their difference has beyond its standard error."""
    done, points = min(before.finished, now.finished), len(now.data.x)
    ratio = now.options["samples"] / before.options["samples"]
    (f, df), (g, dg) = ((run.function[:done, :points], run.function_error[:done, :points]) for run in (before, now))
    noise = np.sqrt(_root_mean_square(df) ** 2 + _root_mean_square(dg) ** 2)
    excess = np.sqrt(np.maximum(_root_mean_square(g - f) ** 2 - noise**2, 0.0))
    return float(excess.max() / _root_mean_square(g).max()) / (ratio - 1)


def _more_samples(before, now, error, excess):
    """Samples of the next solve: by the rate observed between the last two, between twice and 16 times those of the last."""
    samples, rate = now.options["samples"], 0.75
    if before is not None and 0 < error < relative_error(before):
        rate = math.log(relative_error(before) / error) / math.log(samples / before.options["samples"])
    doublings = math.ceil(math.log2(max(1.3 * excess, 1.0)) / min(max(rate, 0.5), 1.0))
    return samples << min(max(doublings, 1), 4)


def _linear_rows(stated, track):
    """`Row` of the closed theory of deep linear networks at every time."""
    from solvers import kernel_linear
    from solvers.low_rank import KernelFactor

    points, outputs = stated.points, stated.outputs
    features, gradients = ([KernelFactor(_EXACT) for _ in range(stated.layers)] for _ in range(2))
    for solution, t in kernel_linear.march(stated):
        if np.max(np.abs(solution.predictions[t])) > _DIVERGED:
            return
        kernels = None
        if track is not None:
            past = [(layer.H[t * points : (t + 1) * points], layer.G[t * outputs : (t + 1) * outputs]) for layer in solution.layers]
            kernels = _given_kernels(stated, features, gradients, [H for H, _ in past], [G for _, G in past], t)
        yield Row(solution.predictions[t].copy(), kernels=kernels)


def _given_kernels(stated, features, gradients, feature_rows, gradient_rows, t):
    """`Kernels` from rows Phi^l(t, s), G^l(t, s) of the two-time matrices at s <= t, one for each layer."""

    def appended(factors, rows):
        size = len(rows[0])
        grams = np.array([row[:, t * size : (t + 1) * size] for row in rows])
        return [factor.append(row[:, : t * size], gram) for factor, row, gram in zip(factors, rows, grams)], grams

    feature_factors, feature_grams = appended(features, feature_rows)
    gradient_factors, gradient_grams = appended(gradients, gradient_rows)
    tangent = tangent_kernel(stated.gram, feature_grams, gradient_grams, stated.outputs, stated.samples)
    return Kernels(feature_factors, gradient_factors, feature_grams, gradient_grams, tangent)


def whole(network, data, training, method, bar, **options):
    """The trajectory by a method that does not march; `bar` is the progress bar."""
    loss, track = options.get("loss", "mse"), options.get("track", "kernels")
    stated = problem(network, data, training, loss)
    if method == "gradient-independence":
        sampled = _sampled_options(network, data, options)
        stored = {name: sampled[name] for name in METHODS[method]}
        approximation = {"responses": False, "readout": "tangent"}
        blocks = _sampled(network, data, training, stated, stored, checks.machine_memory(), method, **approximation)
    else:
        rows, stored, report = {"fixed-point": _fixed_point, "ntk": _lazy, "perturbative": _small_richness}[method](network, stated, track, options)
        stored = {"loss": loss, "track": track} | stored
        blocks = recorded(network, data, training, rows, method=method, options=stored, report=report.pop("report", {}), **report)
    for trajectory in blocks:
        bar.update(trajectory.finished - bar.n)
    return trajectory


def initial_kernels(stated):
    """Phi^1 ... Phi^L and G^1 ... G^L of all points before training, (L, P + M, P + M), closed forms or quadrature."""
    from solvers.gaussian import expectations

    features, slopes = [stated.gram], []
    for _ in range(stated.layers):
        values, slope = expectations(stated.activation, features[-1])
        features.append(values)
        slopes.append(slope)
    gradients = np.cumprod(slopes[::-1], axis=0)[::-1]
    return np.array(features[1:]), gradients


def _lazy(network, stated, track, options):
    """Rows of the limit richness -> 0, at the richness 1 of the kernels."""
    from solvers.kernel_reduced import lazy

    features, gradients = initial_kernels(stated)
    gradients = np.array([np.kron(G, np.eye(stated.outputs)) for G in gradients])
    tangent = tangent_kernel(stated.gram, features, gradients, stated.outputs, stated.samples)
    with np.errstate(over="ignore", invalid="ignore"):
        predictions = lazy(stated, tangent[:, 0, :, 0])
    kernels = None
    if track is not None:
        kernels = Kernels([_root(phi) for phi in features], [_root(G) for G in gradients], features, gradients, tangent)
    return (Row(f, kernels=kernels) for f in predictions[: _bounded(predictions)]), {}, {}


def _root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _bounded(predictions):
    """Number of rows before the first that counts as infinite."""
    with np.errstate(invalid="ignore"):
        bounded = (np.abs(predictions) < _DIVERGED).all(axis=(1, 2))
    return len(bounded) if bounded.all() else int(np.argmin(bounded))


def _small_richness(network, stated, track, options):
    """Rows of the expansion in the richness: lazy predictions, kernels to second order."""
    from solvers.kernel_reduced import lazy, linear_tangent_kernel, small_richness_linear
    from solvers.low_rank import signed_factor

    with np.errstate(over="ignore", invalid="ignore"):
        predictions = lazy(stated, linear_tangent_kernel(stated))
    times, points = _bounded(predictions), stated.points
    if track is None:
        return (Row(f) for f in predictions[:times]), {}, {}
    features, gradients = small_richness_linear(stated._replace(rates=stated.rates[: times - 1]))
    feature_factors, feature_signs = zip(*(signed_factor(kernel.reshape(times * points, -1), 2 * points + 1) for kernel in features))
    gradient_factors, gradient_signs = zip(*(signed_factor(kernel, points + 2) for kernel in gradients))

    def rows():
        for t in range(times):
            feature_grams, gradient_grams = features[:, t, :, t], gradients[:, t, t].reshape(-1, 1, 1)
            tangent = tangent_kernel(stated.gram, feature_grams, gradient_grams, 1, stated.samples)
            factors = [F.reshape(times, points, -1)[t] for F in feature_factors], [F[t : t + 1] for F in gradient_factors]
            yield Row(predictions[t], kernels=Kernels(*factors, feature_grams, gradient_grams, tangent))

    return rows(), {}, {"feature_signs": np.array(feature_signs), "gradient_signs": np.array(gradient_signs)}


def _fixed_point(network, stated, track, options):
    """Rows of the fixed point of sweeps over all times."""
    from solvers import kernel_fixed_point
    from solvers.low_rank import KernelFactor

    linear = is_linear(network)
    tolerance, damping = (options.get(name) or default for name, default in (("tolerance", 1e-12 if linear else 1e-4), ("damping", 1.0 if linear else 0.7)))
    arguments = {"damping": float(damping), "tolerance": float(tolerance), "sweeps": int(options.get("max_sweeps", 200))}
    stored = {name: arguments[name] for name in ("damping", "tolerance")} | {"max_sweeps": arguments["sweeps"]}
    if not linear:
        stored |= {"samples": int(options.get("samples") or _FIXED_POINT_SAMPLES), "rng": checks.integer_seed("rng", options.get("rng", 0))}
        arguments |= {"samples": stored["samples"], "seed": stored["rng"]}
    report = {}

    def rows():
        try:
            order, changes = (kernel_fixed_point.solve_linear if linear else kernel_fixed_point.solve_sampled)(stated, **arguments)
        except kernel_fixed_point.NoConvergence as failure:
            raise SolverError(str(failure)) from failure
        report["residuals"] = [float(change) for change in changes]
        points, fields = stated.points, order.gradients.shape[1] // stated.times
        features, gradients = ([KernelFactor(_EXACT) for _ in range(stated.layers)] for _ in range(2))
        for t, f in enumerate(order.predictions):
            kernels = None
            if track is not None:
                feature_rows = order.features[:, t * points : (t + 1) * points]
                kernels = _given_kernels(stated, features, gradients, feature_rows, order.gradients[:, t * fields : (t + 1) * fields], t)
            yield Row(f, kernels=kernels)

    return rows(), stored, {"report": report}
