"""Deep networks in integrable parameterizations (IP): Hajjar, Chizat and Giraud, arXiv 2110.15596."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

import dmft

from .. import plot
from ..curves import root_mean_square
from ..parameterizations import stable_cut
from ..plot.ticks import log_axis
from ..width_powers import fitted
from .stages import stages, takes

_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_MARKERS = "sovD^P"
_DASHED = (0, (4, 2))
_NAMES = {"mup": "µP", "hybrid-mup": "hybrid µP", "ip-llr": "IP-LLR"}
_OF_NAME = {"mup": "#0072B2", "hybrid-mup": "#009E73", "ip-llr": "#D55E00"}
#: Of digits that ReLU networks tell apart within some tens of steps, more of one than of the other among the first samples.
_CLASSES = (4, 9)
#: By activation: what it is, and a first learning rate that is large, but at which muP does not diverge.
_ACTIVATIONS = {"relu": ("ReLU", 6.0), "tanh": ("tanh", 8.0), "gelu": ("GELU", 0.7)}


@takes(37)
def vanishing(
    depths=(1, 2, 3, 4, 5),
    widths=tuple(2**k for k in range(6, 12)),
    seeds=12,
    steps=40,
    learning_rate=0.5,
    samples=16,
    neurons=2**13,
    progress=True,
):
    """Integrable parameterization with mean-field rates: networks with one or two hidden layers learn, deeper ones stand still.

    Above: predictions at initialization and their change in the first step, geometric means over seeds; dashed lines have the derived
    powers of the width. Below: training losses, mean over seeds with a band of its standard error, and the limits; networks with three
    hidden layers, which are critical, escape at finite width, the later the wider they are.
    """
    data = dmft.datasets.binary_digits(samples=samples)
    first, run = dmft.GradientDescent(learning_rate, 1), dmft.GradientDescent(learning_rate, steps)
    with plt.style.context(plot.STYLE), stages(len(depths) + len(widths), progress) as begin:
        figure, ((start, moved), (losses, escape)) = plt.subplots(2, 2, figsize=(6.6, 5.0))
        for depth, colour, marker in zip(depths, _COLOURS, _MARKERS):
            begin(f"{depth} hidden layers")
            net = dmft.DeepNet(depth, "integrable")
            exponents = net.abc.analyze(net.activation).exponents
            f = np.array([dmft.simulate(net, data, first, width=m, seeds=seeds, rng=m, progress=False).predictions for m in widths])
            for ax, values, key in ((start, f[:, :, 0], ("f", 0)), (moved, f[:, :, 1] - f[:, :, 0], ("change of f", 1))):
                sizes, power = root_mean_square(values), exponents[key[0], depth + 1, key[1]]
                _draw_power(ax, widths, sizes, power, colour, marker, f"$L = {depth}$")
                end = widths[-1], np.exp(np.log(sizes[-1]).mean())
                ax.annotate(f"${power}$", end, (7, 0), textcoords="offset points", va="center", color=colour)
            _draw_training(losses, dmft.simulate(net, data, run, width=widths[-2], seeds=_few(seeds), progress=False).train_loss, colour)
            _draw_limit(losses, dmft.solve(net, data, run, samples=neurons, progress=False), colour)
        for width, colour in zip(widths, plt.get_cmap("viridis")(np.linspace(0.0, 0.9, len(widths)))):
            begin(f"3 hidden layers, width {width}")
            ensemble = dmft.simulate(dmft.DeepNet(3, "integrable"), data, run, width=width, seeds=_few(seeds), rng=width, progress=False)
            _draw_training(escape, ensemble.train_loss, colour, f"$m = {width}$")
        _draw_limit(escape, dmft.solve(dmft.DeepNet(3, "integrable"), data, run, progress=False), "0.3")
        start.set(ylabel=r"$\Vert f_0 \Vert_{\mathrm{rms}}$", title="predictions at initialization")
        moved.set(ylabel=r"$\Vert f_1 - f_0 \Vert_{\mathrm{rms}}$", title="their change in the first step")
        losses.set(title=f"networks of width $m = {widths[-2]}$, limits", ylabel="training loss")
        escape.set(title="$L = 3$: escape, the later the wider", ylabel="training loss")
        for ax in (losses, escape):
            ax.set(xlabel="gradient step $t$", ylim=(0.0, 1.08))
        escape.legend(loc="lower left")
        handles, labels = start.get_legend_handles_labels()
        handles.append(Line2D([], [], color="0.3", linestyle=_DASHED, linewidth=0.9))
        figure.legend(handles, [*labels, "derived power, limit"], loc="outside upper center", ncols=len(handles))
    return figure


def _few(seeds):
    return max(2, seeds // 3)


def _draw_power(ax, widths, sizes, power, colour, marker, label):
    """Geometric means of sizes of shape (widths, seeds) with standard errors, and the closest line with a power."""
    logs, widths = np.log(sizes), np.array(widths, dtype=float)
    mean, error = np.exp(logs.mean(axis=1)), logs.std(axis=1, ddof=1) / np.sqrt(logs.shape[1])
    spread = mean * np.stack((1 - np.exp(-error), np.exp(error) - 1))
    style = dict(color=colour, markerfacecolor="white", markeredgewidth=0.9, elinewidth=0.9, capsize=2.0, capthick=0.9)
    ax.errorbar(widths, mean, spread, fmt=marker, label=label, zorder=2, **style)
    line = widths ** float(power)
    ax.plot(widths, line * np.exp(np.mean(np.log(mean / line))), color=colour, linestyle=_DASHED, linewidth=0.9, zorder=1)
    log_axis(ax)
    ax.set_xlabel("width $m$")
    ax.set_xscale("log", base=2)


def _draw_training(ax, losses, colour, label=None, linewidth=1.1):
    """Mean over seeds of functions of time, with a band of its standard error."""
    mean, error = losses.mean(axis=0), losses.std(axis=0, ddof=1) / np.sqrt(len(losses))
    ax.plot(mean, color=colour, linewidth=linewidth, alpha=0.7, label=label, zorder=2)
    ax.fill_between(range(len(mean)), mean - error, mean + error, color=colour, alpha=0.2, linewidth=0, zorder=1)


def _draw_limit(ax, trajectory, colour, label=None):
    ax.plot(trajectory.train_loss, color=colour, linestyle=_DASHED, linewidth=1.1, label=label, zorder=3)


@takes(104)
def large_first_step(
    depth=4,
    width=1024,
    widths=tuple(2**k for k in range(6, 12)),
    seeds=4,
    steps=80,
    learning_rate=0.2,
    samples=16,
    neurons=2**12,
    progress=True,
):
    """Training with a large first step in IP-LLR, hybrid muP and muP for three activations, and what that step does in IP-LLR.

    Above: training losses at equal learning rates, mean over seeds with a band of its standard error, and the limits as dashed lines; that
    of IP-LLR is hybrid muP for ReLU, and there is none for the others. Below: changes of preactivations and predictions in the first step;
    fitted powers of the width with the derived ones in brackets, which are zero in all layers for ReLU only.
    """
    data = dmft.datasets.binary_digits(_CLASSES, samples=samples)
    with plt.style.context(plot.STYLE), stages(len(_ACTIVATIONS) * (len(_OF_NAME) + 1), progress) as begin:
        figure, rows = plt.subplots(2, len(_ACTIVATIONS), figsize=(7.4, 5.2), sharey="row")
        for (losses, moved), (activation, (title, first)) in zip(rows.T, _ACTIVATIONS.items()):
            run = _schedule(first, learning_rate, steps)
            for name, colour in _OF_NAME.items():
                begin(f"{activation}, {name}")
                net = dmft.DeepNet(depth, name, activation)
                networks = dmft.simulate(net, data, run, width=width, seeds=seeds, progress=False)
                _draw_training(losses, networks.train_loss, colour, linewidth=2.4 if name == "hybrid-mup" else 1.1)
                if name != "ip-llr":
                    _draw_limit(losses, dmft.solve(net, data, run, samples=neurons, progress=False), colour)
            losses.set(title=f"{title}, first rate ${first:g}$, later ${learning_rate:g}$", xlabel="gradient step $t$, root scale")
            log_axis(losses)
            losses.set_xlim(0, steps)
            losses.set_xscale("function", functions=(np.sqrt, np.square))
            losses.set_xticks([tick for tick in (0, 1, 5, 10, 20, 40, 80) if tick <= steps])
            begin(f"{activation}, first step")
            check = dmft.coordinate_check(
                dmft.DeepNet(depth, "ip-llr", activation), data, run, widths=widths, seeds=3 * seeds, steps=(1,), progress=False
            )
            plot.coordinates(check, ax=moved)
            moved.set_title("")
            moved.legend(loc="lower left", title="fitted power (derived)", title_fontsize="small", alignment="left")
        rows[0, 0].set(ylabel="training loss", ylim=(3e-3, 50.0))
        rows[1, 0].set(ylabel="change of $h$ and $f$ in the first step, IP-LLR", ylim=(1e-6, 3.0))
        for ax in rows[1, 1:]:
            ax.set_ylabel("")
        handles = [Line2D([], [], color=colour, alpha=0.7, label=_NAMES[name]) for name, colour in _OF_NAME.items()]
        handles.append(Line2D([], [], color="0.3", linestyle=_DASHED, linewidth=1.1, label="limit"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _schedule(first, later, steps):
    return dmft.GradientDescent(np.array([first, *[later] * (steps - 1)]), steps)


@takes(79)
def convergence(
    depth=3,
    widths=tuple(2**k for k in range(7, 13)),
    seeds=16,
    times=(1, 2, 4),
    learning_rates=(5.0, 0.2),
    samples=16,
    neurons=2**16,
    progress=True,
):
    """Convergence of IP-LLR to hybrid muP of equal initial weights, and of both to their limit, with the width; muP stays apart.

    Geometric means over seeds, independent at each width, of the root mean square over samples. Powers are fitted as in
    `dmft.coordinate_check`, with their standard errors; dashed lines have the power -1/2 of fluctuations, or 0. Coefficients depend on the
    first rate: at 6 that of the difference from hybrid muP at t = 4 is small by coincidence, and its decay looks steeper.
    """
    data, run = dmft.datasets.binary_digits(_CLASSES, samples=samples), _schedule(*learning_rates, times[-1])
    found = {name: [] for name in _NAMES}
    with stages(len(_NAMES) * len(widths) + 1, progress) as begin:
        for name, m in itertools.product(_NAMES, widths):
            begin(f"{name}, width {m}")
            networks = dmft.simulate(dmft.DeepNet(depth, name), data, run, width=m, seeds=seeds, rng=m, progress=False)
            found[name].append(networks.predictions)
        begin("limit")
        limit = dmft.solve(dmft.DeepNet(depth, "hybrid-mup"), data, run, samples=neurons, progress=False).predictions
    predictions = {name: np.array(values) for name, values in found.items()}
    with plt.style.context(plot.STYLE):
        figure, (paired, single) = plt.subplots(1, 2, figsize=(6.8, 3.1), sharey=True)
        for t, colour, marker in zip(times, ("#CC79A7", "#E69F00", "#000000"), "sD^"):
            apart = root_mean_square(predictions["ip-llr"][:, :, t] - predictions["hybrid-mup"][:, :, t])
            _draw_fit(paired, widths, apart, -0.5, colour, marker, f"hybrid µP, $t = {t}$")
        apart = root_mean_square(predictions["ip-llr"][:, :, times[-1]] - predictions["mup"][:, :, times[-1]])
        _draw_fit(paired, widths, apart, 0.0, _OF_NAME["mup"], "o", f"µP, $t = {times[-1]}$")
        for (name, colour), marker in zip(_OF_NAME.items(), "oDv"):
            apart = root_mean_square(predictions[name][:, :, times[-1]] - limit[times[-1]])
            _draw_fit(single, widths, apart, 0.0 if name == "mup" else -0.5, colour, marker, _NAMES[name])
        paired.set(title="IP-LLR and networks of equal Gaussians", ylabel="rms difference of predictions")
        single.set(title=f"networks and the limit of IP-LLR, $t = {times[-1]}$")
        for ax in (paired, single):
            ax.plot([], [], color="0.3", linestyle=_DASHED, linewidth=0.9, label="powers $0$ and $-1/2$")
            ax.legend(loc="lower left")
        paired.set_ylim(bottom=5e-4)
    return figure


def _draw_fit(ax, widths, sizes, power, colour, marker, label):
    """As `_draw_power`, the label with the fitted power and its standard error."""
    fit = fitted(sizes, widths)
    _draw_power(ax, widths, sizes, power, colour, marker, rf"{label}: ${fit.slope:.2f} \pm {fit.error:.2f}$")


@takes(1)
def polytope(depth=3):
    """Two cuts through the polytope of stable parameterizations, with the regime of each point and the named ones."""
    with plt.style.context(plot.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(6.6, 3.2))
        for ax, plane in zip(axes, ("ntk-mup", "standard")):
            plot.stable_polytope(stable_cut(depth, plane, box=(("-1/2", "3/2"), ("-3/4", "5/4"))), ax=ax)
    return figure
