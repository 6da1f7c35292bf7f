"""Activations as power counting sees them: homogeneity, parity and value at zero, read off their formulas.

Source: docs/theory/deep_parameterizations.md, section 2.1 (R4, R6); arXiv 2110.15596.
"""

import functools
from dataclasses import dataclass
from fractions import Fraction

import sympy

Z = sympy.Symbol("z", real=True)
_SCALE = sympy.Symbol("s", positive=True)
_FAR = 1000


@dataclass(frozen=True)
class ActivationClass:
    """What decides the exponents of phi(h) and phi'(h).

    Attributes
    ----------
    name : str
    degree : Fraction or None
        phi is positively homogeneous of this degree; None: phi is smooth, with phi'(0) != 0.
    odd : bool
        phi(-z) = -phi(z).
    offset : bool
        phi(0) != 0.
    growth : int
        phi(z) grows like z^growth, 0 or 1, if it is not homogeneous.
    linear : bool
    """

    name: str
    degree: Fraction | None = None
    odd: bool = False
    offset: bool = False
    growth: int = 1
    linear: bool = False

    def __str__(self):
        if self.linear:
            return "linear"
        if self.degree is not None:
            return f"positively homogeneous of degree {self.degree}{', odd' if self.odd else ''}"
        return f"smooth, phi(0) {'!= 0' if self.offset else '= 0'}{', odd' if self.odd else ''}"


#: Representatives by name of their class, for which phi need not be known.
CLASSES = {
    "homogeneous": ActivationClass("homogeneous", degree=Fraction(1)),
    "odd": ActivationClass("odd", odd=True, growth=0),
    "smooth": ActivationClass("smooth"),
    "shifted": ActivationClass("shifted", offset=True),
}

#: Activations by formula; their classes are derived.
FORMULAS = {
    "linear": Z,
    "relu": sympy.Max(0, Z),
    "leaky_relu": sympy.Max(0, Z) + sympy.Min(0, Z) / 10,
    "relu2": sympy.Max(0, Z) ** 2,
    "relu3": sympy.Max(0, Z) ** 3,
    "tanh": sympy.tanh(Z),
    "erf": sympy.erf(Z),
    "gelu": Z * (1 + sympy.erf(Z / sympy.sqrt(2))) / 2,
    "silu": Z / (1 + sympy.exp(-Z)),
    "elu": sympy.Piecewise((Z, Z >= 0), (sympy.exp(Z) - 1, True)),
    "softplus": sympy.log(1 + sympy.exp(Z)),
    "sigmoid": 1 / (1 + sympy.exp(-Z)),
}

NAMES = (*FORMULAS, *CLASSES)


@functools.cache
def classify(name):
    """The class of an activation given by its name, or by the name of a class (one of `NAMES`)."""
    return CLASSES[name] if name in CLASSES else derive(name, FORMULAS[name])


def homogeneous(degree):
    """The class of activations that are positively homogeneous of a degree and have a mean, as powers of relu."""
    return ActivationClass(f"homogeneous, p = {degree}", degree=Fraction(degree))


def derive(name, formula):
    """The class of phi = `formula` of `Z`; ValueError if phi is neither homogeneous nor linear at leading order at zero."""
    degree = _degree(formula)
    odd = all(sympy.simplify(formula.subs(Z, z) + formula.subs(Z, -z)) == 0 for z in (sympy.Integer(1), sympy.Rational(2, 3)))
    if degree is not None:
        return ActivationClass(name, degree=degree, odd=odd, linear=odd and degree == 1)
    value, slope = (sympy.limit(f, Z, 0, "-") for f in (formula, sympy.diff(formula, Z)))
    if slope == 0:
        raise ValueError(f"{name} is not homogeneous and its derivative vanishes at zero")
    grows = any(abs(formula.subs(Z, z).evalf()) > _FAR / 2 for z in (_FAR, -_FAR))
    return ActivationClass(name, odd=odd, offset=value != 0, growth=int(grows))


def _degree(formula):
    """The degree of positive homogeneity, or None."""
    ratios = []
    for z in (sympy.Integer(1), sympy.Integer(-1)):
        whole, scaled = formula.subs(Z, z), sympy.simplify(formula.subs(Z, _SCALE * z))
        if whole != 0:
            ratios.append(sympy.simplify(_SCALE * sympy.diff(scaled, _SCALE) / scaled))
        elif scaled != 0:
            return None
    if len(set(ratios)) == 1 and ratios[0].is_Rational:
        return Fraction(int(ratios[0].p), int(ratios[0].q))
    return None
