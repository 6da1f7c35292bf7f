"""Kernels of finite fully connected networks against those of their theory: one test for each kernel of each layer.

Compared are the kernels between training samples at equal times, at the times at which all networks have recorded them. Those between
different times enter through the function, which is driven by them. Entries of finite networks deviate by a relative width^-1/2 from
network to network, and by 1 / width in the mean.
"""

import numpy as np

from .mean_test import ROUNDING, mean_test


def kernel_tests(trajectory, ensembles, finite, weights, degrees):
    """`MeanTest` of "feature kernel l" and "gradient kernel l", l = 1 ... L; none unless trajectory and ensembles have kernels.

    Parameters
    ----------
    trajectory : KernelTrajectory
    ensembles : sequence of KernelEnsemble
    finite : ndarray (T,) of bool
        Times that may be compared.
    weights : sequence of float
        Of the means of the ensembles.
    degrees : int
        Degrees of freedom of the Monte Carlo error of the theory.
    """
    if trajectory.feature_grams is None or any(e.feature_kernels is None for e in ensembles):
        return {}
    times = np.array(sorted(set(np.flatnonzero(finite)).intersection(*(e.options["kernel_times"] for e in ensembles))), dtype=int)
    if not len(times):
        return {}
    rows = [np.searchsorted(e.kernel_times, times) for e in ensembles]
    tests = {}
    for layer in range(1, trajectory.network.depth + 1):
        for kind, kernels, theory, error in (
            ("feature", "feature_kernels", *_features(trajectory, layer)),
            ("gradient", "gradient_kernels", *_gradients(trajectory, layer)),
        ):
            theory, size = theory[times], theory.shape[-1]
            samples = [getattr(e, kernels)[:, layer - 1, row, :size, row, :size] for e, row in zip(ensembles, rows)]
            samples = [np.moveaxis(s, 0, 1) - theory for s in samples]
            tests[f"{kind} kernel {layer}"] = _test(samples, theory, error[times], weights, degrees)
    return tests


def _test(samples, theory, error, weights, degrees):
    """All times at once, each in units of its spread over networks and Monte Carlo error, with rounding as a floor."""
    spread = samples[0].var(axis=0, ddof=1) + error**2 + ROUNDING**2 * theory**2
    scale = np.sqrt(spread.mean(axis=(1, 2), keepdims=True))
    common = error * np.sum(np.abs(weights))
    return mean_test([s / scale for s in samples], weights, common / scale, degrees)


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
