"""Solve a stated problem: the only place that picks a solver. `solve` is a loop over `march`."""

import dataclasses
import os
import time

import numpy as np

from . import checks
from .errors import SolverError
from .theories import deep_linear
from .trajectory import KERNELS, Status, Trajectory

METHODS = ("causal", "fixed-point", "reference")
_BLOCK_ROWS = 64


def memory_estimate(network, data, training, method="causal"):
    """Peak memory in bytes that `solve` needs for its arrays, known before any work.

    For the causal march: (6 L + 4 M + 6) (T C)^2 doubles for L layers and M input modes, and T^2 for the optimizer's memory.
    Rows are written once from left to the diagonal, so that for T of some hundreds and more the operating system provides only
    about half of the square matrices (whole pages right of the diagonal stay untouched); the estimate counts touched pages.
    """
    deep_linear.check(network, data, training)
    checks.choice("method", method, METHODS)
    rows = training.steps + 1
    n = rows * network.outputs
    page = 4096 // 8
    triangle = sum(min(n, page * -(-(i + 1) // page)) for i in range(n)) if n * n * 8 > 2**22 else n * n
    compressed = 0.15 * n * n
    count = deep_linear.matrices(network, data)
    if method != "causal":
        return int(8 * (3 * count * n * n + rows * rows))
    return int(8 * (count * (triangle + compressed) + 2 * rows * rows))


def _check_memory(estimate, limit):
    if limit is None:
        limit = 0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = checks.positive("memory_limit", limit)
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
    if method != "fixed-point" and options:
        raise TypeError(f"{next(iter(options))} is not an option of method {method!r}; options belong to method 'fixed-point'")
    deep_linear.check(network, data, training)
    if method == "causal":
        return _run(march(network, data, training, memory_limit), training.steps + 1, progress, out)
    _check_memory(memory_estimate(network, data, training, method), memory_limit)
    whole = _fixed_point(network, data, training, options) if method == "fixed-point" else _reference(network, data, training)
    if out is not None:
        whole.save(out)
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
    from .storage import load

    before = load(path)
    checks.flag("progress", progress)
    steps = checks.integer("steps", steps, max(before.finished - 1, 1))
    if before.method != "causal":
        raise ValueError(f"path must hold a trajectory of method 'causal', which can be continued; {path} was solved by {before.method!r}")
    if before.status is Status.DIVERGED:
        raise ValueError(f"path must hold a trajectory that can go on; {path} diverged at step {before.diverged_at}. {before.status.remedy}")
    training = _longer(before.training, steps, before.finished - 1, learning_rate)
    rows = march(before.network, before.data, training, memory_limit, start=before)
    return _run(rows, steps + 1, progress, path, done=before.finished)


def _longer(training, steps, done, learning_rate):
    if learning_rate is None:
        learning_rate = training.learning_rate
        if np.ndim(learning_rate) == 1 and steps != training.steps:
            raise ValueError(f"learning_rate must be given to resume a schedule of {training.steps} steps to steps={steps}")
    longer = dataclasses.replace(training, steps=steps, learning_rate=learning_rate)
    if not np.array_equal(longer.learning_rates[:done], training.learning_rates[:done]):
        raise ValueError(f"learning_rate must agree with the stored one on the {done} steps already done; it differs")
    return longer


def _run(blocks, rows, progress, out, done=0):
    """Exhaust `march`, with progress bar and live file; Ctrl-C keeps what is finished."""
    from contextlib import nullcontext

    from tqdm.auto import tqdm

    from . import storage

    trajectory = None
    with nullcontext() if out is None else storage.LiveFile(out) as file, tqdm(total=rows, initial=done, disable=not progress, unit="row") as bar:
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


def _reference(network, data, training):
    from solvers import reference

    order = reference.march(deep_linear.problem(network, data, training))
    return _trajectory(network, data, training, order, Status.COMPLETED, training.steps + 1, "reference", {}, {})


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
    from solvers import causal_linear, history
    from solvers.linear_problem import OrderParameters

    problem = deep_linear.problem(network, data, training)
    began = time.perf_counter()
    state, done = causal_linear.start(problem), 0
    if start is not None:
        order = OrderParameters(**start.kernels, test_loss=start.test_loss, train_loss=start.train_loss)
        state, done = causal_linear.restore(problem, order, start.finished), start.finished
        state = state._replace(history=history.compress(state.history, done))
    while done < problem.rows:
        stop = min(done + _BLOCK_ROWS, problem.rows)
        reached = causal_linear.march_rows(problem, state, done, stop)
        diverged = reached < stop
        done = reached
        if diverged:
            state.losses[:, done:] = np.inf
            status = Status.DIVERGED
        else:
            status = Status.COMPLETED if done == problem.rows else Status.INTERRUPTED
        order = causal_linear.order_parameters(problem, state)
        yield _trajectory(network, data, training, order, status, done, "causal", {}, {"elapsed": time.perf_counter() - began})
        if diverged:
            return
        if done < problem.rows:
            state = state._replace(history=history.compress(state.history, done))


def _trajectory(network, data, training, order, status, finished, method, options, report):
    rows = finished if status is Status.INTERRUPTED else training.steps + 1
    n = rows * network.outputs
    kernels = {name: getattr(order, name)[..., :n, :n] for name in KERNELS}
    losses = order.test_loss[:rows], order.train_loss[:rows]
    return Trajectory(network, data, training, status, finished, *losses, kernels, method, options, report)
