"""Infinite-width limits of networks with one hidden layer: which exist, and to which one a pair of scaling exponents leads.

Everything is derived by `derivations.shallow`. Source: theory/shallow_limits.md; arXiv 2006.06574.
"""

import functools
from dataclasses import dataclass
from fractions import Fraction

import sympy

from derivations import arrangements
from derivations import shallow as _derivation
from derivations.losses import LOSSES
from derivations.shallow import Derivation, LimitClass

from . import checks

__all__ = ["LimitClass", "Limits", "NAMED_POINTS", "shallow"]

#: Parameterizations that have a name, by their exponents (q_sigma, q_eta). IC-MF trains as MF does and adds a fixed function.
NAMED_POINTS = {
    (Fraction(-1), Fraction(1)): ("MF", "IC-MF"),
    (Fraction(-1, 2), Fraction(0)): ("NTK",),
    (Fraction(-1, 2), Fraction(1, 2)): ("sym-default",),
}

_TOLERANCE = 1e-12
_RELATIONS = {sympy.Eq: "=", sympy.Lt: "<", sympy.Le: "<=", sympy.Gt: ">", sympy.Ge: ">="}


@dataclass(frozen=True)
class Limits:
    """The derived plane of scaling exponents for one loss.

    Attributes
    ----------
    derivation : derivations.shallow.Derivation
    """

    derivation: Derivation
    named_points = NAMED_POINTS

    @property
    def symbols(self):
        """(q_sigma, q_eta), the symbols of all conditions."""
        return self.derivation.symbols

    @property
    def band(self):
        """Where training is stable, as a sympy condition."""
        return self.derivation.band

    @property
    def lines(self):
        """For each property of a limit the equation of the line on which it holds (dict of {str: sympy.Eq})."""
        return self.derivation.lines

    @property
    def classes(self):
        """The limit models (tuple of LimitClass)."""
        return self.derivation.classes

    def classify(self, *exponents, **named):
        """The limit model at given exponents.

        Parameters
        ----------
        *exponents, **named : int, fraction, sympy.Rational, str or float
            Of `symbols`, in their order or by name: q_sigma and q_eta. Exact, unless one is a float: then a form of them below 1e-12 counts
            as zero.

        Returns
        -------
        LimitClass or None
            None outside the band.

        Raises
        ------
        TypeError, ValueError
            If an exponent is not a finite real number, or there are too few or too many.
        """
        point = self._point(exponents, named)
        tolerance = _TOLERANCE if any(isinstance(v, float) for v in point) else 0
        return self.derivation.classify(tuple(map(Fraction, point)), tolerance)

    def _point(self, exponents, named={}):
        names = [str(symbol) for symbol in self.symbols]
        given = dict(zip(names, exponents)) | named
        if len(exponents) + len(named) != len(names) or set(given) != set(names):
            raise TypeError(f"exponents must be those of {', '.join(names)}; got {len(exponents)} and {', '.join(named) or 'none'} by name")
        return tuple(checks.exponent(name, given[name]) for name in names)

    def _values(self, exponents):
        return {symbol: sympy.Rational(Fraction(value)) for symbol, value in zip(self.symbols, self._point(exponents))}

    def exponent(self, limit, name, *exponents):
        """The value of one of `limit.exponents`, for example "logits", at exponents of its class (float)."""
        return float(sympy.sympify(limit.exponents[name]).subs(self._values(exponents)))

    def violation(self, *exponents):
        """In words, which conditions exponents outside the band violate."""
        values = self._values(exponents)
        alternatives = self.band.args if isinstance(self.band, sympy.Or) else (self.band,)
        return "; or else ".join(" and ".join(_violations(alternative, values)) for alternative in alternatives)

    def clip(self, conditions, polygon):
        """Corners of the part of a convex polygon on which sympy conditions hold up to their boundary; points are (q_sigma, q_eta)."""
        return arrangements.clip(polygon, [arrangements.constraint(c, self.symbols) for c in conditions])

    def __getitem__(self, name):
        """The class of this name; ValueError lists the valid ones."""
        names = [c.name for c in self.classes]
        return self.classes[names.index(checks.choice("name", name, names))]

    def __repr__(self):
        return f"Limits(loss={self.derivation.loss.name!r}, {len(self.classes)} classes: {' '.join(c.name for c in self.classes)})"


def shallow(loss="logistic", rates="common"):
    """The stable limits of f(x) = sigma sum_r a_r phi(w_r x) under gradient descent, derived once and kept.

    Parameters
    ----------
    loss : {"logistic", "hinge", "mse", "softmax"}
    rates : {"common", "layer-wise"}
        One exponent q_eta of the learning rate, or one each of the output weights a and the input weights w.

    Returns
    -------
    Limits

    Raises
    ------
    ValueError
        If loss or rates have another name.
    """
    return _shallow(checks.choice("loss", loss, tuple(LOSSES)), checks.choice("rates", rates, ("common", "layer-wise")))


def _violations(conditions, values):
    for relation in sympy.And.make_args(conditions):
        value = relation.lhs.subs(values)
        if not relation.func(value, relation.rhs):
            yield f"{relation.lhs} {_RELATIONS[type(relation)]} {relation.rhs} (it is {value})"


@functools.cache
def _shallow(loss, rates):
    return Limits(_derivation.derive(loss, rates))
