"""The power of time that a loss follows in a window, with an error that counts its drift.

Local exponents, the slopes -d ln loss / d ln t over parts of the window of equal length in ln t, are no independent measurements: a loss
that has not reached its power law yet drifts, and least squares would make the error of such a fit far too small. So the error is the
larger of half the range of local exponents and the distance to where their drift leads. Corrections to a power law, t^-q, become
geometric in equal steps of ln t: three thirds of the window give the limit. Where it is far away, or the drift does not slow down, the
drift is taken to go on for twice what the window shows, a convention: such a window does not tell the limit.
"""

import math
from dataclasses import dataclass

import numpy as np

from . import checks
from .result import Result

#: Local exponents for each decade of the window, about.
_PER_DECADE = 4
#: Recorded times without which a window has no spread of exponents.
_FEWEST_TIMES = 4
#: How far a drift may lead beyond the window, in units of what the window shows of it.
_FARTHEST = 2.0
#: Relative excess over the recorded times that is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class ExponentFit(Result):
    """The exponent of a power law, quantity ~ t^-value.

    Attributes
    ----------
    quantity : str
    window : tuple of float
    value : float
        Mean of the local exponents: the slope of the logarithm from one end of the window to the other.
    error : float
        The larger of half the range of `local` and the distance from `value` to `limit`; of an ensemble joined with `seed_error`.
    times, local : ndarray (n,)
        Local exponents -d ln quantity / d ln t, and the middles, in ln t, of the parts of the window that they belong to.
    limit : float
        Where the drift of the exponents of the three thirds of the window leads, at most twice as far again as from the first to the last.
    seed_error : float
        Standard error of `value` from the spread over seeds; 0 for a trajectory.

    Examples
    --------
    >>> problem = dmft.DeepLinear(1), dmft.GaussianData(1.0), dmft.GradientDescent(0.1, 200)
    >>> fit = dmft.fit_exponent(dmft.solve(*problem, progress=False), window=(50, 200))
    >>> bool(abs(fit.limit - fit.value) <= fit.error)
    True
    """

    quantity: str
    window: tuple
    value: float
    error: float
    times: np.ndarray
    local: np.ndarray
    limit: float
    seed_error: float

    def __str__(self):
        (start, end), local = self.window, self.local
        lines = [
            f"{self.quantity} ~ t^-e, e = {self.value:.4g} ± {self.error:.2g} for t from {start:g} to {end:g}",
            f"  local exponents {local.min():.4g} to {local.max():.4g}, the last {local[-1]:.4g}; drift leads to {self.limit:.4g}",
        ]
        return "\n".join([*lines, *([f"  of the error, from seeds {self.seed_error:.2g}"] if self.seed_error else [])])


def fit_exponent(trajectory, window, quantity="test_loss"):
    """Fit the power of time that a loss follows, with an error bar from the spread and drift of local exponents.

    Parameters
    ----------
    trajectory : Trajectory or Ensemble
        Of an ensemble the mean over seeds is fitted.
    window : (float, float)
        First and last time, > 0, inside the times of the trajectory, with four recorded times or more. Losses at its ends are
        interpolated linearly in ln t and ln loss.
    quantity : str
        Name of an attribute with an entry for each time, for example "test_loss" or "train_loss".

    Returns
    -------
    ExponentFit
        `value` and `error`; print it.

    Raises
    ------
    ValueError, TypeError
        If the quantity does not exist, the window is empty or not inside the times, or the quantity is zero, negative or infinite in it.

    Notes
    -----
    The error is no standard error: the slope of a loss that still drifts is not the exponent of late times, whatever its scatter. It is
    the larger of half the range of the local exponents and the distance to where their drift leads, joined with the standard error over
    seeds. `dmft.scaling_exponents` derives exponents for power-law data.

    Source: docs/theory/deep_linear.md, section 6.1.

    Examples
    --------
    >>> problem = dmft.DeepLinear(1), dmft.GaussianData(1.0), dmft.GradientDescent(0.1, 200)
    >>> trajectory = dmft.solve(*problem, progress=False)
    >>> print(dmft.fit_exponent(trajectory, window=(50, 200), quantity="train_loss"))
    train_loss ~ t^-e, e = ... for t from 50 to 200
      local exponents ...
    """
    values = _checked_values(trajectory, checks.text("quantity", quantity))
    window, part = _checked_window(window, np.asarray(trajectory.times, dtype=float))
    times, values = np.asarray(trajectory.times, dtype=float)[part], values[:, part]
    if not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(f"{quantity} must be finite and > 0 in the window {window}, to follow a power law; it is not")
    edges = np.linspace(*np.log(window), _parts(window, len(times)) + 1)

    def exponents(samples):
        """Local exponents of the mean over samples."""
        return -np.diff(np.interp(edges, np.log(times), np.log(samples.mean(axis=0)))) / np.diff(edges)

    local = exponents(values)
    value, limit = float(local.mean()), _limit(local.reshape(3, -1).mean(axis=1))
    seed_error = _jackknifed(lambda samples: exponents(samples).mean(), values) if len(values) > 1 else 0.0
    error = math.hypot(max(np.ptp(local) / 2, abs(limit - value)), seed_error)
    middles = np.exp((edges[1:] + edges[:-1]) / 2)
    return ExponentFit(quantity, window, value, error, middles, local, limit, seed_error)


def _checked_values(trajectory, quantity):
    """Values of a function of time, shape (seeds, T), one seed for a trajectory."""
    if not hasattr(trajectory, "times"):
        checks.fail("trajectory", trajectory, "a Trajectory or an Ensemble", TypeError)
    values, count = getattr(trajectory, quantity, None), len(trajectory.times)
    if not isinstance(values, np.ndarray) or values.ndim not in (1, 2) or values.shape[-1] != count:
        names = [name for name in ("test_loss", "train_loss") if getattr(trajectory, name, None) is not None]
        checks.fail("quantity", quantity, f"a function of time that this {type(trajectory).__name__} has, for example {' or '.join(names)}")
    return np.atleast_2d(values)


def _checked_window(window, times):
    """The window as two floats, and the slice of the times that reaches over it."""
    allowed = "two times (start, end) with 0 < start < end"
    given = checks.sequence("window", window, allowed)
    if len(given) != 2:
        checks.fail("window", window, allowed)
    start, end = (checks.positive(f"window[{i}]", time) for i, time in enumerate(given))
    if start >= end:
        checks.fail("window", window, allowed)
    first, last = times[times > 0][[0, -1]] if np.any(times > 0) else (math.nan, math.nan)
    if not (start >= first * (1 - _ROUNDING) and end <= last * (1 + _ROUNDING)):
        checks.fail("window", window, f"inside the times > 0 of this trajectory, {first:g} to {last:g}")
    start, end = max(start, first), min(end, last)
    inside = np.count_nonzero((times >= start) & (times <= end))
    if inside < _FEWEST_TIMES:
        checks.fail("window", window, f"such that {_FEWEST_TIMES} recorded times or more are in it; there are {inside}")
    part = slice(np.searchsorted(times, start, side="right") - 1, np.searchsorted(times, end) + 1)
    return (float(start), float(end)), part


def _parts(window, count):
    """Number of local exponents, a multiple of three."""
    wanted = _PER_DECADE * math.log10(window[1] / window[0])
    return 3 * max(1, round(min(wanted, count - 1) / 3))


def _limit(thirds):
    """Where three exponents lead, if their differences are geometric."""
    earlier, later = np.diff(thirds)
    if earlier * later <= 0:
        return float(thirds[-1])
    ratio, farthest = later / earlier, _FARTHEST * (earlier + later)
    onward = later * ratio / (1 - ratio) if ratio < 1 else farthest
    return float(thirds[-1] + min(onward, farthest, key=abs))


def _jackknifed(statistic, samples):
    """Standard error of a statistic of samples along the first axis."""
    count = len(samples)
    left_out = [statistic(np.delete(samples, i, axis=0)) for i in range(count)]
    return float(np.sqrt((count - 1) * np.var(left_out)))
