"""Kernels of finite networks against those of their theory: two rows for each kernel.

Compared are the kernels between points at equal times, at the times at which all networks have recorded them. Those between different
times enter through the function, which is driven by them. A kernel is compared along the theory's own, and its change since the first of
these times along the theory's own change; where the theory's kernel is constant, along y y^T of the labels, relative to the kernel itself.
Of networks with one hidden layer it is the tangent kernel, of fully connected ones the feature and the gradient kernel of each layer.
"""

import numpy as np

from ..kernel_trajectory import KernelTrajectory
from .rows import ROUNDING, row


def kernel_rows(groups, finite, common):
    """`Row`s of the kernels; none unless theory and networks have them.

    Parameters
    ----------
    groups : sequence of functions.Group
    finite : ndarray (T,) of bool
        Times that may be compared.
    common : dict
        Arguments `weights`, `rate` and `theory_degrees` of `row`.
    """
    trajectory, ensembles = groups[0].theories[0], [g.ensemble for g in groups]
    layered = isinstance(trajectory, KernelTrajectory)
    known = trajectory.feature_grams if layered else trajectory.tangent_grams
    if known is None or any((e.feature_kernels if layered else e.tangent_grams) is None for e in ensembles):
        return
    targets = trajectory.data.targets
    if not layered:
        networks = [e.tangent_kernel()[:, finite] for e in ensembles]
        theories = [np.array([t.tangent_kernel()[finite] for t in g.theories]) for g in groups]
        yield from _rows("tangent kernel", networks, theories, 0.0, targets @ targets.T, common)
        return
    times = np.array(sorted(set(np.flatnonzero(finite)).intersection(*(e.options["kernel_times"] for e in ensembles))), dtype=int)
    if not len(times):
        return
    for layer in range(1, trajectory.network.depth + 1):
        for kind, of_theory, labels in (("feature", _features, targets @ targets.T), ("gradient", _gradients, np.outer(targets, targets))):
            theory, error = (values[times] for values in of_theory(trajectory, layer))
            networks = [_recorded(e, f"{kind}_kernels", layer, times, theory.shape[-1]) for e in ensembles]
            yield from _rows(f"{kind} kernel {layer}", networks, [theory[None]] * len(networks), error, labels, common)


def _rows(name, networks, theories, error, labels, common):
    """Rows of kernels (seeds, K, n, n) at several sizes, and of the theory, (seeds or 1, K, n, n); its error is (K, n, n) or 0."""
    residuals, error = [n - t for n, t in zip(networks, theories)], np.broadcast_to(error, networks[0].shape[1:])
    size = _square(theories[0])
    yield _along(name, residuals, theories, size, error, common)
    if networks[0].shape[1] > 1:
        changes, error = [t - t[:, :1] for t in theories], np.hypot(error, error[:1])
        square, what = _square(changes[0]), "change"
        if square <= ROUNDING * size:
            labels = labels if labels.any() else np.ones_like(labels)
            direction = labels * np.sqrt(size / np.sum(labels**2) / len(error))
            changes, square, what = [np.broadcast_to(direction, t.shape) for t in theories], size, "along labels"
        yield _along(f"{name}, {what}", [r - r[:, :1] for r in residuals], changes, square, error, common)


def _along(name, residuals, directions, square, error, common):
    """Row of the residuals along directions, relative to these: `square` is their mean square."""
    samples = [np.sum(r * d, axis=(1, 2, 3)) / square for r, d in zip(residuals, directions)]
    fluctuation = [np.sqrt(np.sum(r.var(axis=0, ddof=1)) / square) for r in residuals]
    return row(name, samples, fluctuation=fluctuation, theory_error=np.sum(abs(directions[0][0]) * error) / square, main=False, **common)


def _square(kernels):
    """Mean over seeds of the sum of squares."""
    return np.sum(kernels**2) / len(kernels)


def _recorded(ensemble, name, layer, times, size):
    """Kernels of networks at equal times, (seeds, K, size, size)."""
    at = np.searchsorted(ensemble.kernel_times, times)
    return np.moveaxis(getattr(ensemble, name)[:, layer - 1, at, :size, at, :size], 0, 1)


def _features(trajectory, layer):
    """Feature kernel between samples at equal times and its error, (T, P, P)."""
    samples = trajectory.samples
    return trajectory.feature_grams[:, layer - 1, :samples, :samples], trajectory.feature_kernel_error(layer)


def _gradients(trajectory, layer):
    """Gradient kernel between samples at equal times and its error, (T, P C, P C)."""
    samples, outputs = trajectory.samples, trajectory.network.outputs
    error = trajectory.gradient_kernel_error(layer)
    kernel = trajectory.gradient_grams[:, layer - 1, : samples * outputs, : samples * outputs]
    if kernel.shape[1] == outputs:
        kernel, error = (np.tile(values, (1, samples, samples)) for values in (kernel, error))
    return kernel, error
