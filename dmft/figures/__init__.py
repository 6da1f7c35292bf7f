"""Figures of the papers, each drawn from nothing but the package: one module per paper, one function per figure.

A figure function takes no required argument, shows its progress if it takes more than a moment, and returns a `matplotlib.figure.Figure`;
the first line of its docstring says what it shows, the decorator `dmft.figures.stages.takes` how long that takes, and the attribute
`verdict` of the figure, where it has one, what its numbers show.
``dmft reproduce`` lists and draws them.
"""

import importlib

from .. import checks

#: Name on the command line: module and function.
FIGURES = {
    "bordelon-loss-curves": ("bordelon_pehlevan_2025", "loss_curves"),
    "bordelon-kernels": ("bordelon_pehlevan_2025", "kernels"),
    "bordelon-learning-rate-transfer": ("bordelon_pehlevan_2025", "learning_rate_transfer"),
    "bordelon-fixed-point": ("bordelon_pehlevan_2025", "fixed_point_convergence"),
    "bordelon-residual-networks": ("bordelon_pehlevan_2025", "residual_networks"),
    "bordelon-depth-transfer": ("bordelon_pehlevan_2025", "depth_transfer"),
    "bordelon-power-law": ("bordelon_pehlevan_2025", "power_law"),
    "bordelon-power-law-transfer": ("bordelon_pehlevan_2025", "power_law_transfer"),
    "bordelon-scaling-exponents": ("bordelon_pehlevan_2025", "scaling_exponents"),
    "kernel-evolution-loss": ("bordelon_pehlevan_2022", "loss_and_kernels"),
    "kernel-evolution-richness": ("bordelon_pehlevan_2022", "richness"),
    "kernel-evolution-approximations": ("bordelon_pehlevan_2022", "approximations"),
    "golikov-phase-diagram": ("golikov_2020", "phase_diagram"),
    "golikov-fig1-left": ("golikov_2020", "phase_diagram"),
    "golikov-fig1-right": ("golikov_2020", "training_curves"),
    "golikov-kernel-change": ("golikov_2020", "kernel_change"),
    "hajjar-vanishing": ("hajjar_2021", "vanishing"),
    "hajjar-ip-llr": ("hajjar_2021", "large_first_step"),
    "hajjar-convergence": ("hajjar_2021", "convergence"),
    "hajjar-polytope": ("hajjar_2021", "polytope"),
}


def function(name):
    """The function that draws a figure, without arguments.

    Parameters
    ----------
    name : str
        One of `FIGURES`.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        For an unknown name; the message lists the valid ones.

    Examples
    --------
    >>> draw = dmft.figures.function("golikov-phase-diagram")
    >>> figure = draw()
    """
    module, attribute = FIGURES[checks.choice("name", name, tuple(FIGURES))]
    return getattr(importlib.import_module(f".{module}", __name__), attribute)


def cpu_seconds(name):
    """About how much CPU time a figure takes, measured once on one core of a server.

    Parameters
    ----------
    name : str
        One of `FIGURES`.

    Returns
    -------
    float

    Examples
    --------
    >>> dmft.figures.cpu_seconds("golikov-phase-diagram")
    1
    """
    return function(name).cpu_seconds


def describe(name):
    """What a figure shows, in one sentence.

    Parameters
    ----------
    name : str
        One of `FIGURES`.

    Returns
    -------
    str

    Examples
    --------
    >>> dmft.figures.describe("golikov-phase-diagram")
    'The stable infinite-width limits of networks with one hidden layer in the plane of scaling exponents.'
    """
    return function(name).__doc__.strip().splitlines()[0]
