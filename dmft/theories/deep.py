"""Infinite-width limits of deep networks in abc-parameterizations, on a data set.

Which limit it is follows from the exponents (`ABC.analyze`). Kernel regime: f <- f - eta K chi with the kernels of the layers that move f.
Features: muP and the other stable points of Yang and Hu, where layers whose updates vanish stay as they are; the first step alone in muP
(hybrid muP, and IP-LLR, which has the same limit for positively homogeneous activations); integrable parameterizations, plain, with
biases, or not centred. Where nothing moves, f stays what it is. Source: docs/theory/deep_parameterizations.md, sections 2.6, 3 and 4;
arXiv 2110.15596; arXiv 2011.14522.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .. import checks, losses
from ..activations import resolve
from ..data import Dataset
from ..divergence import Divergence
from ..function_trajectory import FunctionTrajectory
from ..machine import cores
from ..parameterizations import parameterization
from ..specification import check_type
from ..threads import one_thread
from ..training import GradientDescent, MinibatchSGD
from .recording import recorded, whole_systems

#: Methods and their options.
METHODS = {"causal": ("loss", "samples", "rng", "initial_function")}
ADAPTS_TO_MEMORY = False


def continues(network, training):
    """Whether `march` goes on from `start`; it solves those rows again, to the same numbers."""
    return False


#: Sampled neurons per layer by default, and the independent systems among which they are divided, as only their spread is an honest error.
SAMPLES = 2**15
REPLICAS = 8


@dataclass(frozen=True)
class Limit:
    """Equations that a network obeys at infinite width.

    Attributes
    ----------
    name : str
    regime : {"trivial", "kernel", "feature learning"}
    layers : tuple of int
        Weight matrices, 1 ... L + 1, whose updates are felt.
    initial : {"zero", "gaussian process", "bias", "mean"}
        What the logits start from.
    matrices : str
        How long the initial matrices between hidden layers are felt, one of `solvers.deep_feature.MATRICES`.
    readout : float
        Size of the initial readout weights, 1 or 0.
    mean : float
    bias : bool
    """

    name: str
    regime: str
    layers: tuple
    initial: str = "zero"
    matrices: str = "always"
    readout: float = 1.0
    mean: float = 0.0
    bias: bool = False


def limit(network):
    """The `Limit` of a `DeepNet`.

    Raises
    ------
    ValueError
        Where training is unstable, or the exponents are none whose limit is known; the message says why.
    """
    abc = network.abc
    analysis = abc.analyze(network.activation)
    reasons = "; ".join(map(str, analysis.result.verdict))
    if not analysis.stable:
        raise ValueError(f"parameterization must be stable, else there is no limit; {_stated(network)} is unstable: {reasons}")
    if analysis.result.classification is not None:
        return _yang_hu(network, analysis)
    if analysis.trivial:
        if analysis.result.proven:
            return Limit(f"trivial: {reasons}", "trivial", (), "zero")
        raise ValueError(
            f"parameterization must have a known limit; of {_stated(network)} it is known only that first steps change nothing: {reasons}"
        )
    return _integrable(network)


def _stated(network):
    return f"{network.parameterization!r} with depth={network.depth} and activation={network.activation!r}"


def _yang_hu(network, analysis):
    """The limit of a network that the theory of Yang and Hu covers."""
    found, scaling = analysis.result.classification, network.abc.scaling
    start = "gaussian process" if scaling.size[-1] == Fraction(1, 2) else "zero"
    if analysis.trivial:
        return Limit("trivial: the logits stay where they are", "trivial", (), start)
    if not analysis.feature_learning:
        return Limit(f"kernel regime, {_named(found.kernels)}", "kernel", found.kernels, start)
    layers = [l for l, r in enumerate(found.layers, start=1) if r == 0] + [network.depth + 1] * (scaling.rate[-1] == 1)
    readout = float(scaling.size[-1] == 1)
    kept = "" if readout else ", initial readout forgotten"
    return Limit(f"feature learning with initial weights (muP), {_named(layers)}{kept}", "feature learning", tuple(layers), readout=readout)


def _named(layers):
    return f"layers {', '.join(map(str, layers))} train"


def _integrable(network):
    """The limit of a network with the exponents of an integrable parameterization, or of hybrid muP."""
    layers = tuple(range(1, network.depth + 2))
    for name, (title, options) in _INTEGRABLE.items():
        if network.abc.scaling == parameterization(name, network.depth).scaling:
            break
    else:
        raise ValueError(
            f"parameterization must have a known limit; got {_stated(network)}. Known are those that are stable with initial weights "
            "N(0, 1/m) between hidden layers, equal rates in all steps and no biases, and, rescaled or not, "
            f"{', '.join(map(repr, _INTEGRABLE))}"
        )
    if name == "ip-llr" and resolve(network).negative_slope is None:
        raise ValueError(
            f"activation must be positively homogeneous for 'ip-llr' ('relu', 'leaky_relu'), or its limit is random or trivial at L >= 3; "
            f"got {network.activation!r}. Take 'ip-bias' or 'hybrid-mup'"
        )
    return Limit(title, "feature learning", layers, **options)


_INTEGRABLE = {
    "hybrid-mup": ("hybrid muP: first step in muP, then the initial weights between hidden layers forgotten", {"matrices": "first step"}),
    "ip-llr": ("integrable with large initial learning rates, which is that of hybrid muP", {"matrices": "first step"}),
    "ip-bias": (
        "integrable with biases and large initial learning rates",
        {"matrices": "first backward pass", "bias": True, "initial": "bias"},
    ),
    "ip-non-centered": ("integrable, not centred", {"matrices": "never", "mean": 1.0, "initial": "mean"}),
    "integrable": ("integrable", {"matrices": "never"}),
}


def check_types(data, training):
    """Raise TypeError, naming the argument, for data and training of a kind that this theory does not know."""
    check_type("data", data, (Dataset,))
    check_type("training", training, (GradientDescent, MinibatchSGD))


def check(network, data, training, method="causal", loss="mse", samples=SAMPLES, rng=0, initial_function=None):
    """Raise TypeError or ValueError, naming the argument, unless this theory covers the problem.

    Parameters
    ----------
    network : DeepNet
    data : Dataset
        Labels of shape (P,) or (P, C); -1 and +1 for "logistic" and "hinge", one-hot for "softmax".
    training : GradientDescent or MinibatchSGD
        Momentum and weight decay must be 0.
    loss, samples, rng, initial_function
        As in `dmft.solve`.
    """
    check_types(data, training)
    for name in ("momentum", "weight_decay"):
        if value := getattr(training, name):
            raise ValueError(f"{name} must be 0 for a DeepNet, whose limits are those of plain gradient descent; got {value}")
    losses.check(loss, data, network.outputs)
    checks.integer("samples", samples, 2 * REPLICAS)
    if not isinstance(rng, np.random.Generator):
        checks.seed_sequence("rng", rng)
    equations, points = limit(network), len(data.points)
    fields = max(points, network.outputs)
    if equations.regime == "feature learning" and samples < 8 * REPLICAS * fields:
        raise ValueError(f"samples must be at least {8 * REPLICAS} for each of the {fields} points or outputs; got {samples}")
    if initial_function is None:
        return
    if equations.initial not in ("gaussian process", "bias"):
        raise ValueError(f"initial_function must be None where the logits do not start at random; the limit is: {equations.name}")
    shapes = [(points, network.outputs)] + [(points,)] * (network.outputs == 1)
    checks.array("initial_function", initial_function, *shapes[::-1])


def memory_estimate(network, data, training, method, loss="mse", samples=SAMPLES, rng=0, initial_function=None):
    """Peak memory in bytes of the arrays.

    In doubles, with n = P + M points and T steps: 2 T n C for the trajectory, 2 (L + 2) n^2 for kernels, and for each of N neurons
    2 (L - 1) T P of the past, 5 L n of the present, 96 L normal columns in store, and 2.25 times the ranks of the bases of each initial
    matrix (`_expected_ranks`): two rows, and what moving them costs as they grow.
    """
    points, steps, L = len(data.points), training.steps, network.depth
    total = 2 * (steps + 1) * points * network.outputs + 2 * (L + 2) * points**2
    equations = limit(network)
    if equations.regime == "feature learning":
        most = samples // (8 * REPLICAS)
        ranks = sum(min(rank, most) for rank in _expected_ranks(network, equations, points, len(data.x), steps))
        total += samples * (2 * (L - 1) * steps * len(data.x) + 5 * L * points + 96 * L + 2.25 * ranks)
    return int(8 * total)


def _expected_ranks(network, equations, points, samples, steps):
    """About the ranks of the fields shown to the initial matrices between hidden layers, forwards and backwards.

    They have nearly full rank, but for those of the first layer forwards: measured (tanh, gelu, relu, 6 to 36 points, 20 to 60 times),
    n + 2 ... 7 sqrt(n T). Matrices that are felt at first only see the fields of one time, but for the last one where a kink asks it for
    slopes (`solvers.deep_feature`, tie).
    """
    hidden, full = network.depth - 1, points * (steps + 1)
    if equations.matrices == "always":
        first = min(full, points + int(6 * np.sqrt(full)))
        return [first, *[full] * (hidden - 1), *[steps * samples] * hidden][: 2 * hidden]
    kinked = hidden and equations.matrices == "first step" and resolve(network).negative_slope not in (None, 1.0)
    return [points, samples] * hidden + ([steps * samples] if kinked else [])


def march(network, data, training, start=None, loss="mse", samples=SAMPLES, rng=0, initial_function=None):
    """Iterate over the trajectory in blocks of steps; arguments as in `check`.

    The rows of `start`, a trajectory with fewer steps, are solved again, to the same numbers, and not shown.
    """
    seed, equations, samples = checks.integer_seed("rng", rng), limit(network), whole_systems(samples, REPLICAS)
    options = {
        "loss": loss,
        "samples": samples,
        "rng": seed,
        "initial_function": None if initial_function is None else np.asarray(initial_function, dtype=float),
    }
    function_seed, neuron_seed = np.random.SeedSequence(seed).spawn(2)
    derivative, mean_loss = losses.of_outputs(loss)
    weights, targets = training.batch_weights(len(data.x))[..., None], data.targets

    def chi(step, f):
        return weights[step] * derivative(targets, f)

    initial = options["initial_function"]
    if initial is None:
        initial = _initial_function(network, data.points, equations, np.random.default_rng(function_seed))
    else:
        initial = initial.reshape(len(data.points), network.outputs)
    if equations.regime == "feature learning":
        states = _features(network, data, training, equations, initial, chi, samples, neuron_seed)
    else:
        states = _kernel(network, data, training, equations, initial, chi)
    seen = initial if equations.initial in ("gaussian process", "bias") else None
    shape = (len(data.points), *data.label_axes)
    seen, report = None if seen is None else seen.reshape(shape), {"limit": equations.name}

    def build(status, finished, arrays, elapsed):
        took = {"elapsed": elapsed}
        return FunctionTrajectory(
            network, data, training, status, finished, initial_function=seen, options=options, report=report | took, **arrays
        )

    for trajectory in recorded(_rows(data, states, loss, mean_loss, shape, report), training.rows, build):
        if start is None or trajectory.finished > start.finished:
            yield trajectory


def _initial_function(network, points, equations, rng):
    """Logits at the start but for those of a mean readout, shape (P + M, C)."""
    shape = (len(points), network.outputs)
    if equations.initial == "bias":
        return np.broadcast_to(rng.standard_normal(network.outputs), shape)
    if equations.initial == "gaussian process":
        covariance = _kernels(network, points)[0][-1]
        return rng.multivariate_normal(np.zeros(len(points)), covariance, size=network.outputs, method="eigh").T
    return np.zeros(shape)


def _kernels(network, points):
    from solvers.deep_kernel import initial_kernels

    return initial_kernels(resolve(network), points @ points.T, network.weight_scale, network.depth)


def tangent_kernel(network, data):
    """The stationary tangent kernel of the kernel regime, shape (P + M, P), without learning rate; zero where the limit is trivial."""
    from solvers.deep_kernel import tangent_kernel

    return tangent_kernel(*_kernels(network, data.points), network.weight_scale, limit(network).layers)[:, : len(data.x)]


def _kernel(network, data, training, equations, initial, chi):
    """States (f, its error, report) of the kernel regime, and of the trivial one, where the kernel is zero."""
    from solvers.shallow import kernel_march

    kernel = tangent_kernel(network, data)
    for g in kernel_march(kernel, lambda step, g: chi(step, initial[: len(data.x)] + g), training.learning_rates, (network.outputs,)):
        yield initial + g, 0.0, {}


def _features(network, data, training, equations, initial, chi, samples, seed):
    """States where features are learned: means over independent systems, and their standard error."""
    from solvers.deep_feature import averaged, march

    trained = np.isin(np.arange(1, network.depth + 2), equations.layers)
    systems = [
        march(
            data.points @ data.points.T,
            len(data.x),
            resolve(network),
            network.weight_scale,
            network.depth,
            chi,
            training.learning_rates[:, None] * trained,
            network.outputs,
            samples // REPLICAS,
            stream,
            matrices=equations.matrices,
            mean=equations.mean,
            bias=equations.bias,
            readout=equations.readout,
            initial_function=initial,
        )
        for stream in seed.spawn(REPLICAS)
    ]
    for f, error, dropped in one_thread(averaged(systems, threads=cores())):
        yield f, error, {"dropped variance": float(dropped)} if dropped else {}


def _rows(data, states, loss, mean_loss, shape, report):
    """Rows of the trajectory, up to divergence; `report` is updated."""
    samples, test_targets, diverged = len(data.x), data.test_targets, Divergence(loss, data.targets)
    while True:
        try:
            f, error, more = next(states)
        except (StopIteration, FloatingPointError):
            return
        if diverged(f):
            return
        report |= more
        row = {"function": f.reshape(shape), "function_error": np.broadcast_to(error, f.shape).reshape(shape)}
        row["train_loss"] = mean_loss(data.targets, f[:samples])
        if test_targets is not None:
            row["test_loss"] = mean_loss(test_targets, f[samples:])
        yield row
