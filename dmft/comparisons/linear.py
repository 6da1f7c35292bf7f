"""Deep linear networks against their theory: z-scores over time, finite-size bias, and a verdict that says how it was reached.

What agreement to expect, and where finite networks approach the theory slowly: docs/theory/deep_linear.md, sections 7 and 9.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from .. import checks
from ..errors import EdgeOfStabilityWarning
from ..simulate import simulate
from ..solve import solve
from ..trajectory import Status

NUMERICAL_FLOOR = 1e-13
WORST_PRECISION = 0.1
EDGE_FACTOR = 2.5
EDGE_STEPS = 200
EDGE_RISE = 1.4
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class LossComparison:
    """One loss of the theory held against finite networks; arrays of shape (T,).

    Attributes
    ----------
    theory, mean : ndarray
        Loss of the theory, and mean over seeds of the networks' losses; ``inf`` after divergence.
    standard_error : ndarray
        Of `mean`, never taken below the rounding of the loss, 1e-13 of its initial value.
    zscores : ndarray
        (mean - theory) / standard error; zero where both have diverged, infinite where one has.
    counted : ndarray of bool
        Times that count in the verdict: those with a standard error of at most 10% of the mean (beyond, losses are log-normal over
        seeds and the z-score says little), and those where only one side has diverged, unless the other follows.
    bias, bias_error : ndarray or None
        slope / D at the compared size and its standard error, from the weighted fit mean = limit + slope / D to all sizes.
    mean_bias : tuple of two floats, or None
        Average over counted times of bias / standard error, and its own standard error, in which correlated times are accounted for.
    extrapolated_zscores : ndarray or None
        (limit - theory) / standard error of the limit.
    """

    theory: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray
    zscores: np.ndarray
    counted: np.ndarray
    bias: np.ndarray | None = None
    bias_error: np.ndarray | None = None
    mean_bias: tuple[float, float] | None = None
    extrapolated_zscores: np.ndarray | None = None

    @property
    def relative_error(self):
        """mean / theory - 1; zero where both have diverged."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.isinf(self.theory) & np.isinf(self.mean), 0.0, self.mean / self.theory - 1)

    @property
    def deciding_zscores(self):
        """The z-scores that make the verdict: those of the limit of infinite D where several sizes are known."""
        return self.zscores if self.extrapolated_zscores is None else self.extrapolated_zscores


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether theory and simulation agree, and how that was found: print it.

    Attributes
    ----------
    test, train : LossComparison
    ensembles : tuple of Ensemble
        The compared one first, then those that serve the finite-size bias.
    threshold : float
        Agreement means |z| below it.
    near_edge : bool
        Whether the theory is unstable at 2.5 times the learning rate.

    Examples
    --------
    >>> problem = dmft.DeepLinear(depth=1), dmft.GaussianData(2.0), dmft.GradientDescent(0.1, 10)
    >>> networks = dmft.simulate(*problem, dim=100, seeds=8, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, progress=False), networks, progress=False)
    >>> verdict.zscores.shape
    (11,)
    """

    test: LossComparison
    train: LossComparison
    ensembles: tuple
    threshold: float
    near_edge: bool

    @property
    def zscores(self):
        """z-scores of the test loss, shape (T,)."""
        return self.test.zscores

    @property
    def train_zscores(self):
        """z-scores of the training loss, shape (T,)."""
        return self.train.zscores

    @property
    def relative_error(self):
        """(Mean over seeds - theory) / theory of the test loss, shape (T,)."""
        return self.test.relative_error

    @property
    def max_abs_z(self):
        """Largest deciding |z| of both losses over the counted times; nan if no time counts."""
        return self._worst()[0]

    @property
    def agrees(self):
        """Whether `max_abs_z` is below the threshold."""
        return self.max_abs_z < self.threshold

    def _worst(self):
        """Largest deciding |z|, the name of its loss and its time."""
        candidates = [
            (abs(float(loss.deciding_zscores[t])), name, int(self.ensembles[0].times[t]))
            for name, loss in (("test loss", self.test), ("training loss", self.train))
            for t in np.flatnonzero(loss.counted)
        ]
        return max(candidates, key=lambda c: c[0], default=(np.nan, None, None))

    def __str__(self):
        main = self.ensembles[0]
        z, name, time = self._worst()
        if name is None:
            head = "Theory and simulation cannot be compared: no time is precise enough; take more seeds or a larger dim"
        else:
            where = f"at t = {time} ({name})" + (", extrapolated to infinite D" if len(self.ensembles) > 1 else "")
            verdict = "agree" if self.agrees else "DISAGREE"
            head = f"Theory and simulation {verdict}: max |z| = {z:.2f} {where}, threshold {self.threshold:g}"
        chance = 2 * stats.t.sf(self.threshold, main.seeds - 1)
        lines = [
            head,
            f"  networks    {main.seeds} seeds, {main.sizes}; {main.inputs or 'Gaussian inputs'}",
            f"  z           (mean over seeds - theory) / standard error; chance of |z| > {self.threshold:g} at one time: {chance:.1g}",
            f"  test loss   {_summary(self.test)}",
            f"  train loss  {_summary(self.train)}",
        ]
        if len(self.ensembles) > 1:
            lines.append(f"  bias        {self._bias_summary()}")
        lines.append(f"  stability   {self._stability_summary()}")
        return "\n".join(lines)

    def _bias_summary(self):
        dims = [str(e.dim) for e in self.ensembles]
        losses = {"test": self.test, "train": self.train}
        sizes = [f"{loss.mean_bias[0]:.2f} +- {loss.mean_bias[1]:.2f} ({name})" for name, loss in losses.items()]
        value, error = max((loss.mean_bias for loss in losses.values()), key=lambda bias: abs(bias[0]))
        if abs(value) < 1:
            judgement = "below the standard error"
        elif abs(value) < 2 * error:
            judgement = "not resolved: take more seeds at the smaller sizes, or a still smaller size"
        else:
            judgement = "ABOVE the standard error"
        raw = max(np.abs(loss.zscores[loss.counted]).max(initial=0.0) for loss in losses.values())
        return (
            f"1/D fit over D = {', '.join(dims)}: at D = {dims[0]} {', '.join(sizes)} standard errors on average over times, "
            f"{judgement}; max |z| without extrapolation {raw:.2f}"
        )

    def _stability_summary(self):
        networks = np.isinf(self.ensembles[0].test_loss)
        theory = np.isinf(self.test.theory)
        if theory.any() or networks.any():
            text = f"the theory diverges at step {theory.argmax()}" if theory.any() else "the theory does not diverge"
            text += f", {networks[:, -1].sum()} of {len(networks)} networks do"
            return text + (f" from step {networks.any(axis=0).argmax()}" if networks.any() else "")
        if self.near_edge:
            return f"NEAR THE EDGE: the theory is unstable at {EDGE_FACTOR:g} times the learning rate, finite networks approach it slowly"
        return f"the theory is stable at {EDGE_FACTOR:g} times the learning rate"


def compare(trajectory, ensembles, dims, threshold, progress, workers):
    """The `Verdict` of checked arguments, as in `dmft.compare`."""
    dims = _checked_dims(dims, ensembles)
    for dim in dims:
        seeds = ensembles[0].seeds * max(1, round(ensembles[0].dim / dim))
        stream = np.random.SeedSequence(dim, spawn_key=(1,))
        problem = trajectory.network, trajectory.data, trajectory.training
        ensembles.append(simulate(*problem, dim=dim, seeds=seeds, rng=stream, progress=progress, workers=workers))
    edge = trajectory.status is not Status.DIVERGED and near_edge(trajectory.network, trajectory.data, trajectory.training)
    if edge:
        warnings.warn(
            f"the theory is unstable at {EDGE_FACTOR:g} times this learning rate: so near the edge of stability finite networks approach "
            "the theory slowly, and a deviation may be a finite-size bias. Compare at a smaller learning rate, or give several sizes",
            EdgeOfStabilityWarning,
            stacklevel=3,
        )
    test, train = (_compare_loss(getattr(trajectory, name), ensembles, name) for name in ("test_loss", "train_loss"))
    return Verdict(test, train, tuple(ensembles), threshold, edge)


def near_edge(network, data, training):
    """Whether the training is unstable at 2.5 times the learning rate, within 200 steps.

    Finite networks follow the theory closely below about 0.4 of the learning rate at which the training loss first rises
    (docs/theory/deep_linear.md, sections 7 and 9). Unstable means diverged, or ending with a training loss above its initial value or
    above 1.4 times the one at the stated rate: past the edge deep networks may sharpen, jump, and settle at a higher loss. The test
    loss may rise by overfitting alone.
    """
    steps = min(training.steps, EDGE_STEPS)
    rates = training.learning_rates[:steps]
    runs = (replace(training, learning_rate=factor * rates, steps=steps) for factor in (1.0, EDGE_FACTOR))
    stated, faster = (solve(network, data, run, progress=False) for run in runs)
    initial = faster.train_loss[0]
    limit = min(initial, EDGE_RISE * stated.train_loss[-1] + ROUNDING * initial)
    return faster.status is Status.DIVERGED or bool(faster.train_loss[-1] > limit)


def _checked_dims(dims, ensembles):
    if dims is None:
        dims = []
    elif ensembles[0].inputs is not None:
        raise ValueError("dims must be None for an ensemble of real inputs, whose dimension is fixed; simulate Gaussian inputs instead")
    try:
        dims = [checks.integer(f"dims[{i}]", dim, 1) for i, dim in enumerate(dims)]
    except TypeError:
        checks.fail("dims", dims, "a sequence of integers", TypeError)
    sizes = [*(e.dim for e in ensembles), *dims]
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"dims must be different sizes, which is what the finite-size bias is fitted to; got {', '.join(map(str, sizes))}")
    return dims


def _compare_loss(theory, ensembles, name):
    means = np.array([e.mean(name) for e in ensembles])
    errors = np.array([np.maximum(e.standard_error(name), NUMERICAL_FLOOR * abs(theory[0])) for e in ensembles])
    mean, error = means[0], errors[0]
    diverged = np.isinf([theory, mean])
    both_finite, one_sided = ~diverged.any(axis=0), diverged[0] != diverged[1]
    zscores = np.where(one_sided, np.inf, 0.0)
    zscores[both_finite] = (mean[both_finite] - theory[both_finite]) / error[both_finite]
    counted = np.where(both_finite, error <= WORST_PRECISION * np.abs(mean), one_sided & (not diverged[:, -1].all()))
    comparison = LossComparison(theory, mean, error, zscores, counted)
    return comparison if len(ensembles) == 1 else _extrapolate(comparison, ensembles, name, errors)


def _extrapolate(comparison, ensembles, name, errors):
    """The comparison with its finite-size bias; where a size has diverged bias and limit are not known."""
    dims = np.array([e.dim for e in ensembles])
    means = np.array([e.mean(name) for e in ensembles])
    finite = np.isfinite(means).all(axis=0) & np.isfinite(comparison.theory)
    bias, bias_error = np.full((2, len(finite)), np.nan)
    limit, limit_error, bias[finite], bias_error[finite] = _fit(dims, means[:, finite], errors[:, finite])
    zscores = comparison.zscores.copy()
    zscores[finite] = (limit - comparison.theory[finite]) / limit_error

    used = finite & comparison.counted
    mean_bias = np.nan, np.nan
    if used.any():
        averages = [(getattr(e, name)[:, used] / comparison.standard_error[used]).mean(axis=1) for e in ensembles]
        spread = [max(a.std(ddof=1) / np.sqrt(len(a)), NUMERICAL_FLOOR * abs(a.mean())) for a in averages]
        mean_bias = tuple(map(float, _fit(dims, np.array([a.mean() for a in averages]), np.array(spread))[2:]))
    return replace(comparison, bias=bias, bias_error=bias_error, mean_bias=mean_bias, extrapolated_zscores=zscores)


def _fit(dims, means, errors):
    """Weighted least squares mean = limit + slope / D over the first axis: limit, its error, slope / D at the first D, its error."""
    x = (1.0 / dims).reshape(-1, *[1] * (means.ndim - 1))
    weights = errors**-2.0
    s0, s1, s2 = weights.sum(axis=0), (weights * x).sum(axis=0), (weights * x**2).sum(axis=0)
    t0, t1 = (weights * means).sum(axis=0), (weights * x * means).sum(axis=0)
    determinant = s0 * s2 - s1**2
    bias, bias_error = (s0 * t1 - s1 * t0) / determinant / dims[0], np.sqrt(s0 / determinant) / dims[0]
    return (s2 * t0 - s1 * t1) / determinant, np.sqrt(s2 / determinant), bias, bias_error


def _summary(loss):
    used = loss.counted & np.isfinite(loss.mean) & np.isfinite(loss.theory)
    text = f"{loss.counted.sum()} of {len(loss.counted)} times counted"
    if not used.any():
        return text
    z, precision = loss.deciding_zscores[used], loss.standard_error[used] / np.abs(loss.mean[used])
    return (
        f"{text}; z from {z.min():.2f} to {z.max():.2f}; standard error {np.median(precision):.1%} of the loss "
        f"(worst {precision.max():.1%}); mean - theory at most {np.abs(loss.relative_error[used]).max():.1%}"
    )
