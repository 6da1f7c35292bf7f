"""One row for each compared number: how far networks are from the theory, whether by chance, what would have been seen, what is ruled out.

A number is fixed by the theory alone (a direction, a time); every network has a value of it. Its mean over networks is judged by Student's
t. Two things beside the spread over seeds may move the mean of a right theory. The Monte Carlo error of a sampled theory is added to the
standard error (degrees of freedom by Welch and Satterthwaite). The bias of finite size is taken out where several sizes are known, by the
fit limit + slope * size^-rate; of one size it is bounded. Where the mean deviates by size^-rate single networks deviate by size^-1/2, so
with their relative spread s the bound is s^(2 rate), or s^(4 rate), the next order, for what the fit leaves. Measured on 26 to 300 networks
of widths 256, 512 and 1024 of eleven problems: where it could be resolved, functions exceeded s^2 by at most a fifth, losses by up to 2.5
times (s^2 being for them their own spread times the larger of that and the function's); losses of one relu problem at N = 1024 by more.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special, stats

#: Relative to the theory; below it numbers are equal.
ROUNDING = 1e-10
#: Part of the level that is shared by the main rows, if there are others.
MAIN_SHARE = 0.9
#: Of the initial loss: smaller losses are compared relative to this, as they vary by factors from network to network.
LEAST_LOSS = 0.05
#: Probability with which a deviation of the size `Row.detectable` is found.
POWER = 0.9
MOST_SEEDS = 10**6


@dataclass(frozen=True)
class Row:
    """One compared number; all deviations are relative to the theory.

    Attributes
    ----------
    name : str
    deviation : float
        Mean over networks of network - theory; of several sizes its extrapolation. Infinite if only one side diverges.
    spread_error, spread_degrees : float
        Standard error from the spread over seeds, and its degrees of freedom.
    theory_error, theory_degrees : float
        Monte Carlo error of the theory where all networks share it, and its degrees of freedom.
    bias : float
        Bound of what finite size may do to the mean.
    main : bool
        Whether the row is one of those that share most of the level.
    decides : bool
        Whether theory and networks agree only if this row rules out a deviation.
    level : float
        Chance at which it is rejected if no other is, so that of all rows together is that of the verdict.
    differs : bool
        Whether it is rejected.
    """

    name: str
    deviation: float
    spread_error: float
    spread_degrees: float
    theory_error: float = 0.0
    theory_degrees: float = 1.0
    bias: float = 0.0
    main: bool = True
    decides: bool = False
    level: float = math.nan
    differs: bool = False

    @property
    def standard_error(self):
        return math.hypot(self.spread_error, self.theory_error, ROUNDING)

    @property
    def degrees(self):
        """Degrees of freedom of the standard error."""
        parts = (self.spread_error**4 / self.spread_degrees, self.theory_error**4 / self.theory_degrees)
        return self.standard_error**4 / max(sum(parts), 1e-12 * self.standard_error**4)

    @property
    def z(self):
        """deviation / standard_error."""
        return self.deviation / self.standard_error

    @property
    def p(self):
        """Chance of a deviation as large from a right theory, if finite size does its worst."""
        distances = abs(self.deviation) - self.bias, abs(self.deviation) + self.bias
        return float(min(1.0, sum(stats.t.sf(d / self.standard_error, self.degrees) for d in distances)))

    @property
    def critical(self):
        """|z| at which p is the `level`."""
        bias = self.bias / self.standard_error

        def excess(x):
            return stats.t.sf(x, self.degrees) + stats.t.sf(x + 2 * bias, self.degrees) - self.level

        low, high = stats.t.isf((self.level, self.level / 2), self.degrees)  # for a large bias, and for none
        return bias + float(optimize.brentq(excess, low - 1e-6 * high, high + 1e-6 * high))

    @property
    def detectable(self):
        """The smallest true deviation that is found at the row's level with probability 90% by as many seeds, of as large a spread."""
        distance = self.critical - self.bias / self.standard_error
        return float(self.bias + special.nctdtrinc(self.degrees, 1 - POWER, distance) * self.standard_error)

    def repeated(self, factor):
        """The row of `factor` times as many seeds, of the same spread."""
        degrees = factor * (self.spread_degrees + 1) - 1
        return replace(self, spread_error=self.spread_error / math.sqrt(factor), spread_degrees=degrees)

    def at_most(self, chance):
        """Bound of the true deviation, either way: a larger one would give a mean as near to the theory with a smaller chance."""
        return float(abs(self.deviation) + self.bias + stats.t.isf(chance, self.degrees) * self.standard_error)

    def foreseen(self, chance):
        """What `at_most` is, or less, with probability 90%, if the theory is right."""
        return float(self.bias + (stats.t.isf(chance, self.degrees) + stats.t.isf((1 - POWER) / 2, self.degrees)) * self.standard_error)

    def seeds_needed(self, seeds, resolution, chance):
        """The least number of seeds, not less than these, by which `foreseen` is below `resolution`; None if no number would do."""

        def enough(count):
            return self.repeated(count / seeds).foreseen(chance) <= resolution

        if enough(seeds):
            return seeds
        low, high = seeds, 2 * seeds
        while not enough(high):
            low, high = high, 2 * high
            if high > MOST_SEEDS:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def fit_weights(sizes, seeds, rate):
    """Weights of the means at each size in the fit limit + slope * size^-rate: of the limit, and of the slope's part at the first size.

    The fit is weighted by seeds * size, as variances of single networks are proportional to 1 / size: estimated ones would bias it.

    Returns
    -------
    ndarray (2, number of sizes)
    """
    sizes, seeds = np.asarray(sizes, dtype=float), np.asarray(seeds, dtype=float)
    if len(sizes) == 1:
        return np.array([[1.0], [0.0]])
    x, w = (sizes / sizes[0]) ** -rate, seeds * sizes / np.max(seeds * sizes)
    s0, s1, s2 = w.sum(), (w * x).sum(), (w * x**2).sum()
    return np.stack((w * (s2 - s1 * x), w * (s0 * x - s1))) / (s0 * s2 - s1**2)


def row(name, samples, weights=(1.0,), rate=1.0, fluctuation=None, size=1.0, theory_error=0.0, theory_degrees=1.0, **flags):
    """The `Row` of a number of each network.

    Parameters
    ----------
    name : str
    samples : sequence of ndarray, shapes (seeds,)
        Network - theory, relative to the theory, at each size.
    weights : sequence of float
        Of the means at each size, as `fit_weights` has them.
    rate : float
        Power of 1 / size by which the mean deviates.
    fluctuation : sequence of float, optional
        Relative spread s of single networks at each size, by which the bias is bounded; default that of the samples.
    size : float
        Of the networks' values, relative to the theory; the bound is relative to it.
    theory_error, theory_degrees, **flags
        As in `Row`; flags are main and decides.
    """
    variances = [np.var(s, ddof=1) for s in samples]
    fluctuation = np.sqrt(variances) if fluctuation is None else fluctuation
    parts = [a**2 * v / len(s) for a, v, s in zip(weights, variances, samples)]
    uncertainty = sum(part**2 / (len(s) - 1) for part, s in zip(parts, samples))
    order = 2 * rate if len(samples) == 1 else 4 * rate
    return Row(
        name,
        deviation=float(sum(a * np.mean(s) for a, s in zip(weights, samples))),
        spread_error=math.sqrt(sum(parts)),
        spread_degrees=float(sum(parts) ** 2 / uncertainty) if uncertainty else float(sum(len(s) - 1 for s in samples)),
        theory_error=float(theory_error),
        theory_degrees=theory_degrees,
        bias=float(size * sum(abs(a) * s**order for a, s in zip(weights, fluctuation))),
        **flags,
    )


def judged(rows, level):
    """The rows with their levels, and those that differ by Holm's step-down procedure, in which main rows have `MAIN_SHARE` of the level.

    Sources: Holm, Scand. J. Statist. 6, 65 (1979); with weights Benjamini and Hochberg, Scand. J. Statist. 24, 407 (1997).
    """
    rows = list(rows)
    count = sum(r.main for r in rows)
    share = MAIN_SHARE if 0 < count < len(rows) else 1.0
    weights = [share / count if r.main else ((1 - share) or 1.0) / (len(rows) - count) for r in rows]
    left, differs = sum(weights), set()
    for i in sorted(range(len(rows)), key=lambda i: rows[i].p / weights[i]):
        if rows[i].p > level * weights[i] / left:
            break
        differs.add(i)
        left = max(left - weights[i], weights[i] * ROUNDING)
    return tuple(replace(r, level=level * w, differs=i in differs) for i, (r, w) in enumerate(zip(rows, weights)))


def divergence(name="function"):
    """The row of a function of time that diverges on one side only."""
    return Row(f"{name}, divergence", deviation=math.inf, spread_error=0.0, spread_degrees=1.0)


def decisive_times(last):
    """A third, two thirds and the end of the steps 0 ... last."""
    return sorted({-(-last * part // 3) for part in (1, 2, 3)})


def loss_scale(loss, initial):
    """What deviations of a loss are relative to: the loss of the theory, or `LEAST_LOSS` of its initial value where that is more."""
    return max(float(loss), LEAST_LOSS * float(initial)) or 1.0
