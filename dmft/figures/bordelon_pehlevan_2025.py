"""Deep linear networks at proportional width, data and dimension: Bordelon & Pehlevan, arXiv 2502.02531."""

import math

import matplotlib.pyplot as plt
import numpy as np
import sympy
from matplotlib.colors import BoundaryNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

import dmft

from .. import plot
from ..plot.ticks import log_axis
from .stages import stages, stating, takes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: Richness at which kernels stay at the times that are shown.
_LAZY = 1e-6


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
                    _circles(ax, shown, networks, colour, name)
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


@takes(12)
def residual_networks(depths=(2, 8, 32), dim=200, seeds=16, steps=120, progress=True):
    """Test loss of residual networks of several depths, with branches scaled by depth^-1/2 or not, and its limit of infinite depth."""
    data, run = dmft.GaussianData(sample_ratio=2.0, label_noise=0.2), dmft.GradientDescent(0.008, steps)
    shown = np.unique(np.linspace(0, steps, 12).round().astype(int))
    deviations, gaps = [], []
    with plt.style.context(plot.STYLE), stages(2 * len(depths) + 1, progress) as begin:
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.8))
        for ax, exponent, scale in zip(axes, (0.5, 0.0), (1.0, 0.2)):
            limit = None
            if exponent:
                begin(f"depth^-{exponent:g}, infinite depth")
                limit = dmft.solve(_residual(math.inf, scale, exponent), data, run, progress=False)
                ax.plot(limit.times, limit.test_loss, color="black", linestyle="--", label=r"$L = \infty$", zorder=3)
            for depth, colour in zip(depths, _COLOURS):
                begin(f"depth^-{exponent:g}, {depth} blocks")
                net = _residual(depth, scale, exponent)
                theory = dmft.solve(net, data, run, progress=False)
                networks = dmft.simulate(net, data, run, dim=dim, seeds=seeds, progress=False)
                ax.plot(theory.times, theory.test_loss, color=colour, label=f"$L = {depth}$")
                _circles(ax, shown, networks, colour)
                deviations.append(dmft.compare(theory, networks).max_abs_z)
                if limit is not None:
                    gaps.append(np.max(np.abs(theory.test_loss / limit.test_loss - 1)))
            log_axis(ax)
            ax.set(xlabel="gradient step $t$", title=r"$\beta = L^{-1/2}$" if exponent else rf"$\beta = {scale:g}$")
        axes[0].set_ylabel("test loss")
        axes[0].legend(title=f"circles: {seeds} networks, $D = {dim}$", title_fontsize=7)
    distances = ", ".join(f"{gap:.1%} at L = {depth}" for depth, gap in zip(depths, gaps))
    return stating(
        figure,
        f"theory and networks differ by at most {max(deviations):.1f} standard errors; the distance to infinite depth is {distances}",
    )


def _power_law(dim, source, samples=math.inf, single=16, capacity=1.5):
    """Inputs with the eigenvalues k^-a and a target with w_k^2 = k^(a - a b - 1), k = 1 ... `dim`, P absolute.

    In the scale of `StructuredData`, which is that of dimension 1 with the eigenvalues times `dim`: see `_absolute`. The first `single`
    modes one by one, the others by Gauss-Legendre quadrature in ln k (docs/theory/deep_linear.md, section 6).
    """
    modes = np.arange(1.0, min(dim, single) + 1)
    counts = np.ones_like(modes)
    if dim > single:
        nodes, weights = np.polynomial.legendre.leggauss(4)
        edges = np.linspace(np.log(single + 0.5), np.log(dim + 0.5), 2 + int(1.5 * np.log10(dim / single)))
        half = np.diff(edges)[:, None] / 2
        others = np.exp(edges[:-1, None] + half * (1 + nodes))
        modes, counts = np.append(modes, others), np.append(counts, half * weights * others)
    target = modes ** (capacity - capacity * source - 1)
    return dmft.StructuredData(dim * modes**-capacity, target, counts / np.sum(counts), sample_ratio=samples / dim)


def _absolute(depth, width, richness, dim):
    """The network on `_power_law` data: its richness is in units of dim^1/2, its learning rate in units of 1 / dim."""
    return dmft.DeepLinear(depth=depth, width_ratio=width / dim, richness=richness * math.sqrt(dim))


def _residual(depth, scale, exponent):
    return dmft.DeepLinearResNet(depth=depth, width_ratio=1.0, branch_scale=scale, depth_exponent=exponent)


def _circles(ax, shown, networks, colour, name="test_loss", unit=1):
    """Mean losses of networks at the times that are shown, with their standard errors; time is drawn in this unit."""
    mean, error = networks.mean(name)[shown], networks.standard_error(name)[shown]
    style = {"fmt": "o", "color": colour, "markerfacecolor": "white", "markeredgewidth": 0.8, "elinewidth": 0.8}
    ax.errorbar(networks.times[shown] * unit, mean, error, **style)


@takes(2)
def depth_transfer(depths=(2, 4, 8, 16, 32), steps=20, points=48, progress=True):
    """Test loss of residual networks against the learning rate, for many depths, with branches scaled by depth^-1/2 and not."""
    run = dmft.OnlineSGD(0.05, steps, batch_ratio=2.0)
    scalings = ((0.5, 1.0, r"branches scaled by $L^{-1/2}$"), (0.0, 0.3, "branches not scaled"))

    def problem(scaling, depth):
        exponent, scale, _ = scaling
        return dmft.Problem(_residual(depth, scale, exponent), dmft.GaussianData(), run)

    figure, drifts = _rate_scans(scalings, depths, "$L = {:g}$", problem, np.geomspace(0.002, 0.4, points), progress)
    return stating(figure, _moved("depth", depths, drifts, "with branches scaled by depth^-1/2", "without scaling"))


@takes(27)
def power_law(widths=(16, 64, 256), samples=(50, 200, 800), dim=1000, seeds=24, time=100.0, window=(1.0, 10.0), progress=True):
    """Test loss under gradient flow on power-law data for several widths and numbers of samples: theory and finite networks."""
    panels = (
        ("N", [(width, math.inf) for width in widths], "all data, width $N$"),
        ("P", [(widths[-1], count) for count in samples], f"$P$ samples, width {widths[-1]}"),
    )
    source, (start, end) = 0.7, window
    run = dmft.GradientFlow(time=time / dim, first_time=time / 1000 / dim)
    losses, exponents = [], []
    with plt.style.context(plot.STYLE), stages(len(widths) + len(samples), progress) as begin:
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.8), sharey=True)
        for ax, (name, cases, title) in zip(axes, panels):
            for (width, count), colour in zip(cases, _COLOURS):
                label = f"{name} = {width if name == 'N' else count}"
                begin(label)
                net = _absolute(1, width, 1.0, dim)
                theory = dmft.solve(net, _power_law(dim, source, count), run, progress=False)
                networks = dmft.simulate(net, _power_law(dim, source, count, dim), run, dim=dim, seeds=seeds, progress=False)
                shown = slice(1, None)
                ax.plot(theory.times[shown] * dim, theory.test_loss[shown], color=colour, label=f"${label}$")
                _circles(ax, shown, networks, colour, unit=dim)
                losses.append(np.max(np.abs(networks.mean() - theory.test_loss) / networks.standard_error()))
                predicted, found = (dmft.fit_exponent(result, (start / dim, end / dim)) for result in (theory, networks))
                exponents.append(f"{found.value:.3f}({found.seed_error:.3f}) for {predicted.value:.3f} at {label}")
            log_axis(ax), log_axis(ax, "x")
            ax.set(xlabel="time $t$", title=title)
            ax.legend(loc="lower left", title=f"circles: {seeds} networks", title_fontsize=7)
        axes[0].set_ylabel("test loss")
    return stating(
        figure,
        f"theory and networks differ by at most {max(losses):.1f} standard errors; exponents of networks, for those of the theory, "
        f"t from {start:g} to {end:g}: {', '.join(exponents)}",
    )


@takes(13)
def power_law_transfer(widths=(16, 64, 256, 1024, 8192), steps=100, points=32, progress=True):
    """Test loss on power-law data after one-pass SGD against the learning rate, for many widths, in muP and in NTK parameterization."""
    dim = 10**5
    data, run = _power_law(dim, 0.7), dmft.OnlineSGD(0.3 / dim, steps, batch_ratio=100 / dim)
    scalings = ((0.0, r"$\mu$P, $\gamma = 1$"), (-0.5, rf"NTK, $\gamma = (N / {widths[0]})^{{-1/2}}$"))

    def problem(scaling, width):
        return dmft.Problem(_absolute(2, width, (width / widths[0]) ** scaling[0], dim), data, run)

    figure, drifts = _rate_scans(scalings, widths, "$N = {:g}$", problem, np.geomspace(0.1, 1.6, points), progress, unit=1 / dim)
    return stating(figure, _moved("width", widths, drifts, "in muP", "in NTK parameterization"))


def _moved(name, sizes, drifts, *scalings):
    """The drifts of `_rate_scans` in words."""
    (one, late), (other, other_late) = drifts
    return (
        f"from {name} {sizes[0]} to {sizes[-1]} the best learning rate moves by {one:+.2f} octaves {scalings[0]}, by {other:+.2f} "
        f"{scalings[1]}; of this {late:+.2f} and {other_late:+.2f} from {sizes[len(sizes) // 2]} on"
    )


def _rate_scans(scalings, sizes, label, problem, rates, progress, unit=1.0):
    """Final losses against the learning rate, a panel for each scaling.

    Returns the figure, and of each scaling the drift of the best rate in octaves: in all, and from the middle size on.

    `problem` makes the problem of a scaling and a size; the last entry of a scaling is its title; rates are in a `unit`.
    """
    drifts = []
    with plt.style.context(plot.STYLE), stages(len(scalings) * len(sizes), progress) as begin:
        figure, axes = plt.subplots(1, len(scalings), figsize=(6.4, 2.8), sharex=True, sharey=True)
        colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.9, len(sizes)))
        for ax, scaling in zip(axes, scalings):
            best = []
            for size, colour in zip(sizes, colours):
                begin(f"{scaling[-1]}, {label.format(size)}".replace("$", ""))
                stated = problem(scaling, size)
                losses = [_loss_at(stated, rate * unit) for rate in rates]
                ax.plot(rates, losses, color=colour, label=label.format(size))
                least = np.nanargmin(losses)
                best.append(rates[least])
                ax.plot(rates[least], losses[least], "o", color=colour)
            drifts.append(np.log2(best[-1] / np.array((best[0], best[len(sizes) // 2]))))
            log_axis(ax), log_axis(ax, "x")
            ax.set(xlabel=r"learning rate $\eta$", title=scaling[-1])
        axes[0].set_ylabel(f"test loss after {stated.training.steps} steps")
        axes[-1].legend()
    return figure, drifts


def _loss_at(problem, rate):
    stated = problem.replaced({"training.learning_rate": float(rate)})
    return _final_loss(stated.network, stated.data, stated.training)


@takes(135)
def scaling_exponents(
    depths=(1, 2, 3), sources=(0.3, 0.5, 0.7, 1.3), shown=0.5, richness=10.0, window=(1e4, 1e8), dim=1e24, progress=True
):
    """How fast the loss falls on power-law data, lazy and rich, at three depths: local exponents, fits, and what is derived."""
    depth_colours, (start, end) = dict(zip(depths, _COLOURS)), window
    run = dmft.GradientFlow(time=end / dim, first_time=0.05 / max(1, richness) / dim)
    derived_rows, literature = [], []
    with plt.style.context(plot.STYLE), stages(len(sources) * len(depths), progress) as begin:
        figure, (losses, local, fits) = plt.subplots(1, 3, figsize=(7.4, 2.8))
        for source in sources:
            data = _power_law(dim, source)
            for depth, colour in depth_colours.items():
                begin(f"b = {source:g}, L = {depth}")
                derived = dmft.scaling_exponents(depth, source)
                for gamma, exponent, look in (
                    (_LAZY, derived.lazy, {"color": "0.6", "marker": "s", "zorder": 1}),
                    (richness, derived.rich, {"color": colour, "marker": "o"}),
                ):
                    flow = dmft.solve(_absolute(depth, math.inf, gamma, dim), data, run, progress=False)
                    fit, exponent = dmft.fit_exponent(flow, (start / dim, end / dim)), float(exponent)
                    fits.errorbar(source, fit.value, fit.error, markerfacecolor="white", **look)
                    derived_rows.append(abs(fit.value - exponent) / fit.error)
                    if gamma != _LAZY and depth > 1 and source < 1:
                        literature.append(abs(fit.value - float(derived.growing(2))) / fit.error)
                    if source == shown:
                        line = {"color": look["color"], "zorder": look.get("zorder", 2)}
                        losses.plot(flow.times[1:] * dim, flow.test_loss[1:], **line)
                        whole = dmft.fit_exponent(flow, (10 / dim, end / dim))
                        local.plot(whole.times * dim, whole.local, **line)
                        local.axhline(exponent, linestyle="--", linewidth=0.8, **line)
        grid = np.linspace(0.6 * min(sources), 1.1 * max(sources), 200)
        for depth, colour in depth_colours.items():
            fits.plot(grid, _over_sources(dmft.scaling_exponents(depth).rich, grid), "--", color=colour, linewidth=0.8)
        fits.plot(grid, grid, "--", color="0.6", linewidth=0.8, zorder=1)
        fits.plot(grid, _over_sources(dmft.scaling_exponents(1).rich, grid), ":", color="black")
        local.axhline(float(dmft.scaling_exponents(1, shown).growing(2)), color="black", linestyle=":")
        for ax in (losses, local):
            log_axis(ax, "x")
            ax.set(xlabel="time $t$", xlim=(1, end))
        log_axis(losses)
        losses.set(ylabel="test loss", title=f"$b = {shown:g}$")
        local.set(ylabel=r"$-d \ln \mathrm{loss} \, / \, d \ln t$", title=f"$b = {shown:g}$")
        fits.set(xlabel="source exponent $b$", ylabel="exponent of the loss", title=rf"$t$ from {_power(start)} to {_power(end)}")
        lines = [Line2D([], [], color="0.6", label="lazy")]
        lines += [Line2D([], [], color=colour, label=f"rich, $L = {depth}$") for depth, colour in depth_colours.items()]
        losses.legend(handles=lines, loc="lower left")
        dashed = Line2D([], [], color="0.3", linestyle="--", linewidth=0.8, label=r"derived: $b$, $\frac{(L + 1) b}{1 + L b}$")
        fits.legend(handles=[dashed, Line2D([], [], color="black", linestyle=":", label=r"$2 b / (1 + b)$")], loc="lower right")
    return stating(
        figure,
        f"{sum(z <= 1 for z in derived_rows)} of {len(derived_rows)} fitted exponents are within their error of the derived b and "
        f"(L+1)b/(1+Lb), the farthest {max(derived_rows):.1f} errors away; 2b/(1+b) misses rich losses at L > 1, b < 1 by "
        f"{min(literature):.1f} to {max(literature):.0f} errors",
    )


def _over_sources(exponent, sources):
    """Values of a sympy expression in the source exponent."""
    return sympy.lambdify(list(exponent.free_symbols), exponent)(sources)


def _power(value):
    return f"$10^{{{np.log10(value):g}}}$"
