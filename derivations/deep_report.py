"""The analysis of a parameterization as text, LaTeX and JSON."""

import re
from fractions import Fraction

from .signals import ZERO_ORDER

_COLUMNS = (
    ("h", 0), ("x", 0), ("dh", 0), ("update of h", 1), ("change of h", 1), ("h", 1), ("dh", 1), ("change of h", 2), ("h", 2), ("x", 2),
)  # fmt: skip
_LOGITS = {"h": "f", "update of h": "update of f", "change of h": "change of f"}
_HEADER = ("layer", "A", "E", "h0", "x0", "dh0", "ΔW x1", "Δh1", "h1", "dh1", "Δh2", "h2", "x2")
_LATEX_HEADER = (
    "layer", "$A$", "$E$", "$h_0$", "$x_0$", r"$\partial_{h_0}\mathcal{L}$", r"$\Delta W\,x_1$", r"$\Delta h_1$", "$h_1$",
    r"$\partial_{h_1}\mathcal{L}$", r"$\Delta h_2$", "$h_2$", "$x_2$",
)  # fmt: skip
_CAPTION = "Powers of the width by layer, at initialization (0) and after one and two updates; in the last row h stands for the logits f."


def rows(analysis, write=str):
    """The table without its header: a row for each weight matrix, numbers written by `write`."""
    depth, network = analysis.network.depth, analysis.network
    values = {(e.signal, e.layer, e.step): e.value for e in analysis.counting.exponents}
    table = []
    for layer in range(1, depth + 2):
        names = [(signal if layer <= depth else _LOGITS.get(signal), layer, step) for signal, step in _COLUMNS]
        cells = [write(values[name]) if name in values else "" for name in names]
        table.append([str(layer), write(network.size[layer - 1]), write(network.rate[layer - 1]), *cells])
    return table


def header():
    """Header of `rows`."""
    return list(_HEADER)


def caption(analysis):
    """Regime, activation, and what the columns mean."""
    proven = ", at all fixed times" if analysis.proven else ""
    return [
        f"{analysis.regime}{proven}; activation {analysis.counting.activation.name}: {analysis.counting.activation}.",
        _CAPTION,
        "Initial weights m^(-A), first effective learning rates m^(-E); dh is the derivative of the loss; ΔW x1 the first update times x1.",
    ]


def text(analysis):
    """Caption, table and reasons."""
    table = [header(), *rows(analysis)]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
    return "\n".join([*caption(analysis), "", *lines, "", *reasons(analysis)])


def reasons(analysis):
    """The numbered steps of the argument."""
    return ["Because", *(f"{i:>3}. {reason}" for i, reason in enumerate(analysis.reasons, start=1))]


def latex(analysis):
    """Caption and table, for a document with amsmath."""
    symbols = {"ΔW x1": r"$\Delta W\,x_1$", "m^(-A)": "$m^{-A}$", "m^(-E)": "$m^{-E}$", "dh": r"$\partial_h\mathcal{L}$"}
    lines = [re.sub("|".join(map(re.escape, symbols)), lambda found: symbols[found[0]], line) + r" \\" for line in caption(analysis)]
    lines += [rf"\begin{{tabular}}{{{'r' * len(_LATEX_HEADER)}}}", r"\hline", " & ".join(_LATEX_HEADER) + r" \\", r"\hline"]
    lines += [" & ".join(row) + r" \\" for row in rows(analysis, _latex)]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _latex(value):
    if value == ZERO_ORDER:
        return r"$-\infty$"
    value = Fraction(value)
    if value.denominator == 1:
        return f"${value}$"
    return rf"${'-' if value < 0 else ''}\tfrac{{{abs(value.numerator)}}}{{{value.denominator}}}$"


def to_json(analysis):
    """Everything, as nested dictionaries of strings that `fractions.Fraction` reads, and lists; a signal that is zero has null."""
    activation, classified = analysis.counting.activation, analysis.classification
    return {
        "regime": analysis.regime,
        "at all times": analysis.proven,
        "activation": {"name": activation.name, "class": str(activation)},
        "A": list(map(str, analysis.network.size)),
        "E": list(map(str, analysis.network.rate)),
        "E later": list(map(str, analysis.network.rate_later)),
        "exponents": [
            {
                "signal": e.signal,
                "layer": e.layer,
                "step": e.step,
                "exponent": None if e.value == ZERO_ORDER else str(e.value),
                "terms": [{"term": name, "exponent": str(value)} for name, value in e.terms],
            }
            for e in analysis.counting.exponents
        ],
        "Yang-Hu": None
        if classified is None
        else {
            "regime": classified.regime,
            "r": str(classified.r),
            "r_l": list(map(str, classified.layers)),
            "kernels": list(classified.kernels),
            "conditions": list(classified.reasons),
        },
        "reasons": list(map(str, analysis.reasons)),
    }
