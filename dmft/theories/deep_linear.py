"""Deep linear networks at proportional width, data and dimension: from the specification to the arrays of the solvers.

Source: arXiv 2502.02531; docs/theory/deep_linear.md, sections 0-4. D0 = D: all ratios are per input dimension.
"""

import math
import time
import warnings
from dataclasses import replace

import numpy as np

from .. import checks
from ..data import check_data
from ..errors import DepthWarning, SolverError
from ..linear_trajectory import KERNELS, LinearTrajectory
from ..specification import check_type
from ..training import GradientDescent, GradientFlow, MinibatchSGD, OnlineSGD, check_combination
from ..trajectory import Status
from . import linear_flow

#: Methods and their options.
METHODS = {"causal": (), "fixed-point": ("window", "tolerance", "max_sweeps", "damping", "anderson"), "reference": ()}
#: Whether `march` takes a memory limit, to choose how to go about.
ADAPTS_TO_MEMORY = True

#: Marching stops where the test loss exceeds this multiple of the initial one; rich catapults that come back stay below
#: (docs/theory/deep_linear.md, section 7).
DIVERGENCE_FACTOR = 1e3


def continues(network, training):
    """Whether `march` goes on from `start`; if not, it solves those rows again, to the same numbers."""
    return network.depth != math.inf and not isinstance(training, GradientFlow)


def check_types(data, training):
    """Raise TypeError, naming the argument, for data and training of a kind that this theory does not know."""
    check_data(data)
    check_type("training", training, (GradientDescent, OnlineSGD, MinibatchSGD, GradientFlow))


def check(network, data, training, method="causal", **_):
    """Raise TypeError or ValueError, naming the argument, unless this theory covers the problem."""
    check_types(data, training)
    check_combination(data, training)
    data.spectrum(network.outputs)
    if network.depth == math.inf and isinstance(training, GradientFlow):
        raise ValueError("training must not be a GradientFlow at infinite depth, the limit of marches in steps: take a large finite depth")
    if network.depth == math.inf and method != "causal":
        raise ValueError(f"method must be 'causal' at infinite depth, the limit of marches at finite depths; got {method!r}")
    if isinstance(training, GradientFlow):
        linear_flow.check(method)


def problem(network, data, training):
    """The `solvers.linear_problem.LinearProblem` of a checked specification of finite depth; of a flow decay and memory are empty."""
    from solvers.linear_problem import LinearProblem
    from solvers.memory_kernel import memory_kernel

    spectrum = data.spectrum(network.outputs)
    ratios = np.array(network.width_ratios)
    infinite = math.isinf(ratios[0])
    richness_squared = 0.0 if infinite and network.parameterization == "ntk" else network.richness**2
    online = isinstance(training, OnlineSGD)
    if isinstance(training, GradientFlow):
        decay, memory = np.zeros(training.rows), np.zeros((0, 0))
    else:
        optimizer = training.momentum, training.nesterov, training.weight_decay, training.decoupled
        decay, memory = memory_kernel(training.learning_rates, *optimizer)
    catapult = max(1.0, 0.0 if infinite else ratios[-1], 1.0 / richness_squared if richness_squared else 0.0)
    return LinearProblem(
        decay=decay,
        memory=memory,
        coupling=richness_squared,
        initial_variance=network.initial_variance,
        width_steps=np.ones(len(ratios) - 1) if infinite else ratios[1:] / ratios[:-1],
        first_over_last=1.0 if infinite else ratios[0] / ratios[-1],
        eigenvalues=spectrum.eigenvalues,
        fractions=spectrum.fractions,
        target=np.ascontiguousarray(spectrum.target),
        noise=np.ascontiguousarray(spectrum.noise),
        sample_ratio=float(training.batch_ratio if online else data.sample_ratio),
        online=online,
        batch_excess=1.0 / training.batch_fraction - 1.0 if isinstance(training, MinibatchSGD) else 0.0,
        divergence_factor=DIVERGENCE_FACTOR * catapult,
        branch=network.branch,
    )


def memory_estimate(network, data, training, method, **_):
    """Peak memory in bytes of the arrays.

    With n = T C rows, L layers and M input modes, in doubles: 2 T^2 for the optimizer's memory kernel, and 6 L + 4 M + 6 matrices
    for the causal march, each of n^2 and the 300 C n of the low-rank form of long histories (from T = 640 on);
    (8 L + M + 14) n^2 for the fixed point; (6 L + 8 M + 20) n^2 for the reference. A residual network takes 10 (L - 1) matrices more
    for the march, 16 (L - 1) for the fixed point, and 4 L^2 more for the reference. Infinite depth takes marches at the least three
    depths, and 42 n^2 for their limit; greater ones are used where memory allows.
    """
    if network.depth == math.inf:
        from solvers.infinite_depth import DEPTHS

        return _memory_of_limit(network, data, training, DEPTHS[:3])
    from solvers.low_rank_history import low_rank_size

    rows, outputs = training.rows, network.outputs
    layers, modes, residual = network.hidden_states, len(data.spectrum(network.outputs).eigenvalues), network.branch is not None
    if isinstance(training, GradientFlow):
        return linear_flow.memory_estimate(layers, modes, outputs, rows, residual)
    matrices = {
        "causal": 6 * layers + 4 * modes + 6 + residual * 10 * (layers - 1),
        "fixed-point": 8 * layers + modes + 14 + residual * 16 * (layers - 1),
        "reference": 6 * layers + 8 * modes + 20 + residual * 4 * layers**2,
    }[method]
    extra = low_rank_size(rows, outputs) if method == "causal" else 0
    return 8 * (matrices * ((rows * outputs) ** 2 + extra) + 2 * rows**2)


def _memory_of_limit(network, data, training, depths):
    """Bytes that marches at these depths and the limit that they are extrapolated to take together."""
    marches = (memory_estimate(replace(network, depth=depth), data, training, "causal") for depth in depths)
    return sum(marches) + 8 * (4 * network.hidden_states + 6) * (training.rows * network.outputs) ** 2


def march(network, data, training, start=None, memory_limit=math.inf):
    """Iterate over the trajectory, solved in blocks of rows; `start` is a trajectory with fewer steps to continue, or None."""
    if network.depth == math.inf:
        done = 0 if start is None else start.finished
        for trajectory in _infinitely_deep(network, data, training, memory_limit):
            if trajectory.finished > done:
                yield trajectory
        return
    from solvers import causal_linear
    from solvers.linear_problem import OrderParameters

    stated = problem(network, data, training)
    if isinstance(training, GradientFlow):
        yield from linear_flow.march(stated, network, data, training, start)
        return
    began = time.perf_counter()
    state, done = None, 0
    if start is not None:
        order = OrderParameters(**start.kernels, test_loss=start.test_loss, train_loss=start.train_loss)
        state, done = causal_linear.restore(stated, order, start.finished), start.finished
    for state, done, diverged in causal_linear.march(stated, state, done):
        status = Status.DIVERGED if diverged else Status.COMPLETED if done == stated.rows else Status.INTERRUPTED
        order = causal_linear.order_parameters(stated, state)
        yield _trajectory(network, data, training, order, status, done, "causal", {}, {"elapsed": time.perf_counter() - began})


def _infinitely_deep(network, data, training, memory_limit):
    """The same at infinite depth, from the first row."""
    from solvers import infinite_depth

    began = time.perf_counter()
    depths = infinite_depth.DEPTHS
    if _memory_of_limit(network, data, training, depths[-3:]) > memory_limit:
        depths = depths[:3]
    for limit in infinite_depth.march(lambda depth: problem(replace(network, depth=depth), data, training), depths):
        status = Status.DIVERGED if limit.diverged else Status.COMPLETED if limit.done == training.rows else Status.INTERRUPTED
        report = {"elapsed": time.perf_counter() - began, "depths": list(limit.depths)}
        if limit.unsettled.any():
            report["unsettled_from"] = int(limit.unsettled.argmax())
        yield _trajectory(network, data, training, limit.order, status, limit.done, "causal", {}, report, limit.loss_error)
    if "unsettled_from" in report:
        warnings.warn(
            f"errors at finite depth do not fall as 1 / depth up to {depths[-1]} branches, from step {report['unsettled_from']} on: the "
            "limit of infinite depth is only as accurate as loss_error says. A smaller learning_rate or branch_scale is easier",
            DepthWarning,
            stacklevel=5,
        )


def whole(network, data, training, method, bar, **options):
    """Iterate over the one trajectory of a method that does not march; `bar` is the progress bar."""
    yield _reference(network, data, training) if method == "reference" else _fixed_point(network, data, training, bar, **options)


def _fixed_point(network, data, training, bar, window="auto", tolerance=1e-10, max_sweeps=200, damping=1.0, anderson=0):
    from solvers import fixed_point

    if window != "auto":
        window = checks.integer("window", window, 1)
    options = {
        "window": window,
        "tolerance": checks.positive("tolerance", tolerance),
        "max_sweeps": checks.integer("max_sweeps", max_sweeps, 1),
        "damping": checks.number("damping", damping, "a number in (0, 1]", lambda v: 0 < v <= 1),
        "anderson": checks.integer("anderson", anderson, 0),
    }
    began = time.perf_counter()
    try:
        order, history, finished = fixed_point.solve(
            problem(network, data, training), **options, callback=lambda done: bar.update(done - bar.n)
        )
    except fixed_point.NoConvergence as failure:
        raise SolverError(str(failure)) from failure
    status = Status.COMPLETED if finished == training.rows else Status.DIVERGED
    _clear(order, finished * network.outputs)
    residuals = [[sweeps.start, sweeps.rows, sweeps.residuals.tolist()] for sweeps in history]
    report = {"elapsed": time.perf_counter() - began, "residuals": residuals}
    return _trajectory(network, data, training, order, status, finished, "fixed-point", options, report)


def _reference(network, data, training):
    from solvers import reference

    stated = problem(network, data, training)
    began = time.perf_counter()
    with np.errstate(all="ignore"):
        order = reference.march(stated)
        stable = order.test_loss <= stated.divergence_factor * order.test_loss[0]
        stable &= np.isfinite(np.diagonal(order.Ch[-1]).reshape(stated.rows, -1)).all(axis=1)
    finished = stated.rows if stable.all() else int(np.argmin(stable))
    order.test_loss[finished:] = order.train_loss[finished:] = np.inf
    _clear(order, finished * network.outputs)
    status = Status.COMPLETED if finished == stated.rows else Status.DIVERGED
    report = {"elapsed": time.perf_counter() - began}
    return _trajectory(network, data, training, order, status, finished, "reference", {}, report)


def _clear(order, done):
    """Leave nothing in the rows of two-time matrices that are not exact, from `done` on."""
    for name in KERNELS:
        getattr(order, name)[..., done:, :] = 0.0
        getattr(order, name)[..., done:] = 0.0


def _trajectory(network, data, training, order, status, finished, method, options, report, error=None):
    rows = finished if status is Status.INTERRUPTED else training.rows
    n = rows * network.outputs
    kernels = {name: getattr(order, name)[..., :n, :n] for name in KERNELS}
    losses = order.test_loss[:rows], order.train_loss[:rows]
    error = error if error is None else error[:rows]
    return LinearTrajectory(
        network, data, training, status, finished, *losses, kernels, error, method=method, options=options, report=report
    )
