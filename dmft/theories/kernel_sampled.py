"""Kernel evolution of nonlinear networks: replicas of the sampled march, their mean and errors, and the samples a requested error needs.

Source: docs/theory/kernel_evolution.md, sections 2 and 4.
"""

import math
import time

import numpy as np

from .. import checks
from ..threads import one_thread
from .kernel_rows import Kernels, Row, mean_loss, recorded

#: Of every replica by default, and of the pilot that finds out how many a requested error needs.
SAMPLES = 4096
PILOT_SAMPLES = 1024
REPLICAS = 8
TOLERANCE = 1e-4
#: Tolerance of the mean kernels relative to that of a replica.
_MEAN_TOLERANCE = 0.1


def samples_of(stated, samples, mc_error):
    """Samples of every replica, a power of two; those of the pilot where an error is requested."""
    if samples is None:
        samples = max(16 * stated.points * stated.outputs, SAMPLES if mc_error is None else PILOT_SAMPLES)
    return 1 << (samples - 1).bit_length()


def expected_ranks(stated, samples, track):
    """About the ranks of the bases of features and gradients of a sampled march.

    Measured (2 and 3 layers, 6 to 16 points, 20 to 80 times, tanh, gelu, relu, richness 1 and 2): n + 2 ... 8 sqrt(n T), the more the
    richer, for n fields at each of T times; gradients of activations with a kink have full rank.
    """
    points, fields = stated.points, (stated.points if track == "test kernels" else stated.samples) * stated.outputs
    ranks = points + 4 * math.sqrt(points * stated.times), fields + 6 * math.sqrt(fields * stated.times)
    full = points * stated.times, fields * stated.times
    if not stated.activation.smooth:
        ranks = ranks[0], full[1]
    return tuple(min(int(rank), most, samples // 8) for rank, most in zip(ranks, full))


def memory_estimates(stated, samples, replicas, track):
    """Bytes of the state of one replica, and of what all leave behind: factors at all times, and their mean at work."""
    from solvers import kernel_march

    ranks = expected_ranks(stated, samples, track)
    one = kernel_march.memory_estimate(stated, samples, ranks, track == "test kernels", track is not None)
    if track is None:
        return one, 0
    sizes = stated.points, (stated.points if track == "test kernels" else stated.samples) * stated.outputs
    left = sum(stated.times * size * rank / 2 + mean_rank(rank, size * stated.times, replicas) * rank for size, rank in zip(sizes, ranks))
    return one, int(8 * stated.layers * replicas * left)


def mean_rank(rank, full, replicas):
    """About the rank of a mean kernel of replicas, as measured."""
    return min(full, 2 * rank, replicas * rank)


def options_of(stated, given):
    """Options of a sampled march besides loss and track, as they are stored."""
    mc_error = given.get("mc_error")
    default = TOLERANCE if mc_error is None else min(TOLERANCE, 2e-2 * mc_error)
    return {
        "samples": samples_of(stated, given.get("samples"), mc_error),
        "rng": checks.integer_seed("rng", given.get("rng", 0)),
        "replicas": int(given.get("replicas", REPLICAS)),
        "mc_error": mc_error,
        "tolerance": default if given.get("tolerance") is None else float(given["tolerance"]),
        "preactivation_times": sorted({int(t) for t in given.get("preactivation_times", ())}),
    }


def trajectories(network, data, training, stated, options, memory_limit, method="causal", **approximation):
    """Blocks of the trajectory from replicas of the sampled march."""
    report = {"sampling": f"{options['replicas']} replicas of {options['samples']} samples"}
    steps = one_thread(_replicas(stated, options, memory_limit, **approximation))
    rows = _sampled_rows(stated, data, options, steps, report)
    times, stored = options.get("preactivation_times", ()), {"method": method, "options": options, "report": report}
    for trajectory in recorded(network, data, training, rows, times, **stored):
        trajectory.report["accuracy"] = _accuracy(relative_error(trajectory)) + _cut(report["dropped_variance"], options["tolerance"])
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
    one, _ = memory_estimates(stated, options["samples"], options["replicas"], options["track"])
    if one * options["replicas"] <= 0.8 * memory_limit:
        return kernel_replicas.march(stated, options["replicas"], options["rng"], **arguments)
    return _one_after_another(
        kernel_march.march(stated, seed=kernel_replicas.replica_seed(options["rng"], i), **arguments) for i in range(options["replicas"])
    )


def _one_after_another(marches):
    yield from zip(*[list(march) for march in marches])


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
    gradient_grams, gradient_errors = mean_and_error([[flat(gram, fields) for gram in step.gradient_grams[:-1]] for step in replicas])
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


def _cut(dropped, tolerance):
    """What to say where bases have reached their largest rank, so that more than the tolerance is left out."""
    if dropped <= 1.01 * tolerance:
        return ""
    return f"; {dropped:.1e} of the variance left out at the largest rank, samples / 8: take more samples or a larger tolerance"


def _accuracy(error, bias=None):
    text = "a single replica has no standard error" if math.isinf(error) else f"relative standard error {error:.1e}"
    return text if bias is None else f"{text}, {f'bias about {bias:.1e}' if bias else 'no bias seen'}"


def searched(network, data, training, stated, options, memory, memory_limit):
    """The trajectory at as many samples as the requested error needs, or as `memory_limit` allows for a need of `memory(samples)`."""
    began, before, target = time.perf_counter(), None, options["mc_error"]
    while True:
        try:
            *_, now = trajectories(network, data, training, stated, options, memory_limit)
        except KeyboardInterrupt:
            if before is None:
                raise
            before.report["accuracy"] += f"; interrupted before the requested {target:.1e}"
            yield before
            raise
        error, bias = relative_error(now), None if before is None else _bias(before, now)
        now.report["mc_error_reached"] = max(error, bias or 0.0)
        now.report["accuracy"] = _accuracy(error, bias) + _cut(now.report["dropped_variance"], options["tolerance"])
        reached = bias is not None and now.report["mc_error_reached"] <= target
        more = _more_samples(before, now, error, max(error, bias or 0.0) / target)
        now.report["elapsed"] = time.perf_counter() - began
        if reached or memory(more) > memory_limit:
            if not reached:
                now.report["accuracy"] += f"; more than the requested {target:.1e}, as memory_limit allows no more samples"
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
