"""Kernels of networks that learn features: feature kernels before and after training, gradient kernels between times, alignment."""

import matplotlib.pyplot as plt
import numpy as np

from .. import checks
from ..ensemble import KernelEnsemble
from ..curves import one_output
from ..kernel_trajectory import KernelTrajectory
from ..specification import check_type
from .heat_maps import sample_maps, two_time_map
from .style import STYLE, TEST, TRAIN, axis, several_axes

NAMES = ("features", "gradients")
_ALIGNED = {"tangent": (TEST, "tangent kernel"), "features": (TRAIN, "features of the last layer")}


def kernels(trajectory, names=NAMES, axes=None):
    """Of every layer the feature kernel before the first step and after the last, and the gradient kernel between all times.

    Feature kernels between training samples, in the order of their labels and within a label of their last predictions, have one colour
    scale for both times; lines part the labels. Of gradient kernels the mean over samples and outputs of G(t, s) is shown.

    Parameters
    ----------
    trajectory : KernelTrajectory
        Solved with ``track="kernels"``.
    names : sequence of {"features", "gradients"}
    axes : sequence of matplotlib.axes.Axes, optional
        A row of L axes for each of first feature kernels, last feature kernels, gradient kernels, as far as `names` asks for them.
        Default: a new figure.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, one-dimensional

    Raises
    ------
    ValueError
        If the kernels were not tracked, a name is unknown, or the number of `axes` does not match.
    """
    check_type("trajectory", trajectory, (KernelTrajectory,))
    rows = sum({"features": 2, "gradients": 1}[checks.choice("names", name, NAMES)] for name in names)
    depth, last, single = trajectory.network.depth, min(trajectory.finished, trajectory.rows) - 1, one_output(trajectory)
    order, edges = _by_label(single.data.y, single.predictions[last])
    with plt.style.context(STYLE):
        if axes is None:
            axes = plt.subplots(rows, depth, figsize=(2.1 * depth + 0.3, 2.0 * rows))[1]
        axes = several_axes(axes, rows * depth, "{rows} per layer")
        for layer, column in enumerate(axes.reshape(rows, depth).T, start=1):
            column = list(column)
            for name in names:
                if name == "features":
                    kernel = trajectory.feature_kernel(layer)
                    maps = [kernel[t, :, t][np.ix_(order, order)] for t in (0, last)]
                    titles = [rf"$\Phi^{{({layer})}}_{{{trajectory.times[t]}}}(x_i, x_j)$" for t in (0, last)]
                    sample_maps([column.pop(0), column.pop(0)], maps, edges, titles)
                else:
                    mean = _mean_over_samples(trajectory.gradient_kernel(layer))
                    two_time_map(column.pop(0), mean, trajectory.times, f"$G^{{({layer})}}(t, s)$")
    return axes


def _by_label(y, predictions):
    """Samples in the order of their label, of several outputs the largest, and then of its prediction; and where the label changes."""
    if y.ndim == 1:
        labels, values = y, predictions
    else:
        labels = np.argmax(y, axis=1)
        values = predictions[np.arange(len(y)), labels]
    order, known = np.lexsort((values, labels)), np.unique(labels)
    return order, np.searchsorted(labels[order], known[1:]) - 0.5 if len(known) < len(y) else ()


def _mean_over_samples(kernel):
    """Mean over equal entries of a kernel (T, ..., T, ...), (T, T)."""
    times, half = len(kernel), kernel.ndim // 2
    entries = int(np.prod(kernel.shape[1:half]))
    return np.einsum("tisi->ts", kernel.reshape(times, entries, times, entries)) / entries


def alignment(trajectory, ensemble=None, ax=None):
    """Alignment of the tangent kernel and of the last layer's feature kernel with the labels, against time.

    Parameters
    ----------
    trajectory : KernelTrajectory
        Solved with ``track="kernels"``, of labels that are not all zero.
    ensemble : KernelEnsemble, optional
        Networks with kernels, as markers: the mean of their alignments and its standard error.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8, norm=8.0), dmft.GradientDescent(0.2, 10)
    >>> trajectory = dmft.solve(dmft.MLP(depth=1), data, training, samples=128, progress=False)
    >>> ax = dmft.plot.alignment(trajectory)
    """
    check_type("trajectory", trajectory, (KernelTrajectory,))
    if ensemble is not None:
        check_type("ensemble", ensemble, (KernelEnsemble,))
    with plt.style.context(STYLE):
        ax = axis(ax)
        for name, (colour, label) in _ALIGNED.items():
            values = trajectory.alignment(name)
            ax.plot(trajectory.times, np.where(np.isfinite(values), values, np.nan), color=colour, label=label)
            if ensemble is not None:
                values = ensemble.alignment(name)
                values = np.where(np.isfinite(values).all(axis=0), values, np.nan)
                error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
                style = dict(color=colour, markerfacecolor="white", markeredgewidth=0.8, elinewidth=0.7)
                ax.errorbar(ensemble.kernel_times, values.mean(axis=0), error, fmt="o", **style)
        ax.set(xlabel="gradient step $t$", ylabel="alignment with the labels")
        ax.margins(x=0.02)
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
    return ax
