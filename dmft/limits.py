"""Infinite-width limits of networks: which exist, and to which one a choice of scaling exponents leads.

Everything is derived, by `derivations.shallow` for one hidden layer and `derivations.deep_limits` for any number of them.
Source: docs/theory/shallow_limits.md; docs/theory/deep_classes.md; arXiv 2006.06574.
"""

import functools
from dataclasses import dataclass
from fractions import Fraction

import sympy

from derivations import arrangements, deep_limits, report
from derivations import shallow as _derivation
from derivations.deep_limits import from_abc
from derivations.limit_classes import REGIMES
from derivations.losses import LOSSES
from derivations.printed import Printed
from derivations.shallow import Derivation, LimitClass

from . import checks

__all__ = ["DeepLimits", "LimitClass", "Limits", "NAMED_POINTS", "deep", "from_abc", "shallow"]

#: Parameterizations that have a name, by their exponents (q_sigma, q_eta). IC-MF trains as MF does and adds a fixed function.
NAMED_POINTS = {
    (Fraction(-1), Fraction(1)): ("MF", "IC-MF"),
    (Fraction(-1, 2), Fraction(0)): ("NTK",),
    (Fraction(-1, 2), Fraction(1, 2)): ("sym-default",),
}

_TOLERANCE = 1e-12
#: Largest depth: there, to classify takes half a minute, and ten times as long with each further layer.
_DEEPEST = 8


class _Derived(Printed):
    """What all derived limits offer; `derivation` holds the rest."""

    def __str__(self):
        return repr(self)

    @property
    def symbols(self):
        """The symbols of all conditions, in the order of the exponents of `classify`."""
        return self.derivation.symbols

    @property
    def band(self):
        """Where training is stable, as a sympy condition."""
        return self.derivation.band

    @property
    def lines(self):
        """For each property of a limit the equation of the stable points at which it holds (dict of {str: sympy.Eq})."""
        return self.derivation.lines

    @property
    def classes(self):
        """The limit models (tuple of LimitClass)."""
        return self.derivation.classes

    def clip(self, conditions, polygon):
        """Corners of the part of a convex polygon on which sympy conditions hold up to their boundary; points are (q_sigma, q_eta)."""
        return arrangements.clip(polygon, [arrangements.constraint(c, self.symbols) for c in conditions])

    def __getitem__(self, name):
        """The class of this name; ValueError lists the valid ones."""
        names = [c.name for c in self.classes]
        return self.classes[names.index(checks.choice("name", name, names))]

    def violated(self, q_sigma, q_eta):
        """The conditions of stable training that exponents violate.

        Parameters
        ----------
        q_sigma, q_eta
            As in `classify`.

        Returns
        -------
        tuple of sympy.Boolean
            Empty inside the band, where `classify` finds a class. Where the band is a union, one `sympy.Or` of what each part asks for.
        """
        parts = [sympy.And(*(condition for condition, _ in part)) for part in self._unmet(q_sigma, q_eta)]
        return tuple(_sorted_args(parts[0])) if len(parts) == 1 else (sympy.Or(*parts),) if parts else ()

    def violation(self, q_sigma, q_eta):
        """`violated` in words, with the values of what it bounds; empty inside the band."""
        parts = (" and ".join(f"{report.plain(c)} (it is {value})" for c, value in part) for part in self._unmet(q_sigma, q_eta))
        return "; or else ".join(parts)

    def _unmet(self, q_sigma, q_eta):
        """For each part of the band the violated conditions, each with the value of its left side; no parts inside the band."""
        point, tolerance = _point(self._given(q_sigma, q_eta))
        if self.classify(q_sigma, q_eta) is not None:
            return []
        values = dict(zip(self.symbols, map(sympy.Rational, point)))
        parts = self.band.args if isinstance(self.band, sympy.Or) else (self.band,)
        return [list(_violations(part, values, exact=not tolerance)) for part in parts]

    def _given(self, q_sigma, q_eta):
        """Exponents by the names of their arguments, in the order of `symbols`."""
        layers = len(self.symbols) - 1
        if layers == 1:
            return {"q_sigma": q_sigma, "q_eta": q_eta}
        allowed = f"a sequence of {layers} exponents, one for each weight layer"
        values = {f"q_eta[{j}]": value for j, value in enumerate(checks.sequence("q_eta", q_eta, allowed))}
        if len(values) != layers:
            checks.fail("q_eta", q_eta, allowed)
        return {"q_sigma": q_sigma} | values


def _point(values):
    """Exponents, by the names of their arguments, as fractions; and the tolerance that goes with them."""
    point = [checks.exponent(name, value) for name, value in values.items()]
    return tuple(map(Fraction, point)), _TOLERANCE if any(isinstance(v, float) for v in point) else 0


@dataclass(frozen=True)
class Limits(_Derived):
    """The derived space of scaling exponents of networks with one hidden layer for one loss.

    Attributes
    ----------
    derivation : derivations.shallow.Derivation

    Examples
    --------
    >>> lim = dmft.limits.shallow()
    >>> lim
    Limits(loss='logistic', 13 classes: A1 A2 A3 A4 A5 M1 M2 M3 M4 M5 N1 N2 N3)
    >>> {name: lim.classify(*point).name for point, names in lim.named_points.items() for name in names}
    {'MF': 'M2', 'IC-MF': 'M2', 'NTK': 'N2', 'sym-default': 'M4'}
    """

    derivation: Derivation
    named_points = NAMED_POINTS

    def classify(self, q_sigma, q_eta):
        """The limit model of a choice of exponents.

        Parameters
        ----------
        q_sigma : int, fraction, sympy.Rational, str or float
            Exponent of sigma.
        q_eta : the same, or with layer-wise rates a pair of them
            Exponent of the reduced learning rate, or those of the output weights and of the input weights. Exact, unless one is a
            float: then forms below 1e-12 count as zero.

        Returns
        -------
        LimitClass or None
            None outside the band; `violated` then says why.

        Raises
        ------
        TypeError, ValueError
            If an exponent is not a finite real number, or if the number of exponents is wrong.
        """
        return self.derivation.classify(*_point(self._given(q_sigma, q_eta)))

    def exponent(self, limit, name, q_sigma, q_eta):
        """The power of the width of one of `limit.exponents` (float).

        Parameters
        ----------
        limit : LimitClass
        name : str
            For example "logits".
        q_sigma, q_eta
            Exponents of this class, as in `classify`.
        """
        point, _ = _point(self._given(q_sigma, q_eta))
        return float(sympy.sympify(limit.exponents[name]).subs(dict(zip(self.symbols, map(sympy.Rational, point)))))

    def __reduce__(self):
        return shallow, (self.derivation.loss.name, "common" if len(self.symbols) == 2 else "layer-wise")

    def __repr__(self):
        return f"Limits(loss={self.derivation.loss.name!r}, {len(self.classes)} classes: {' '.join(c.name for c in self.classes)})"


@dataclass(frozen=True)
class DeepLimits(_Derived):
    """The derived space of scaling exponents of networks with any number of hidden layers.

    `classify`, `named` and `band` work at depths up to 8; `classes`, `lines` and access by name enumerate all classes, which with layer-wise
    rates takes seconds for two hidden layers, half a minute for three, and grows by a factor of ten with each further one.

    Attributes
    ----------
    depth : int
    rates : {"common", "layer-wise"}
    model : derivations.deep_limits.Model

    Examples
    --------
    >>> lim = dmft.limits.deep(depth=2)
    >>> lim.classify("-3/2", "1").name
    'M2'
    >>> lim.named()["muP"]
    'M2'
    """

    depth: int
    rates: str
    model: deep_limits.Model

    @functools.cached_property
    def derivation(self):
        """derivations.limit_classes.Derivation of all classes."""
        return self.model.derivation()

    @property
    def symbols(self):
        """(q_sigma, q_eta), or q_sigma and q_eta_1 ... q_eta_n."""
        return self.model.symbols

    @property
    def band(self):
        """Where training is stable, as a sympy condition."""
        return self.model.band

    def classify(self, q_sigma, q_eta):
        """The limit model of a choice of exponents; seconds at depth 7.

        Parameters
        ----------
        q_sigma : int, fraction, sympy.Rational, str or float
            Exponent of sigma, the product of all initial scales.
        q_eta : the same, or with layer-wise rates a sequence of them
            Exponents of the reduced learning rate (raw rate over squared initial scale), one for each of the depth + 1 weight layers.
            Exact, unless one is a float: then forms below 1e-12 count as zero.

        Returns
        -------
        LimitClass or None
            None outside the band; `violated` then says why.

        Raises
        ------
        TypeError, ValueError
            If an exponent is not a finite real number, or if the number of exponents is wrong.
        """
        return self.model.classify(*_point(self._given(q_sigma, q_eta)))

    @functools.cached_property
    def named_points(self):
        """Parameterizations that have a name, by their exponents, as far as these belong to the space (dict of {tuple: tuple of str})."""
        points = {}
        for name, (A, E) in deep_limits.named_exponents(self.depth).items():
            q_sigma, q_eta = from_abc(A, E)
            if self.rates == "layer-wise" or len(set(q_eta)) == 1:
                point = (q_sigma, *(q_eta if self.rates == "layer-wise" else q_eta[:1]))
                points[point] = (*points.get(point, ()), name)
        return points

    def named(self):
        """Class of each named parameterization, None for one that is unstable or stays at initialization (dict of {str: str})."""
        found = {}
        for point, names in self.named_points.items():
            at = self.model.at(point)
            found |= dict.fromkeys(names, at and self.model.name(at[0]))
        return found

    def types(self, forgotten=False):
        """Classes without regard to which layers act: names of classes by regime and signs of the exponents of the logits.

        Parameters
        ----------
        forgotten : bool
            Count dynamics in which a layer forgets its initial weights as a regime "P" of its own; else it is "M", kernels evolve.

        Returns
        -------
        dict of {(str, (int, int)): tuple of str}
        """
        found = {}
        for c in self.classes:
            regime = "P" if forgotten and c.forgotten else next(letter for letter in REGIMES if c.name.startswith(letter))
            found[regime, c.signs] = (*found.get((regime, c.signs), ()), c.name)
        return found

    def __reduce__(self):
        return _deep, (self.depth, self.rates, self.model.loss.name, self.model.seen, self.model.bounded)

    def __repr__(self):
        return f"DeepLimits(depth={self.depth}, rates={self.rates!r}, loss={self.model.loss.name!r})"


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

    Examples
    --------
    >>> lim = dmft.limits.shallow()
    >>> lim.band
    (q_eta + q_sigma >= -1/2) & (q_eta + q_sigma <= 0)
    >>> lim.classify(q_sigma="-1", q_eta="1")
    <M2: mean field, layers a, w, where q_eta + q_sigma = 0, q_eta + 2*q_sigma = -1>
    >>> lim.classify(q_sigma="3", q_eta="0") is None, lim.violated(q_sigma="3", q_eta="0")
    (True, (q_eta + q_sigma <= 0,))
    """
    return _shallow(checks.choice("loss", loss, tuple(LOSSES)), checks.choice("rates", rates, ("common", "layer-wise")))


def _violations(conditions, values, exact):
    """The violated ones of several conditions, and the values of their left sides."""
    for relation in _sorted_args(conditions):
        value = relation.lhs.subs(values)
        if not relation.func(value, relation.rhs):
            yield relation, value if exact else f"{float(value):g}"


def _sorted_args(conditions):
    return sorted(sympy.And.make_args(conditions), key=sympy.default_sort_key)


@functools.cache
def _shallow(loss, rates):
    return Limits(_derivation.derive(loss, rates))


def deep(depth, rates="common", loss="logistic", *, identify_random_features=True, bounded_increments=False):
    """The stable limits of networks with `depth` hidden layers under gradient descent, derived once and kept.

    f(x) = sigma W^n phi(W^L ... phi(W^1 x)), L = depth, n = L + 1, with entries of order one in W(0) and phi homogeneous. With one common
    rate there are 13 limits at every depth, with layer-wise rates 13 (2^n - 1) + 5 n 2^(n-1) - 10: 49, 141, 345 for L = 1, 2, 3.

    Parameters
    ----------
    depth : int
        From 1 to 8.
    rates : {"common", "layer-wise"}
        One exponent of the reduced learning rate, or one for each weight layer.
    loss : {"logistic", "hinge", "mse", "softmax"}
    identify_random_features : bool
        Count a network of which only the readout moves once, whether or not its increments reach its initial weights: then it is linear
        in what moves. Without it the numbers are 59, 151, 355.
    bounded_increments : {False, True, "hidden"}
        Count only dynamics in which no layer forgets its initial weights (34, 86, 190), or no layer but the readout (39, 101, 225), as is
        natural if phi is not homogeneous.

    Returns
    -------
    DeepLimits

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.

    Examples
    --------
    >>> len(dmft.limits.deep(depth=2).classes)
    13
    >>> dmft.limits.deep(depth=1, rates="layer-wise").violation(1, ["0", "0"])
    'q_eta_1 + q_eta_2 + 2*q_sigma <= 0 (it is 2)'
    """
    depth = checks.integer("depth", depth, 1, _DEEPEST)
    checks.choice("rates", rates, ("common", "layer-wise"))
    checks.choice("loss", loss, tuple(LOSSES))
    identify = checks.flag("identify_random_features", identify_random_features)
    checks.choice("bounded_increments", bounded_increments, (False, True, "hidden"))
    return _deep(depth, rates, loss, identify, bounded_increments)


@functools.cache
def _deep(depth, rates, loss, identify, bounded):
    return DeepLimits(depth, rates, deep_limits.model(depth, rates, loss, identify, bounded))
