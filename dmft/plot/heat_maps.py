"""Maps of two-time functions and of kernels between samples, with their colours."""

from typing import NamedTuple

import numpy as np
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.ticker import MaxNLocator

from ..curves import selection
from .ticks import log_axis

#: Values below it, relative to the largest, are rounding where their sign is concerned.
_ROUNDING = 1e-9
#: Where values are smaller than this part of the largest, their logarithm is shown: the smallest, of both signs the median.
_SMALL = 0.05
#: Smallest value on a logarithmic scale relative to the largest, and end of the linear part of one of both signs.
_FLOOR, _LINEAR = 1e-5, 1e-3
#: Networks are marked at so many times of a two-time map at most.
_MARKS = 6


class Scale(NamedTuple):
    """How values become colours: name of the colour map, norm, and which end of the colour bar stands for values beyond it."""

    colours: str
    norm: Normalize
    extend: str = "neither"

    def shown(self, values):
        """Finite values within a logarithmic scale, NaN elsewhere."""
        values = np.where(np.isfinite(values), values, np.nan)
        return np.maximum(values, self.norm.vmin) if isinstance(self.norm, LogNorm) else values


def colour_scales(groups):
    """A `Scale` for each group of values, all of one kind, so that maps side by side are read alike.

    Diverging and centred at zero if values of any group have both signs, with logarithms of both where they span decades; logarithmic
    where positive values span decades; linear otherwise.
    """
    groups = [np.concatenate([np.ravel(values[np.isfinite(values)]) for values in group] or [np.zeros(1)]) for group in groups]
    peaks = [np.abs(values).max(initial=0.0) for values in groups]
    known = [(values, peak) for values, peak in zip(groups, peaks) if peak > 0]
    if any(values.min() < -_ROUNDING * peak for values, peak in known):
        decades = any(np.median(np.abs(values)) < _SMALL * peak for values, peak in known)
        return [_diverging(peak or 1.0, decades) for peak in peaks]
    decades = any(values.min() < _SMALL * peak for values, peak in known)
    return [_positive(values, peak, decades) for values, peak in zip(groups, peaks)]


def _diverging(peak, decades):
    return Scale("RdBu_r", SymLogNorm(_LINEAR * peak, vmin=-peak, vmax=peak, base=10) if decades else Normalize(-peak, peak))


def _positive(values, peak, decades):
    if not decades or peak == 0:
        return Scale("viridis", Normalize(values.min(initial=peak), peak))
    low = values.min()
    floor = max(low, _FLOOR * peak)
    return Scale("viridis", LogNorm(floor, peak), "neither" if low == floor else "min")


def two_time_map(ax, values, times, title, scale, networks=None):
    """One map with the time s along x and t along y, and its colour bar; real times, of a gradient flow, on logarithmic axes.

    `networks` are times and values, shape (K,) and (K, K): circles of the same colours.
    """
    if times.dtype.kind == "f":
        image = ax.pcolormesh(times[1:], times[1:], scale.shown(values[1:, 1:]), cmap=scale.colours, norm=scale.norm, rasterized=True)
        for which in "xy":
            log_axis(ax, which)
        ax.set_aspect("equal")
    else:
        half = (times[1] - times[0]) / 2
        start, end = times[0] - half, times[-1] + half
        image = ax.imshow(scale.shown(values), extent=(start, end, start, end), cmap=scale.colours, norm=scale.norm)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
    if networks is not None:
        chosen = selection(len(networks[0]), _MARKS)
        s, t = np.meshgrid(networks[0][chosen], networks[0][chosen])
        marks = dict(s=14, linewidth=0.5, edgecolor="white", clip_on=False, zorder=3)
        ax.scatter(s, t, c=scale.shown(networks[1][np.ix_(chosen, chosen)]), cmap=scale.colours, norm=scale.norm, **marks)
    ax.spines[:].set_visible(True)
    ax.set(xlabel="$s$", ylabel="$t$", title=title)
    colour_bar(ax, image, scale.extend)


def sample_maps(axes, kernels, edges, titles, scale, networks=()):
    """Kernels between samples on one colour scale, whose bar stands at the last of the axes; `edges` part groups of samples.

    `networks` are kernels in their lower right halves, or None where there are none.
    """
    line = dict(color="black" if scale.colours == "RdBu_r" else "white", linewidth=0.7)
    for ax, kernel, title, found in zip(axes, kernels, titles, networks or [None] * len(kernels)):
        halves = kernel if found is None else np.tril(kernel) + np.triu(found, 1)
        image = ax.imshow(scale.shown(halves), cmap=scale.colours, norm=scale.norm)
        for edge in edges:
            ax.axhline(edge, **line)
            ax.axvline(edge, **line)
        if found is not None:
            ends = (-0.5, len(kernel) - 0.5)
            ax.plot(ends, ends, **line)
            ax.set(xlim=ends, ylim=ends)
        ax.spines[:].set_visible(True)
        ax.set(xticks=[], yticks=[], xlabel="samples, by label", title=title)
    colour_bar(axes[-1], image, scale.extend)


def name_halves(ax):
    """Say beside the axes of the first of the `sample_maps` which half is whose."""
    ax.set_ylabel("upper left: theory\nlower right: networks", fontsize="small")


def colour_bar(ax, image, extend="neither"):
    """The colour bar of a map, beside its axes."""
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.05, 0.0, 0.06, 1.0)), extend=extend)
    bar.outline.set_linewidth(0.5)
    if isinstance(image.norm, SymLogNorm):
        powers = 10.0 ** (np.floor(np.log10(image.norm.vmax)) - np.array([0, 2]))
        bar.set_ticks([*-powers, 0.0, *powers[::-1]])
