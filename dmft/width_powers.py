"""The power of the width that a quantity of finite networks follows: one fit for all that measure exponents.

The mean over seeds of its logarithm is fitted by slope * log m + constant + a sum of corrections k m^(-power), of power 1/2, the order of
fluctuations, or also 1. The mean of logarithms, not the logarithm of a mean, as rare networks dominate the latter. Each width counts alike:
the slope is then a fixed combination of independent means, whose standard error follows from their spreads, with known degrees of freedom
(Welch, Satterthwaite), while weights estimated from few seeds would make it look too small. A ridge says of what size each k may be, and
leaves it out where noise hides it; what remains unknown of them is part of the error.
"""

import math
from dataclasses import dataclass

import numpy as np

#: Typical size of the coefficient k of each power.
TYPICAL = {0.5: 1.0}


@dataclass(frozen=True)
class WidthPower:
    """Slope of log size against log width.

    Attributes
    ----------
    slope : float
        -inf for what is zero at all widths; nan if a size is not finite, or zero at some.
    spread_error, degrees : float
        Standard error from the spread over seeds, and its degrees of freedom.
    unknown : float
        Standard error from what is not known of the corrections.
    plain : float
        Slope by least squares without corrections.
    """

    slope: float
    spread_error: float
    degrees: float
    unknown: float
    plain: float

    @property
    def error(self):
        return math.hypot(self.spread_error, self.unknown)


def fitted(sizes, widths, corrections=TYPICAL):
    """The `WidthPower` of sizes, one array (seeds,) for each width, with corrections by power, of a typical size each."""
    if not any(np.any(s) for s in sizes):
        return WidthPower(-math.inf, 0.0, math.inf, 0.0, -math.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = [np.log(s) for s in sizes]
        means = np.array([np.mean(values) for values in logarithms])
        if not np.isfinite(means).all():
            return WidthPower(*[math.nan] * 5)
    widths, seeds = np.array(widths, dtype=float), np.array([len(values) for values in logarithms])
    variances = np.array([np.var(values, ddof=1) for values in logarithms]) / seeds
    columns = [np.log(widths), np.ones_like(widths), *(k * widths**-power for power, k in corrections.items())]
    terms, ridge = np.stack(columns, axis=1), math.sqrt(np.mean(variances)) * np.eye(len(columns))[2:]  # k / its size = 0 ± 1
    plain, weights = (np.linalg.pinv(rows)[0, : len(widths)] for rows in (terms[:, :2], np.concatenate((terms, ridge))))
    parts = weights**2 * variances
    degrees = np.sum(parts) ** 2 / max(np.sum(parts**2 / (seeds - 1)), np.finfo(float).tiny)
    unknown = np.linalg.norm(weights @ terms[:, 2:])
    return WidthPower(float(weights @ means), math.sqrt(np.sum(parts)), float(degrees), float(unknown), float(plain @ means))
