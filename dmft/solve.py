"""Solve a stated problem: the only place that picks a theory. `solve` is a loop over `march`."""

import dataclasses
import warnings
from contextlib import nullcontext

import numpy as np

from . import checks, input_scale, machine
from .activations import Activation, MissingActivation
from .errors import Interrupted, RestartWarning
from .interruption import deferred
from .problem import checked_theory, stated, theory_of
from .specification import check_type
from .training import GradientFlow
from .trajectory import Status


def option_names(network):
    """Names of the options that `solve` takes for a network by one method or another."""
    return tuple(dict.fromkeys(name for names in theory_of(network).METHODS.values() for name in names))


def _theory(network, data, training, method, options):
    """The theory of a network, after all checks of the problem."""
    theory = checked_theory(network, data, training, method, options)
    theory.check(network, data, training, method, **options)
    return theory


def memory_estimate(network, data=None, training=None, method=None, **options):
    """Peak memory in bytes that `solve` needs for its arrays, known before any work; see the `memory_estimate` of each theory.

    Parameters
    ----------
    network, data, training, method, **options
        As in `solve`.

    Returns
    -------
    int

    Raises
    ------
    ValueError, TypeError
        As `solve` raises them.

    Examples
    --------
    >>> training = dmft.GradientDescent(learning_rate=0.1, steps=2000)
    >>> f"{dmft.memory_estimate(dmft.DeepLinear(depth=2), dmft.GaussianData(2.0), training) / 2**30:.1f} GiB"
    '0.8 GiB'
    """
    problem, method, options = stated(network, data, training, method, options)
    return _theory(*problem, method, options).memory_estimate(*problem, method, **options)


def _prepared(problem, method, limit, options):
    """The theory of a problem after all checks, and the limit of its memory in bytes."""
    theory = _theory(*problem, method, options)
    estimate = theory.memory_estimate(*problem, method, **options)
    limit = machine.memory() if limit is None else checks.positive("memory_limit", limit)
    if estimate > limit:
        raise ValueError(
            f"memory_limit must cover the solve, about {estimate / 2**30:.2f} GiB; it is {limit / 2**30:.2f} GiB. "
            "Take fewer steps, input modes or samples, or raise memory_limit"
        )
    return theory, limit


def solve(network, data=None, training=None, method=None, *, progress=True, out=None, overwrite=False, memory_limit=None, **options):
    """Solve the limit theory of a stated problem.

    Parameters
    ----------
    network : DeepLinear, DeepLinearResNet, ShallowNet, DeepNet, MLP or Problem
        A `Problem` holds data, training, method and options too; method and options that are given beside it replace its own.
    data : GaussianData or StructuredData for deep linear networks, Dataset for the others
    training : GradientDescent, OnlineSGD, MinibatchSGD, or GradientFlow for a DeepLinear or DeepLinearResNet
    method : {"causal", "fixed-point", "reference", "ntk", "gradient-independence", "perturbative"}, default "causal"
        "causal": one exact sweep over time, the only one for a ShallowNet or a DeepNet. "fixed-point": the independent second method,
        sweeps iterated to consistency. "reference": the readable numpy twin of the march, of deep linear networks. The other three are the
        approximations of an MLP; see `dmft.theories.mlp`.
    progress : bool
        Show a progress bar.
    out : path, optional
        HDF5 file written during the solve; `dmft.load` and `dmft.resume` read it, whenever the process ended. If another program
        takes it away, or the disk is full, a `StorageWarning` and ``report["written_to"]`` say where the result is instead.
    overwrite : bool
        Replace a trajectory that `out` holds already; an error by default. Files of any other kind are never replaced.
    memory_limit : float, optional
        Bytes that the solve may take. Default: 80% of what machine, control groups and address space leave this process.
    **options
        Those of the network's family and the method, as below.

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
    StorageError
        Before any work, if `out` cannot be written, or holds something that is not to be replaced.
    Interrupted
        After Ctrl-C; its `result` is the trajectory of the finished rows, with `Status.INTERRUPTED`, and `out` holds it.

    Warns
    -----
    DepthWarning
        If the limit of infinite depth is not reached by the depths that are solved.
    ScaleWarning
        If the result is useless because inputs are not of the size that the network takes; see `Dataset`.

    Notes
    -----
    Options of a `DeepLinear` or `DeepLinearResNet`, of method "fixed-point" only:

        window : int or "auto", default "auto"
            Rows of time iterated at once. "auto" begins with 16 and halves a window that fails; a single row is exact.
        tolerance : float, default 1e-10
            Largest change in one sweep, relative to the largest entries.
        max_sweeps : int, default 200
            For each window.
        damping : float, default 1.0
            Fraction of each change that is applied, in (0, 1].
        anderson : int, default 0
            Earlier iterates in Anderson acceleration.

    Options of a `ShallowNet`:

        loss : {"logistic", "hinge", "mse"}, default "logistic"
            Mean over samples of ln(1 + exp(-y f)), max(0, 1 - y f), (y - f)^2 / 2; labels -1 and +1 for the first two.
        width : int, default None
            Solve the equations at this finite width; None: those of their limit.
        samples : int, default 65536
            Particles of limits in which the law of the neurons evolves, rounded up to a multiple of 16: half of them are mirror images
            (opposite a, equal w) of the others, and 8 independent systems share them, whose spread is the standard error.
        rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
            Of particles and initial function.
        initial_function : array_like, shape (P[, 1]) or (P + M[, 1]), default None
            F0, the initial logits over R^e0, at samples and test points, for example those of a finite network; None: drawn from its
            Gaussian process. The P samples suffice where test points do not depend on it.
        track : {None, "kernels"}, default None
            "kernels": keep the tangent kernel before every step.

    Options of a `DeepNet`:

        loss : {"mse", "logistic", "hinge", "softmax"}, default "mse"
            Mean over samples; gradients are those of (y - f)^2 / 2 for "mse". Labels -1 and +1 for "logistic" and "hinge", one-hot for
            "softmax".
        samples : int, default 32768
            Sampled neurons of each layer where features are learned, rounded up to a multiple of 16; half of them are antithetic mates,
            and 8 independent systems share them.
        rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
            Of neurons and initial function.
        initial_function : array_like, shape (P + M,) or (P + M, C), default None
            Logits at the start, where these are random: a Gaussian process in the kernel regime of a readout with weights of size
            m^(-1/2), the output bias of "ip-bias"; None: drawn.

    Options of an `MLP`; "ntk" and "perturbative" take loss and track, "gradient-independence" the first six:

        loss : {"mse", "logistic"}, default "mse"
            Mean over samples, sum over outputs, of (y - f)^2 / 2 (reported without the factor 1/2) or of ln(1 + exp(-y f)), y = +-1.
        samples : int, default None
            Monte Carlo samples of every replica, mirror images included, rounded up to a power of two; None: 4096, or more if there are
            many points. Sampling errors are smaller than samples**-1/2, and a bias of order (rank of the kernels) / samples does not
            average out over replicas. Linear networks are solved without. "fixed-point": any even number; None: 2000.
        rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        replicas : int, default 8
            Independent repetitions, whose mean is the result and whose spread its standard error; at least 6 for one to rely on.
            A single one has none (inf).
        tolerance : float, default None
            Variance, relative to that of a field, that the growing bases of the kernels leave out; its bias is systematic, about 20
            times it. None: 1e-4, or 2e-2 mc_error if that is less. "fixed-point": largest relative change at the end; None: 1e-4 if
            sampled, else 1e-12.
        track : {"kernels", "test kernels", None}, default "kernels"
            "kernels": keep the feature kernels of all points and the gradient and tangent kernels of the training samples; "test
            kernels": follow gradients at test points too; None: the function only.
        mc_error : float, default None
            Choose the samples: double them, starting from `samples` (None: 1024), until the root mean square standard error of the
            predictions at the training samples, relative to the largest root mean square of these over time, is at most this at all
            times, with the bias that the change from the last but one solve suggests. The report says what was reached, also where
            memory ended the search. Rows come at the end only; Ctrl-C then keeps the last complete solve.
        preactivation_times : sequence of int, default ()
            Times at which samples of the preactivations are kept, for nonlinear activations.
        damping : float, default None
            "fixed-point" only: weight of the new iterate in (0, 1]; None: 1 for linear networks, 0.7 for others.
        max_sweeps : int, default 200
            "fixed-point" only.

    Examples
    --------
    A deep linear network at proportional width, data and dimension:

    >>> training = dmft.GradientDescent(learning_rate=0.2, steps=20)
    >>> trajectory = dmft.solve(dmft.DeepLinear(depth=2, width_ratio=0.5), dmft.GaussianData(2.0), training, progress=False)
    >>> print(trajectory)
    Trajectory: completed, 21 of 21 rows by method 'causal'
      DeepLinear(depth=2, width_ratio=0.5, richness=1.0, outputs=1, parameterization='mup')
      GaussianData(sample_ratio=2.0, label_noise=0.0)
      GradientDescent(learning_rate=0.2, steps=20, momentum=0.0, nesterov=False, weight_decay=0.0, decoupled=False)
      test loss  3 -> 0.72...    train loss  3 -> 0.69...
      kernels    correlations and responses of h, g, v, u, delta    0.0 MiB
      solved in  ... s
    >>> trajectory.correlation("h", layer=1).shape
    (21, 21)

    The limit of a network with one hidden layer, and its tangent kernel:

    >>> data = dmft.datasets.binary_digits((3, 8), samples=8, test_samples=4)
    >>> network = dmft.ShallowNet.mean_field(activation="tanh")
    >>> trajectory = dmft.solve(network, data, training, loss="mse", samples=1024, track="kernels", progress=False)
    >>> trajectory.report["limit"], trajectory.predictions.shape, trajectory.tangent_kernel().shape
    ('M2', (21, 8), (21, 8, 8))

    A deep network in maximal-update parameterization:

    >>> trajectory = dmft.solve(dmft.DeepNet(2, "mup", "tanh"), data, training, samples=1024, progress=False)
    >>> bool(trajectory.train_loss[-1] < trajectory.train_loss[0]), trajectory.report["limit"]
    (True, 'feature learning with initial weights (muP), layers 1, 2, 3 train')

    A network that learns features, with inputs of norm sqrt(D) = 8, exactly and in the lazy approximation:

    >>> data = dmft.datasets.binary_digits((3, 8), samples=8, test_samples=4, norm=8.0)
    >>> network = dmft.MLP(depth=2, activation="tanh", richness=2.0)
    >>> exact = dmft.solve(network, data, training, samples=256, progress=False)
    >>> lazy = dmft.solve(network, data, training, method="ntk", progress=False)
    >>> exact.feature_kernel(layer=1).shape, bool(exact.alignment()[-1] > lazy.alignment()[-1])
    ((21, 8, 21, 8), True)
    """
    checks.flag("progress", progress)
    checks.flag("overwrite", overwrite)
    problem, method, options = stated(network, data, training, method, options)
    theory, limit = _prepared(problem, method, memory_limit, options)
    with nullcontext() if out is None else _live_file(out, overwrite) as file:
        with _bar(problem[2].rows, progress) as bar:
            if method == "causal":
                blocks = _marched(theory, limit, problem, None, options)
            else:
                blocks = theory.whole(*problem, method, bar, **options)
            trajectory = _run(blocks, bar, file, out)
    input_scale.check(trajectory)
    return trajectory


def resume(path, *, steps=None, time=None, learning_rate=None, activation=None, progress=True, memory_limit=None):
    """Continue a stored trajectory to more steps, or a longer time, in its file; the result equals one longer solve.

    A `DeepLinear` or `DeepLinearResNet` goes on from the rows in the file, unless it is infinitely deep or trained by gradient flow. Of
    other networks it does not hold the state of the march: their rows are solved again, to the same numbers, and a `RestartWarning` says
    so at the start.

    Parameters
    ----------
    path : path
        File written by `solve(..., out=...)` or `Trajectory.save`; it is replaced by the longer trajectory.
    steps : int
        Total number of steps, at least as many as the file has finished.
    time : float
        Of a `GradientFlow`, in place of `steps`.
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

    Examples
    --------
    >>> problem = dmft.DeepLinear(depth=1), dmft.GaussianData(2.0)
    >>> half = dmft.solve(*problem, dmft.GradientDescent(0.2, 10), out="run.h5", progress=False)
    >>> whole = dmft.resume("run.h5", steps=20, progress=False)
    >>> np.allclose(whole.test_loss, dmft.solve(*problem, dmft.GradientDescent(0.2, 20), progress=False).test_loss)
    True
    """
    checks.flag("progress", progress)
    with _live_file(path) as file:
        before = file.read()
        end = _checked_end(before, steps, time)
        if before.method != "causal":
            raise ValueError(
                f"path must hold a trajectory of method 'causal', which can be continued; {path} was solved by {before.method!r}"
            )
        if before.status is Status.DIVERGED:
            raise ValueError(
                f"path must hold a trajectory that can go on; {path} diverged at step {before.diverged_at}. {before.status.remedy}"
            )
        network = before.network if activation is None else _supplied(before.network, activation)
        training = _longer(before, end, learning_rate)
        if np.array_equal(before.times[: before.finished], training.times):
            blocks = [dataclasses.replace(before, training=training, status=Status.COMPLETED)]
        else:
            blocks = march(network, before.data, training, memory_limit, start=before, **before.options)
            if isinstance(training, GradientFlow):
                file.forget()
            if not theory_of(network).continues(network, training):
                warnings.warn(
                    f"{path} holds the results of its {before.finished} rows, not the state of the march: they are solved again, to the "
                    "same numbers, before new ones",
                    RestartWarning,
                    stacklevel=2,
                )
        with _bar(training.rows, progress, before.finished) as bar:
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


def _checked_end(before, steps, time):
    """The steps or the time to continue a trajectory to."""
    flow = isinstance(before.training, GradientFlow)
    name, given, other = ("time", time, steps) if flow else ("steps", steps, time)
    if given is None or other is not None:
        raise ValueError(f"{name}, and nothing else, must say how far to continue the {type(before.training).__name__} of the file")
    done = before.times[max(before.finished - 1, 0)]
    if flow:
        return checks.number("time", time, f"a number from {done:g} on", lambda v: v >= done)
    return checks.integer("steps", steps, max(done, 1))


def _longer(before, end, learning_rate):
    training, steps, done = before.training, end, before.finished - 1
    if isinstance(training, GradientFlow):
        if learning_rate is not None:
            raise ValueError("learning_rate must be left out: a GradientFlow has none")
        return dataclasses.replace(training, time=end)
    if learning_rate is None:
        learning_rate = training.learning_rate
        if np.ndim(learning_rate) == 1 and steps != training.steps:
            raise ValueError(f"learning_rate must be given to resume a schedule of {training.steps} steps to steps={steps}")
    longer = dataclasses.replace(training, steps=steps, learning_rate=learning_rate)
    if not np.array_equal(longer.learning_rates[:done], training.learning_rates[:done]):
        raise ValueError(f"learning_rate must agree with the stored one on the {done} steps already done; it differs")
    return longer


def _live_file(path, overwrite=True):
    from .storage import LiveFile

    return LiveFile(path, overwrite)


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
    rows = f"{trajectory.finished} of {trajectory.training.rows} rows are solved"
    if file is None:
        return f"{rows}; they are the result of this exception"
    try:
        if not written:
            with deferred():
                file.finish(trajectory)
    except KeyboardInterrupt:
        return f"{rows}; they are the result of this exception, and {path} holds those of an earlier write"
    path = trajectory.report.get("written_to", path)
    if path is None:
        return f"{rows}; they are the result of this exception, as they could not be written"
    goes_on = trajectory.method == "causal" and trajectory.status is Status.INTERRUPTED
    return f"{rows}, in {path}" + ("; dmft.resume goes on" if goes_on else "")


def march(network, data=None, training=None, memory_limit=None, start=None, **options):
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

    Examples
    --------
    >>> blocks = dmft.march(dmft.DeepLinear(depth=1), dmft.GaussianData(2.0), dmft.GradientDescent(0.2, 200))
    >>> for trajectory in blocks:
    ...     if trajectory.train_loss[trajectory.finished - 1] < 0.01:
    ...         break
    >>> trajectory.status.name, trajectory.finished
    ('INTERRUPTED', 64)
    """
    problem, method, options = stated(network, data, training, None, options)
    checks.choice("method", method, ("causal",))
    theory, limit = _prepared(problem, method, memory_limit, options)
    return _marched(theory, limit, problem, start, options)


def _marched(theory, limit, problem, start, options):
    adapted = {"memory_limit": limit} if theory.ADAPTS_TO_MEMORY else {}
    return theory.march(*problem, start=start, **options, **adapted)
