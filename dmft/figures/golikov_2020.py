"""Networks with one hidden layer at large width: Golikov, arXiv 2006.06574."""

import re
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

import dmft

from .. import plot
from ..curves import root_mean_square
from ..plot.ticks import log_axis
from ..shallow_scaling import exponent
from .stages import stages, takes

_THEORY = dict(color="#D55E00", linestyle=(0, (3, 1.5)), linewidth=1.1)
_NAMED = {
    "MF": ("mean field (MF)", dmft.ShallowNet.mean_field),
    "IC-MF": ("initialization-corrected (IC-MF)", dmft.ShallowNet.initialization_corrected),
    "NTK": ("tangent kernel (NTK)", dmft.ShallowNet.ntk),
    "sym-default": ("sym-default", dmft.ShallowNet.sym_default),
}
#: By activation: what it is, and the exponent of the relative change of its tangent kernel among those of a class.
_CHANGE = {
    "gelu": ("GELU (smooth)", "relative kernel change"),
    "leaky_relu": ("leaky ReLU (a kink)", "relative kernel change, phi with a kink"),
}
_PLAIN = re.compile(r"[$\\]")
_RELATIVE_CHANGE = r"$\Vert K_t - K_0 \Vert\, /\, \Vert K_0 \Vert$"
_STYLES = (("#000000", "s"), ("#CC79A7", "^"), ("#0072B2", "o"), ("#56B4E9", "o"), ("#009E73", "o"), ("#E69F00", "o"), ("#D55E00", "o"))


@takes(1)
def phase_diagram(loss="logistic"):
    """The stable infinite-width limits of networks with one hidden layer in the plane of scaling exponents."""
    return dmft.plot.phase_diagram(dmft.limits.shallow(loss)).figure


@takes(360)
def training_curves(
    widths=(2**7, 2**10, 2**13, 2**16), seeds=8, steps=50, learning_rate=2.5, samples=64, test_samples=128, particles=2**14, progress=True
):
    """Test loss, size of the logits and change of the tangent kernel in training, for the named scalings at growing width and in the limit.

    Networks: mean over seeds with its standard error. Theory: the limit, for sym-default, whose logits diverge, the equations at the
    largest width; mean over the initial functions of the widest networks.
    """
    data = dmft.datasets.binary_digits(samples=samples, test_samples=test_samples, flipped=0.1)
    run = dmft.GradientDescent(learning_rate, steps)
    colours = ["0.2", *plt.get_cmap("viridis")(np.linspace(0.25, 0.9, len(widths) - 1))]
    with plt.style.context(plot.STYLE), stages(len(_NAMED) * (len(widths) + 1), progress) as begin:
        figure, axes = plt.subplots(3, len(_NAMED), figsize=(7.4, 5.0), sharex=True, sharey="row")
        for column, (name, (title, network)) in zip(axes.T, _NAMED.items()):
            net = network(reference_width=widths[0], sigma=2 * widths[0] ** -0.5)
            for width, colour in zip(widths, colours):
                begin(f"{name}, width {width}")
                curves, initial = _networks(net, data, run, width, seeds)
                for ax, values in zip(column, curves):
                    _draw_mean(ax, values, colour, linewidth=2.0 if width == widths[0] else 1.1)
            begin(f"{name}, theory")
            for ax, values in zip(column, _theory(net, data, run, widths[-1], initial, particles)):
                ax.plot(values, **_THEORY, zorder=3)
                if np.all(np.isnan(values)):
                    ax.text(0.97, 0.05, "theory: 0", color=_THEORY["color"], fontsize=7, transform=ax.transAxes, ha="right")
            column[0].set_title(f"{title}\n" rf"$q_\sigma = {net.q_sigma},\ q_\eta = {net.q_eta}$")
            column[-1].set_xlabel("gradient step $t$, root scale")
            column[-1].set_xscale("function", functions=(np.sqrt, np.square))
            column[-1].set_xticks([tick for tick in (0, 1, 5, 10, 20, 30, 50, 100, 200) if tick <= steps])
        for ax, label in zip(axes[:, 0], ("test loss", "rms logits", _RELATIVE_CHANGE)):
            ax.set_ylabel(label)
        for ax in axes[1:, 0]:
            log_axis(ax)
        labels = ["reference, " + _power_of_two(widths[0]), *map(_power_of_two, widths[1:])]
        handles = [Line2D([], [], color=colour, label=label) for colour, label in zip(colours, labels)]
        figure.legend(handles=[*handles, Line2D([], [], **_THEORY, label="theory")], loc="outside upper center", ncols=len(handles) + 1)
    return figure


def _power_of_two(width):
    return f"$d = 2^{{{np.log2(width):g}}}$"


def _draw_mean(ax, values, colour, linewidth):
    """Mean over seeds of functions of time, with a band of its standard error."""
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    ax.plot(mean, color=colour, linewidth=linewidth, zorder=2)
    ax.fill_between(range(len(mean)), mean - error, mean + error, color=colour, alpha=0.2, linewidth=0, zorder=1)


def _networks(net, data, run, width, seeds):
    """Three functions of time for every seed, shape (seeds, T), and the initial functions; the kernel for half of the seeds."""
    networks = dmft.simulate(net, data, run, width=width, seeds=seeds, progress=False)
    tracked = dmft.simulate(net, dmft.Dataset(*data), run, width=width, seeds=_tracked(seeds), track="kernels", progress=False)
    size = _growth(net, width) * root_mean_square(networks.test_predictions)
    return (networks.test_loss, size, _change(tracked.tangent_grams)), networks.initial_function


def _theory(net, data, run, width, initial, particles):
    """The same three of the limit, or of the equations at `width` where its logits diverge; means over the networks' initial functions.

    The change of the kernel takes four times the particles: sampling noise adds to its norm.
    """
    width = None if _growth(net, width) == 1 else width
    options = dict(width=width, samples=particles, progress=False)
    solved = [dmft.solve(net, data, run, initial_function=function, **options) for function in initial]
    data, initial = dmft.Dataset(*data), initial[: _tracked(len(initial)), : len(data.x)]
    options |= dict(samples=4 * particles, track="kernels")
    kernels = [dmft.solve(net, data, run, initial_function=function, **options).tangent_grams for function in initial]
    size = np.mean([_growth(net, width or 1) * root_mean_square(trajectory.test_predictions) for trajectory in solved], axis=0)
    loss = np.mean([trajectory.test_loss for trajectory in solved], axis=0)
    return loss, np.where(size > 0, size, np.nan), np.mean(_change(np.array(kernels)), axis=0)


def _tracked(seeds):
    return max(2, seeds // 2)


def _growth(net, width):
    """Factor of the normalised logits of a width."""
    return (width / net.reference_width) ** exponent(net, "logistic", "logits")


def _change(kernels):
    """Relative change of kernels since the start in the Frobenius norm; NaN where there is none, for the logarithmic axis."""
    start = kernels[..., :1, :, :]
    change = np.linalg.norm(kernels - start, axis=(-2, -1)) / np.linalg.norm(start, axis=(-2, -1))
    return np.where(change > 1e-12, change, np.nan)


@takes(26)
def kernel_change(
    widths=tuple(2**k for k in range(7, 14)), seeds=6, steps=5, learning_rate=30.0, samples=32, particles=2**13, progress=True
):
    """Relative change of the tangent kernel after a few steps against the width, with the derived exponents.

    Dashed lines have the derived powers; where the power is 0 they are at the value of the limit, elsewhere they end at the widest
    networks.
    Solid: the equations at finite width, for networks whose logits diverge.
    """
    problem = dmft.datasets.binary_digits(samples=samples), dmft.GradientDescent(learning_rate, steps)
    widths = np.array(widths)
    with plt.style.context(plot.STYLE), stages(len(_CHANGE) * len(_STYLES), progress) as begin:
        figure, axes = plt.subplots(1, len(_CHANGE), figsize=(7.0, 3.2), sharey=True)
        for ax, (activation, (title, exponent)) in zip(axes, _CHANGE.items()):
            ends = []
            for (label, net), (colour, marker) in zip(_between_mean_field_and_ntk(activation).items(), _STYLES):
                begin(f"{activation}, {_PLAIN.sub('', label)}")
                options = dict(seeds=seeds, track="kernels", progress=False)
                networks = [dmft.simulate(net, *problem, width=width, **options) for width in widths.tolist()]
                changes = np.array([_change(ensemble.tangent_grams)[:, -1] for ensemble in networks])
                _draw_marks(ax, widths, changes, colour, marker, label)
                if _growth(net, widths[-1]) != 1:
                    theory = [_final_theory(ensemble, particles, ensemble.width) for ensemble in networks]
                    ax.plot(widths, theory, color=colour, linewidth=0.8, zorder=1)
                power = _derived(net, exponent)
                end = changes[-1].mean() if power else _final_theory(networks[-1], particles)
                ax.plot(widths, end * (widths / widths[-1]) ** float(power), color=colour, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
                ends.append((end, f"${power}$", colour))
            _label_ends(ax, widths[-1], ends)
            log_axis(ax)
            ax.set(xlabel="width $d$", title=title)
            ax.set_xscale("log", base=2)
        axes[0].set_ylabel(f"{_RELATIVE_CHANGE} at $t = {steps}$")
        handles = axes[0].get_legend_handles_labels()[0]
        for style, label in (((0, (4, 2)), "derived power"), ("-", "equations at width $d$")):
            handles.append(Line2D([], [], color="0.3", linewidth=0.8, linestyle=style, label=label))
        figure.legend(handles=handles, loc="outside right upper", title=r"$(q_\sigma,\ q_\eta)$", alignment="left")
    return figure


def _between_mean_field_and_ntk(activation):
    """Networks by label: those that have a name, and three on the line from MF to NTK, on which logits and kernel stay finite."""
    named = {name: network(activation=activation) for name, (_, network) in _NAMED.items()}
    start, end = ((net.q_sigma, net.q_eta) for net in (named["MF"], named["NTK"]))
    between = [tuple(a + Fraction(part, 4) * (b - a) for a, b in zip(start, end)) for part in (1, 2, 3)]
    nets = [(name, named[name]) for name in ("sym-default", "IC-MF", "MF")]
    nets += [("", dmft.ShallowNet(*point, activation=activation)) for point in between] + [("NTK", named["NTK"])]
    return {f"$({net.q_sigma},\\ {net.q_eta})$ {name}".strip(): net for name, net in nets}


def _final_theory(networks, particles, width=None):
    """Of the limit or of the equations at a width; mean over the initial functions of the networks."""
    problem = networks.network, networks.data, networks.training
    options = dict(width=width, samples=particles, track="kernels", progress=False)
    return np.mean([_change(dmft.solve(*problem, initial_function=f, **options).tangent_grams)[-1] for f in networks.initial_function])


def _derived(net, name):
    """One of the exponents that were derived for the class of the network, exactly."""
    return Fraction(exponent(net, "logistic", name))


def _draw_marks(ax, widths, changes, colour, marker, label):
    """Means over networks with their standard errors."""
    mean, error = changes.mean(axis=1), changes.std(axis=1, ddof=1) / np.sqrt(changes.shape[1])
    style = dict(color=colour, markerfacecolor="white", markeredgewidth=0.9, elinewidth=0.9, capsize=2.5, capthick=0.9)
    ax.errorbar(widths, mean, error, fmt=marker, label=label, zorder=2, **style)


def _label_ends(ax, width, ends, gap=0.13):
    """Texts to the right of the ends of lines, at least `gap` decades apart."""
    height = np.inf
    for end, text, colour in sorted(ends, reverse=True):
        height = min(np.log10(end), height - gap)
        ax.annotate(text, (width, 10**height), (7, 0), textcoords="offset points", va="center", color=colour)
