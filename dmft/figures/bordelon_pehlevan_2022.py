"""Kernel evolution in wide networks that learn features: Bordelon & Pehlevan, arXiv 2205.09653.

Digits 3 and 8 with labels -1 and +1, full-batch gradient descent. Lines are the theory of infinite width, circles finite networks: the
mean over seeds with its standard error.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import dmft

from .. import plot
from ..curves import selection
from ..plot.heat_maps import colour_scales
from ..plot.ticks import log_axis
from .stages import stages, takes

_COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")
_BINS = np.linspace(-3.5, 3.5, 57)
#: Circles of networks, which are to be seen on the lines of their theory.
_CIRCLES = dict(marker="o", linestyle="", markerfacecolor="white", markeredgewidth=0.8)
_ALIGNED = {"features": ("#D55E00", "features, last layer"), "tangent": ("#0072B2", "tangent kernel")}
#: Colour, line style and label of each method.
_METHODS = {
    "causal": ("black", "-", "theory"),
    "gradient-independence": ("#D55E00", (0, (4, 1.5)), "gradient independence"),
    "ntk": ("#0072B2", (0, (1, 1)), "lazy"),
    "perturbative": ("#009E73", (0, (5, 1, 1, 1)), r"second order in $\gamma$"),
}


def _digits(samples):
    """Images with mean square one, sorted by label."""
    images = dmft.datasets.binary_digits((3, 8), samples=samples, seed=1, norm=8.0)
    order = np.argsort(images.y, kind="stable")
    return dmft.Dataset(images.x[order], images.y[order])


def _draw_networks(ax, times, values, colour):
    """Means over networks with their standard errors; values (seeds, times)."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    ax.errorbar(times, values.mean(axis=0), error, color=colour, elinewidth=0.8, zorder=4, **_CIRCLES)


def _alignments(networks, kernel):
    """Alignment of the networks' mean kernel as jackknife pseudo-values (seeds, times); noise of single kernels would lower theirs."""
    n = networks.seeds

    def of(average):
        return replace(networks, **{name: average(array) for name, array in networks.arrays().items()}).alignment(kernel)

    whole, others = of(lambda k: k.mean(axis=0, keepdims=True)), of(lambda k: (k.sum(axis=0) - k) / (n - 1))
    return n * whole - (n - 1) * others


@takes(130)
def loss_and_kernels(
    richnesses=(0.3, 1.0, 3.0), depth=3, width=2048, seeds=8, samples=16, steps=40, particles=4096, progress=True
):
    """Loss, alignment, preactivations and kernels of tanh networks from lazy to rich: theory of infinite width and finite networks."""
    data, run = _digits(samples), dmft.GradientDescent(0.15, steps)
    shown = selection(steps + 1, 11)
    with plt.style.context(plot.STYLE), stages(2 * len(richnesses), progress) as begin:
        figure = plt.figure(figsize=(7.2, 4.6))
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.0, 1.05))
        loss, alignment, density = top.subplots(1, 3)
        for richness, colour in zip(richnesses, _COLOURS):
            begin(f"richness {richness:g}, theory")
            net = dmft.MLP(depth, "tanh", richness=richness)
            theory = dmft.solve(net, data, run, samples=particles, preactivation_times=(0, steps), progress=False)
            begin(f"richness {richness:g}, networks")
            options = dict(width=width, track="kernels", kernel_times=shown.tolist())
            networks = dmft.simulate(net, data, run, seeds=seeds, progress=False, **options)
            loss.plot(theory.times, theory.train_loss, color=colour, label=rf"$\gamma = {richness:g}$")
            _draw_networks(loss, shown, networks.train_loss[:, shown], colour)
            alignment.plot(theory.times, theory.alignment("features"), color=colour)
            _draw_networks(alignment, shown, _alignments(networks, "features"), colour)
            density.plot(*_density(theory.preactivations[1, -1, -1]), color=colour)
            found = _density(_last_preactivations(net, data, run, width, max(2, seeds // 2)), _BINS[::2])
            density.plot(*found, color=colour, **_CIRCLES)
        density.plot(*_density(theory.preactivations[0, -1, -1]), color="0.5", linestyle=(0, (3, 1.5)), label="$t = 0$", zorder=1)
        _draw_kernels(bottom, theory, networks)
        loss.set(xlabel="gradient step $t$", ylabel="training loss")
        log_axis(loss)
        loss.legend(title=f"lines: theory\ncircles: {seeds} networks\nof width {width}", title_fontsize=7, alignment="left")
        alignment.set(xlabel="gradient step $t$", ylabel=rf"alignment of $\Phi^{{({depth})}}$", ylim=(None, 1.02))
        density.set(xlabel=rf"$h^{{({depth})}}$ of one sample, $t = {steps}$", ylabel="density", ylim=(0, None))
        density.legend(loc="upper left")
    return figure


def _density(values, bins=_BINS):
    """Histogram as coordinates of its centres."""
    return (bins[1:] + bins[:-1]) / 2, np.histogram(values, bins=bins, density=True)[0]


def _last_preactivations(net, data, run, width, seeds):
    """h^L of the last sample after training, in the neurons of all tanh networks; they are those of `dmft.simulate`."""
    from solvers import finite_mlp

    from ..theories.mlp import problem

    stated, found = problem(net, data, run, "mse"), []
    for seed in range(seeds):
        stream = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(seed,)))
        weights = finite_mlp.initial_weights(data.x.shape[1], width, net.depth, 1, stream)
        *_, (_, features, _) = finite_mlp.march(stated, data.x, weights)
        found.append(np.arctanh(features[-1][-1] * np.sqrt(width)))
    return np.concatenate(found)


def _draw_kernels(figure, theory, networks):
    """Kernels after training: a column for each kernel of each layer, theory above networks."""
    depth, last = theory.network.depth, theory.rows - 1
    parts = figure.subfigures(1, 2)
    for part, kind, symbol in zip(parts, ("feature_kernel", "gradient_kernel"), (r"\Phi", "G")):
        axes = part.subplots(2, depth, squeeze=False)
        kernels = [[getattr(result, kind)(layer) for layer in range(1, depth + 1)] for result in (theory, networks)]
        rows = [[kernel[last, :, last] for kernel in kernels[0]], [kernel[:, -1, :, -1].mean(axis=0) for kernel in kernels[1]]]
        (scale,) = colour_scales([[np.array(rows)]])
        for line, kernels_of_row in zip(axes, rows):
            for ax, kernel in zip(line, kernels_of_row):
                image = ax.imshow(scale.shown(kernel), cmap=scale.colours, norm=scale.norm)
                ax.spines[:].set_visible(True)
                ax.set(xticks=[], yticks=[])
        for layer, (first, second) in enumerate(axes.T, start=1):
            first.set_title(f"${symbol}^{{({layer})}}(t, t)$")
            second.set_xlabel("samples")
        axes[0, 0].set_ylabel("theory")
        axes[1, 0].set_ylabel("networks")
        part.colorbar(image, ax=axes, shrink=0.8, aspect=16, pad=0.02, extend=scale.extend).outline.set_linewidth(0.5)
    figure.suptitle(rf"kernels between samples sorted by label, $\gamma = {theory.network.richness:g}$, $t = {last}$", fontsize=8)


@takes(94)
def richness(
    richnesses=(0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2),
    between=1,
    depth=3,
    width=2048,
    seeds=6,
    samples=12,
    steps=24,
    particles=2048,
    progress=True,
):
    """Loss and alignment of kernels after training of tanh networks against the richness: theory of infinite width and finite networks.

    The theory is solved at `between` further values in each interval.
    """
    data, run = _digits(samples), dmft.GradientDescent(0.15, steps)
    lazy = dmft.solve(dmft.MLP(depth, "tanh"), data, run, method="ntk", progress=False)
    places = np.linspace(0, len(richnesses) - 1, (len(richnesses) - 1) * (between + 1) + 1)
    grid = np.exp(np.interp(places, range(len(richnesses)), np.log(richnesses)))
    with plt.style.context(plot.STYLE), stages(len(grid) + len(richnesses), progress) as begin:
        figure, (loss, alignment) = plt.subplots(1, 2, figsize=(6.0, 2.6))
        theories, ensembles = [], []
        for value in grid:
            begin(f"richness {value:.2g}, theory")
            theories.append(dmft.solve(dmft.MLP(depth, "tanh", richness=value), data, run, samples=particles, progress=False))
        options = dict(width=width, seeds=seeds, track="kernels", kernel_times=[steps], progress=False)
        for value in richnesses:
            begin(f"richness {value:.2g}, networks")
            ensembles.append(dmft.simulate(dmft.MLP(depth, "tanh", richness=value), data, run, **options))
        loss.axhline(lazy.train_loss[-1], color="0.6", linewidth=0.8, linestyle="--", label=r"lazy limit $\gamma \to 0$")
        loss.plot(grid, [theory.train_loss[-1] for theory in theories], color="black", label="theory")
        _draw_networks(loss, richnesses, np.array([e.train_loss[:, -1] for e in ensembles]).T, "black")
        loss.plot([], [], color="black", label=f"{seeds} networks, $N = {width}$", **_CIRCLES)
        for name, (colour, label) in _ALIGNED.items():
            alignment.axhline(lazy.alignment(name)[-1], color=colour, linewidth=0.8, linestyle="--", alpha=0.6)
            alignment.plot(grid, [theory.alignment(name)[-1] for theory in theories], color=colour, label=label)
            _draw_networks(alignment, richnesses, np.array([_alignments(e, name)[:, 0] for e in ensembles]).T, colour)
        loss.set(ylabel=f"training loss at $t = {steps}$")
        log_axis(loss)
        alignment.set(ylabel=f"alignment with the labels at $t = {steps}$", ylim=(None, 1.02))
        for ax in (loss, alignment):
            log_axis(ax, "x")
            ax.set_xlabel(r"richness $\gamma$")
            ax.legend()
    return figure


@takes(96)
def approximations(
    cases=(("tanh", 1.0, 0.15), ("linear", 0.8, 0.04)),
    depth=3,
    width=2048,
    seeds=16,
    samples=16,
    steps=40,
    particles=4096,
    progress=True,
):
    """Approximations of kernel evolution against the full theory and finite networks: loss, alignment, gradient kernel.

    The predictions of the expansion in the richness are the lazy ones.
    """
    data, shown = _digits(samples), selection(steps + 1, 11)
    with plt.style.context(plot.STYLE), stages(len(cases) * (len(_METHODS) + 1), progress) as begin:
        figure, axes = plt.subplots(len(cases), 3, figsize=(7.2, 2.1 * len(cases) + 0.3), sharex=True, squeeze=False)
        for (activation, value, rate), (loss, alignment, gradient) in zip(cases, axes):
            problem = dmft.MLP(depth, activation, richness=value), data, dmft.GradientDescent(rate, steps)
            for method, (colour, line, label) in _METHODS.items():
                begin(f"{activation}, {method}")
                if method == "perturbative" and activation != "linear":
                    continue
                sampled = method in ("causal", "gradient-independence") and (activation, method) != ("linear", "causal")
                theory = dmft.solve(*problem, method, progress=False, **({"samples": particles} if sampled else {}))
                style = dict(color=colour, linestyle=line, label=label, zorder=3 if method == "causal" else 2)
                loss.plot(theory.times, theory.train_loss, **style)
                alignment.plot(theory.times, theory.alignment("features"), **style)
                gradient.plot(theory.times, [_mean_diagonal(gram) for gram in theory.gradient_grams[:, 0]], **style)
            begin(f"{activation}, networks")
            networks = dmft.simulate(*problem, width=width, seeds=seeds, track="kernels", kernel_times=shown.tolist(), progress=False)
            kernels = np.moveaxis(networks.gradient_kernel(1)[:, range(len(shown)), :, range(len(shown))], 0, 1)
            _draw_networks(loss, shown, networks.train_loss[:, shown], "black")
            _draw_networks(alignment, shown, _alignments(networks, "features"), "black")
            _draw_networks(gradient, shown, np.array([[_mean_diagonal(gram) for gram in network] for network in kernels]), "black")
            loss.set(ylabel=f"{activation}, $\\gamma = {value:g}$\ntraining loss")
            log_axis(loss)
            alignment.set(ylabel=rf"alignment of $\Phi^{{({depth})}}$")
            gradient.set(ylabel="mean of $G^{(1)}(t, t)$")
        for ax in axes[-1]:
            ax.set_xlabel("gradient step $t$")
        handles, _ = axes[-1, 0].get_legend_handles_labels()
        networks = axes[0, 0].plot([], [], color="black", label=f"{seeds} networks, $N = {width}$", **_CIRCLES)
        figure.legend(handles=[*handles, *networks], loc="outside upper center", ncols=len(handles) + 1)
    return figure


def _mean_diagonal(matrix):
    return np.trace(matrix) / len(matrix)
