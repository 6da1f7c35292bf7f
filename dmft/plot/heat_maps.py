"""Maps of two-time functions and of kernels between samples, with their colours."""

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator


def colour_scale(values):
    """Colour map, norm, extended end: diverging for values of both signs, logarithmic where they span decades, linear otherwise."""
    low, high = values.min(), values.max()
    peak = max(-low, high)
    if low < -1e-3 * peak:
        return "RdBu_r", Normalize(-peak, peak), "neither"
    if low < 0.05 * peak:
        floor = max(low, 1e-5 * peak)
        return "viridis", LogNorm(floor, peak), "neither" if low == floor else "min"
    return "viridis", Normalize(low, high), "neither"


def two_time_map(ax, values, times, title):
    """One map with the time s along x and t along y, and its colour bar."""
    half = (times[1] - times[0]) / 2
    start, end = times[0] - half, times[-1] + half
    colours, norm, extend = colour_scale(values[np.isfinite(values)])
    shown = np.where(np.isfinite(values), np.maximum(values, norm.vmin), np.nan)
    image = ax.imshow(shown, extent=(start, end, start, end), cmap=colours, norm=norm)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    ax.spines[:].set_visible(True)
    ax.set(xlabel="$s$", ylabel="$t$", title=title)
    colour_bar(ax, image, extend)


def sample_maps(axes, kernels, edges, titles):
    """Kernels between samples on one colour scale, whose bar stands at the last of the axes; `edges` part groups of samples."""
    colours, norm, extend = colour_scale(np.concatenate([kernel[np.isfinite(kernel)] for kernel in kernels]))
    line = dict(color="black" if colours == "RdBu_r" else "white", linewidth=0.7)
    for ax, kernel, title in zip(axes, kernels, titles):
        image = ax.imshow(np.maximum(kernel, norm.vmin), cmap=colours, norm=norm)
        for edge in edges:
            ax.axhline(edge, **line)
            ax.axvline(edge, **line)
        ax.spines[:].set_visible(True)
        ax.set(xticks=[], yticks=[], xlabel="samples, by label", title=title)
    colour_bar(axes[-1], image, extend)


def colour_bar(ax, image, extend="neither"):
    """The colour bar of a map, beside its axes."""
    ax.figure.colorbar(image, cax=ax.inset_axes((1.05, 0.0, 0.06, 1.0)), extend=extend).outline.set_linewidth(0.5)
