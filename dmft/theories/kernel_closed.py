"""Kernel evolution without replicas: deep linear networks, the lazy limit, small richness, and the fixed point of sweeps over all times.

Iterators over `kernel_rows.Row`. Source: arXiv 2205.09653; docs/theory/kernel_evolution.md, sections 1 and 3.
"""

import numpy as np

from .. import checks
from ..divergence import before
from ..errors import SolverError
from .kernel_rows import Kernels, Row, tangent_kernel

#: Tolerance of the factors of linear networks.
_EXACT = 1e-16
FIXED_POINT_SAMPLES = 2000


def linear_rows(stated, track):
    """`Row` of the closed theory of deep linear networks at every time."""
    from solvers import kernel_linear
    from solvers.kernel_linear_factors import LinearFactors

    points, outputs = stated.points, stated.outputs
    factors = LinearFactors(stated, _EXACT)
    for solution, t in kernel_linear.march(stated):
        kernels = None
        if track is not None:
            now, now_g = (slice(t * size, (t + 1) * size) for size in (points, outputs))
            feature_grams = np.array([layer.H[now, now] for layer in solution.layers])
            gradient_grams = np.array([layer.G[now_g, now_g] for layer in solution.layers])
            tangent = tangent_kernel(stated.gram, feature_grams, gradient_grams, outputs, stated.samples)
            kernels = Kernels(*factors.append(solution, t), feature_grams, gradient_grams, tangent)
        yield Row(solution.predictions[t].copy(), kernels=kernels)


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


def lazy_rows(stated, track):
    """`Row` of the limit richness -> 0 at every time."""
    from solvers.kernel_reduced import lazy

    features, gradients = initial_kernels(stated)
    gradients = np.array([np.kron(G, np.eye(stated.outputs)) for G in gradients])
    tangent = tangent_kernel(stated.gram, features, gradients, stated.outputs, stated.samples)
    with np.errstate(over="ignore", invalid="ignore"):
        predictions = lazy(stated, tangent[:, 0, :, 0])
    kernels = None
    if track is not None:
        kernels = Kernels([_root(phi) for phi in features], [_root(G) for G in gradients], features, gradients, tangent)
    return (Row(f, kernels=kernels) for f in predictions)


def _root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def small_richness_rows(stated, track, diverged):
    """`Row` of the expansion in the richness, lazy predictions and kernels to second order, up to divergence; signs of factors by name."""
    from solvers.kernel_reduced import lazy, linear_tangent_kernel, small_richness_linear
    from solvers.low_rank import signed_factor

    with np.errstate(over="ignore", invalid="ignore"):
        predictions = lazy(stated, linear_tangent_kernel(stated))
    predictions = list(before(predictions, diverged, lambda f: f))
    times, points = len(predictions), stated.points
    if track is None:
        return (Row(f) for f in predictions), {}
    features, gradients = small_richness_linear(stated._replace(rates=stated.rates[: times - 1]))
    feature_factors, feature_signs = zip(*(signed_factor(kernel.reshape(times * points, -1), 2 * points + 1) for kernel in features))
    gradient_factors, gradient_signs = zip(*(signed_factor(kernel, points + 2) for kernel in gradients))

    def rows():
        for t in range(times):
            feature_grams, gradient_grams = features[:, t, :, t], gradients[:, t, t].reshape(-1, 1, 1)
            tangent = tangent_kernel(stated.gram, feature_grams, gradient_grams, 1, stated.samples)
            factors = [F.reshape(times, points, -1)[t] for F in feature_factors], [F[t : t + 1] for F in gradient_factors]
            yield Row(predictions[t], kernels=Kernels(*factors, feature_grams, gradient_grams, tangent))

    return rows(), {"feature_signs": np.array(feature_signs), "gradient_signs": np.array(gradient_signs)}


def fixed_point_options(linear, given):
    """Options of the fixed point besides loss and track, as they are stored."""
    options = {
        "damping": float(given.get("damping") or (1.0 if linear else 0.7)),
        "tolerance": float(given.get("tolerance") or (1e-12 if linear else 1e-4)),
        "max_sweeps": int(given.get("max_sweeps", 200)),
    }
    if not linear:
        options["samples"] = int(given.get("samples") or FIXED_POINT_SAMPLES)
        options["rng"] = checks.integer_seed("rng", given.get("rng", 0))
    return options


def fixed_point_rows(stated, options, report):
    """`Row` of the fixed point of sweeps over all times; the changes of the sweeps go into `report`."""
    from solvers import kernel_fixed_point

    arguments = {"damping": options["damping"], "tolerance": options["tolerance"], "sweeps": options["max_sweeps"]}
    try:
        if "samples" in options:
            order, changes = kernel_fixed_point.solve_sampled(stated, samples=options["samples"], seed=options["rng"], **arguments)
        else:
            order, changes = kernel_fixed_point.solve_linear(stated, **arguments)
    except kernel_fixed_point.NoConvergence as failure:
        raise SolverError(str(failure)) from failure
    report["residuals"] = [float(change) for change in changes]
    kernels = [None] * stated.times if options["track"] is None else _given_kernels(stated, order.features, order.gradients)
    yield from (Row(f, kernels=known) for f, known in zip(order.predictions, kernels))


def _given_kernels(stated, features, gradients):
    """`Kernels` at every time, from two-time matrices of all layers, time-major."""
    from solvers.low_rank import factor

    times = stated.times

    def parts(matrices):
        size = matrices.shape[1] // times
        factors = [factor(matrix).reshape(times, size, -1) for matrix in matrices]
        blocks = matrices.reshape(-1, times, size, times, size)
        return factors, blocks[:, np.arange(times), :, np.arange(times)]

    (feature_factors, feature_grams), (gradient_factors, gradient_grams) = parts(features), parts(gradients)
    for t in range(times):
        tangent = tangent_kernel(stated.gram, feature_grams[t], gradient_grams[t], stated.outputs, stated.samples)
        rows = ([known[t] for known in factors] for factors in (feature_factors, gradient_factors))
        yield Kernels(*rows, feature_grams[t], gradient_grams[t], tangent)
