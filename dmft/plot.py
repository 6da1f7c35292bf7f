"""Figures of trajectories, ensembles and verdicts. Functions draw into the axes they are given, or make a figure; none shows it."""

from fractions import Fraction
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from . import checks
from .compare import Verdict
from .coordinate_plot import coordinates  # noqa: F401
from .ensemble import Ensemble
from .linear_trajectory import LAYERED
from .specification import check_type
from .trajectory import Trajectory

STYLE = Path(__file__).with_name("dmft.mplstyle")

_LOSSES = {"test": "#0072B2", "train": "#D55E00"}
#: Part of the plane (q_sigma, q_sigma + q_eta) that a phase diagram shows.
_WINDOW = ((Fraction(-7, 4), Fraction(1, 4)), (Fraction(-17, 20), Fraction(7, 20)))
#: Colours of the property lines, and of regions by the signs of the exponents of the logits at initialization and later.
_PROPERTIES = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")
_FILLS = {(-1, -1): "#FFFFFF", (-1, 1): "#FFF4D6", (1, 1): "#FFE3B0"}
_LABEL = dict(boxstyle="round,pad=0.15", color="white", alpha=0.9)
_FAINT_SEEDS = 16
_MARKERS = 12


def loss(trajectory=None, ensemble=None, ax=None, which=("test", "train")):
    """Loss curves: the theory as lines, finite networks as markers (mean), band (one standard error) and faint lines (single seeds).

    Parameters
    ----------
    trajectory : Trajectory, optional
    ensemble : Ensemble, optional
        At least one of the two is needed.
    ax : matplotlib.axes.Axes, optional
        Default: the axes of a new figure.
    which : sequence of {"test", "train"}

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is nothing to draw or `which` holds another name.
    """
    if trajectory is None and ensemble is None:
        raise ValueError("trajectory and ensemble are both None; give at least one of them")
    for name, value, kind in (("trajectory", trajectory, Trajectory), ("ensemble", ensemble, Ensemble)):
        if value is not None:
            check_type(name, value, (kind,))
    which = (which,) if isinstance(which, str) else tuple(which)
    for name in which:
        checks.choice("which", name, tuple(_LOSSES))
    with plt.style.context(STYLE):
        ax = plt.subplots()[1] if ax is None else ax
        for name in which:
            if ensemble is not None:
                _draw_ensemble(ax, ensemble, name)
            if trajectory is not None:
                theory = getattr(trajectory, f"{name}_loss")
                ax.plot(trajectory.times, _positive(theory), color=_LOSSES[name], label=f"{name}, theory", zorder=3)
        ax.set_yscale("log")
        ax.set_xlabel("gradient step $t$")
        ax.set_ylabel("loss")
        ax.margins(x=0.02)
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(which), borderaxespad=0.2)
    return ax


def _draw_ensemble(ax, ensemble, name):
    times, losses, color = ensemble.times, getattr(ensemble, f"{name}_loss"), _LOSSES[name]
    mean = ensemble.mean(f"{name}_loss")
    if 1 < ensemble.seeds <= _FAINT_SEEDS:
        ax.plot(times, _positive(losses.T), color=color, linewidth=0.4, alpha=0.25, zorder=1)
    if ensemble.seeds > 1:
        error = ensemble.standard_error(f"{name}_loss")
        ax.fill_between(times, _positive(mean - error), _positive(mean + error), color=color, alpha=0.3, linewidth=0, zorder=2)
    shown = np.unique(np.linspace(0, len(times) - 1, _MARKERS).round().astype(int))
    label = f"{name}, {ensemble.seeds} networks"
    ax.plot(times[shown], _positive(mean[shown]), "o", color=color, markerfacecolor="white", markeredgewidth=0.8, label=label, zorder=4)


def _positive(values):
    """`values` with everything that a logarithmic axis cannot show (round-off below zero, inf after divergence) left out."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def kernels(trajectory, names=("h", "g"), axes=None):
    """Two-time correlations C(t, s) of the fields `names` in every layer, with a colour bar each; the mean over several outputs.

    Parameters
    ----------
    trajectory : Trajectory
    names : sequence of str
        "h" and "g" are drawn once per hidden layer, "v", "delta" and "u" once.
    axes : sequence of matplotlib.axes.Axes, optional
        As many as there are maps, in the order of `names`, layer by layer. Default: a new figure with one row per name
        (one row in all if there is one map per name).

    Returns
    -------
    ndarray of matplotlib.axes.Axes, one-dimensional

    Raises
    ------
    ValueError
        If the number of `axes` does not match; `Trajectory.correlation` refuses unknown names.
    """
    check_type("trajectory", trajectory, (Trajectory,))
    names = (names,) if isinstance(names, str) else tuple(names)
    depth = trajectory.network.depth
    maps = [(name, layer) for name in names for layer in (range(1, depth + 1) if name in LAYERED else (None,))]
    correlations = [trajectory.correlation(name, layer=layer) for name, layer in maps]
    if trajectory.network.outputs > 1:
        correlations = [np.einsum("tcsc->ts", correlation) / trajectory.network.outputs for correlation in correlations]
    with plt.style.context(STYLE):
        if axes is None:
            axes = _grid(maps, names)
        axes = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
        if len(axes) != len(maps):
            raise ValueError(f"axes must hold {len(maps)} axes, one per map; got {len(axes)}")
        for ax, (name, layer), correlation in zip(axes, maps, correlations):
            _two_time_map(ax, correlation, trajectory.times, _symbol(name, layer))
    return axes


def _grid(maps, names):
    rows = [[f"{n}{layer}" for n, layer in maps if n == name] for name in names]
    if len(maps) == len(names):
        rows = [sum(rows, [])]
    columns = max(map(len, rows))
    figure = plt.figure(figsize=(2.1 * columns + 0.3, 1.9 * len(rows)))
    return list(figure.subplot_mosaic([row + ["."] * (columns - len(row)) for row in rows]).values())


def _symbol(name, layer):
    return {
        "h": f"$C_h^{{({layer})}}(t, s)$",
        "g": f"$C_g^{{({layer})}}(t, s)$",
        "v": "$C_v(t, s)$",
        "delta": r"$C_\Delta(t, s)$",
        "u": "$C_u(t, s)$",
    }[name]


def _two_time_map(ax, correlation, times, title):
    """One map with the time s along x and t along y."""
    half = (times[1] - times[0]) / 2
    start, end = times[0] - half, times[-1] + half
    colours, norm, extend = _colour_scale(correlation[np.isfinite(correlation)])
    shown = np.where(np.isfinite(correlation), np.maximum(correlation, norm.vmin), np.nan)
    image = ax.imshow(shown, extent=(start, end, start, end), cmap=colours, norm=norm)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    ax.spines[:].set_visible(True)
    ax.set(xlabel="$s$", ylabel="$t$", title=title)
    ax.figure.colorbar(image, cax=ax.inset_axes((1.05, 0.0, 0.06, 1.0)), extend=extend).outline.set_linewidth(0.5)


def _colour_scale(values):
    """Colour map, norm, extended end: diverging for values of both signs, logarithmic where they span decades, linear otherwise."""
    low, high = values.min(), values.max()
    peak = max(-low, high)
    if low < -1e-3 * peak:
        return "RdBu_r", Normalize(-peak, peak), "neither"
    if low < 0.05 * peak:
        floor = max(low, 1e-5 * peak)
        return "viridis", LogNorm(floor, peak), "neither" if low == floor else "min"
    return "viridis", Normalize(low, high), "neither"


def zscores(verdict, ax=None):
    """Deviation of finite networks from the theory over time, in standard errors of their mean.

    Parameters
    ----------
    verdict : Verdict
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    check_type("verdict", verdict, (Verdict,))
    with plt.style.context(STYLE):
        ax = plt.subplots(figsize=(3.6, 2.2))[1] if ax is None else ax
        ax.axhline(0.0, color="0.6", linewidth=0.7)
        times = verdict.ensembles[0].times
        ax.plot(times, verdict.zscores, color=_LOSSES["test"], label="test")
        ax.plot(times, verdict.train_zscores, color=_LOSSES["train"], label="train")
        ax.set_xlabel("gradient step $t$")
        ax.set_ylabel("(networks − theory) / s.e.")
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
    return ax


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
    """
    with plt.style.context(STYLE):
        ax = plt.subplots(figsize=(5.4, 3.5))[1] if ax is None else ax
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


def overview(trajectory):
    """One figure of a trajectory: its losses, and the correlations of h and g in every layer.

    Returns
    -------
    matplotlib.figure.Figure
    """
    check_type("trajectory", trajectory, (Trajectory,))
    depth = trajectory.network.depth
    with plt.style.context(STYLE):
        figure = plt.figure(figsize=(3.4 + 2.0 * depth, 3.6))
        left, right = figure.subfigures(1, 2, width_ratios=(3.4, 2.0 * depth))
        loss(trajectory, ax=left.subplots())
        kernels(trajectory, axes=right.subplots(2, depth))
    return figure
