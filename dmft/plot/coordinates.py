"""Figures of coordinate checks."""

import matplotlib.pyplot as plt
import numpy as np

from .. import checks
from ..coordinate_check import CoordinateCheck
from ..curves import function_name
from ..specification import check_type
from .style import STYLE, axis
from .ticks import log_axis

_TITLES = {
    "change of h": "change of $h$ and $f$",
    "update of h": "change of $h$ and $f$ by own weights",
    "h": "$h$ and $f$",
    "dh": r"$\partial \mathcal{L} / \partial h$",
}
#: Sizes of the axis go over this factor at least.
_SPAN = 30.0
_LAST = {"change of h": "change of f", "update of h": "update of f", "h": "f"}


def coordinates(check, ax=None, signal="change of h", step=None):
    """Sizes of one signal in all layers against the width, with the derived power of the width through the largest one.

    Parameters
    ----------
    check : CoordinateCheck
    ax : matplotlib.axes.Axes, optional
        Default: the axes of a new figure.
    signal : {"change of h", "update of h", "h", "dh"}
        Of the hidden layers; but for "dh" with the logits, or predictions for the square loss.
    step : int, optional
        Default: the last that was looked at.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is no such signal at that step.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(0.2, 1)
    >>> check = dmft.coordinate_check(dmft.DeepNet(1), data, training, widths=(16, 32, 64), seeds=2, progress=False)
    >>> ax = dmft.plot.coordinates(check)
    """
    check_type("check", check, (CoordinateCheck,))
    checks.choice("signal", signal, tuple(_TITLES))
    steps = sorted({row.step for row in check.rows})
    step = steps[-1] if step is None else step
    rows = [row for row in check.rows if row.signal in (signal, _LAST.get(signal)) and row.step == step and np.isfinite(row.slope)]
    if not rows:
        raise ValueError(f"step must be one at which there is a {signal!r} to draw, of {', '.join(map(str, steps))}; got {step!r}")
    widths = np.array(check.widths)
    with plt.style.context(STYLE):
        ax = axis(ax)
        colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, check.network.depth))
        for row in rows:
            hidden = row.layer <= check.network.depth
            label = f"layer {row.layer}" if hidden else function_name(check.loss)
            _draw(ax, row, check.sizes[row.signal, row.layer, step], widths, colours[row.layer - 1] if hidden else "#D55E00", label)
        log_axis(ax)
        ax.set(xscale="log", xlabel="width $m$", ylabel="root mean square", title=f"{_TITLES[signal]}, step {step}")
        ax.set_xticks(widths, [str(width) for width in widths])
        ax.minorticks_off()
        low, high = ax.get_ylim()
        ax.set_ylim(bottom=min(low, high / _SPAN))
        ax.legend(title="fitted power (derived)", title_fontsize="small", alignment="left")
    return ax


def _draw(ax, row, sizes, widths, colour, label):
    """Geometric means over the seeds with their standard errors, and a dashed line with the derived slope."""
    logs = np.log(sizes)
    means, errors = logs.mean(axis=1), logs.std(axis=1, ddof=1) / np.sqrt(logs.shape[1])
    spread = np.exp(means) * np.stack((1 - np.exp(-errors), np.exp(errors) - 1))
    ax.errorbar(widths, np.exp(means), spread, fmt="o", color=colour, label=f"{label}, ${row.slope:.2f}$ ({row.expected})")
    ax.plot(widths, np.exp(means[-1]) * (widths / widths[-1]) ** float(row.expected), "--", color=colour, linewidth=0.8)
