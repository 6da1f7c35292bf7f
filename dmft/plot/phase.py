"""The plane of scaling exponents with the limits that are derived in it."""

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

from ..specification import check_type
from .style import STYLE, axis

#: Part of the plane (q_sigma, q_sigma + q_eta) that is shown.
_WINDOW = ((Fraction(-7, 4), Fraction(1, 4)), (Fraction(-17, 20), Fraction(7, 20)))
#: Colours of the property lines, and of regions by the signs of the exponents of the logits at initialization and later.
_PROPERTIES = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")
_FILLS = {(-1, -1): "#FFFFFF", (-1, 1): "#FFF4D6", (1, 1): "#FFE3B0"}
_LABEL = dict(boxstyle="round,pad=0.15", color="white", alpha=0.9)


def phase_diagram(lim, ax=None):
    """The plane of scaling exponents: the stable classes with their names, the line of each property, the named points.

    Everything is drawn from the derived conditions. Classes of dimension two are filled, the darker the larger their logits, those of
    dimension one are thick, in the colour of a property that holds there, single points are dots; the plane is grey where training is
    not stable.

    Parameters
    ----------
    lim : Limits
        As of `dmft.limits.shallow`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> ax = dmft.plot.phase_diagram(dmft.limits.shallow())
    """
    from ..limits import Limits

    check_type("lim", lim, (Limits,))
    with plt.style.context(STYLE):
        ax = axis(ax, figsize=(5.4, 3.5))
        ax.set_facecolor("0.93")
        colours = dict(zip(lim.lines, _PROPERTIES))
        for i, (name, line) in enumerate(lim.lines.items(), start=1):
            ax.plot(*_part(lim, [line]).T, color=colours[name], linewidth=0.8, linestyle=(0, (4, 2)), label=f"({i}) {name}", zorder=2)
        for limit in lim.classes:
            _draw_class(ax, limit, _part(lim, limit.conditions), [colours[name] for name in limit.properties])
        for point, names in lim.named_points.items():
            _draw_point(ax, lim.classify(*point), point, ", ".join(names))
        ax.text(0.015, 0.97, "not stable", color="0.4", transform=ax.transAxes, va="top")
        across, up = (tuple(map(float, ends)) for ends in _WINDOW)
        ax.set(xlim=across, ylim=up, xlabel=r"$q_\sigma$", ylabel=r"$q_\sigma + q_\eta$")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _draw_class(ax, limit, corners, colours):
    label = dict(s=limit.name, ha="center", va="center", fontsize=8, fontweight="bold", zorder=5)
    middle = corners.mean(axis=0)
    if limit.dimension == 2:
        ax.fill(*corners.T, color=_FILLS[limit.signs], linewidth=0, zorder=1)
        ax.text(*middle, **label)
    elif limit.dimension == 1:
        ax.plot(*corners.T, color=colours[0], linewidth=2.5, solid_capstyle="butt", zorder=3)
        ax.text(*middle, color=colours[0], bbox=_LABEL, **label)
    else:
        ax.plot(*middle, "o", color="black", markersize=5, zorder=4)


def _draw_point(ax, limit, point, label):
    """A named point: with its class if that is a single point, open where training is not stable."""
    place = float(point[0]), float(sum(point))
    if limit is None:
        ax.plot(*place, "o", color="0.4", markerfacecolor="white", markersize=4, zorder=4)
    else:
        label = f"{limit.name}: {label}"
    above = 12 if place[1] > np.mean([float(edge) for edge in _WINDOW[1]]) else -12
    ax.annotate(label, place, (8, above), textcoords="offset points", ha="right", va="center", fontweight="bold", bbox=_LABEL, zorder=5)


def _part(lim, conditions):
    """Corners of the part of the window on which all conditions hold up to their boundary."""
    (left, right), (low, high) = _WINDOW
    window = [(x, y - x) for x, y in ((left, low), (right, low), (right, high), (left, high))]
    return np.array([(x, x + eta) for x, eta in lim.clip(conditions, window)], dtype=float)
