"""Solve a stated problem: the only place that picks a theory. `solve` is a loop over `march`."""

import dataclasses
import importlib
import warnings
from contextlib import nullcontext

import numpy as np

from . import checks, machine
from .activations import Activation, MissingActivation
from .errors import Interrupted, RestartWarning, StorageError
from .interruption import deferred
from .networks import MLP, DeepLinear, DeepNet, ShallowNet
from .specification import check_type
from .trajectory import Status

#: Modules of `dmft.theories`, imported when needed.
_THEORIES = {DeepLinear: "deep_linear", ShallowNet: "shallow", DeepNet: "deep", MLP: "mlp"}


def _theory_of(network):
    check_type("network", network, tuple(_THEORIES))
    return importlib.import_module(f".theories.{_THEORIES[type(network)]}", __package__)


def option_names(network):
    """Names of the options that `solve` takes for a network by one method or another."""
    return tuple(dict.fromkeys(name for names in _theory_of(network).METHODS.values() for name in names))


def _theory(network, data, training, method, options):
    """The theory of a network, after all checks of the problem."""
    theory = _theory_of(network)
    checks.choice("method", method, tuple(theory.METHODS))
    checks.options(options, theory.METHODS[method], f"method {method!r} for a {type(network).__name__}")
    theory.check(network, data, training, method, **options)
    return theory


def memory_estimate(network, data, training, method="causal", **options):
    """Peak memory in bytes that `solve` needs for its arrays, known before any work; see the `memory_estimate` of each theory."""
    theory = _theory(network, data, training, method, options)
    return theory.memory_estimate(network, data, training, method, **options)


def _check_memory(estimate, limit):
    """The limit in bytes, if the estimate is within it."""
    limit = machine.memory() if limit is None else checks.positive("memory_limit", limit)
    if estimate > limit:
        raise ValueError(
            f"memory_limit must cover the solve, about {estimate / 2**30:.2f} GiB; it is {limit / 2**30:.2f} GiB. "
            "Take fewer steps, input modes or samples, or raise memory_limit"
        )
    return limit


def solve(network, data, training, method="causal", *, progress=True, out=None, memory_limit=None, **options):
    """Solve the limit theory of a stated problem.

    Parameters
    ----------
    network : DeepLinear, ShallowNet, DeepNet or MLP
    data : GaussianData or StructuredData for a DeepLinear, Dataset for the others
    training : GradientDescent, OnlineSGD or MinibatchSGD
    method : {"causal", "fixed-point", "reference", "ntk", "gradient-independence", "perturbative"}
        "causal": one exact sweep over time, the only one for a ShallowNet or a DeepNet. "fixed-point": the independent second method,
        sweeps iterated to consistency. "reference": the readable numpy twin of the march, of a DeepLinear. The other three are the
        approximations of an MLP; see `dmft.theories.mlp`.
    progress : bool
        Show a progress bar.
    out : path, optional
        HDF5 file written during the solve; `dmft.load` and `dmft.resume` read it, whenever the process ended.
    memory_limit : float, optional
        Bytes that the solve may take. Default: 80% of what machine, control groups and address space leave this process.
    **options
        DeepLinear, "fixed-point": window, tolerance, max_sweeps, damping, anderson; see `solvers.fixed_point.solve`.
        ShallowNet: loss, width, samples, rng, initial_function, track; see `dmft.theories.shallow`.
        DeepNet: loss, samples, rng, initial_function; see `dmft.theories.deep`.
        MLP: loss, samples, rng, replicas, mc_error, tolerance, track, preactivation_times; see `dmft.theories.mlp.check`.

    Returns
    -------
    Trajectory
        With `Status.DIVERGED` where the training diverges.

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument.
    SolverError
        If the method itself fails (no convergence).
    Interrupted
        After Ctrl-C; its `result` is the trajectory of the finished rows, with `Status.INTERRUPTED`, and `out` holds it.
    """
    checks.flag("progress", progress)
    theory = _theory(network, data, training, method, options)
    _check_memory(theory.memory_estimate(network, data, training, method, **options), memory_limit)
    with nullcontext() if out is None else _live_file(out) as file:
        with _bar(training.steps + 1, progress) as bar:
            if method == "causal":
                blocks = march(network, data, training, memory_limit, **options)
            else:
                blocks = theory.whole(network, data, training, method, bar, **options)
            return _run(blocks, bar, file, out)


def resume(path, *, steps, learning_rate=None, activation=None, progress=True, memory_limit=None):
    """Continue a stored trajectory to more steps, in its file; the result equals one longer solve.

    A `DeepLinear` goes on from the rows in the file. Of the other networks it does not hold the state of the march: their rows are
    solved again, to the same numbers, and a `RestartWarning` says so at the start.

    Parameters
    ----------
    path : path
        File written by `solve(..., out=...)` or `Trajectory.save`; it is replaced by the longer trajectory.
    steps : int
        Total number of steps, at least as many as the file has finished.
    learning_rate : float, array_like of shape (steps,) or callable, optional
        Needed where the stored one is a schedule; it must agree with the stored one on the steps already done.
    activation : Activation, optional
        Needed where the network has an activation of one's own, of which the file holds the name only.
    progress, memory_limit
        As in `solve`.

    Raises
    ------
    ValueError, TypeError, StorageError
        Before any work.
    Interrupted
        After Ctrl-C, as from `solve`; without new rows its `result` is the stored trajectory.
    """
    checks.flag("progress", progress)
    with _live_file(path) as file:
        before = file.read()
        steps = checks.integer("steps", steps, max(before.finished - 1, 1))
        if before.method != "causal":
            raise ValueError(
                f"path must hold a trajectory of method 'causal', which can be continued; {path} was solved by {before.method!r}"
            )
        if before.status is Status.DIVERGED:
            raise ValueError(
                f"path must hold a trajectory that can go on; {path} diverged at step {before.diverged_at}. {before.status.remedy}"
            )
        network = before.network if activation is None else _supplied(before.network, activation)
        training = _longer(before.training, steps, before.finished - 1, learning_rate)
        if before.finished == steps + 1:
            blocks = [dataclasses.replace(before, training=training, status=Status.COMPLETED)]
        else:
            blocks = march(network, before.data, training, memory_limit, start=before, **before.options)
            if not _theory_of(network).CONTINUES:
                warnings.warn(
                    f"{path} holds the results of its {before.finished} rows, not the state of the march: they are solved again, to the "
                    "same numbers, before new ones",
                    RestartWarning,
                    stacklevel=2,
                )
        with _bar(steps + 1, progress, before.finished) as bar:
            return _run(blocks, bar, file, path, before)


def _supplied(network, activation):
    """The network of a file with the activation whose name the file holds."""
    stored = getattr(network, "activation", None)
    if not isinstance(stored, MissingActivation):
        raise ValueError(f"activation must not be given here: {network} needs none")
    check_type("activation", activation, (Activation,))
    if activation.name != stored.name:
        raise ValueError(f"activation must have the name that the file holds, {stored.name!r}; got {activation.name!r}")
    return dataclasses.replace(network, activation=activation)


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


def _run(blocks, bar, file, path, trajectory=None):
    """The last of an iterator of trajectories, which grow from `trajectory`, in the live file (or None) at `path`; Ctrl-C keeps it."""
    stored = trajectory
    try:
        for trajectory in blocks:
            bar.update(trajectory.finished - bar.n)
            if file is not None:
                with deferred():
                    file.update(trajectory)
        if file is not None:
            with deferred():
                file.finish(trajectory)
        return trajectory
    except KeyboardInterrupt:
        where = _kept(trajectory, file, path, written=trajectory is stored)
        raise Interrupted(f"interrupted: {where}", trajectory) from None


def _kept(trajectory, file, path, written):
    """Where the rows of an interrupted solve are, in words, once they are written."""
    if trajectory is None:
        return "no row was finished"
    rows = f"{trajectory.finished} of {trajectory.training.steps + 1} rows are solved"
    if file is None:
        return f"{rows}; they are the result of this exception"
    try:
        if not written:
            with deferred():
                file.finish(trajectory)
    except (KeyboardInterrupt, OSError, StorageError) as failure:
        return f"{rows}, and {path} holds those of the write before, as the last one failed ({failure or 'interrupted'})"
    goes_on = trajectory.method == "causal" and trajectory.status is Status.INTERRUPTED
    return f"{rows}, in {path}" + ("; dmft.resume goes on" if goes_on else "")


def march(network, data, training, memory_limit=None, start=None, **options):
    """Iterate over the exact solution in blocks of time rows.

    Parameters
    ----------
    network, data, training, memory_limit, **options
        As in `solve`.
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
    theory = _theory(network, data, training, "causal", options)
    limit = _check_memory(theory.memory_estimate(network, data, training, "causal", **options), memory_limit)
    if theory.ADAPTS_TO_MEMORY:
        options["memory_limit"] = limit
    return theory.march(network, data, training, start=start, **options)
