"""Networks on a data set against their theory: what each learns, held against the theory of its own initial function.

The residuals network - theory are correlated over times and points, and there are few networks. The verdict rests on few tests
of their mean over seeds, each of all entries at once (`mean_test`), so that nothing is picked by its size:

function          all times, training and test points
initial function  at all times the part along the network's own initial function, where the theory depends on that: errors odd in the
                  initial function have mean zero over seeds and would not be seen otherwise
train, test loss  all times
kernels           of a fully connected network that learns features, where networks recorded them: see `kernels`

Times are weighted by the size of the residuals' spread over seeds. The largest |z| counts, lowered to what is as unlikely for the largest
of that many independent tests.

A theory that is sampled is solved for each network with particles of its own: its Monte Carlo error is part of the spread over seeds.
Where one solution serves all networks, its error is common to them and counts as such, with the degrees of freedom of its replicas.

Networks of finite width deviate in the mean by a power of the width (`bias_rate`). Deviations of a single network are larger, of relative
order width^-1/2: they are what the spread over seeds measures.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from .. import losses
from ..kernel_trajectory import KernelTrajectory
from ..networks import DeepNet, ShallowNet
from ..shallow_scaling import exponent, scaling
from ..solve import solve
from ..theories.shallow import REPLICAS
from .kernels import kernel_tests
from .mean_test import ROUNDING, combined_z, mean_test


@dataclass(frozen=True, eq=False)
class FunctionVerdict:
    """Whether theory and simulation agree, and how that was found: print it.

    Attributes
    ----------
    tests : dict of {str: MeanTest}
        "function", "initial function", "train loss", "test loss", "feature kernel 1", "gradient kernel 1", ..., as far as theory and
        networks have them; see `dmft.comparisons.functions`.
    zscores : ndarray (T,)
        |z| of the function at each time alone; zero where networks and theory have diverged.
    relative_error : ndarray (T,)
        Root mean square of network - theory over networks and points, over that of the theory.
    compared : ndarray (T,) of bool
        Times that the tests use: those at which theory and networks are finite.
    diverged : tuple of two bools
        Whether the theory and whether networks diverge; the verdict is disagreement if only one does.
    ensembles : tuple of FunctionEnsemble
        The compared one first.
    width_errors : tuple of float
        The same over all compared times at once, for each ensemble.
    rate : float
        Power of 1 / width at which the mean deviation is expected to vanish, by which several widths are extrapolated.
    width : int or None
        That of the trajectory.
    solves : int
        Theories solved for this comparison; 0 if one holds for all networks.
    threshold : float
        Agreement means `max_abs_z` below it.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=4), dmft.GradientDescent(0.2, 4)
    >>> problem = dmft.ShallowNet.mean_field(), data, training
    >>> networks = dmft.simulate(*problem, width=64, seeds=4, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, samples=256, progress=False), networks, progress=False)
    >>> verdict.zscores.shape
    (5,)
    """

    tests: dict
    zscores: np.ndarray
    relative_error: np.ndarray
    compared: np.ndarray
    diverged: tuple
    ensembles: tuple
    width_errors: tuple
    rate: float
    width: int | None
    solves: int
    threshold: float

    @property
    def max_abs_z(self):
        """Largest |z| of the tests, their number accounted for; infinite if only one side diverges."""
        return np.inf if self.diverged[0] != self.diverged[1] else combined_z(self.tests.values())

    @property
    def agrees(self):
        """Whether `max_abs_z` is below the threshold."""
        return self.max_abs_z < self.threshold

    def __str__(self):
        main, last = self.ensembles[0], np.flatnonzero(self.compared)[-1]
        worst = max(self.tests, key=lambda name: self.tests[name].z)
        where = f" ({worst})" + (", extrapolated to infinite width" if len(self.ensembles) > 1 else "")
        theory = "the limit of infinite width itself" if self.width is None else "equations at the width of the networks"
        outcome = "agree" if self.agrees else "DISAGREE"
        lines = [
            f"Theory and simulation {outcome}: |z| = {self.max_abs_z:.2f}{where}, threshold {self.threshold:g}",
            f"  networks    {main.seeds} seeds, {main.sizes}; single ones deviate by {self.relative_error[last]:.2%} at t = {last}",
            f"  theory      {theory}, " + (f"solved for each network ({self.solves})" if self.solves else "the same for all networks"),
            f"  z           mean over seeds of network - theory, all {self.compared.sum()} times at once; "
            f"chance of |z| > {self.threshold:g} in any of {len(self.tests)} tests: {2 * stats.norm.sf(self.threshold):.1g}",
            *(f"  {name:17} |z| = {t.z:.2f}: mean deviation {t.deviation / t.noise:.2f} times its noise" for name, t in self.tests.items()),
            f"  bias        {self._bias_summary()}",
        ]
        if any(self.diverged):
            sides = (name for name, diverged in zip(("the theory", "networks"), self.diverged) if diverged)
            lines.append(f"  stability   {' and '.join(sides)} diverge")
        return "\n".join(lines)

    def _bias_summary(self):
        if len(self.ensembles) == 1:
            return f"expected to vanish as width^-{self.rate:g}, not removed: give ensembles of several widths to extrapolate"
        errors = ", ".join(f"{error:.2%} (width {e.width})" for error, e in zip(self.width_errors, self.ensembles))
        return f"removed by the fit limit + slope * width^-{self.rate:g}; single networks deviate by {errors}"


def bias_rate(network, loss, width):
    """The power of 1 / width at which the mean over networks of network - theory vanishes.

    Of the equations at finite width it is that of the relative change of the kernel where these keep it fixed (random flips of the
    slopes of a kinked activation add to the spread, not to the mean), and at most 1, the square of the spread. The limit is missed by
    more: by the size of vanishing logits, or one over that of diverging ones, in the loss derivative, and by the square of the initial
    logits relative to later ones where it leaves them out. Of deep networks whose limit forgets the initial matrices it is 1/2, as what is
    left of these is of relative order width^-1/2; of all others it is 1.
    """
    if isinstance(network, DeepNet):
        from ..theories.deep import limit

        return 1.0 if limit(network).matrices == "always" else 0.5
    if not isinstance(network, ShallowNet):
        return 1.0
    scales = scaling(network, loss)
    rates = [1.0]
    if not scales.evolves:
        rates.append(-exponent(network, loss, "relative kernel change"))
    if width is None:
        rates += [abs(e) for e in (scales.initial, scales.logits, 2 * (scales.logits - scales.initial)) if e]
    return min(rates)


def compare(trajectory, ensembles, threshold, progress):
    """The `FunctionVerdict` of a trajectory and ensembles of its problem, as in `dmft.compare`."""
    _check(trajectory, ensembles)
    width, loss = trajectory.options.get("width"), trajectory.options["loss"]
    rate = bias_rate(trajectory.network, loss, width)
    theories, solves = _theories(trajectory, ensembles, progress)
    groups = [_Group(e, t, common=not solves) for e, t in zip(ensembles, theories)]
    finite = np.all([[g.theory_finite, g.network_finite] for g in groups], axis=(0, 1))
    if not finite.any():
        raise ValueError("trajectory and ensemble must be finite at some common time; none is")
    diverged = tuple(not all(getattr(g, name).all() for g in groups) for name in ("theory_finite", "network_finite"))

    noise = _noise(groups[0], finite)
    weights = _limit_weights(groups, noise, finite, rate)
    degrees = trajectory.options.get("replicas", REPLICAS) - 1

    def test(samples, scale, errors, times=finite):
        error = sum(abs(a) * e for a, e in zip(weights, errors))
        shape = (-1, *[1] * (error.ndim - 1))
        scaled = [s[:, times] / scale[times].reshape(shape) for s in samples]
        return mean_test(scaled, weights, error[times] / scale[times].reshape(shape), degrees)

    functions = [g.residual for g in groups], noise, [g.error for g in groups]
    tests = {"function": test(*functions)}
    if solves:
        tests["initial function"] = test([g.along_initial() for g in groups], noise, [g.rms_error for g in groups])
    for name in ("train_loss", "test_loss"):
        if getattr(trajectory, name) is not None:
            slopes = [g.slope(name) for g in groups]
            with np.errstate(invalid="ignore"):
                samples = [getattr(g.ensemble, name) - np.array([getattr(t, name) for t in g.theories]) for g in groups]
            errors = [s * g.rms_error for s, g in zip(slopes, groups)]
            tests[name.replace("_", " ")] = test(samples, slopes[0] * noise, errors)
    if isinstance(trajectory, KernelTrajectory):
        tests |= kernel_tests(trajectory, ensembles, finite, weights, degrees)

    zscores = np.where(groups[0].theory_finite == groups[0].network_finite, 0.0, np.inf)
    zscores[finite] = [test(*functions, times=[t]).z for t in np.flatnonzero(finite)]
    return FunctionVerdict(
        tests=tests,
        zscores=zscores,
        relative_error=groups[0].relative_error(),
        compared=finite,
        diverged=diverged,
        ensembles=tuple(ensembles),
        width_errors=tuple(g.overall_error(finite) for g in groups),
        rate=rate,
        width=width,
        solves=solves,
        threshold=threshold,
    )


def _check(trajectory, ensembles):
    width, loss = trajectory.options.get("width"), trajectory.options["loss"]
    for each in ensembles:
        if each.options["loss"] != loss:
            raise ValueError(f"trajectory and ensemble must be of the same loss; got {loss!r} and {each.options['loss']!r}")
    if trajectory.options.get("replicas") == 1:
        raise ValueError("trajectory must have 2 replicas or more, whose spread is its Monte Carlo error; solved with replicas=1")
    widths = [each.width for each in ensembles]
    if width not in (None, widths[0]):
        raise ValueError(
            f"ensemble must be of the width at which the trajectory is solved, {width}; got {widths[0]}. "
            "A trajectory solved without width is the limit, for networks of any width"
        )
    if len(set(widths)) < len(widths):
        raise ValueError(f"ensembles must be of different widths, by which they are extrapolated; got {', '.join(map(str, widths))}")


def _theories(trajectory, ensembles, progress):
    """For each ensemble the theories of its networks, and how many were solved."""
    from tqdm.auto import tqdm

    if trajectory.initial_function is None:
        return [[trajectory] * e.seeds for e in ensembles], 0
    networks = [(e, function) for e in ensembles for function in e.initial_function]
    problem = trajectory.network, trajectory.data, trajectory.training
    solved = {e.width: [] for e in ensembles}
    for i, (e, function) in enumerate(tqdm(networks, desc="theory of each network", disable=not progress, leave=False)):
        particles = np.random.SeedSequence(trajectory.options["rng"], spawn_key=(i,))
        own = {"initial_function": function, "track": None, "rng": particles}
        if trajectory.options.get("width") is not None:
            own["width"] = e.width
        options = trajectory.options | {name: value for name, value in own.items() if name in trajectory.options}
        solved[e.width].append(solve(*problem, progress=False, **options))
    return list(solved.values()), len(networks)


def _flat(function, axes):
    """Points and outputs in one axis after the first `axes`."""
    return function.reshape(*function.shape[:axes], -1)


class _Group:
    """Networks of one width, each with its theory; `error` is the Monte Carlo error that is common to them, if one theory is."""

    def __init__(self, ensemble, theories, common):
        self.ensemble, self.theories = ensemble, theories
        self.function, self.initial = _flat(ensemble.function, 2), _flat(ensemble.initial_function, 1)
        self.theory = _flat(np.array([t.function for t in theories]), 2)
        self.error = common * _flat(theories[0].function_error, 1)
        self.rms_error = np.sqrt(np.mean(self.error**2, axis=-1))
        self.theory_finite, self.network_finite = (np.isfinite(f).all(axis=(0, 2)) for f in (self.theory, self.function))
        with np.errstate(invalid="ignore"):
            self.residual = self.function - self.theory

    def along_initial(self):
        """Root-mean-square part of the residuals along the network's own initial function, shape (seeds, T)."""
        initial = self.initial
        directions = initial / np.sqrt(np.mean(initial**2, axis=1, keepdims=True))
        return np.einsum("ntp,np->nt", self.residual, directions) / initial.shape[1]

    def slope(self, name):
        """Mean absolute derivative of a loss by the normalised logits, shape (T,)."""
        data, network, loss = self.ensemble.data, self.ensemble.network, self.ensemble.options["loss"]
        logits, labels = (self.ensemble.predictions, data.y) if name == "train_loss" else (self.ensemble.test_predictions, data.test_y)
        amplitude = (
            (self.ensemble.width / network.reference_width) ** scaling(network, loss).logits if isinstance(network, ShallowNet) else 1.0
        )
        derivative, _ = losses.of_outputs(loss)
        return amplitude * np.mean(np.abs(_flat(derivative(labels.reshape(logits.shape[2:]), amplitude * logits), 2)), axis=(0, 2))

    def relative_error(self):
        """Shape (T,); infinite where the theory vanishes up to rounding and the networks do not."""
        error, size = (np.sqrt(np.mean(f**2, axis=(0, 2))) for f in (self.residual, self.theory))
        vanishes = size <= ROUNDING * np.max(size, initial=0.0, where=np.isfinite(size))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(error == 0, 0.0, np.where(vanishes, np.inf, error / size))

    def overall_error(self, times):
        """Root mean square of the residuals at some times, over that of the theory."""
        return float(np.linalg.norm(self.residual[:, times]) / np.linalg.norm(self.theory[:, times]))


def _noise(group, finite):
    """Spread of residuals over seeds at each time, and Monte Carlo error, with rounding as a floor, shape (T,); positive."""
    noise = np.ones(len(finite))
    residual, size = group.residual[:, finite], np.mean(group.function[:, finite] ** 2, axis=(0, 2))
    noise[finite] = np.sqrt(residual.var(axis=0, ddof=1).mean(axis=-1) + group.rms_error[finite] ** 2 + ROUNDING**2 * size)
    return np.maximum(noise, ROUNDING * (noise[finite].max() or 1.0))


def _limit_weights(groups, noise, finite, rate):
    """Weights of the means at each width in the limit of the weighted fit mean = limit + slope * width^-rate."""
    if len(groups) == 1:
        return np.ones(1)
    x = np.array([g.ensemble.width for g in groups]) ** -rate
    x = x / x.max()
    variances = [np.mean(g.residual[:, finite].var(axis=0, ddof=1) / noise[finite, None] ** 2) / g.ensemble.seeds for g in groups]
    w = 1 / np.maximum(variances, ROUNDING**2)
    s0, s1, s2 = w.sum(), (w * x).sum(), (w * x**2).sum()
    return w * (s2 - s1 * x) / (s0 * s2 - s1**2)
