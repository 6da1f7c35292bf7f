"""Finite networks with L hidden layers in an abc-parameterization, on a data set (docs/theory/deep_parameterizations.md, section 1).

Logits are those of the network, not normalised. Where entries of weights have a mean, it is exactly m^(-a_l - mean_b_l); hidden biases
have the standard deviation of hidden weights. Parameterizations that differ by `ABC.rescaled` only are trained alike, bit for bit.
"""

from functools import partial

import numpy as np

from .. import checks, losses
from ..activations import resolve
from ..data import Dataset
from ..divergence import Divergence
from ..ensemble import FunctionEnsemble
from ..specification import check_type
from ..training import GradientDescent, MinibatchSGD
from .plan import Plan, check_memory

OPTIONS = ("width", "loss", "track")
TRACKED = (None, "coordinates")


def plan(network, data, training, seeds, workers, width=None, loss="mse", track=None):
    """The `Plan` of checked arguments, as in `dmft.simulate`."""
    check_problem(network, data, training, loss)
    scaling = network.abc.scaling
    exponents = (e for name in ("size", "size_later", "mean", "bias", "rate", "rate_later") for e in getattr(scaling, name))
    width = checks.width(width, [e for e in exponents if e is not None])
    checks.choice("track", track, TRACKED)
    rank = _rank(training, len(data.x), width, track)
    numbers = _numbers(network, data, training, width, rank, track)
    check_memory(f"width = {width}", *numbers, seeds, workers, "a smaller width, fewer points or steps")
    options = {"loss": loss, "track": track}

    def collect(networks, **provenance):
        arrays = {name: np.array([values[name] for values in networks]) for name in networks[0]}
        return FunctionEnsemble(network=network, data=data, training=training, width=width, options=options, **arrays, **provenance)

    return Plan(f"width {width}", partial(_train, network, data, training, width, loss, track, rank), collect)


def check_problem(network, data, training, loss):
    """Raise ValueError or TypeError unless networks of several layers can be trained on the problem."""
    check_type("data", data, (Dataset,))
    check_type("training", training, (GradientDescent, MinibatchSGD))
    for name in ("momentum", "weight_decay"):
        if getattr(training, name):
            raise ValueError(
                f"{name} must be 0 for a DeepNet, whose exponents say how plain gradient steps scale with the width; "
                f"got {getattr(training, name)}"
            )
    losses.check(loss, data, network.outputs)


def scales(network, width):
    """The `solvers.finite_deep.Scales` of a network at a width."""
    from solvers.finite_deep import Scales

    scaling, weight_scale = network.abc.scaling, np.array([*[network.weight_scale] * network.depth, 1.0])

    def powers(exponents):
        return np.array([0.0 if e is None else float(width) ** -float(e) for e in exponents])

    def of_biases(exponents):
        return powers(e if b is not None else None for e, b in zip(exponents, scaling.bias))

    return Scales(
        size=weight_scale * powers(scaling.size),
        size_later=weight_scale * powers(scaling.size_later),
        mean=powers(scaling.mean),
        bias=weight_scale * powers(scaling.bias),
        rate=powers(scaling.rate),
        rate_later=powers(scaling.rate_later),
        bias_rate=of_biases(scaling.bias_rate),
        bias_rate_later=of_biases(scaling.bias_rate_later),
    )


def _rank(training, samples, width, track):
    """Rows of factors of a hidden matrix: all, where they are few or are to stay apart, else so few that they are cheap to apply."""
    everything = training.steps * samples
    return everything if track or everything <= width // 4 else max(samples, width // 8)


def _numbers(network, data, training, width, rank, track):
    """Those of `check_memory`: weights, factors of their changes and signals; and functions, losses, coordinates."""
    points, layers, rows = len(data.points), network.depth + 1, training.rows
    hidden = (network.depth - 1) * width * (width + 2 * rank)
    signals = 5 * layers * points * width + points * len(data.x)
    return hidden + width * data.x.shape[1] + signals, rows * (points * network.outputs + (5 * layers if track else 0) + 2)


def _train(network, data, training, width, loss, track, rank, stream, advance=lambda steps: None):
    """Arrays of `FunctionEnsemble` for one network, without the axis of seeds."""
    from solvers.finite_deep import SIGNALS, draw, march

    (samples, inputs), rows, points = data.x.shape, training.rows, data.points
    derivative, mean_loss = losses.of_outputs(loss)
    targets, weights = data.targets, training.batch_weights(samples)[..., None]
    test_targets, shape, scale = data.test_targets, (rows, len(points), *data.label_axes), scales(network, width)
    diverged = Divergence(loss, targets, width * scale.size[-1])
    states = march(
        draw(np.random.default_rng(stream), inputs, width, network.depth, network.outputs),
        scale,
        points,
        samples,
        resolve(network),
        lambda step, f: weights[step] * derivative(targets, f),
        training.learning_rates,
        rank,
        track=track is not None,
    )
    function = np.full((rows, len(points), network.outputs), np.inf)
    arrays = {"train_loss": np.full(rows, np.inf)}
    if test_targets is not None:
        arrays["test_loss"] = np.full(rows, np.inf)
    if track is not None:
        arrays["coordinates"] = np.full((rows, len(SIGNALS), network.depth + 1), np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for t, state in enumerate(states):
            if diverged(state.logits):
                advance(rows - t)
                break
            advance(min(t, 1))
            function[t] = state.logits
            arrays["train_loss"][t] = mean_loss(targets, state.logits[:samples])
            if test_targets is not None:
                arrays["test_loss"][t] = mean_loss(test_targets, state.logits[samples:])
            if track is not None:
                arrays["coordinates"][t] = state.sizes
    arrays["function"] = function.reshape(shape)
    return arrays | {"initial_function": arrays["function"][0]}
