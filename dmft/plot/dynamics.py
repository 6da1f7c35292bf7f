"""Functions of time: losses, z-scores, and the two-time correlations of deep linear networks."""

import matplotlib.pyplot as plt
import numpy as np

from .. import checks
from ..compare import FunctionVerdict, Verdict
from ..comparisons.judgement import RESOLUTION
from ..curves import losses, selection
from ..ensemble import Ensemble
from ..kernel_trajectory import KernelTrajectory
from ..linear_trajectory import CORRELATIONS, LAYERED, LinearTrajectory
from ..specification import check_type
from ..trajectory import Trajectory
from . import evolution
from .heat_maps import colour_scales, two_time_map
from .style import BY_NAME, MARKERS, STYLE, TEST, TRAIN, axis, several_axes
from .ticks import log_axis, time_axis

_FAINT_SEEDS = 16
_LIMIT = {"color": "0.3", "linestyle": (0, (4, 2)), "linewidth": 0.8, "label": "differs beyond"}


def loss(trajectory=None, ensemble=None, ax=None, which=None):
    """Loss curves: the theory as lines, finite networks as markers (mean), band (one standard error) and faint lines (single seeds).

    Where the loss of the theory has a Monte Carlo error, two of it are a band around its line.

    Parameters
    ----------
    trajectory : Trajectory, optional
    ensemble : Ensemble, optional
        At least one of the two is needed.
    ax : matplotlib.axes.Axes, optional
        Default: the axes of a new figure.
    which : {"test", "train"} or sequence of them, optional
        Default: all that everything given has.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is nothing to draw, or `which` holds another name or one that a result does not have.

    Examples
    --------
    >>> trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.2, 20), progress=False)
    >>> ax = dmft.plot.loss(trajectory, which="test")
    """
    if trajectory is None and ensemble is None:
        raise ValueError("trajectory and ensemble are both None; give at least one of them")
    for name, value, kind in (("trajectory", trajectory, Trajectory), ("ensemble", ensemble, Ensemble)):
        if value is not None:
            check_type(name, value, (kind,))
    names = [losses(result) for result in (trajectory, ensemble) if result is not None]
    if which is None:
        which = tuple(name for name in BY_NAME if all(name in known for known in names))
    else:
        which = checks.names("which", which, tuple(BY_NAME))
    if not which or any(name not in known for known in names for name in which):
        raise ValueError(
            f"which must name losses that exist, {' and '.join(', '.join(known) or 'none' for known in names)}; "
            f"got {', '.join(which) or 'none'}. "
            "Test losses need test labels, and the logits of some limits diverge or vanish with the width: "
            "solve with width=, or draw dmft.plot.logits or dmft.plot.predictions"
        )
    with plt.style.context(STYLE):
        ax = axis(ax)
        for name in which:
            if ensemble is not None:
                _draw_ensemble(ax, ensemble, name)
            if trajectory is not None:
                theory = getattr(trajectory, losses(trajectory)[name])
                ax.plot(trajectory.times, _positive(theory), color=BY_NAME[name], label=f"{name}, theory", zorder=3)
                _draw_error(ax, trajectory, name, theory)
        log_axis(ax)
        time_axis(ax, (trajectory or ensemble).training)
        ax.set_ylabel("loss")
        ax.margins(x=0.02)
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(which), borderaxespad=0.2)
    return ax


def _draw_ensemble(ax, ensemble, name):
    attribute, times, color = losses(ensemble)[name], ensemble.times, BY_NAME[name]
    mean = ensemble.mean(attribute)
    if 1 < ensemble.seeds <= _FAINT_SEEDS:
        ax.plot(times, _positive(getattr(ensemble, attribute).T), color=color, linewidth=0.4, alpha=0.25, zorder=1)
    if ensemble.seeds > 1:
        error = ensemble.standard_error(attribute)
        ax.fill_between(times, _positive(mean - error), _positive(mean + error), color=color, alpha=0.3, linewidth=0, zorder=2)
    shown = selection(len(times), MARKERS)
    label = f"{name}, {ensemble.seeds} networks"
    ax.plot(times[shown], _positive(mean[shown]), "o", color=color, markerfacecolor="white", markeredgewidth=0.8, label=label, zorder=4)


def _draw_error(ax, trajectory, name, theory):
    error = getattr(trajectory, f"{losses(trajectory)[name]}_error", None)
    if error is not None and np.any(error[np.isfinite(error)]):
        error = 2 * np.where(np.isfinite(error), error, 0.0)
        low, high = _positive(theory - error), _positive(theory + error)
        ax.fill_between(trajectory.times, low, high, color=BY_NAME[name], alpha=0.25, linewidth=0, zorder=2)


def _positive(values):
    """`values` with everything that a logarithmic axis cannot show (round-off below zero, inf after divergence) left out."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def kernels(trajectory, ensemble=None, names=None, axes=None):
    """Correlations or kernels of every layer, with a colour bar each.

    Of a deep linear network at proportional sizes the two-time correlations C(t, s); the mean over several outputs. Of a network that
    learns features on a data set its feature and gradient kernels, see `dmft.plot.evolution.kernels`. Maps of one name have colour
    scales of one kind: diverging where a value is negative.

    Parameters
    ----------
    trajectory : LinearTrajectory or KernelTrajectory
    ensemble : KernelEnsemble, optional
        KernelTrajectory only: networks of the same problem that recorded kernels, drawn beside the theory.
    names : sequence of str, optional
        LinearTrajectory: "h" and "g", the default, are drawn once per hidden layer, "v", "delta" and "u" once.
        KernelTrajectory: "features" and "gradients", the default is both.
    axes : sequence of matplotlib.axes.Axes, optional
        As many as there are maps, in the order of `names`, layer by layer. Default: a new figure with one row per name
        (one row in all if there is one map per name).

    Returns
    -------
    ndarray of matplotlib.axes.Axes, one-dimensional

    Raises
    ------
    ValueError
        If the number of `axes` does not match, or the ensemble is of another problem; `LinearTrajectory.correlation` refuses unknown
        names.

    Examples
    --------
    >>> trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.2, 20), progress=False)
    >>> axes = dmft.plot.kernels(trajectory, names=["h", "delta"])
    """
    check_type("trajectory", trajectory, (LinearTrajectory, KernelTrajectory))
    if names is None:
        names = evolution.NAMES if isinstance(trajectory, KernelTrajectory) else ("h", "g")
    names = checks.names("names", names, evolution.NAMES if isinstance(trajectory, KernelTrajectory) else tuple(CORRELATIONS))
    if isinstance(trajectory, KernelTrajectory):
        return evolution.kernels(trajectory, ensemble, names, axes)
    if ensemble is not None:
        raise ValueError("ensemble must be None beside correlations of a deep linear network, of which networks record none")
    depth = trajectory.network.hidden_states
    maps = [(name, layer) for name in names for layer in (range(1, depth + 1) if name in LAYERED else (None,))]
    correlations = [trajectory.correlation(name, layer=layer) for name, layer in maps]
    if trajectory.network.outputs > 1:
        correlations = [np.einsum("tcsc->ts", correlation) / trajectory.network.outputs for correlation in correlations]
    with plt.style.context(STYLE):
        if axes is None:
            axes = _grid(maps, names)
        axes = several_axes(axes, len(maps), "one per map")
        scales = {name: colour_scales([[c] for (of, _), c in zip(maps, correlations) if of == name]) for name in names}
        for ax, (name, layer), correlation in zip(axes, maps, correlations):
            two_time_map(ax, correlation, trajectory.times, _symbol(name, layer), scales[name].pop(0))
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


def zscores(verdict, ax=None):
    """Deviation of finite networks from the theory over time, in standard errors of their mean, and beyond which it would count.

    Of networks on a data set, that of the amplitude of the function at each time alone. Dashed: |z| above which a row of the table differs.

    Parameters
    ----------
    verdict : Verdict or FunctionVerdict
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> problem = dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.1, 10)
    >>> networks = dmft.simulate(*problem, dim=50, seeds=4, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, progress=False), networks, progress=False)
    >>> ax = dmft.plot.zscores(verdict)
    """
    check_type("verdict", verdict, (Verdict, FunctionVerdict))
    curves = {"test loss": (TEST, "zscores"), "train loss": (TRAIN, "train_zscores")}
    curves = {"function, amplitude": (TEST, "zscores")} if isinstance(verdict, FunctionVerdict) else curves
    with plt.style.context(STYLE):
        ax = axis(ax, figsize=(3.6, 2.2))
        ax.axhline(0.0, color="0.6", linewidth=0.7)
        for label, (color, name) in curves.items():
            values = getattr(verdict, name)
            ax.plot(verdict.ensembles[0].times, np.where(np.isfinite(values), values, np.nan), color=color, label=label)
        deciding = [row for row in verdict.table if row.decides]
        if deciding:
            limit = max(row.critical for row in deciding)
            ax.plot([0, 1, np.nan, 0, 1], [-limit, -limit, np.nan, limit, limit], transform=ax.get_yaxis_transform(), **_LIMIT)
            ax.set_ylim(*(side * max(1.15 * limit, *np.abs(ax.get_ylim())) for side in (-1, 1)))
        time_axis(ax, verdict.ensembles[0].training)
        ax.set_ylabel("(networks − theory) / s.e.")
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)
    return ax


def deviations(verdict, ax=None):
    """The table of a verdict: deviations with their standard errors, and bands of what would not have been seen.

    Parameters
    ----------
    verdict : Verdict or FunctionVerdict
        Bands are light up to the deviation that is found with probability 90%, dark up to the bias that finite size may have. Rows that
        differ are filled, those that decide what can be told have their names in bold; they must rule out 10%, dotted, to agree.
    ax : matplotlib.axes.Axes, optional
        Its scale is logarithmic beyond 1%.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> problem = dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.1, 10)
    >>> networks = dmft.simulate(*problem, dim=50, seeds=4, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, progress=False), networks, progress=False)
    >>> ax = dmft.plot.deviations(verdict)
    """
    check_type("verdict", verdict, (Verdict, FunctionVerdict))
    rows = [row for row in verdict.table if np.isfinite(row.deviation)]
    heights = np.arange(len(rows))
    with plt.style.context(STYLE):
        ax = plt.subplots(figsize=(3.6, 0.6 + 0.17 * len(rows)))[1] if ax is None else ax
        ax.axvline(0.0, color="0.6", linewidth=0.7)
        for name, color, label in (("detectable", "0.9", "would not be seen"), ("bias", "0.75", "bias up to")):
            sizes = np.array([100 * getattr(row, name) for row in rows])
            ax.barh(heights, 2 * sizes, left=-sizes, height=0.8, color=color, label=label)
        for side in (-RESOLUTION, RESOLUTION):
            ax.axvline(100 * side, color="0.3", linewidth=0.7, linestyle=":")
        for height, row in zip(heights, rows):
            fill = TRAIN if row.differs else "white"
            style = {"color": TRAIN if row.differs else TEST, "markerfacecolor": fill, "marker": "o", "linestyle": "none"}
            ax.errorbar(100 * row.deviation, height, xerr=100 * row.standard_error, **style)
        ax.set_xscale("symlog", linthresh=1.0)
        widest = max([1.0, *(100 * max(row.detectable, abs(row.deviation) + row.standard_error) for row in rows)])
        ticks = [tick for tick in (1, 10, 100, 1000, 10_000) if tick <= widest]
        ax.set_xlim(-1.2 * widest, 1.2 * widest)
        ax.set_xticks([-tick for tick in ticks[::-1]] + [0, *ticks])
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_yticks(heights, [row.name for row in rows])
        for label, row in zip(ax.get_yticklabels(), rows):
            label.set_fontweight("bold" if row.decides else "normal")
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlabel("(networks − theory) / theory in percent")
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
    return ax


def agreement(verdict):
    """`zscores` over time beside the `deviations` of the table: one figure that says what was compared, and how well.

    Parameters
    ----------
    verdict : Verdict or FunctionVerdict

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> problem = dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.1, 10)
    >>> networks = dmft.simulate(*problem, dim=50, seeds=4, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, progress=False), networks, progress=False)
    >>> figure = dmft.plot.agreement(verdict)
    """
    check_type("verdict", verdict, (Verdict, FunctionVerdict))
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(7.2, 0.9 + max(1.6, 0.17 * len(verdict.table))))
        zscores(verdict, axes[0])
        deviations(verdict, axes[1])
        figure.suptitle(f"theory and networks: {verdict.outcome}")
    return figure
