"""Training a user can state: gradient descent and its stochastic forms, all with the same linear optimizers, and its flow."""

import math
from dataclasses import InitVar, dataclass
from numbers import Real

import numpy as np

from . import checks
from .specification import Specification


class Optimizer:
    """What the training classes share: checks of the optimizer's arguments and the learning-rate schedule.

    One step, from W(0) and buffer m = 0 (docs/theory/deep_linear.md, section 2; PyTorch's order of operations, no dampening):
    coupled decay  g = G - lambda W;  m = mu m + g;  W += eta m,  Nesterov  W += eta (g + mu m);
    decoupled decay  W *= 1 - eta lambda  first, then the same with g = G.
    """

    def _check_optimizer(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("steps", checks.integer("steps", self.steps, 1))
        put("learning_rate", self._checked_learning_rate())
        put("momentum", checks.number("momentum", self.momentum, "a number in [0, 1)", lambda v: 0 <= v < 1))
        put("nesterov", checks.flag("nesterov", self.nesterov))
        put("weight_decay", checks.nonnegative("weight_decay", self.weight_decay))
        put("decoupled", checks.flag("decoupled", self.decoupled))
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum > 0; got momentum=0.0")
        if self.decoupled and self.weight_decay == 0:
            raise ValueError("decoupled=True needs weight_decay > 0; got weight_decay=0.0")

    def _checked_learning_rate(self):
        rate = self.learning_rate
        if callable(rate):
            rate = checks.evaluated("learning_rate", rate, self.steps)
        if isinstance(rate, Real):
            return checks.positive("learning_rate", rate)
        rates = checks.array("learning_rate", rate, (None,))
        if len(rates) != self.steps:
            raise ValueError(
                f"learning_rate must be a number, a callable, or one number per step (steps = {self.steps}); got {len(rates)} numbers"
            )
        if np.any(rates < 0):
            raise ValueError(f"learning_rate must be >= 0 at every step; the smallest given is {rates.min()}")
        return rates

    @property
    def rows(self):
        """T, the number of times at which results are given: every step, and the end."""
        return self.steps + 1

    @property
    def times(self):
        """Times at which results are given, shape (T,): steps 0 ... `steps`; entry t is before update t."""
        return np.arange(self.rows)

    @property
    def learning_rates(self):
        """eta_t for every step, shape (steps,)."""
        return np.broadcast_to(np.asarray(self.learning_rate, dtype=float), (self.steps,))


@dataclass(frozen=True, eq=False, repr=False)
class GradientDescent(Optimizer, Specification):
    """Full-batch gradient descent on the training set (on the population when ``sample_ratio=math.inf``).

    Parameters
    ----------
    learning_rate : float, array_like of shape (steps,), or callable(step)
        eta; the raw rate of the weights is eta gamma^2 N_L. A callable is evaluated once at every step and stored as an array.
    steps : int
        Number of gradient steps.
    momentum : float
        mu in [0, 1): heavy ball, or Nesterov's form with `nesterov`. With Nesterov the loss is at the look-ahead point.
    nesterov : bool
    weight_decay : float
        lambda: W += eta (G - lambda W); with `decoupled`, W *= 1 - eta lambda before the step.
    decoupled : bool

    Examples
    --------
    >>> dmft.GradientDescent(learning_rate=lambda step: 0.1 / (1 + step), steps=3, momentum=0.9).learning_rates.round(3)
    array([0.1  , 0.05 , 0.033])
    """

    learning_rate: float | np.ndarray
    steps: int
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self):
        self._check_optimizer()

    def batch_weights(self, samples):
        """Weights of the samples in the mean gradient of every step, shape (steps, P): all 1 / P."""
        return np.broadcast_to(1.0 / samples, (self.steps, samples))


@dataclass(frozen=True, eq=False, repr=False)
class OnlineSGD(Optimizer, Specification):
    """One-pass stochastic gradient descent: a fresh batch of ``batch_ratio * D`` samples at every step.

    Parameters
    ----------
    learning_rate, steps, momentum, nesterov, weight_decay, decoupled
        As in `GradientDescent`.
    batch_ratio : float
        Batch size over input dimension. The data's ``sample_ratio`` must be large enough for one pass
        (at least steps * batch_ratio), or ``math.inf``.

    Examples
    --------
    >>> training = dmft.OnlineSGD(learning_rate=0.1, steps=20, batch_ratio=0.5)
    >>> trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(), training, progress=False)
    >>> bool(trajectory.test_loss[-1] < trajectory.test_loss[0])
    True
    """

    learning_rate: float | np.ndarray
    steps: int
    batch_ratio: float = 1.0
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self):
        self._check_optimizer()
        object.__setattr__(self, "batch_ratio", checks.positive("batch_ratio", self.batch_ratio))


@dataclass(frozen=True, eq=False, repr=False)
class MinibatchSGD(Optimizer, Specification):
    """Stochastic gradient descent on a fixed training set: a fresh random subset of its P samples at every step.

    Parameters
    ----------
    learning_rate, steps, momentum, nesterov, weight_decay, decoupled
        As in `GradientDescent`.
    batch_fraction : float
        Size of the subset over P, in (0, 1].
    batch_seed : int
        Of the sequence of subsets on a `Dataset`, which theory and networks share. The limit of many Gaussian samples does not depend
        on the subsets.

    Examples
    --------
    >>> training = dmft.MinibatchSGD(learning_rate=0.1, steps=4, batch_fraction=0.5)
    >>> training.batch_weights(samples=6)[0]
    array([0.        , 0.        , 0.        , 0.33333333, 0.33333333,
           0.33333333])
    """

    learning_rate: float | np.ndarray
    steps: int
    batch_fraction: float = 0.25
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled: bool = False
    batch_seed: int = 0

    def __post_init__(self):
        self._check_optimizer()
        fraction = checks.number("batch_fraction", self.batch_fraction, "a number in (0, 1]", lambda v: 0 < v <= 1)
        object.__setattr__(self, "batch_fraction", fraction)
        object.__setattr__(self, "batch_seed", checks.integer("batch_seed", self.batch_seed, 0))

    def batch_weights(self, samples):
        """Weights of the samples in the mean gradient of every step, shape (steps, P): 1 / B on the batch, else 0."""
        rng, batch = np.random.default_rng(self.batch_seed), max(1, round(self.batch_fraction * samples))
        weights = np.zeros((self.steps, samples))
        for row in weights:
            row[rng.choice(samples, batch, replace=False)] = 1.0 / batch
        return weights


#: Why a flow has none of these, by name.
_NOT_OF_A_FLOW = {
    "learning_rate": "its time is learning_rate * step",
    "momentum": "in the limit of small steps momentum only rescales the rate: it multiplies the time by 1 / (1 - mu)",
    "batch_ratio": "fresh samples have no noise in the limit of small steps; take OnlineSGD, or sample_ratio=math.inf for its limit",
    "batch_fraction": "random subsets have no noise in the limit of small steps; take MinibatchSGD",
}


@dataclass(frozen=True, eq=False, repr=False)
class GradientFlow(Specification):
    """Gradient descent in the limit of small steps, dW/dt = G - lambda W: time is learning_rate * step. Deep linear networks only.

    Results are given at `times`: 0, then from `first_time` on evenly spaced in the logarithm, and `time` at the end. The steps by which
    theory and networks are solved are chosen by error, not by these. Source: docs/theory/deep_linear.md, section 5.

    Parameters
    ----------
    time : float
        The end.
    first_time : float
        At most `time`.
    points_per_decade : int
    weight_decay : float
        lambda.
    learning_rate, momentum, batch_ratio, batch_fraction
        A flow has none; ValueError says why.

    Examples
    --------
    >>> dmft.GradientFlow(time=2.0, first_time=0.1, points_per_decade=2).times.round(3)
    array([0.   , 0.1  , 0.316, 1.   , 2.   ])
    >>> trajectory = dmft.solve(dmft.DeepLinear(2), dmft.GaussianData(0.5), dmft.GradientFlow(time=1e4), progress=False)
    >>> trajectory.test_loss.shape, bool(trajectory.train_loss[-1] < 1e-5), bool(trajectory.loss_error.max() < 1e-5)
    ((32,), True, True)
    """

    time: float
    first_time: float = 0.01
    points_per_decade: int = 5
    weight_decay: float = 0.0
    learning_rate: InitVar[float | None] = None
    momentum: InitVar[float | None] = None
    batch_ratio: InitVar[float | None] = None
    batch_fraction: InitVar[float | None] = None

    def __post_init__(self, *others):
        for (name, reason), value in zip(_NOT_OF_A_FLOW.items(), others):
            if value is not None:
                raise ValueError(f"{name} must be left out of a GradientFlow: {reason}")
        time = checks.positive("time", self.time)
        first = checks.number("first_time", self.first_time, f"a positive number up to time = {time:g}", lambda v: 0 < v <= time)
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "first_time", first)
        object.__setattr__(self, "points_per_decade", checks.integer("points_per_decade", self.points_per_decade, 1))
        object.__setattr__(self, "weight_decay", checks.nonnegative("weight_decay", self.weight_decay))

    @property
    def times(self):
        """Times at which results are given, shape (T,): 0, first_time 10^(i / points_per_decade) as far as below time, and time."""
        count = math.ceil(self.points_per_decade * math.log10(self.time / self.first_time) - 1e-9)
        return np.concatenate([[0.0], self.first_time * 10.0 ** (np.arange(count) / self.points_per_decade), [self.time]])

    @property
    def rows(self):
        """T, the number of times at which results are given."""
        return len(self.times)


def check_combination(data, training):
    """Raise ValueError, with the reason, where data and training contradict each other."""
    if isinstance(training, OnlineSGD) and data.sample_ratio < training.steps * training.batch_ratio:
        raise ValueError(
            f"sample_ratio must be math.inf or at least steps * batch_ratio = {training.steps * training.batch_ratio:g} for one-pass OnlineSGD, "
            f"which never sees a sample twice; got {data.sample_ratio:g}. For repeated samples take MinibatchSGD"
        )
    if isinstance(training, MinibatchSGD) and data.sample_ratio == np.inf:
        raise ValueError(
            "sample_ratio must be finite for MinibatchSGD, which reuses a training set; got inf. For fresh samples take OnlineSGD"
        )
