"""Learning rates with which every first update is of order one, and the exact rescaling that relates them to those of muP.

For a positively homogeneous activation of degree p everything is linear in the exponents, which may be symbols; for the other classes
the parities of `signals` enter, and the rates are found layer by layer by `deep.power_counting`.

Source: docs/theory/deep_parameterizations.md, sections 2.2, 2.4 and 2.5; arXiv 2110.15596.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import sympy

from . import deep

_HALF = sympy.Rational(1, 2)


@dataclass(frozen=True)
class Initial:
    """Exponents at initialization, layer by layer: preactivations, activations, derivatives of the loss by both, and logits."""

    h: tuple
    x: tuple
    dx: tuple
    dh: tuple
    f: object


def initial(size, degree=sympy.Integer(1)):
    """Forward and backward pass at initialization with centred Gaussian weights and a homogeneous activation with a mean.

    Parameters
    ----------
    size : sequence of sympy.Expr or Fraction
        A_1 ... A_{L+1}.
    degree : sympy.Expr or Fraction
        p; R1 (sums over incoming weights are centred), R4 and R5.
    """
    *hidden, readout = map(sympy.sympify, size)
    degree = sympy.sympify(degree)
    h = [-hidden[0]]
    for a in hidden[1:]:
        h.append(sympy.expand(_HALF - a + degree * h[-1]))
    dx, dh = [-readout], [sympy.expand(-readout + (degree - 1) * h[-1])]
    for a, below in zip(hidden[:0:-1], h[-2::-1]):
        dx.append(sympy.expand(_HALF - a + dh[-1]))
        dh.append(sympy.expand(dx[-1] + (degree - 1) * below))
    x = tuple(sympy.expand(degree * e) for e in h)
    return Initial(tuple(h), x, tuple(dx[::-1]), tuple(dh[::-1]), sympy.expand(_HALF - readout + x[-1]))


def first_updates(size, rate, degree=sympy.Integer(1)):
    """Exponents of Delta W^l x_1 after the first step, where x_1 of order one is correlated with x_0 (R2, R6); the last of the logits."""
    start = initial(size, degree)
    seen = (sympy.Integer(0), *(deep.MEAN + e for e in start.x))  # the input has a fixed dimension, a layer sums over its neurons
    driven = (*start.dh, sympy.Integer(0))
    return tuple(sympy.expand(-e + d + s) for e, d, s in zip(rate, driven, seen, strict=True))


def homogeneous_rates(size, degree=sympy.Integer(1)):
    """The rates E_l with which all `first_updates` have exponent zero."""
    unknown = sympy.symbols(f"E1:{len(size) + 1}")
    solution = sympy.solve(first_updates(size, unknown, degree), unknown, dict=True)[0]
    return tuple(sympy.factor(solution[e]) for e in unknown)


def first_rates(network, activation):
    """The first rates of weights and biases with which all first updates are of order one, for any class of activations.

    Layer by layer: those below move at order one already, those above not at all.

    Returns
    -------
    tuple of Fraction, tuple of Fraction
        E_l of the weights and of the biases (0 where there is none).
    """
    depth, rates = network.depth, []
    at_rest = (math.inf,) * (depth + 1)
    for layer in range(1, depth + 2):
        trial = replace(network, rate=(*rates, Fraction(0), *at_rest[layer:]), bias_rate=at_rest)
        counting = deep.power_counting(trial, activation, steps=1)
        rates.append(counting.value("update of h" if layer <= depth else "update of f", layer, 1))
    driven = (*counting.values("dh", 0), Fraction(0))
    return tuple(rates), tuple(Fraction(0) if b is None else d for b, d in zip(network.bias, driven))


@dataclass(frozen=True)
class Rescaling:
    """Powers of the width by which the signals of two networks with the same Gaussian draws differ exactly, and those of the updates.

    Attributes
    ----------
    h, x, dx, dh : tuple of sympy.Expr
        The signal of the first network is m^exponent times that of the second; dx and dh given the same derivative of the loss.
    updates : tuple of sympy.Expr
        The same of the first updates of the weights.
    """

    h: tuple
    x: tuple
    dx: tuple
    dh: tuple
    updates: tuple


def rescaling(size, rate, other_size, other_rate, degree):
    """The exact relation of two networks with a homogeneous activation that differ in the sizes of their initial weights.

    phi(c h) = c^p phi(h) carries the factors of the weights through the network, whatever the width.
    """
    factors = [sympy.sympify(b) - a for a, b in zip(size, other_size, strict=True)]
    h, x = [], [sympy.Integer(0)]
    for factor in factors[:-1]:
        h.append(sympy.expand(factor + x[-1]))
        x.append(sympy.expand(degree * h[-1]))
    dx, dh = [factors[-1]], [sympy.expand(factors[-1] + (degree - 1) * h[-1])]
    for factor, below in zip(factors[-2:0:-1], h[-2::-1]):
        dx.append(sympy.expand(factor + dh[-1]))
        dh.append(sympy.expand(dx[-1] + (degree - 1) * below))
    driven = (*dh[::-1], sympy.Integer(0))
    updates = tuple(sympy.expand(other - own + d + e) for own, other, d, e in zip(rate, other_rate, driven, x, strict=True))
    return Rescaling(tuple(h), tuple(x[1:]), tuple(dx[::-1]), tuple(dh[::-1]), updates)
