"""Kernel evolution in wide networks that learn features: Bordelon & Pehlevan, arXiv 2205.09653.

Digits 3 and 8 with labels -1 and +1, full-batch gradient descent. Lines are the theory of infinite width, circles finite networks: the
mean over seeds with its standard error.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

import dmft

from .. import plot
from ..curves import selection
from ..plot.heat_maps import colour_bar, colour_scale

_COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")
_ALIGNED = {"features": "feature kernel, last layer", "tangent": "tangent kernel"}
#: Colour, line style and label of each method.
_METHODS = {
    "causal": ("black", "-", "theory"),
    "gradient-independence": ("#D55E00", (0, (4, 1.5)), "gradient independence"),
    "ntk": ("#0072B2", (0, (1, 1)), "tangent kernel at rest"),
    "perturbative": ("#009E73", (0, (5, 1, 1, 1)), r"second order in $\gamma$"),
}


def _digits(samples):
    """Images with mean square one, sorted by label."""
    images = dmft.datasets.binary_digits((3, 8), samples=samples, seed=1, norm=8.0)
    order = np.argsort(images.y, kind="stable")
    return dmft.Dataset(images.x[order], images.y[order])


def _draw_networks(ax, times, values, colour, marker="o"):
    """Means over networks with their standard errors; values (seeds, times)."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    style = dict(color=colour, markerfacecolor="white", markeredgewidth=0.8, elinewidth=0.8, zorder=4)
    ax.errorbar(times, values.mean(axis=0), error, fmt=marker, **style)


def loss_and_kernels(richnesses=(0.3, 1.0, 3.0), depth=3, width=2048, seeds=8, samples=16, steps=40, particles=4096):
    """Loss, alignment, preactivations and kernels of tanh networks from lazy to rich, theory of infinite width and finite networks."""
    data, run = _digits(samples), dmft.GradientDescent(0.15, steps)
    shown = selection(steps + 1, 11)
    with plt.style.context(plot.STYLE):
        figure = plt.figure(figsize=(7.2, 5.0))
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.0, 1.0))
        loss, alignment, density = top.subplots(1, 3)
        for richness, colour in zip(richnesses, _COLOURS):
            net = dmft.MLP(depth, "tanh", richness=richness)
            theory = dmft.solve(net, data, run, samples=particles, preactivation_times=(0, steps), progress=False)
            networks = dmft.simulate(
                net, data, run, width=width, seeds=seeds, track="kernels", kernel_times=shown.tolist(), progress=False
            )
            loss.plot(theory.times, theory.loss, color=colour, label=rf"$\gamma = {richness:g}$")
            _draw_networks(loss, shown, networks.loss[:, shown], colour)
            alignment.plot(theory.times, theory.alignment("features"), color=colour)
            _draw_networks(alignment, shown, networks.alignment("features"), colour)
            _draw_density(density, theory.preactivations[1, -1, -1], colour)
        _draw_density(density, theory.preactivations[0, -1, -1], "0.6")
        _draw_kernels(bottom, theory, networks)
        loss.set(xlabel="gradient step $t$", ylabel="training loss", yscale="log")
        loss.legend(title=f"lines: theory\ncircles: $N = {width}$", title_fontsize=7, alignment="left")
        alignment.set(xlabel="gradient step $t$", ylabel=rf"alignment of $\Phi^{{({depth})}}$ with labels", ylim=(None, 1.02))
        density.set(xlabel=rf"$h^{{({depth})}}$ of one sample, $t = {steps}$", ylabel="density", ylim=(0, None))
        density.plot([], [], color="0.6", label="$t = 0$")
        density.legend(loc="upper left")
    return figure


def _draw_density(ax, values, colour):
    """Histogram of samples as a line."""
    density, edges = np.histogram(values, bins=np.linspace(-4.0, 5.0, 61), density=True)
    ax.plot((edges[1:] + edges[:-1]) / 2, density, color=colour)


def _draw_kernels(figure, theory, networks):
    """Kernels after training: a column for each kernel of each layer, theory above networks."""
    depth, last = theory.network.depth, theory.rows - 1
    axes = figure.subplots(2, 2 * depth)
    for row, (result, t) in enumerate(((theory, last), (networks, -1))):
        for column in range(2 * depth):
            name, layer = ("feature_kernel", column + 1) if column < depth else ("gradient_kernel", column - depth + 1)
            kernel = getattr(result, name)(layer)
            axes[row, column].kernel = kernel[t, :, t] if result is theory else kernel[:, t, :, t].mean(axis=0)
    for column, (first, second) in enumerate(axes.T):
        colours, norm, extend = colour_scale(np.array([first.kernel, second.kernel]))
        for ax in (first, second):
            image = ax.imshow(ax.kernel, cmap=colours, norm=norm)
            ax.spines[:].set_visible(True)
            ax.set(xticks=[], yticks=[])
        symbol = rf"\Phi^{{({column + 1})}}" if column < depth else rf"G^{{({column - depth + 1})}}"
        first.set_title(f"${symbol}$")
        second.set_xlabel("samples")
        bar = figure.colorbar(image, ax=(first, second), orientation="horizontal", aspect=12, extend=extend)
        bar.outline.set_linewidth(0.5)
    axes[0, 0].set_ylabel("theory")
    axes[1, 0].set_ylabel("networks")
    figure.suptitle(rf"kernels at $t = {last}$, $\gamma = {theory.network.richness:g}$, samples sorted by label", fontsize=8)
