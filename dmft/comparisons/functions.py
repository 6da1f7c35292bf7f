"""Networks on a data set against their theory: what each learns, held against the theory of its own initial function.

The residuals network - theory are correlated over times and points, and there are few networks. So they are compared in few numbers
that the theory alone fixes (`rows`), in percent of the theory:

function, amplitude    residuals along the theory's own change f(t) - f(0), at all times and points, relative to it; along the labels, and
                       relative to them, where the theory stands still
function, lag          the part of the residuals along the theory's time derivative, made orthogonal to its change, relative to that change;
                       positive where networks are late
initial function       at all times the part along the network's own initial function, relative to it, where the theory depends on that:
                       errors odd in the initial function have mean zero over seeds and would not be seen otherwise
train loss, test loss  at a third, two thirds and the end, relative to the theory, or to 5% of its initial loss where that is more
kernels                where theory and networks have recorded them: see `kernels`

All before the test loss are the main rows, with 90% of the level. Amplitude and final training loss decide whether there is power to say
that theory and networks agree.

A theory that is sampled is solved for each network with particles of its own: its Monte Carlo error is part of the spread over seeds.
Where one solution serves all networks, its error is common to them and counts as such, with the degrees of freedom of its replicas.

Networks of finite width deviate in the mean by a power of the width (`bias_rate`). Deviations of a single network are larger, of relative
order width^-1/2: they are what the spread over seeds measures.
"""

from dataclasses import dataclass

import numpy as np

from .. import losses
from ..interruption import collected
from ..networks import DeepNet, ShallowNet
from ..shallow_scaling import exponent, scaling
from ..solve import solve
from ..theories.shallow import REPLICAS
from .judgement import Judgement
from .kernels import kernel_rows
from .rows import ROUNDING, Row, decisive_times, divergence, fit_weights, judged, loss_scale, row


@dataclass(frozen=True, eq=False, repr=False)
class FunctionVerdict(Judgement):
    """Whether theory and networks agree, and how that was found: print it.

    Attributes
    ----------
    table : tuple of Row
        "function, amplitude", "function, lag", "initial function", "train loss, t = 5", ..., "test loss, t = 5", ...,
        "feature kernel 1", "feature kernel 1, change", ..., as far as theory and networks have them; see `dmft.comparisons.functions`.
    zscores : ndarray (T,)
        Of the amplitude at each time alone; zero where the theory has not moved, or networks and theory have diverged.
    relative_error : ndarray (T,)
        Root mean square of network - theory over networks and points, over that of the theory.
    compared : ndarray (T,) of bool
        Times that the rows use: those at which theory and networks are finite.
    diverged : tuple of two bools
        Whether the theory and whether networks diverge; they differ if only one does.
    ensembles : tuple of FunctionEnsemble
        The compared one first.
    width_errors : tuple of float
        `relative_error` over all compared times at once, for each ensemble.
    rate : float
        Power of 1 / width at which the mean deviation is expected to vanish, by which several widths are extrapolated.
    width : int or None
        That of the trajectory.
    solves : int
        Theories solved for this comparison; 0 if one holds for all networks.
    level : float
        Chance that a right theory differs in any row.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=4), dmft.GradientDescent(0.2, 4)
    >>> problem = dmft.ShallowNet.mean_field(), data, training
    >>> networks = dmft.simulate(*problem, width=64, seeds=4, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, samples=256, progress=False), networks, progress=False)
    >>> verdict.outcome, verdict.zscores.shape
    ('cannot tell', (5,))
    """

    table: tuple[Row, ...]
    zscores: np.ndarray
    relative_error: np.ndarray
    compared: np.ndarray
    diverged: tuple
    ensembles: tuple
    width_errors: tuple
    rate: float
    width: int | None
    solves: int
    level: float

    def __str__(self):
        main, last = self.ensembles[0], np.flatnonzero(self.compared)[-1]
        theory = "the limit of infinite width itself" if self.width is None else "equations at the width of the networks"
        lines = [
            self.headline(),
            f"  networks   {main.seeds} seeds, {main.sizes}; single ones deviate by {self.relative_error[last]:.2%} at t = {last}",
            f"  theory     {theory}, " + (f"solved for each network ({self.solves})" if self.solves else "the same for all networks"),
            f"  bias       {self._bias_summary()}",
        ]
        if any(self.diverged):
            sides = (name for name, diverged in zip(("the theory", "networks"), self.diverged) if diverged)
            lines.append(f"  stability  {' and '.join(sides)} diverge")
        return "\n".join([*lines, "", *self.table_lines()])

    def _bias_summary(self):
        if len(self.ensembles) == 1:
            return f"vanishes as width^-{self.rate:g}, bounded by the spread of single networks; several widths extrapolate it"
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


def compare(trajectory, ensembles, level, progress):
    """The `FunctionVerdict` of a trajectory and ensembles of its problem, as in `dmft.compare`."""
    _check(trajectory, ensembles)
    width, loss = trajectory.options.get("width"), trajectory.options["loss"]
    rate = bias_rate(trajectory.network, loss, width)
    theories, solves = _theories(trajectory, ensembles, progress)
    groups = [Group(e, t, common=not solves) for e, t in zip(ensembles, theories)]
    finite = np.all([[g.theory_finite, g.network_finite] for g in groups], axis=(0, 1))
    if not finite.any():
        raise ValueError("trajectory and ensemble must be finite at some common time; none is")
    diverged = tuple(not all(getattr(g, name).all() for g in groups) for name in ("theory_finite", "network_finite"))
    common = {
        "weights": fit_weights([e.width for e in ensembles], [e.seeds for e in ensembles], rate)[0],
        "rate": rate,
        "theory_degrees": trajectory.options.get("replicas", REPLICAS) - 1,
    }
    moves = _square(groups[0].change[:, finite]) > ROUNDING * _square(groups[0].theory[:, finite])
    for g in groups:
        g.direct(finite, moves)
    rows = list(_function_rows(groups, finite, moves, common))
    if solves:
        rows.append(_initial_row(groups, finite, common))
    for name in ("train_loss", "test_loss"):
        if getattr(trajectory, name) is not None:
            rows += _loss_rows(groups, name, np.flatnonzero(finite)[-1], common)
    rows += kernel_rows(groups, finite, common)
    if diverged[0] != diverged[1]:
        rows.append(divergence())
    return FunctionVerdict(
        table=judged(rows, level),
        zscores=_zscores(groups, finite, common),
        relative_error=groups[0].relative_error(),
        compared=finite,
        diverged=diverged,
        ensembles=tuple(ensembles),
        width_errors=tuple(g.overall_error(finite) for g in groups),
        rate=rate,
        width=width,
        solves=solves,
        level=level,
    )


def _function_rows(groups, times, moves, common):
    """Amplitude and lag at the given times."""
    yield _along("function, amplitude" if moves else "function, along labels", groups, times, common, decides=True)
    if moves and np.count_nonzero(times) > 1:
        lags = [_orthogonal(-np.gradient(g.theory[:, times], axis=1), g.direction[:, times]) for g in groups]
        square = _square(groups[0].direction[:, times])
        if _square(lags[0]) > ROUNDING * square:
            yield _along("function, lag", groups, times, common, lags, np.sqrt(square * _square(lags[0])))


def _along(name, groups, times, common, directions=None, norm=None, **flags):
    """Row of the residuals at some times along directions, by default those of the amplitude, over `norm`, by default their square."""
    directions = [g.direction[:, times] for g in groups] if directions is None else directions
    norm = _square(directions[0]) if norm is None else norm
    samples = [np.sum(g.residual[:, times] * d, axis=(1, 2)) / norm for g, d in zip(groups, directions)]
    error = np.sum(np.abs(directions[0]).mean(axis=0) * groups[0].error[times]) / norm
    return row(name, samples, fluctuation=[g.fluctuation for g in groups], theory_error=error, **common, **flags)


def _loss_rows(groups, name, last, common):
    """A loss at the decisive times up to `last`."""
    networks = [getattr(g.ensemble, name) for g in groups]
    theories = [np.array([getattr(t, name) for t in g.theories]) for g in groups]
    expected, initial, error, train = theories[0].mean(axis=0), theories[0][:, 0].mean(), groups[0].loss_error(name), name == "train_loss"
    for t in decisive_times(last):
        scale = loss_scale(expected[t], initial)
        samples = [(n[:, t] - theory[:, t]) / scale for n, theory in zip(networks, theories)]
        size = max(networks[0][:, t].mean() / scale, ROUNDING)
        spreads = [s.std(ddof=1) / size for s in samples]
        yield row(
            f"{name.replace('_', ' ')}, t = {t}",
            samples,
            fluctuation=[np.sqrt(s * max(s, g.fluctuation)) for s, g in zip(spreads, groups)],
            size=size,
            theory_error=error[t] / scale,
            main=train,
            decides=train and t == last,
            **common,
        )


def _initial_row(groups, times, common):
    """The part along each network's own initial function at the given times."""
    directions = [np.broadcast_to(g.initial[:, None], g.residual[:, times].shape) for g in groups]
    square = _square(directions[0])
    samples = [np.sum(g.residual[:, times] * d, axis=(1, 2)) / square for g, d in zip(groups, directions)]
    fluctuation = [g.fluctuation * np.sqrt(_square(g.direction[:, times]) / square) for g in groups]
    return row("initial function", samples, fluctuation=fluctuation, **common)


def _zscores(groups, times, common):
    """z of the amplitude at each of the given times alone, elsewhere zero or, where only one side diverges, infinite."""
    zscores = np.where(groups[0].theory_finite == groups[0].network_finite, 0.0, np.inf)
    largest = max(_square(groups[0].direction[:, t : t + 1]) for t in np.flatnonzero(times))
    for t in np.flatnonzero(times):
        here = slice(t, t + 1)
        if _square(groups[0].direction[:, here]) > ROUNDING * largest:
            zscores[t] = _along("", groups, here, common).z
    return zscores


def _square(values):
    """Mean over seeds of the sum of squares."""
    return float(np.sum(values**2) / len(values))


def _orthogonal(values, directions):
    """What is left of arrays (seeds, ...) without the part along the direction of each."""
    parts = np.sum(values * directions, axis=(1, 2)) / np.sum(directions**2, axis=(1, 2))
    return values - parts[:, None, None] * directions


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

    def own_theory(i, e, function):
        particles = np.random.SeedSequence(trajectory.options["rng"], spawn_key=(i,))
        own = {"initial_function": function, "rng": particles}
        if getattr(e, "tangent_grams", None) is None:
            own["track"] = None
        if trajectory.options.get("width") is not None:
            own["width"] = e.width
        options = trajectory.options | {name: value for name, value in own.items() if name in trajectory.options}
        return solve(trajectory.network, trajectory.data, trajectory.training, progress=False, **options)

    bar = tqdm(networks, desc="theory of each network", disable=not progress, leave=False)
    solved = collected((own_theory(i, *network) for i, network in enumerate(bar)), "the theories of single networks by then are the result")
    ends = np.cumsum([e.seeds for e in ensembles])
    return [solved[end - e.seeds : end] for end, e in zip(ends, ensembles)], len(networks)


def _flat(function, axes):
    """Points and outputs in one axis after the first `axes`."""
    return function.reshape(*function.shape[:axes], -1)


class Group:
    """Networks of one width, each with its theory; `error` is the Monte Carlo error that is common to them, if one theory is.

    Functions are (seeds, T, (P + M) C), with an axis of length 1 for one theory of all networks.
    """

    def __init__(self, ensemble, theories, common):
        self.ensemble, self.theories = ensemble, theories if not common else theories[:1]
        self.function, self.initial = _flat(ensemble.function, 2), _flat(ensemble.initial_function, 1)
        self.theory = _flat(np.array([t.function for t in self.theories]), 2)
        self.error = common * _flat(theories[0].function_error, 1)
        self.theory_finite, self.network_finite = (np.isfinite(f).all(axis=(0, 2)) for f in (self.theory, self.function))
        with np.errstate(invalid="ignore"):
            self.residual, self.change = self.function - self.theory, self.theory - self.theory[:, :1]

    def direct(self, times, moves):
        """Set the `direction` of the amplitude and the relative `fluctuation` of single networks along and across it."""
        self.direction = self.change if moves else np.broadcast_to(self._labels(), self.change.shape)
        spread = self.residual[:, times].var(axis=0, ddof=1).sum()
        self.fluctuation = float(np.sqrt(spread / _square(self.direction[:, times])))

    def _labels(self):
        """Labels at the samples, zero at test points; one everywhere if all are zero."""
        labels = np.zeros(self.theory.shape[2])
        labels[: self.ensemble.data.y.size] = self.ensemble.data.y.ravel()
        return labels if labels.any() else np.ones_like(labels)

    def loss_error(self, name):
        """Bound of the common Monte Carlo error of a loss, shape (T,)."""
        data, network, loss = self.ensemble.data, self.ensemble.network, self.ensemble.options["loss"]
        samples, train = data.y.size, name == "train_loss"
        logits, labels = (self.ensemble.predictions, data.y) if train else (self.ensemble.test_predictions, data.test_y)
        amplitude = (
            (self.ensemble.width / network.reference_width) ** scaling(network, loss).logits if isinstance(network, ShallowNet) else 1.0
        )
        derivative, _ = losses.of_outputs(loss)
        slopes = (2 if loss == "mse" else 1) * amplitude * derivative(labels.reshape(logits.shape[2:]), amplitude * logits)
        error = self.error[:, :samples] if train else self.error[:, samples:]
        return np.sum(_flat(np.abs(slopes), 2).mean(axis=0) * error, axis=1) / len(labels)

    def relative_error(self):
        """Shape (T,); infinite where the theory vanishes up to rounding and the networks do not."""
        error, size = (np.sqrt(np.mean(f**2, axis=(0, 2))) for f in (self.residual, self.theory))
        vanishes = size <= ROUNDING * np.max(size, initial=0.0, where=np.isfinite(size))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(error == 0, 0.0, np.where(vanishes, np.inf, error / size))

    def overall_error(self, times):
        """Root mean square of the residuals at some times, over that of the theory."""
        return float(np.sqrt(np.mean(self.residual[:, times] ** 2)) / max(np.sqrt(np.mean(self.theory[:, times] ** 2)), ROUNDING))
