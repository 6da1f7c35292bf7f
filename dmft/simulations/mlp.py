"""Finite fully connected networks on a data set, in the units of their infinitely wide limit (docs/theory/kernel_evolution.md, section 1).

Nothing here knows the theory; the numerics are those of `solvers/finite_mlp.py`.
"""

from functools import partial

import numpy as np

from .. import checks
from ..activations import resolve
from ..data import Dataset
from ..divergence import before
from ..ensemble import KernelEnsemble
from ..specification import check_type
from ..theories.kernel_rows import divergence, mean_loss
from ..theories.mlp import check_labels, problem
from ..training import GradientDescent
from .plan import Plan, check_memory

OPTIONS = ("width", "loss", "center", "track", "kernel_times")


def plan(network, data, training, seeds, workers, width=None, loss="mse", center=True, track=None, kernel_times=None):
    """The `Plan` of checked arguments, as in `dmft.simulate`."""
    check_type("data", data, (Dataset,))
    check_type("training", training, (GradientDescent,))
    if data.targets.shape[1] != network.outputs:
        raise ValueError(f"y must have shape (P, C) for a network with outputs = C = {network.outputs}; got {data.y.shape}")
    check_labels(data, loss)
    resolve(network)
    width = checks.integer("width", width, 1)
    center = checks.flag("center", center)
    checks.choice("track", track, (None, "kernels"))
    times = _kernel_times(kernel_times, track, training)
    numbers = _numbers(network, data, training, width, times)
    check_memory(f"width = {width}", *numbers, seeds, workers, "a smaller width, fewer kernel_times or points")
    options = {"loss": loss, "center": center, "track": track, "kernel_times": times}

    def collect(networks, **provenance):
        arrays = {name: np.array([values[name] for values in networks]) for name in networks[0]}
        return KernelEnsemble(network=network, data=data, training=training, width=width, options=options, **arrays, **provenance)

    return Plan(f"width {width}", partial(_train, network, data, training, width, loss, center, times), collect)


def _kernel_times(times, track, training):
    if track is None:
        if times is not None:
            raise ValueError(f"kernel_times needs track='kernels'; got kernel_times={checks.shown(times)} and track=None")
        return []
    if times is None:
        return list(range(training.rows))
    times = checks.sequence("kernel_times", times, "a sequence of steps")
    chosen = sorted({checks.integer("kernel_times", t, 0) for t in times})
    if not chosen or chosen[-1] > training.steps:
        checks.fail("kernel_times", times, f"steps from 0 to {training.steps}, at least one")
    return chosen


def _numbers(network, data, training, width, times):
    """Those of `check_memory`: weights, signals and those kept for kernels; and functions, losses, kernels."""
    points, fields, layers = len(data.points), data.y.size, network.depth
    weights = (2 if training.momentum else 1) * (width * data.x.shape[1] + (layers - 1) * width**2)
    states = layers * width * (4 * points + len(times) * (points + fields))
    kernels = layers * len(times) ** 2 * (points**2 + fields**2)
    return weights + states + kernels, kernels + (training.rows) * (points * network.outputs + 2)


def _train(network, data, training, width, loss, center, times, stream, advance=lambda steps: None):
    """Arrays of `KernelEnsemble` for one network, without the axis of seeds."""
    from solvers import finite_mlp

    stated, samples, rows = problem(network, data, training, loss), len(data.x), training.rows
    weights = finite_mlp.initial_weights(data.x.shape[1], width, network.depth, network.outputs, np.random.default_rng(stream))
    shape, diverged = (len(data.points), *data.label_axes), divergence(network, data, loss)
    with np.errstate(over="ignore", invalid="ignore"):
        top, _ = finite_mlp.forward(weights, data.points, stated.activation)
        initial = (top[-1] @ weights[-1].T / (network.richness * np.sqrt(width))).reshape(shape)
    arrays = {
        "function": np.full((rows, *shape), np.inf),
        "train_loss": np.full(rows, np.inf),
        "initial_function": initial,
    }
    if data.test_y is not None:
        arrays["test_loss"] = np.full(rows, np.inf)
    kept, steps = [], finite_mlp.march(stated, data.points, weights, center)
    with np.errstate(over="ignore", invalid="ignore"):
        t = 0
        for t, (f, features, slopes) in enumerate(before(steps, diverged, lambda step: step[0])):
            arrays["function"][t] = f.reshape(shape)
            arrays["train_loss"][t] = mean_loss(loss, data.targets, f[:samples])
            if data.test_y is not None:
                arrays["test_loss"][t] = mean_loss(loss, data.test_targets, f[samples:])
            if t in times:
                gradients = finite_mlp.gradients(weights, [slope[:samples] for slope in slopes])
                kept.append((features[1:], [g.reshape(-1, width) / np.sqrt(width) for g in gradients]))
            if t:
                advance(1)
        advance(rows - 1 - t)
        if times:
            arrays["feature_kernels"], arrays["gradient_kernels"] = (_between(states, len(times)) for states in zip(*kept))
    return arrays


def _between(states, times):
    """Kernels (L, K, n, K, n) of the states of each time, lists of L arrays (n, N); inf at times that were not reached."""
    kernels = []
    for layer in zip(*states):
        layer = np.array(layer)
        done, n, width = layer.shape
        flat = layer.reshape(done * n, width)
        kernel = np.full((times, n, times, n), np.inf)
        kernel[:done, :, :done] = (flat @ flat.T).reshape(done, n, done, n)
        kernels.append(kernel)
    return np.array(kernels)
