"""Deep linear networks at proportional width, data and dimension: Bordelon & Pehlevan, arXiv 2502.02531."""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

import dmft

from .. import plot
from ..plot.ticks import log_axis
from .stages import stages, takes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


@takes(4)
def loss_curves(dim=300, seeds=24, steps=80, progress=True):
    """Test and train loss against time for several widths, theory as lines and finite networks as circles."""
    data = dmft.GaussianData(sample_ratio=1.5, label_noise=0.3)
    run = dmft.GradientDescent(learning_rate=0.06, steps=steps)
    shown = np.unique(np.linspace(0, steps, 14).round().astype(int))
    with plt.style.context(plot.STYLE), stages(len(_COLOURS), progress) as begin:
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.8), sharey=True)
        for ratio, colour in zip((0.5, 1.0, 4.0, math.inf), _COLOURS):
            begin(f"width ratio {ratio:g}")
            net = dmft.DeepLinear(depth=2, width_ratio=ratio)
            theory = dmft.solve(net, data, run, progress=False)
            label = r"$\nu = \infty$" if math.isinf(ratio) else rf"$\nu = {ratio:g}$"
            networks = None if math.isinf(ratio) else dmft.simulate(net, data, run, dim=dim, seeds=seeds, progress=False)
            for ax, name in zip(axes, ("test_loss", "train_loss")):
                ax.plot(theory.times, getattr(theory, name), color=colour, label=label)
                if networks is not None:
                    mean, error = networks.mean(name)[shown], networks.standard_error(name)[shown]
                    ax.errorbar(shown, mean, error, fmt="o", color=colour, markerfacecolor="white", markeredgewidth=0.8, elinewidth=0.8)
        for ax, name in zip(axes, ("test loss", "train loss")):
            ax.set(xlabel="gradient step $t$", ylabel=name)
            log_axis(ax)
        axes[1].tick_params(labelleft=True)
        axes[0].legend(title="lines: theory\n" rf"circles: {seeds} networks, $D = {dim}$", title_fontsize=7)
    return figure


@takes(4)
def kernels(steps=120, progress=True):
    """Two-time correlations of forward and backward fields in a lazy and in a rich network."""
    data = dmft.GaussianData(sample_ratio=2.0, label_noise=0.2)
    with plt.style.context(plot.STYLE), stages(2, progress) as begin:
        figure = plt.figure(figsize=(7.2, 3.8))
        for row, (richness, rate) in zip(figure.subfigures(2, 1), ((0.3, 0.06), (2.0, 0.03))):
            begin(f"richness {richness:g}")
            net = dmft.DeepLinear(depth=2, width_ratio=10.0, richness=richness)
            trajectory = dmft.solve(net, data, dmft.GradientDescent(rate, steps), progress=False)
            row.suptitle(rf"$\gamma = {richness:g}$, $\eta = {rate:g}$", fontsize=8)
            plot.kernels(trajectory, axes=row.subplots(1, 4))
    return figure


@takes(1)
def learning_rate_transfer(steps=20, points=40, progress=True):
    """Test loss after a few steps of one-pass SGD against the learning rate, for many widths, in muP and in NTK parameterization."""
    data = dmft.GaussianData()
    rates = np.geomspace(0.02, 0.4, points)
    ratios = (0.5, 1.0, 2.0, 4.0, 16.0, 64.0)
    with plt.style.context(plot.STYLE), stages(2, progress) as begin:
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.8), sharey=True)
        colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.9, len(ratios)))
        for ax, parameterization in zip(axes, ("mup", "ntk")):
            begin(parameterization)
            for ratio, colour in zip(ratios, colours):
                net = dmft.DeepLinear(depth=3, width_ratio=ratio, parameterization=parameterization)
                losses = np.array([_final_loss(net, data, dmft.OnlineSGD(rate, steps, batch_ratio=2.0)) for rate in rates])
                ax.plot(rates, losses, color=colour, label=rf"$\nu = {ratio:g}$")
                best = np.nanargmin(losses)
                ax.plot(rates[best], losses[best], "o", color=colour)
            title = {"mup": r"$\mu$P, $\gamma = 1$", "ntk": r"NTK, $\gamma = \nu^{-1/2}$"}[parameterization]
            log_axis(ax)
            ax.set(xscale="log", xlabel=r"learning rate $\eta$", title=title)
            ax.set_xticks((0.02, 0.05, 0.1, 0.2, 0.4), ("0.02", "0.05", "0.1", "0.2", "0.4"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        axes[0].set_ylabel(f"test loss after {steps} steps")
        axes[1].legend(ncols=2)
    return figure


def _final_loss(net, data, run):
    """Test loss after training; NaN where it diverges or ends above its start."""
    losses = dmft.solve(net, data, run, progress=False).test_loss
    return losses[-1] if losses[-1] < losses[0] else np.nan


@takes(22)
def fixed_point_convergence(
    steps=100, fractions=np.linspace(0.1, 0.9, 9), depths=(1, 2, 3, 5), richnesses=(0.3, 1.0, 3.0), progress=True
):
    """Where the fixed-point iteration over the whole horizon converges and where it fails, while windows in time always converge."""
    data = dmft.GaussianData(sample_ratio=2.0, label_noise=0.3)
    with plt.style.context(plot.STYLE), stages(len(richnesses) * len(depths), progress) as begin:
        figure, axes = plt.subplots(1, len(richnesses), figsize=(6.4, 2.7), sharey=True, squeeze=False)
        axes = axes[0]
        norm, colours = BoundaryNorm(np.arange(5, 41, 5), 256, extend="max"), plt.get_cmap("viridis_r").with_extremes(bad="white")
        for ax, richness in zip(axes, richnesses):
            sweeps = np.full((len(fractions), len(depths)), np.nan)
            for column, depth in enumerate(depths):
                begin(f"richness {richness:g}, depth {depth}")
                net = dmft.DeepLinear(depth=depth, richness=richness)
                largest = _largest_stable_rate(net, data, steps)
                for row, fraction in enumerate(fractions):
                    run = dmft.GradientDescent(fraction * largest, steps)
                    sweeps[row, column] = _sweeps(net, data, run)
            image = ax.imshow(sweeps, cmap=colours, norm=norm, aspect="auto")
            for row, column in np.argwhere(np.isnan(sweeps)):
                ax.plot(column, row, "x", color="#D55E00")
            ax.set(xlabel="hidden layers $L$", title=rf"$\gamma = {richness:g}$")
            ax.set_xticks(range(len(depths)), depths)
            ax.set_yticks(range(len(fractions)), [f"{f:g}" for f in fractions])
        axes[0].set_ylabel(r"$\eta$ / largest stable $\eta$")
        figure.colorbar(image, ax=axes, label="sweeps over the whole horizon")
        overflow = Line2D([], [], marker="x", color="#D55E00", linestyle="", label="fails (windows in time converge)")
        figure.legend(handles=[overflow], loc="outside upper center")
    return figure


def _largest_stable_rate(net, data, steps, bisections=7):
    low, high = 0.0, 2.0
    for _ in range(bisections):
        middle = (low + high) / 2
        stable = not np.isnan(_final_loss(net, data, dmft.GradientDescent(middle, steps)))
        low, high = (middle, high) if stable else (low, middle)
    return low


def _sweeps(net, data, run):
    """Sweeps of the fixed point over the whole horizon; NaN where it fails. In windows it must not fail."""
    dmft.solve(net, data, run, method="fixed-point", progress=False)
    try:
        single = dmft.solve(net, data, run, method="fixed-point", window=run.steps + 1, progress=False)
    except dmft.SolverError:
        return np.nan
    return len(single.report["residuals"][0][2])
