"""Finite networks: the same network, data and training as the theory, with explicit random weights."""

import importlib
import time
from contextlib import closing

import joblib
import numpy as np
import threadpoolctl
from tqdm.auto import tqdm

from . import checks
from .errors import Interrupted
from .machine import cores
from .networks import MLP, DeepLinear, DeepNet, ShallowNet
from .specification import check_type

#: Modules of `dmft.simulations`, imported when needed.
_SIMULATIONS = {DeepLinear: "deep_linear", ShallowNet: "shallow", DeepNet: "deep", MLP: "mlp"}


def _simulation_of(network):
    check_type("network", network, tuple(_SIMULATIONS))
    return importlib.import_module(f".simulations.{_SIMULATIONS[type(network)]}", __package__)


def option_names(network):
    """Names of the options that `simulate` takes for a network."""
    return _simulation_of(network).OPTIONS


def simulate(network, data, training, *, seeds=8, rng=0, progress=True, workers=1, **options):
    """Train finite networks.

    Of a `DeepLinear`, all weights are N(0, 1); widths are round(nu_l D), samples round(alpha D), batches round(batch_ratio D) or
    round(p P). Every mode of the spectrum gets a whole number of dimensions: take `dim` a multiple of the number of modes, or much
    larger. The target weights are random directions with exactly the stated overlaps, as far as a mode has dimensions enough for
    them. The others are trained on the samples of their `Dataset`; logits of a `ShallowNet` are normalised as in `dmft.solve`. A
    `DeepNet` takes plain gradient steps; networks of equal seed, depth and width start from the same Gaussians in every
    parameterization.

    Parameters
    ----------
    network : DeepLinear, ShallowNet, DeepNet or MLP
    data : GaussianData or StructuredData for a DeepLinear, Dataset for the others
    training : GradientDescent, OnlineSGD or MinibatchSGD
    seeds : int
        Number of networks, each with its own weights and data.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator
        Seed i has the same stream whatever `seeds` and `workers` are, and gives the same losses bit for bit at equal numbers of
        BLAS threads. A generator is advanced.
    progress : bool
        Show a progress bar.
    workers : int
        Processes that share the seeds, and the cores that this process may use.
    dim : int
        DeepLinear only: input dimension D; may be left out with `inputs`.
    inputs : Dataset, optional
        DeepLinear only: real data instead of Gaussian samples: each seed draws its training rows from it with replacement, inputs
        and labels. The test loss is the error against the data set's least-squares linear target under the data set's covariance; at
        ``sample_ratio=math.inf`` networks are trained on all of it.
    width : int
        ShallowNet: d. DeepNet: m, MLP: N, of every hidden layer.
    loss : {"logistic", "hinge", "mse", "softmax"}
        All but DeepLinear; default "logistic" of a ShallowNet, else "mse". The first two for one output, "softmax" for several and
        one-hot labels; an MLP takes "mse" and "logistic". The derivative of "mse" is f - y.
    track : {None, "kernels", "coordinates"}
        "kernels" records, of a ShallowNet, the tangent kernel before every step; of an MLP, feature and gradient kernels.
        "coordinates" records the sizes of signals of a DeepNet.
    kernel_times : sequence of int, optional
        MLP only: steps between which kernels are recorded; all by default.
    center : bool
        MLP only: subtract the function before training, which vanishes at infinite width. Default True.
    allow_unstable : bool
        ShallowNet only: train also with exponents at which training is not stable; logits are then not normalised.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument; also where the networks need more memory than there is.
    Interrupted
        After Ctrl-C; its `result` is the ensemble of the networks trained by then, which is that of fewer seeds, or None.
    """
    simulation = _simulation_of(network)
    checks.options(options, simulation.OPTIONS, f"simulating a {type(network).__name__}")
    seeds = checks.integer("seeds", seeds, 1)
    workers = min(seeds, checks.integer("workers", workers, 1))
    progress = checks.flag("progress", progress)
    root = checks.seed_sequence("rng", rng)
    plan = simulation.plan(network, data, training, seeds, workers, **options)

    start, results = time.perf_counter(), []
    streams = (np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, i)) for i in range(seeds))

    def ensemble():
        rng = f"SeedSequence(entropy={root.entropy}, spawn_key={root.spawn_key})"
        return plan.collect(results, rng=rng, elapsed=time.perf_counter() - start)

    try:
        with tqdm(total=seeds * training.steps, desc=f"simulate {plan.size}", unit="step", disable=not progress) as bar:
            for result in _trained(plan.train, streams, workers, training.steps, bar.update):
                results.append(result)
    except KeyboardInterrupt:
        kept = "; they are the result of this exception" if results else ""
        raise Interrupted(f"interrupted: {len(results)} of {seeds} networks are trained{kept}", ensemble() if results else None) from None
    return ensemble()


def _trained(train, streams, workers, steps, advance):
    """Results of `train` in the order of the streams; processes that share the work end with it, however it ends."""
    if workers == 1:
        yield from (train(stream, advance) for stream in streams)
        return
    threads = max(1, cores() // workers)
    tasks = (joblib.delayed(_train_apart)(threads, train, stream) for stream in streams)
    with closing(joblib.Parallel(workers, return_as="generator")(tasks)) as results:
        for result in results:
            advance(steps)
            yield result


def _train_apart(threads, train, stream):
    with threadpoolctl.threadpool_limits(threads):
        return train(stream)
