"""Time loops of the limits of one-hidden-layer networks, and of the networks themselves (docs/theory/shallow_limits.md, sections 4 and 5).

The caller states the loss by `derivative(step, f)`: the derivatives of the loss at the P training points, given the solver's own function
f there, shape (P,), or (groups, P) for independent populations. So one loop serves the limit rules (3), the equations (6) at finite width
and the initialisation-corrected limit (7).
`weights`, shape (steps, P), are the batch weights of each step, 1/P of the full batch; a schedule of learning rates multiplies them.
"""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """A population before a step.

    Attributes
    ----------
    logits : ndarray, shape (P + M,)
    error : ndarray, shape (P + M,), or None
        Standard error of the logits, feedback of the loss derivatives included; None of a single population.
    kernels : pair of ndarrays, shape (P + M, P), or None
        Tangent kernels (K_a, K_w): to first order in the rates the logits change by -(K_a + K_w) c.
    """

    logits: np.ndarray
    error: np.ndarray | None
    kernels: tuple | None


def kernel_march(kernel, derivative, weights, outputs=()):
    """Kernel regime, equations (4) and (6): g <- g - K c from g = 0.

    Parameters
    ----------
    kernel : ndarray, shape (P + M, P)
        K(x_j, x_i) of all points and the training points, which come first.
    derivative, weights
        See the module; f is g.
    outputs : tuple of int
        (C,): g and derivatives have a second axis of this size.

    Yields
    ------
    g : ndarray, shape (P + M, *outputs)
        Before each step and after the last.
    """
    points, train = kernel.shape
    g = np.zeros((points, *outputs))
    for step, p in enumerate(weights):
        yield g
        g = g - kernel @ (p * derivative(step, g[:train]))
    yield g


def particle_march(particles, scale, rate_a, rate_w, derivative, weights, kernels_at=(), independent=False, forget_inputs=False):
    """Mean-field regime (5), with scale beta*/N and rates lambda*, or a network of the same N, with scale sigma and rates eta sigma.

    Independent groups are driven by their own logits. Their mean then has an honest standard error, which the sums over groups of one
    population lack, as all its neurons feel the same error of the loss derivatives; its bias is that of the size of a group.

    Parameters
    ----------
    particles : Particles
    scale, rate_a, rate_w : float
    derivative, weights
        See the module; f are the logits.
    kernels_at : collection of int
        Steps whose states hold the tangent kernels.
    independent : bool
        Whether the groups of `particles` are populations of their own.
    forget_inputs : bool
        Limit in which the first step of the input weights outgrows them: they are left with this step alone, whose phi' still sees the
        direction of the initial ones, while the output weights do not move (docs/theory/shallow_limits.md, section 4b, cases vii and viii).

    Yields
    ------
    State
        Before each step and after the last.
    """
    shares = particles.sizes[:, None] / np.sum(particles.sizes)

    def state(step, logits):
        error = kernels = None
        if independent:
            error = np.std(logits, axis=0, ddof=1) / np.sqrt(len(logits))
        if step in kernels_at:
            kernel_a, kernel_w = particles.tangent_kernels()
            if origin is not None:
                kernel_a = np.zeros_like(kernel_a)
            kernels = scale * rate_a * kernel_a, scale * rate_w * kernel_w
        return State(np.mean(logits, axis=0), error, kernels)

    def logits(sums):
        return scale * (sums / shares if independent else np.sum(sums, axis=0, keepdims=True))

    origin = particles.h.copy() if forget_inputs else None
    f = logits(particles.sums())
    for step, p in enumerate(weights):
        yield state(step, f)
        c = p * derivative(step, f[:, : particles.train] if independent else f[0, : particles.train])
        if origin is None or not np.any(c):
            f = logits(particles.step(rate_a, rate_w, c))
            continue
        particles.step(0.0, rate_w, c)
        particles.h -= origin
        origin, f = None, logits(particles.sums())
    yield state(len(weights), f)
