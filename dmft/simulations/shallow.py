"""Finite networks with one hidden layer on a data set, at any width (docs/theory/shallow_limits.md, sections 1 and 5).

Normalised as `dmft.theories.shallow` does; the networks themselves know nothing of the limit.
"""

from functools import partial

import numpy as np

from .. import checks, limits, losses
from ..activations import resolve
from ..divergence import Divergence
from ..ensemble import FunctionEnsemble
from ..machine import cores
from ..shallow_scaling import check_width, reach, refuse_unstable, scaling
from ..theories.shallow import check_problem
from ..threads import one_thread
from .plan import Plan, check_memory

OPTIONS = ("width", "loss", "track", "allow_unstable")


def plan(network, data, training, seeds, workers, width=None, loss="logistic", track=None, allow_unstable=False):
    """The `Plan` of checked arguments, as in `dmft.simulate`."""
    check_problem(network, data, training, loss, track)
    width = check_width(network, width)
    scales = scaling(network, loss)
    if scales.limit is None and not checks.flag("allow_unstable", allow_unstable):
        refuse_unstable(network, loss, "To see it fail, set allow_unstable=True")
    check_memory(f"width = {width}", *_numbers(data, training, width, track), seeds, workers, "a smaller width, fewer points or steps")
    options = {"loss": loss, "track": track, "allow_unstable": allow_unstable}
    threads = max(1, cores() // workers)

    def collect(networks, **provenance):
        arrays = {name: np.array([values[name] for values in networks]) for name in networks[0]}
        return FunctionEnsemble(network=network, data=data, training=training, width=width, options=options, **arrays, **provenance)

    return Plan(f"width {width}", partial(_train, network, data, training, width, loss, track, scales, threads), collect)


def _numbers(data, training, width, track):
    """Those of `check_memory`: neurons; and functions, losses, kernels."""
    points, rows = len(data.points), training.rows
    return width * (points + 1), rows * (points + 2 + (points * len(data.x) if track == "kernels" else 0))


def _train(network, data, training, width, loss, track, scales, threads, stream, advance=lambda steps: None):
    """Arrays of `FunctionEnsemble` for one network, without the axis of seeds."""
    from solvers.particles import Particles, initial
    from solvers.shallow import particle_march

    samples, rows, growth = len(data.x), training.rows, width / network.reference_width
    y, shape, diverged = data.targets[:, 0], (len(data.points), *data.label_axes), Divergence(loss, data.targets, reach(network, width))
    sigma = network.sigma * growth ** float(network.q_sigma)
    rates = (sigma * growth ** float(q) for q in network.q_etas)
    derivative, mean_loss = losses.derivative(limits.shallow(loss).derivation.loss.finite), losses.OUTPUT_LOSSES[loss]
    a, h = initial(np.random.default_rng(stream), width, data.points)
    particles = Particles(a, h, data.points, samples, resolve(network), threads=threads)
    fixed = (np.sqrt(growth) - 1) * sigma * particles.sums().sum(axis=0) if network.corrected else np.zeros(len(data.points))
    weights = training.batch_weights(samples) * training.learning_rates[:, None]
    kernels_at = range(rows) if track == "kernels" else ()
    states = particle_march(particles, sigma, *rates, lambda step, f: derivative(y, f + fixed[:samples]), weights, kernels_at)

    arrays = {"function": np.full((rows, *shape), np.inf), "train_loss": np.full(rows, np.inf)}
    if data.test_y is not None:
        arrays["test_loss"] = np.full(rows, np.inf)
    if track == "kernels":
        arrays["tangent_grams"] = np.full((rows, len(fixed), samples), np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for t, state in enumerate(one_thread(states)):
            logits = state.logits + fixed
            if diverged(logits):
                advance(rows - t)
                break
            if t == 0:
                arrays["initial_function"] = growth**-scales.initial * logits.reshape(shape)
            else:
                advance(1)
            arrays["function"][t] = growth**-scales.logits * logits.reshape(shape)
            arrays["train_loss"][t] = mean_loss(data.targets, logits[:samples, None])
            if data.test_y is not None:
                arrays["test_loss"][t] = mean_loss(data.test_targets, logits[samples:, None])
            if track == "kernels":
                arrays["tangent_grams"][t] = growth**-scales.kernel * sum(state.kernels)
    return arrays
