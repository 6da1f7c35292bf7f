"""Functions that networks learn on a data set: logits, or predictions of the square loss, over time, and the tangent kernel."""

import matplotlib.pyplot as plt
import numpy as np

from ..checks import integer
from ..curves import function_name, one_output, root_mean_square, selection
from ..ensemble import FunctionEnsemble
from ..function_trajectory import FunctionTrajectory
from ..networks import ShallowNet
from ..specification import check_type
from .beside import check_beside
from .heat_maps import colour_scales, name_halves, sample_maps
from .style import BY_LABEL, MARKERS, STYLE, TEST, TRAIN, axis, several_axes


def predictions(trajectory, ensemble=None, ax=None, points=6):
    """Logits, or predictions for the square loss, of some training samples over time, in the colour of their label.

    Those of a `ShallowNet` are normalised.

    The theory as lines with a band of two Monte Carlo standard errors, finite networks as markers with the standard error of their mean.

    Parameters
    ----------
    trajectory : FunctionTrajectory
    ensemble : FunctionEnsemble, optional
        On the same data. Networks have the initial function of a trajectory that was given theirs as ``initial_function``.
    ax : matplotlib.axes.Axes, optional
        Default: the axes of a new figure.
    points : int
        Samples shown of either label: evenly spaced in the order of their last logits.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If trajectory and ensemble have different data, or there are several outputs.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(0.2, 10)
    >>> trajectory = dmft.solve(dmft.ShallowNet.mean_field(), data, training, samples=256, track="kernels", progress=False)
    >>> ax = dmft.plot.predictions(trajectory, points=3)
    """
    check_type("trajectory", trajectory, (FunctionTrajectory,))
    if ensemble is not None:
        check_beside(trajectory, ensemble, FunctionEnsemble, ("data",))
    trajectory, ensemble = one_output(trajectory), ensemble and one_output(ensemble)
    if trajectory.predictions.ndim > 2:
        raise ValueError("trajectory must be of one output, as colours are those of labels; draw dmft.plot.loss or dmft.plot.logits")
    points = integer("points", points, 1)
    with plt.style.context(STYLE):
        ax = axis(ax)
        ax.axhline(0.0, color="0.8", linewidth=0.7, zorder=0)
        last = trajectory.predictions[_last(trajectory)]
        for (label, group), colour in zip(_by_label(trajectory.data.y), BY_LABEL):
            shown = group[np.argsort(last[group])][selection(len(group), points)]
            _draw_theory(ax, trajectory, shown, colour, label)
            if ensemble is not None:
                _draw_networks(ax, ensemble, shown, colour)
        if ensemble is not None:
            ax.plot([], [], "o", color="0.3", markerfacecolor="white", markersize=2.8, markeredgewidth=0.7, label=_networks(ensemble))
        ax.set(xlabel="gradient step $t$", ylabel=_function(trajectory))
        ax.margins(x=0.02)
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
    return ax


def _function(trajectory):
    name = function_name(trajectory.options["loss"])
    return rf"normalised {name} $\tilde f(x_i)$" if isinstance(trajectory.network, ShallowNet) else f"{name} $f(x_i)$"


def _last(trajectory):
    """The last row with finite logits."""
    return min(trajectory.finished, trajectory.rows) - 1


def _by_label(y):
    """Name and indices of the samples with the lower and those with the higher labels."""
    higher = y > (y.min() + y.max()) / 2
    for group in (np.flatnonzero(~higher), np.flatnonzero(higher)):
        if len(group):
            low, high = y[group].min(), y[group].max()
            yield f"$y_i = {low:+g}$" if low == high else rf"$y_i \in [{low:.2g}, {high:.2g}]$", group


def _draw_theory(ax, trajectory, shown, colour, label):
    finite = slice(_last(trajectory) + 1)
    times, function, error = trajectory.times[finite], trajectory.predictions[finite, shown], 2 * trajectory.standard_error[finite, shown]
    lines = ax.plot(times, function, color=colour, linewidth=1.0, zorder=3)
    lines[0].set_label(label)
    if np.any(error) and np.all(np.isfinite(error)):
        for mean, width in zip(function.T, error.T):
            ax.fill_between(times, mean - width, mean + width, color=colour, alpha=0.25, linewidth=0, zorder=2)


def _draw_networks(ax, ensemble, shown, colour):
    rows = selection(len(ensemble.times), MARKERS)
    at = np.ix_(rows, shown)
    mean = ensemble.mean("predictions")[at]
    error = ensemble.standard_error("predictions")[at] if ensemble.seeds > 1 else np.zeros(mean.shape)
    style = dict(fmt="o", color=colour, markerfacecolor="white", markersize=2.8, markeredgewidth=0.7, elinewidth=0.7, zorder=4)
    for values, widths in zip(mean.T, error.T):
        finite = np.isfinite(values)
        ax.errorbar(ensemble.times[rows][finite], values[finite], widths[finite], **style)


def _networks(ensemble):
    return f"{ensemble.seeds} network{'s' if ensemble.seeds > 1 else ''}, width {ensemble.width}"


def logits(trajectory=None, ensemble=None, ax=None):
    """Root mean square over the training samples, and over test points, of the function, against time.

    The function is normalised as it is stored, its name that of its loss: logits, or predictions for the square loss. The theory as lines,
    finite networks as markers: the mean over networks of their root mean squares.

    Parameters
    ----------
    trajectory : FunctionTrajectory, optional
    ensemble : FunctionEnsemble, optional
        At least one of the two is needed.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(0.2, 10)
    >>> trajectory = dmft.solve(dmft.ShallowNet.mean_field(), data, training, samples=256, track="kernels", progress=False)
    >>> ax = dmft.plot.logits(trajectory)
    """
    given = [result for result in (trajectory, ensemble) if result is not None]
    if not given:
        raise ValueError("trajectory and ensemble are both None; give at least one of them")
    for name, value, kind in (("trajectory", trajectory, FunctionTrajectory), ("ensemble", ensemble, FunctionEnsemble)):
        if value is not None:
            check_type(name, value, (kind,))
    with plt.style.context(STYLE):
        ax = axis(ax)
        for name, attribute, colour in (("test", "test_predictions", TEST), ("train", "predictions", TRAIN)):
            if name == "test" and given[0].data.test_x is None:
                continue
            if ensemble is not None:
                function = getattr(ensemble, attribute)
                size = root_mean_square(function.reshape(*function.shape[:2], -1)).mean(axis=0)
                shown = selection(len(size), MARKERS)
                marks = dict(color=colour, markerfacecolor="white", markeredgewidth=0.8, label=f"{name}, {_networks(ensemble)}", zorder=4)
                ax.plot(ensemble.times[shown], np.where(np.isfinite(size), size, np.nan)[shown], "o", **marks)
            if trajectory is not None:
                finite = slice(_last(trajectory) + 1)
                function = getattr(trajectory, attribute)[finite]
                size = root_mean_square(function.reshape(len(function), -1))
                ax.plot(trajectory.times[finite], size, color=colour, label=f"{name}, theory", zorder=3)
        ax.set(xlabel="gradient step $t$", ylabel=f"root mean square of {function_name(given[0].options['loss'])}")
        ax.set_ylim(bottom=0.0)
        ax.margins(x=0.02)
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
    return ax


def tangent_kernel(trajectory, ensemble=None, axes=None):
    """Tangent kernel of the training samples before the first step and after the last, on one colour scale.

    Samples are in the order of their labels, and within a label of their last logits; lines part the labels. The lower right half of both
    is the mean over networks, where some are given.

    Parameters
    ----------
    trajectory : FunctionTrajectory
        Solved with ``track="kernels"``.
    ensemble : FunctionEnsemble, optional
        Networks of the same problem, simulated with ``track="kernels"``.
    axes : sequence of two matplotlib.axes.Axes, optional
        Default: a new figure.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (2,)

    Raises
    ------
    ValueError
        If the kernel was not tracked, the ensemble is of another network or data, or `axes` are not two.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(0.2, 10)
    >>> trajectory = dmft.solve(dmft.ShallowNet.mean_field(), data, training, samples=256, track="kernels", progress=False)
    >>> axes = dmft.plot.tangent_kernel(trajectory)
    """
    check_type("trajectory", trajectory, (FunctionTrajectory,))
    if trajectory.tangent_grams is None:
        raise ValueError('trajectory has no tangent kernel; solve with track="kernels"')
    if ensemble is not None:
        check_beside(trajectory, ensemble, FunctionEnsemble)
    trajectory, ensemble = one_output(trajectory), ensemble and one_output(ensemble)
    last = _last(trajectory)
    groups = [group[np.argsort(trajectory.predictions[last, group])] for _, group in _by_label(trajectory.data.y)]
    order = np.concatenate(groups)
    maps, networks = trajectory.tangent_grams[[0, last]][:, order][:, :, order], ()
    if ensemble is not None:
        networks = list(ensemble.tangent_kernel()[:, [0, last]].mean(axis=0)[:, order][:, :, order])
    edges = [len(groups[0]) - 0.5] if len(groups) > 1 else []
    with plt.style.context(STYLE):
        axes = plt.subplots(1, 2, figsize=(4.6, 2.1))[1] if axes is None else axes
        axes = several_axes(axes, 2, "for the first and the last kernel")
        (scale,) = colour_scales([[*maps, *networks]])
        sample_maps(axes, maps, edges, [rf"$K_{{{step}}}(x_i, x_j)$" for step in (0, last)], scale, networks)
        if networks:
            name_halves(axes[0])
    return axes
