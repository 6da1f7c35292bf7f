"""Planes through the polytope of stable parameterizations."""

import matplotlib.pyplot as plt
import numpy as np

from ..parameterizations import StableCut
from ..specification import check_type
from .style import STYLE, axis

_STABLE = "#FFF4D6"
_REGIMES = {"kernel": "#0072B2", "feature learning": "#D55E00"}
_NAMES = {"sp": "SP", "sp, c = 1": "SP, c = 1", "ntk": "NTK", "mup": "µP"}
_AXES = {"ntk-mup": "from NTK (0) to µP (1)", "standard": "$A_{L+1} - 1/2$ of the standard parameterization"}
#: Shown to the left of the stable points and below them.
_MARGIN = 0.4


def stable_polytope(cut, ax=None):
    """A plane through the polytope of stable parameterizations: where training is trivial, a kernel regime, or learns features.

    Everything is drawn from the exact regions of the cut. The plane is grey where training is not stable; named parameterizations are
    filled dots where it is stable, open ones where it is not.

    Parameters
    ----------
    cut : dmft.parameterizations.StableCut
        As of `dmft.parameterizations.stable_cut`.
    ax : matplotlib.axes.Axes, optional
        Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from dmft.parameterizations import stable_cut
    >>> ax = dmft.plot.stable_polytope(stable_cut(depth=2))
    """
    check_type("cut", cut, (StableCut,))
    regions = cut.cut.regions
    with plt.style.context(STYLE):
        ax = axis(ax)
        ax.set_facecolor("0.93")
        for polygon in regions["stable"]:
            ax.fill(*_corners(polygon).T, color=_STABLE, linewidth=0, zorder=1, label="stable, trivial")
        for regime, colour in _REGIMES.items():
            for piece, label in zip(regions[regime], (regime, *[None] * len(regions[regime]))):
                _draw(ax, _corners(piece), colour, label)
        for name, point in cut.points.items():
            _draw_named(ax, _NAMES[name], tuple(map(float, point)), _inside(point, regions["stable"]))
        shown = np.concatenate([_corners(polygon) for polygon in regions["stable"]] + [_corners(list(cut.points.values()))])
        (left, low), (right, high) = shown.min(axis=0) - _MARGIN, shown.max(axis=0)
        ax.set(xlim=(left, right), ylim=(low, high), xlabel=_AXES[cut.plane], ylabel="common exponent added to all rates")
        ax.text(0.5 * (left + right), low + 0.25 * _MARGIN, "not stable", color="0.4", ha="center", va="center")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def _corners(polygon):
    return np.array(polygon, dtype=float)


def _draw(ax, corners, colour, label):
    """A region by its dimension: filled, a thick line or a ring around a point."""
    if len(corners) > 2:
        ax.fill(*corners.T, color=colour, alpha=0.4, linewidth=0, zorder=2, label=label)
    elif len(corners) == 2:
        ax.plot(*corners.T, color=colour, linewidth=2.5, solid_capstyle="butt", zorder=3, label=label)
    else:
        ax.plot(*corners.T, "o", color=colour, markersize=9, markerfacecolor="none", markeredgewidth=2.0, zorder=4, label=label)


def _inside(point, polygons):
    """Whether a point is in one of the convex polygons, whose corners are in order; exact."""
    return any(len({_side(point, *edge) for edge in zip(polygon, (*polygon[1:], polygon[0]))} - {0}) <= 1 for polygon in polygons)


def _side(point, start, end):
    (x, y), (u, v), (s, t) = point, start, end
    turn = (s - u) * (y - v) - (t - v) * (x - u)
    return (turn > 0) - (turn < 0)


def _draw_named(ax, name, place, stable):
    ax.plot(*place, "o", color="black" if stable else "0.4", markerfacecolor="black" if stable else "white", markersize=4, zorder=5)
    ax.annotate(name, place, (0, -8), textcoords="offset points", ha="center", va="top", fontweight="bold", zorder=6)
