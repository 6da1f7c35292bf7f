"""Solve a stated problem: the only place that picks a solver. `solve` is a loop over `march`."""

import dataclasses
import time
from contextlib import nullcontext

import numpy as np

from . import checks
from .errors import SolverError
from .theories import deep_linear
from .trajectory import KERNELS, Status, Trajectory

METHODS = ("causal", "fixed-point", "reference")
FIXED_POINT_OPTIONS = ("window", "tolerance", "max_sweeps", "damping", "anderson")


def memory_estimate(network, data, training, method="causal"):
    """Peak memory in bytes that `solve` needs for its arrays, known before any work.

    With n = T C rows, L layers and M input modes, in doubles: 2 T^2 for the optimizer's memory kernel, and 6 L + 4 M + 6 matrices
    for the causal march, each of n^2 and the 300 C n of the low-rank form of long histories (from T = 640 on);
    (8 L + M + 14) n^2 for the fixed point; (6 L + 8 M + 20) n^2 for the reference.
    """
    from solvers.history import low_rank_size

    deep_linear.check(network, data, training)
    checks.choice("method", method, METHODS)
    rows, outputs = training.steps + 1, network.outputs
    layers, modes = network.depth, len(data.spectrum(network.outputs).eigenvalues)
    matrices = {"causal": 6 * layers + 4 * modes + 6, "fixed-point": 8 * layers + modes + 14, "reference": 6 * layers + 8 * modes + 20}[method]
    extra = low_rank_size(rows, outputs) if method == "causal" else 0
    return 8 * (matrices * ((rows * outputs) ** 2 + extra) + 2 * rows**2)


def _check_memory(estimate, limit):
    limit = checks.machine_memory() if limit is None else checks.positive("memory_limit", limit)
    if estimate > limit:
        raise ValueError(
            f"memory_limit must cover the solve, about {estimate / 2**30:.2f} GiB; it is {limit / 2**30:.2f} GiB. "
            "Take fewer steps (memory grows with their square), fewer input modes, or raise memory_limit"
        )


def solve(network, data, training, method="causal", *, progress=True, out=None, memory_limit=None, **options):
    """Solve the limit theory of a stated problem.

    Parameters
    ----------
    network : DeepLinear
    data : GaussianData or StructuredData
    training : GradientDescent, OnlineSGD or MinibatchSGD
    method : {"causal", "fixed-point", "reference"}
        "causal": one exact sweep over time. "fixed-point": the independent second method, sweeps iterated to consistency.
        "reference": the readable numpy twin of the march.
    progress : bool
        Show a progress bar.
    out : path, optional
        HDF5 file written during the solve; `dmft.load` and `dmft.resume` read it, whenever the process ended.
    memory_limit : float, optional
        Bytes that the solve may take. Default: 80% of the machine's memory.
    **options
        Of the method "fixed-point": window, tolerance, max_sweeps, damping, anderson; see `solvers.fixed_point.solve`.

    Returns
    -------
    Trajectory
        With `Status.DIVERGED` where the training diverges, and `Status.INTERRUPTED`, all finished rows kept, after Ctrl-C.

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument.
    SolverError
        If the method itself fails (no convergence).
    """
    checks.choice("method", method, METHODS)
    checks.flag("progress", progress)
    valid = FIXED_POINT_OPTIONS if method == "fixed-point" else ()
    for option in options:
        if option not in valid:
            raise TypeError(f"{option} is not an option of method {method!r}; its options are: {', '.join(valid) or 'none'}")
    deep_linear.check(network, data, training)
    if method != "causal":
        _check_memory(memory_estimate(network, data, training, method), memory_limit)
    with nullcontext() if out is None else _live_file(out) as file:
        if method == "causal":
            return _run(march(network, data, training, memory_limit), training.steps + 1, progress, file)
        whole = _fixed_point(network, data, training, progress, **options) if method == "fixed-point" else _reference(network, data, training)
        if file is not None:
            file.finish(whole)
        return whole


def resume(path, *, steps, learning_rate=None, progress=True, memory_limit=None):
    """Continue a stored trajectory to more steps, in its file; the result equals one longer solve.

    Parameters
    ----------
    path : path
        File written by `solve(..., out=...)` or `Trajectory.save`; it is replaced by the longer trajectory.
    steps : int
        Total number of steps, at least as many as the file has finished.
    learning_rate : float, array_like of shape (steps,) or callable, optional
        Needed where the stored one is a schedule; it must agree with the stored one on the steps already done.
    progress, memory_limit
        As in `solve`.
    """
    checks.flag("progress", progress)
    with _live_file(path) as file:
        before = file.read()
        steps = checks.integer("steps", steps, max(before.finished - 1, 1))
        if before.method != "causal":
            raise ValueError(f"path must hold a trajectory of method 'causal', which can be continued; {path} was solved by {before.method!r}")
        if before.status is Status.DIVERGED:
            raise ValueError(f"path must hold a trajectory that can go on; {path} diverged at step {before.diverged_at}. {before.status.remedy}")
        training = _longer(before.training, steps, before.finished - 1, learning_rate)
        if before.finished == steps + 1:
            blocks = [dataclasses.replace(before, training=training, status=Status.COMPLETED)]
        else:
            blocks = march(before.network, before.data, training, memory_limit, start=before)
        return _run(blocks, steps + 1, progress, file, done=before.finished)


def _longer(training, steps, done, learning_rate):
    if learning_rate is None:
        learning_rate = training.learning_rate
        if np.ndim(learning_rate) == 1 and steps != training.steps:
            raise ValueError(f"learning_rate must be given to resume a schedule of {training.steps} steps to steps={steps}")
    longer = dataclasses.replace(training, steps=steps, learning_rate=learning_rate)
    if not np.array_equal(longer.learning_rates[:done], training.learning_rates[:done]):
        raise ValueError(f"learning_rate must agree with the stored one on the {done} steps already done; it differs")
    return longer


def _live_file(path):
    from .storage import LiveFile

    return LiveFile(path)


def _bar(rows, progress, done=0):
    from tqdm.auto import tqdm

    return tqdm(total=rows, initial=done, disable=not progress, unit="row", leave=False)


def _run(blocks, rows, progress, file, done=0):
    """Exhaust `march`, with progress bar and live file (or None); Ctrl-C keeps what is finished."""
    trajectory = None
    with _bar(rows, progress, done) as bar:
        try:
            for trajectory in blocks:
                bar.update(trajectory.finished - bar.n)
                if file is not None:
                    file.update(trajectory)
        except KeyboardInterrupt:
            if trajectory is None:
                raise
        if file is not None:
            file.finish(trajectory)
    return trajectory


def _fixed_point(network, data, training, progress, window="auto", tolerance=1e-10, max_sweeps=200, damping=1.0, anderson=0):
    from solvers import fixed_point

    rows = training.steps + 1
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
    with _bar(rows, progress) as bar:
        try:
            order, history, finished = fixed_point.solve(
                deep_linear.problem(network, data, training), **options, callback=lambda done: bar.update(done - bar.n)
            )
        except fixed_point.NoConvergence as failure:
            raise SolverError(str(failure)) from failure
    status = Status.COMPLETED if finished == rows else Status.DIVERGED
    residuals = [[sweeps.start, sweeps.rows, sweeps.residuals.tolist()] for sweeps in history]
    report = {"elapsed": time.perf_counter() - began, "residuals": residuals}
    return _trajectory(network, data, training, order, status, finished, "fixed-point", options, report)


def _reference(network, data, training):
    from solvers import reference

    problem = deep_linear.problem(network, data, training)
    began = time.perf_counter()
    with np.errstate(all="ignore"):
        order = reference.march(problem)
        stable = order.test_loss <= problem.divergence_factor * order.test_loss[0]
        stable &= np.isfinite(np.diagonal(order.Ch[-1]).reshape(problem.rows, -1)).all(axis=1)
    finished = problem.rows if stable.all() else int(np.argmin(stable))
    order.test_loss[finished:] = order.train_loss[finished:] = np.inf
    status = Status.COMPLETED if finished == problem.rows else Status.DIVERGED
    report = {"elapsed": time.perf_counter() - began}
    return _trajectory(network, data, training, order, status, finished, "reference", {}, report)


def march(network, data, training, memory_limit=None, start=None):
    """Iterate over the exact solution in blocks of time rows.

    Parameters
    ----------
    network : DeepLinear
    data : GaussianData or StructuredData
    training : GradientDescent, OnlineSGD or MinibatchSGD
    memory_limit : float, optional
        Bytes that the solve may take. Default: 80% of the machine's memory.
    start : Trajectory, optional
        Solved rows of the same problem with fewer steps, to continue from.

    Yields
    ------
    Trajectory
        The rows finished so far; its arrays are views of the solver's memory and grow from block to block.

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument.
    """
    deep_linear.check(network, data, training)
    _check_memory(memory_estimate(network, data, training), memory_limit)
    return _march(network, data, training, start)


def _march(network, data, training, start):
    from solvers import causal_linear
    from solvers.linear_problem import OrderParameters

    problem = deep_linear.problem(network, data, training)
    began = time.perf_counter()
    state, done = None, 0
    if start is not None:
        order = OrderParameters(**start.kernels, test_loss=start.test_loss, train_loss=start.train_loss)
        state, done = causal_linear.restore(problem, order, start.finished), start.finished
    for state, done, diverged in causal_linear.march(problem, state, done):
        status = Status.DIVERGED if diverged else Status.COMPLETED if done == problem.rows else Status.INTERRUPTED
        order = causal_linear.order_parameters(problem, state)
        yield _trajectory(network, data, training, order, status, done, "causal", {}, {"elapsed": time.perf_counter() - began})


def _trajectory(network, data, training, order, status, finished, method, options, report):
    rows = finished if status is Status.INTERRUPTED else training.steps + 1
    n = rows * network.outputs
    kernels = {name: getattr(order, name)[..., :n, :n] for name in KERNELS}
    losses = order.test_loss[:rows], order.train_loss[:rows]
    return Trajectory(network, data, training, status, finished, *losses, kernels, method, options, report)
