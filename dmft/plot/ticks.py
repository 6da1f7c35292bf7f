"""Logarithmic axes that always have labels enough to be read."""

import numpy as np
from matplotlib.ticker import Formatter, Locator, LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter

from ..training import GradientFlow

#: Over so many decades powers of ten are ticks enough.
_DECADES = 2.0
_DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 6, 8))
_FEWEST = 3


def log_axis(ax, which="y"):
    """Make the axis "x" or "y" of `ax` logarithmic, with ticks as `LogTicks` has them."""
    getattr(ax, f"set_{which}scale")("log")
    getattr(ax, f"{which}axis").set(major_locator=LogTicks(), major_formatter=_Labels(), minor_formatter=NullFormatter())


def time_axis(ax, training):
    """Make the axis "x" of `ax` that of the times of a training, logarithmic for a gradient flow; 0 is then out of sight."""
    flow = isinstance(training, GradientFlow)
    if flow:
        log_axis(ax, "x")
    ax.set_xlabel("time $t$" if flow else "gradient step $t$")


class LogTicks(Locator):
    """Powers of ten; within few of them also round multiples, and where no two of these are in sight, evenly spaced numbers."""

    def __call__(self):
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin, vmax):
        low, high = sorted((vmin, vmax))
        if _is_wide(low, high):
            locator = LogLocator()
            locator.set_axis(self.axis)
            return locator.tick_values(low, high)
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        for digits in _DIGITS:
            ticks = np.outer(powers, digits).ravel()
            ticks = ticks[(ticks >= low) & (ticks <= high)]
            if len(ticks) >= _FEWEST:
                return ticks
        ticks = MaxNLocator(4, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)
        return ticks[(ticks >= low) & (ticks <= high)]


class _Labels(Formatter):
    """Powers of ten where these are the ticks, else plain numbers."""

    def __call__(self, x, pos=None):
        if not _is_wide(*sorted(self.axis.get_view_interval())):
            return f"{x:.6g}"
        powers = LogFormatterSciNotation()
        powers.set_axis(self.axis)
        return powers(x, pos)


def _is_wide(low, high):
    return high >= 10**_DECADES * low
