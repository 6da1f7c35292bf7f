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
from .networks import MLP, DeepLinear, DeepLinearResNet, DeepNet, ShallowNet
from .problem import stated
from .specification import check_type

#: Modules of `dmft.simulations`, imported when needed.
_SIMULATIONS = {DeepLinear: "deep_linear", DeepLinearResNet: "deep_linear", ShallowNet: "shallow", DeepNet: "deep", MLP: "mlp"}


def _simulation_of(network):
    check_type("network", network, tuple(_SIMULATIONS))
    return importlib.import_module(f".simulations.{_SIMULATIONS[type(network)]}", __package__)


def option_names(network):
    """Names of the options that `simulate` takes for a network."""
    return _simulation_of(network).OPTIONS


def simulate(network, data=None, training=None, *, seeds=8, rng=0, progress=True, workers=1, **options):
    """Train finite networks.

    Of deep linear networks, all weights are N(0, 1); widths are round(nu_l D), samples round(alpha D), batches round(batch_ratio D) or
    round(p P). Every mode of the spectrum gets a whole number of dimensions: take `dim` a multiple of the number of modes, or much
    larger. The target weights are random directions with exactly the stated overlaps, as far as a mode has dimensions enough for
    them. The others are trained on the samples of their `Dataset`; logits of a `ShallowNet` are normalised as in `dmft.solve`. A
    `DeepNet` takes plain gradient steps; networks of equal seed, depth and width start from the same Gaussians in every
    parameterization.

    Parameters
    ----------
    network : DeepLinear, DeepLinearResNet, ShallowNet, DeepNet, MLP or Problem
        A `Problem` holds data and training too, and its `loss` where one is stated.
    data : GaussianData or StructuredData for deep linear networks, Dataset for the others
    training : GradientDescent, OnlineSGD, MinibatchSGD, or GradientFlow for a DeepLinear or DeepLinearResNet
    seeds : int
        Number of networks, each with its own weights and data.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator
        Seed i has the same stream whatever `seeds` and `workers` are, and gives the same losses bit for bit at equal numbers of
        BLAS threads. A generator is advanced.
    progress : bool
        Show a progress bar.
    workers : int
        Processes that share the seeds, and the cores that this process may use.
    **options
        Those of the network's family, as below; `dim` or `width` must be given.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument; also where the networks need more memory than there is.
    Interrupted
        After Ctrl-C; its `result` is the ensemble of the networks trained by then, which is that of fewer seeds, or None.

    Notes
    -----
    Options of a `DeepLinear` or `DeepLinearResNet`:

        dim : int
            Input dimension D; may be left out with `inputs`.
        inputs : Dataset, default None
            Real data instead of Gaussian samples: each seed draws its training rows from it with replacement, inputs and labels. The
            test loss is the error against the data set's least-squares linear target under the data set's covariance; at
            ``sample_ratio=math.inf`` networks are trained on all of it.

    Options of a `ShallowNet`:

        width : int
            d, the number of neurons.
        loss : {"logistic", "hinge", "mse"}, default "logistic"
            As in `dmft.solve`; the derivative of "mse" is f - y.
        track : {None, "kernels"}, default None
            "kernels": record the tangent kernel before every step.
        allow_unstable : bool, default False
            Train also with exponents at which training is not stable; logits are then not normalised.

    Options of a `DeepNet`:

        width : int
            m, of every hidden layer.
        loss : {"mse", "logistic", "hinge", "softmax"}, default "mse"
            As in `dmft.solve`.
        track : {None, "coordinates"}, default None
            "coordinates": record the sizes of signals.

    Options of an `MLP`:

        width : int
            N, of every hidden layer.
        loss : {"mse", "logistic"}, default "mse"
            As in `dmft.solve`.
        center : bool, default True
            Subtract the function before training, which vanishes at infinite width.
        track : {None, "kernels"}, default None
            "kernels": record feature and gradient kernels.
        kernel_times : sequence of int, default None
            Steps between which kernels are recorded; None: all.

    Examples
    --------
    Deep linear networks at input dimension 50, with 25 hidden neurons and 100 samples:

    >>> training = dmft.GradientDescent(learning_rate=0.2, steps=20)
    >>> network, data = dmft.DeepLinear(depth=2, width_ratio=0.5), dmft.GaussianData(2.0)
    >>> networks = dmft.simulate(network, data, training, dim=50, seeds=4, progress=False)
    >>> print(networks)
    Ensemble of 4 finite networks: D = 50, widths 25, 25, P = 100
      Gaussian inputs; SeedSequence(entropy=0, spawn_key=())
      test loss  ... at t = 0, ... +- ... at t = 20
      train loss ... at t = 0, ... +- ... at t = 20
      computed in ... s
    >>> networks.mean("test_loss").shape, networks.standard_error("test_loss").shape
    ((21,), (21,))

    Networks with one hidden layer, and deep ones, on images:

    >>> data = dmft.datasets.binary_digits((3, 8), samples=8, test_samples=4)
    >>> networks = dmft.simulate(dmft.ShallowNet.mean_field(), data, training, width=128, seeds=2, track="kernels", progress=False)
    >>> networks.predictions.shape, networks.tangent_kernel().shape
    ((2, 21, 8), (2, 21, 8, 8))
    >>> networks = dmft.simulate(dmft.DeepNet(2), data, training, width=64, seeds=2, track="coordinates", progress=False)
    >>> networks.test_loss.shape, networks.coordinates.shape
    ((2, 21), (2, 21, 5, 3))

    Fully connected networks with inputs of norm sqrt(D) = 8, and their kernels before and after training:

    >>> data = dmft.datasets.binary_digits((3, 8), samples=8, test_samples=4, norm=8.0)
    >>> options = {"width": 64, "track": "kernels", "kernel_times": (0, 20)}
    >>> networks = dmft.simulate(dmft.MLP(depth=2), data, training, seeds=2, **options, progress=False)
    >>> networks.feature_kernel(layer=1).shape, networks.tangent_kernel().shape
    ((2, 2, 8, 2, 8), (2, 2, 8, 8))
    """
    (network, data, training), _, solving = stated(network, data, training, None, {})
    options = {name: solving[name] for name in solving if name == "loss"} | options
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
        with tqdm(total=seeds * (training.rows - 1), desc=f"simulate {plan.size}", unit="step", disable=not progress) as bar:
            for result in _trained(plan.train, streams, workers, training.rows - 1, bar.update):
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
