"""Kernels of networks that learn features: feature kernels before and after training, gradient kernels between times, alignment."""

import matplotlib.pyplot as plt
import numpy as np

from .. import checks
from ..ensemble import KernelEnsemble
from ..curves import one_output
from ..kernel_trajectory import KernelTrajectory
from ..specification import check_type
from .beside import check_beside
from .heat_maps import colour_scales, name_halves, sample_maps, two_time_map
from .style import STYLE, TEST, TRAIN, axis, several_axes

NAMES = ("features", "gradients")
_ALIGNED = {"tangent": (TEST, "tangent kernel"), "features": (TRAIN, "features of the last layer")}


def kernels(trajectory, ensemble=None, names=NAMES, axes=None):
    """Of every layer the feature kernel before the first step and after the last, and the gradient kernel between all times.

    Feature kernels between training samples, in the order of their labels and within a label of their last predictions, have one colour
    scale for both times; lines part the labels. Of gradient kernels the mean over samples and outputs of G(t, s) is shown. All layers have
    the same kind of scale. Networks are the mean over seeds: of feature kernels the lower right half, where they recorded that time, of
    gradient kernels circles at some of the times that they recorded, which vanish in the map of a theory that is right.

    Parameters
    ----------
    trajectory : KernelTrajectory
        Solved with ``track="kernels"``.
    ensemble : KernelEnsemble, optional
        Simulated with ``track="kernels"``.
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
        If the kernels were not tracked, the ensemble is of another network or data, a name is unknown, or the number of `axes` does not
        match.
    """
    check_type("trajectory", trajectory, (KernelTrajectory,))
    if ensemble is not None:
        check_beside(trajectory, ensemble, KernelEnsemble)
    rows = sum({"features": 2, "gradients": 1}[checks.choice("names", name, NAMES)] for name in names)
    trajectory, ensemble = one_output(trajectory), ensemble and one_output(ensemble)
    depth = trajectory.network.depth
    draw = {"features": _draw_features, "gradients": _draw_gradients}
    with plt.style.context(STYLE):
        if axes is None:
            axes = plt.subplots(rows, depth, figsize=(2.1 * depth + 0.3, 2.0 * rows))[1]
        axes = several_axes(axes, rows * depth, f"{rows} per layer")
        left = list(axes.reshape(rows, depth))
        for name in names:
            draw[name](trajectory, ensemble, left)
    return axes


def _draw_features(trajectory, ensemble, rows):
    """Take two rows of axes, with a column for each layer, and draw feature kernels before and after training."""
    shown, layers = (0, min(trajectory.finished, trajectory.rows) - 1), range(1, trajectory.network.depth + 1)
    order, edges = _by_label(trajectory.data.y, trajectory.predictions[shown[1]])

    def maps(kernel, rows_of):
        return [None if row is None else kernel[row, :, row][np.ix_(order, order)] for row in rows_of]

    theory, networks = [maps(trajectory.feature_kernel(layer), shown) for layer in layers], [[None, None] for _ in layers]
    if ensemble is not None:
        recorded = ensemble.kernel_times.tolist()
        at = [recorded.index(t) if t in recorded else None for t in shown]
        networks = [maps(ensemble.feature_kernel(layer).mean(axis=0), at) for layer in layers]
    scales = colour_scales([[kernel for kernel in (*t, *n) if kernel is not None] for t, n in zip(theory, networks)])
    columns = list(zip(rows.pop(0), rows.pop(0)))
    for layer, column, scale, own, found in zip(layers, columns, scales, theory, networks):
        titles = [rf"$\Phi^{{({layer})}}_{{{trajectory.times[t]}}}(x_i, x_j)$" for t in shown]
        sample_maps(column, own, edges, titles, scale, found)
    for ax, found in zip(columns[0], networks[0]):
        if found is not None:
            name_halves(ax)


def _draw_gradients(trajectory, ensemble, rows):
    """Take a row of axes and draw gradient kernels between all times."""
    layers = range(1, trajectory.network.depth + 1)
    means = [_mean_over_samples(trajectory.gradient_kernel(layer)) for layer in layers]
    networks = [None for _ in layers]
    if ensemble is not None:
        networks = [(ensemble.kernel_times, _mean_over_samples(ensemble.gradient_kernel(layer).mean(axis=0))) for layer in layers]
    scales = colour_scales([[mean] if found is None else [mean, found[1]] for mean, found in zip(means, networks)])
    for layer, ax, mean, scale, found in zip(layers, rows.pop(0), means, scales, networks):
        title = f"$G^{{({layer})}}(t, s)$" + ("" if found is None else ", circles: networks")
        two_time_map(ax, mean, trajectory.times, title, scale, found)


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
