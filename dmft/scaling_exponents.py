"""Exponents of the loss in time that the scaling argument derives, of `derivations.scaling_laws`."""

import sympy

from derivations import scaling_laws
from derivations.scaling_laws import ScalingExponents

from . import checks

__all__ = ["ScalingExponents", "scaling_exponents"]


def scaling_exponents(depth=None, source=None, capacity=None):
    """Exponents of the loss in time on power-law data, lazy and rich, derived from the balance of layers.

    They hold at infinite width and on the population, at times at which the last learned mode is far below the input dimension. Print
    the result for the steps of the derivation. `dmft.fit_exponent` measures them.

    Parameters
    ----------
    depth : int, optional
        L hidden layers, all weights trained; by default the symbol L.
    source, capacity : float, fraction or str, optional
        b and a > 0 of a power law (docs/theory/deep_linear.md, section 6), exact: 0.3 is 3/10; by default the symbols b and a.

    Returns
    -------
    ScalingExponents

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number > 0.

    Notes
    -----
    Source: docs/theory/deep_linear.md, section 6.1; arXiv 2409.17858 for networks with one hidden layer.

    Examples
    --------
    >>> exponents = dmft.scaling_exponents(depth=3, source="1/2")
    >>> exponents.lazy, exponents.rich, exponents.growing(2)
    (1/2, 4/5, 2/3)
    >>> dmft.scaling_exponents(depth=3, source=1.5).rich
    3/2
    >>> print(exponents)
    Exponents of the loss in time, L = 3, b = 1/2, a = a
    ...
    """
    depth = scaling_laws.DEPTH if depth is None else sympy.Integer(checks.integer("depth", depth, 1, checks.DEEPEST))
    source, capacity = _exact("source", source, scaling_laws.SOURCE), _exact("capacity", capacity, scaling_laws.CAPACITY)
    return ScalingExponents(depth, source, capacity)


def _exact(name, value, symbol):
    """A positive number as sympy.Rational, a float by its decimal digits; the symbol for None."""
    if value is None:
        return symbol
    exact = checks.exponent(name, value)
    if exact <= 0:
        checks.fail(name, value, "a number > 0")
    return sympy.Rational(str(exact))
