"""Deep linear networks against their theory: both losses, their finite-size bias, and a verdict that says how it was reached.

Rows (`rows`) are each loss at a third, two thirds and the end, relative to the theory or to 5% of its initial value where that is more,
and its deviation along the theory's own change from the initial loss, at all times, relative to that change. The final losses decide
whether there is power to say that theory and networks agree. Single networks fluctuate by D^-1/2, their mean deviates by 1 / D.

What agreement to expect, and where finite networks approach the theory slowly: docs/theory/deep_linear.md, sections 7 and 9.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from .. import checks
from ..errors import EdgeOfStabilityWarning
from ..interruption import keeping
from ..result import Result
from ..simulate import simulate
from ..solve import solve
from ..training import GradientFlow
from ..trajectory import Status
from .judgement import Judgement
from .rows import Row, decisive_times, divergence, judged, fit_weights, loss_scale, row

NUMERICAL_FLOOR = 1e-13
EDGE_FACTOR = 2.5
EDGE_STEPS = 200
EDGE_RISE = 1.4
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False, repr=False)
class LossComparison(Result):
    """One loss of the theory held against finite networks; arrays of shape (T,).

    Attributes
    ----------
    theory, mean : ndarray
        Loss of the theory, and mean over seeds of the networks' losses; ``inf`` after divergence.
    standard_error : ndarray
        Of `mean`, never taken below the rounding of the loss, 1e-13 of its initial value.
    zscores : ndarray
        (mean - theory) / standard error; zero where both have diverged, infinite where one has.
    bias, bias_error : ndarray or None
        slope / D at the compared size and its standard error, from the fit mean = limit + slope / D to all sizes, weighted by seeds * D.
    mean_bias : tuple of two floats, or None
        Average over finite times of bias / standard error, and its own standard error, in which correlated times are accounted for.
    extrapolated_zscores : ndarray or None
        (limit - theory) / standard error of the limit.
    """

    theory: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray
    zscores: np.ndarray
    bias: np.ndarray | None = None
    bias_error: np.ndarray | None = None
    mean_bias: tuple[float, float] | None = None
    extrapolated_zscores: np.ndarray | None = None

    @property
    def relative_error(self):
        """mean / theory - 1; zero where both have diverged."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.isinf(self.theory) & np.isinf(self.mean), 0.0, self.mean / self.theory - 1)

    def __str__(self):
        used = np.isfinite(self.mean) & np.isfinite(self.theory)
        if not used.any():
            return "diverged at all times"
        z, precision = self.zscores[used], self.standard_error[used] / np.abs(self.mean[used])
        return (
            f"z from {z.min():.2f} to {z.max():.2f} over time; standard error {np.median(precision):.1%} of the loss "
            f"(worst {precision.max():.1%}); mean - theory at most {np.abs(self.relative_error[used]).max():.1%}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Verdict(Judgement):
    """Whether theory and networks agree, and how that was found: print it.

    Attributes
    ----------
    table : tuple of Row
        "test loss, t = 27", ..., "test loss, change", and the same of the training loss; see `dmft.comparisons.linear`.
    test, train : LossComparison
    ensembles : tuple of Ensemble
        The compared one first, then those that serve the finite-size bias.
    level : float
        Chance that a right theory differs in any row.
    near_edge : bool
        Whether the theory is unstable at 2.5 times the learning rate.

    Examples
    --------
    >>> problem = dmft.DeepLinear(depth=1), dmft.GaussianData(2.0), dmft.GradientDescent(0.1, 10)
    >>> networks = dmft.simulate(*problem, dim=100, seeds=8, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, progress=False), networks, progress=False)
    >>> verdict.outcome, verdict.zscores.shape
    ('cannot tell', (11,))
    """

    table: tuple[Row, ...]
    test: LossComparison
    train: LossComparison
    ensembles: tuple
    level: float
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

    def __str__(self):
        main = self.ensembles[0]
        lines = [
            self.headline(),
            f"  networks    {main.seeds} seeds, {main.sizes}; {main.inputs or 'Gaussian inputs'}",
            f"  test loss   {self.test}",
            f"  train loss  {self.train}",
            f"  bias        {self._bias_summary()}",
            f"  stability   {self._stability_summary()}",
        ]
        return "\n".join([*lines, "", *self.table_lines()])

    def _bias_summary(self):
        if len(self.ensembles) == 1:
            return "vanishes as 1/D, bounded by the spread of single networks; dims=[...] extrapolates it"
        dims = [str(e.dim) for e in self.ensembles]
        losses = {"test": self.test, "train": self.train}
        sizes = [f"{loss.mean_bias[0]:.2f} ± {loss.mean_bias[1]:.2f} ({name})" for name, loss in losses.items()]
        value, error = max((loss.mean_bias for loss in losses.values()), key=lambda bias: abs(bias[0]))
        if abs(value) < 1:
            judgement = "below the standard error"
        elif abs(value) < 2 * error:
            judgement = "not resolved: take more seeds at the smaller sizes, or a still smaller size"
        else:
            judgement = "ABOVE the standard error"
        return f"removed by a 1/D fit over D = {', '.join(dims)}; at D = {dims[0]} {', '.join(sizes)} standard errors, {judgement}"

    def _stability_summary(self):
        networks = np.isinf(self.ensembles[0].test_loss)
        theory = np.isinf(self.test.theory)
        if theory.any() or networks.any():
            text = f"the theory diverges at step {theory.argmax()}" if theory.any() else "the theory does not diverge"
            text += f", {networks[:, -1].sum()} of {len(networks)} networks do"
            return text + (f" from step {networks.any(axis=0).argmax()}" if networks.any() else "")
        if isinstance(self.ensembles[0].training, GradientFlow):
            return "a gradient flow has no edge of stability"
        if self.near_edge:
            return f"NEAR THE EDGE: the theory is unstable at {EDGE_FACTOR:g} times the learning rate, finite networks approach it slowly"
        return f"the theory is stable at {EDGE_FACTOR:g} times the learning rate"


def compare(trajectory, ensembles, dims, level, progress, workers):
    """The `Verdict` of checked arguments, as in `dmft.compare`."""
    dims = _checked_dims(dims, ensembles)
    with keeping(ensembles, "the ensembles by then, of all sizes, are the result of this exception; compare takes them as `ensemble`"):
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
    weights = fit_weights([e.dim for e in ensembles], [e.seeds for e in ensembles], rate=1.0)
    test, train = (_compare_loss(getattr(trajectory, name), ensembles, name, weights) for name in ("test_loss", "train_loss"))
    rows = [r for name in ("test_loss", "train_loss") for r in _rows(getattr(trajectory, name), ensembles, name, weights[0])]
    return Verdict(judged(rows, level), test, train, tuple(ensembles), level, edge)


def near_edge(network, data, training):
    """Whether the training is unstable at 2.5 times the learning rate, within 200 steps.

    Finite networks follow the theory closely below about 0.4 of the learning rate at which the training loss first rises
    (docs/theory/deep_linear.md, sections 7 and 9). Unstable means diverged, or ending with a training loss above its initial value or
    above 1.4 times the one at the stated rate: past the edge deep networks may sharpen, jump, and settle at a higher loss. The test
    loss may rise by overfitting alone. A flow has no edge.
    """
    if isinstance(training, GradientFlow):
        return False
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


def _rows(theory, ensembles, name, weights):
    """`Row`s of one loss."""
    times = ensembles[0].times
    losses, label = [getattr(e, name) for e in ensembles], name.replace("_", " ")
    networks_finite = np.all([np.isfinite(n).all(axis=0) for n in losses], axis=0)
    finite = np.flatnonzero(np.isfinite(theory) & networks_finite)
    for t in decisive_times(finite[-1]) if len(finite) else ():
        scale = loss_scale(theory[t], theory[0])
        size = max(abs(losses[0][:, t].mean()) / scale, ROUNDING)
        samples = [(n[:, t] - theory[t]) / scale for n in losses]
        spreads = [s.std(ddof=1) / size for s in samples]
        yield row(f"{label}, t = {times[t]:.6g}", samples, weights, fluctuation=spreads, size=size, decides=t == finite[-1])
    change = theory[finite] - theory[finite[:1]]
    if change @ change > ROUNDING * (theory[finite] @ theory[finite]):
        residuals, square = [n[:, finite] - theory[finite] for n in losses], change @ change
        fluctuation = [np.sqrt(r.var(axis=0, ddof=1).sum() / square) for r in residuals]
        yield row(f"{label}, change", [r @ change / square for r in residuals], weights, fluctuation=fluctuation)
    if _one_side_diverges(theory, losses[0]):
        yield divergence(label)


def _one_side_diverges(theory, networks):
    """Whether, by the last step, only the theory or only networks have diverged; not those networks that follow it later, or before it."""
    return bool(np.isinf(theory[-1]) != np.isinf(networks[:, -1]).any())


def _compare_loss(theory, ensembles, name, weights):
    means = np.array([e.mean(name) for e in ensembles])
    errors = np.array([np.maximum(e.standard_error(name), NUMERICAL_FLOOR * abs(theory[0])) for e in ensembles])
    mean, error = means[0], errors[0]
    diverged = np.isinf([theory, mean])
    finite = ~diverged.any(axis=0)
    zscores = np.where(diverged[0] != diverged[1], np.inf, 0.0)
    zscores[finite] = (mean[finite] - theory[finite]) / error[finite]
    comparison = LossComparison(theory, mean, error, zscores)
    if len(ensembles) == 1:
        return comparison

    known = finite & np.isfinite(means).all(axis=0)  # where a size has diverged bias and limit are not known
    limit, bias = np.full((2, 2, len(theory)), np.nan)
    limit[:, known], bias[:, known] = _combined(weights, means[:, known], errors[:, known])
    extrapolated = zscores.copy()
    extrapolated[known] = (limit[0, known] - theory[known]) / limit[1, known]
    mean_bias = np.nan, np.nan
    if known.any():
        averages = [(getattr(e, name)[:, known] / error[known]).mean(axis=1) for e in ensembles]
        spread = [max(a.std(ddof=1) / np.sqrt(len(a)), NUMERICAL_FLOOR * abs(a.mean())) for a in averages]
        mean_bias = tuple(map(float, _combined(weights, np.array([a.mean() for a in averages]), np.array(spread))[1]))
    return replace(comparison, bias=bias[0], bias_error=bias[1], mean_bias=mean_bias, extrapolated_zscores=extrapolated)


def _combined(weights, means, errors):
    """Limit and bias, each with its standard error, from means and errors at each size (first axis) and their `fit_weights`."""
    return [(w @ means, np.sqrt(w**2 @ errors**2)) for w in weights]
