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

    def classify(self, q_sigma, q_eta):
        """The limit model of a pair of exponents.

        Parameters
        ----------
        q_sigma, q_eta : int, fraction, sympy.Rational, str or float
            Exponents of sigma and of the reduced learning rate. Exact, unless one is a float: then a form of the two below 1e-12
            counts as zero.

        Returns
        -------
        LimitClass or None
            None outside the band.

        Raises
        ------
        TypeError, ValueError
            If an exponent is not a finite real number.
        """
        point = checks.exponent("q_sigma", q_sigma), checks.exponent("q_eta", q_eta)
        tolerance = _TOLERANCE if any(isinstance(v, float) for v in point) else 0
        return self.derivation.classify(tuple(map(Fraction, point)), tolerance)

    def violation(self, q_sigma, q_eta):
        """In words, which conditions of the band exponents outside it violate."""
        symbols, point = self.symbols, (checks.exponent("q_sigma", q_sigma), checks.exponent("q_eta", q_eta))
        alternatives = self.band.args if isinstance(self.band, sympy.Or) else (self.band,)
        broken = []
        for alternative in alternatives:
            values = [(relation, relation.lhs.subs(dict(zip(symbols, map(sympy.Rational, point))))) for relation in sympy.And.make_args(alternative)]
            failed = [f"{relation.lhs} {_RELATIONS[type(relation)]} {relation.rhs}, it is {value}" for relation, value in values if not relation.func(value, relation.rhs)]
            broken.append(" and ".join(failed))
        return "which needs " + "; or else ".join(broken)

    def clip(self, conditions, polygon):
        """Corners of the part of a convex polygon on which sympy conditions hold up to their boundary; points are (q_sigma, q_eta)."""
        return arrangements.clip(polygon, [arrangements.constraint(c, self.symbols) for c in conditions])

    def __getitem__(self, name):
        """The class of this name; ValueError lists the valid ones."""
        names = [c.name for c in self.classes]
        return self.classes[names.index(checks.choice("name", name, names))]

    def __repr__(self):
        return f"Limits(loss={self.derivation.loss.name!r}, {len(self.classes)} classes: {' '.join(c.name for c in self.classes)})"


def shallow(loss="logistic"):
    """The stable limits of f(x) = sigma sum_r a_r phi(w_r x) under gradient descent, derived once and kept.

    Parameters
    ----------
    loss : {"logistic", "hinge", "mse", "softmax"}

    Returns
    -------
    Limits

    Raises
    ------
    ValueError
        If the loss has another name.
    """
    return _shallow(checks.choice("loss", loss, tuple(LOSSES)))


def exponent(limit, name, q_sigma, q_eta):
    """The value of one of `limit.exponents` at exponents of its class, as a float."""
    point = {_derivation.Q_SIGMA: sympy.Rational(checks.exponent("q_sigma", q_sigma)), _derivation.Q_ETA: sympy.Rational(checks.exponent("q_eta", q_eta))}
    return float(sympy.sympify(limit.exponents[name]).subs(point))


@functools.cache
def _shallow(loss):
    return Limits(_derivation.derive(loss))
