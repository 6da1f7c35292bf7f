"""Solve a stated problem: the only place that picks a theory. `solve` is a loop over `march`."""

import dataclasses
import importlib
from contextlib import nullcontext

import numpy as np

from . import checks, input_scale
from .activations import Activation, MissingActivation
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
    limit = checks.machine_memory() if limit is None else checks.positive("memory_limit", limit)
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
        Bytes that the solve may take. Default: 80% of the machine's memory.
    **options
        DeepLinear, "fixed-point": window, tolerance, max_sweeps, damping, anderson; see `solvers.fixed_point.solve`.
        ShallowNet: loss, width, samples, rng, initial_function, track; see `dmft.theories.shallow`.
        DeepNet: loss, samples, rng, initial_function; see `dmft.theories.deep`.
        MLP: loss, samples, rng, replicas, mc_error, tolerance, track, preactivation_times; see `dmft.theories.mlp.check`.

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

    Warns
    -----
    ScaleWarning
        If the result is useless because inputs are not of the size that the network takes; see `Dataset`.
    """
    checks.flag("progress", progress)
    theory = _theory(network, data, training, method, options)
    _check_memory(theory.memory_estimate(network, data, training, method, **options), memory_limit)
    with nullcontext() if out is None else _live_file(out) as file:
        if method == "causal":
            trajectory = _run(march(network, data, training, memory_limit, **options), training.steps + 1, progress, file)
        else:
            with _bar(training.steps + 1, progress) as bar:
                trajectory = theory.whole(network, data, training, method, bar, **options)
            if file is not None:
                file.finish(trajectory)
    input_scale.check(trajectory)
    return trajectory


def resume(path, *, steps, learning_rate=None, activation=None, progress=True, memory_limit=None):
    """Continue a stored trajectory to more steps, in its file; the result equals one longer solve.

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
        return _run(blocks, steps + 1, progress, file, done=before.finished)


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
