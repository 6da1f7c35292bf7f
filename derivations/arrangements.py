"""Exact cells of an arrangement of affine forms: Fourier-Motzkin elimination on fractions, with a rational witness for each cell.

An affine form c + a_1 x_1 + ... + a_n x_n is the tuple (c, a_1, ..., a_n) of fractions. Nothing is ever rounded: that a set is
empty is proven by an elimination that ends in a false statement about constants, that it is not by a point, which is verified.

Source: docs/theory/deep_classes.md, section 3; docs/theory/shallow_limits.md, section 3.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import sympy

_HOLDS = {"=": lambda v: v == 0, ">": lambda v: v > 0, ">=": lambda v: v >= 0}


@dataclass(frozen=True)
class Cell:
    """A relatively open convex set on which every form has one sign.

    Attributes
    ----------
    signs : tuple of {-1, 0, 1}
        One for each form.
    dimension : int
    witness : tuple of Fraction
        A point of the cell.
    """

    signs: tuple
    dimension: int
    witness: tuple


def affine(expression, symbols):
    """The form (c, a_1, ..., a_n) of a sympy expression that is affine in `symbols`; ValueError if it is not."""
    terms = sympy.expand(expression).as_coefficients_dict()
    numbers = [terms.pop(sympy.S.One, sympy.S.Zero), *(terms.pop(s, sympy.S.Zero) for s in symbols)]
    if any(terms.values()) or not all(v.is_Rational for v in numbers):
        raise ValueError(f"{expression} is not affine in {', '.join(map(str, symbols))} with rational coefficients")
    return tuple(Fraction(int(v.p), int(v.q)) for v in numbers)


def holds(relation, number):
    """Whether `number` is "=", ">" or ">=" zero."""
    return _HOLDS[relation](number)


def value(form, point):
    """The form at a point."""
    return form[0] + sum(a * x for a, x in zip(form[1:], point, strict=True))


def sign(number):
    """-1, 0 or 1."""
    return (number > 0) - (number < 0)


def signed(form, s):
    """The constraint that a form has sign `s`."""
    return (form, "=") if s == 0 else (tuple(s * v for v in form), ">")


def witness(constraints, size):
    """A rational point of R^size that meets all constraints, or None if there is none.

    Parameters
    ----------
    constraints : iterable of (form, relation)
        Relation "=", ">" or ">=", to zero.
    size : int
        Number of variables.

    Returns
    -------
    tuple of Fraction or None
    """
    constraints = list(constraints)
    point = _eliminate(constraints, size)
    assert point is None or all(_HOLDS[relation](value(form, point)) for form, relation in constraints)
    return point


def _eliminate(constraints, size):
    """Eliminate the last variable, solve for the others, substitute back."""
    rows = {}
    for form, relation in constraints:
        if any(form[1:]):
            rows[_normalised(form), relation] = None
        elif not _HOLDS[relation](form[0]):
            return None
    if size == 0:
        return ()
    pivot = next((form for form, relation in rows if relation == "=" and form[-1]), None)
    if pivot is not None:
        root = _bound(pivot)
        head = _eliminate([(tuple(u + form[-1] * v for u, v in zip(form[:-1], root)), relation) for form, relation in rows], size - 1)
        return None if head is None else (*head, value(root, head))
    lower = [(_bound(form), relation) for form, relation in rows if form[-1] > 0]
    upper = [(_bound(form), relation) for form, relation in rows if form[-1] < 0]
    free = [(form[:-1], relation) for form, relation in rows if not form[-1]]
    between = [(tuple(h - l for h, l in zip(high, low)), ">=" if r == s == ">=" else ">") for low, r in lower for high, s in upper]
    head = _eliminate(free + between, size - 1)
    if head is None:
        return None
    low = max((value(form, head) for form, _ in lower), default=None)
    high = min((value(form, head) for form, _ in upper), default=None)
    return (*head, _between(low, high))


def _normalised(form):
    scale = abs(next(v for v in form[1:] if v))
    return tuple(v / scale for v in form)


def _bound(form):
    """The last variable as a form of the others, where `form` vanishes."""
    return tuple(-v / form[-1] for v in form[:-1])


def _between(low, high):
    """A simple number between two bounds that leave room; None stands for no bound."""
    if low is None and high is None:
        return Fraction(0)
    if high is None:
        return Fraction(math.floor(low) + 1)
    if low is None:
        return Fraction(math.ceil(high) - 1)
    return (low + high) / 2


def rank(forms):
    """Rank of the linear parts."""
    rows = []
    for _, *slopes in forms:
        for pivot, row in rows:
            slopes = [a - slopes[pivot] * b for a, b in zip(slopes, row)]
        pivot = next((j for j, v in enumerate(slopes) if v), None)
        if pivot is not None:
            rows.append((pivot, [v / slopes[pivot] for v in slopes]))
    return len(rows)


def primitive(form):
    """The positive multiple whose slopes are coprime integers."""
    slopes = [Fraction(v) for v in form[1:]]
    common = math.lcm(*(v.denominator for v in slopes))
    factor = Fraction(common, math.gcd(*(int(v * common) for v in slopes)))
    return tuple(factor * v for v in form)


def cells(forms, allowed, size):
    """All cells on which form i has a sign of `allowed[i]`: the sign vectors that are feasible, form by form.

    Parameters
    ----------
    forms : sequence of tuple of Fraction
    allowed : sequence of iterable of {-1, 0, 1}
        Restricts the arrangement to a polytope, open or closed, whose faces are among the forms.
    size : int
        Number of variables.

    Returns
    -------
    list of Cell
        In lexicographic order of the signs.
    """
    found = [((), (Fraction(0),) * size)]
    for form, signs in zip(forms, allowed, strict=True):
        extended = []
        for prefix, point in found:
            for s in sorted(signs):
                fits = sign(value(form, point)) == s
                inside = point if fits else witness([*map(signed, forms, prefix), signed(form, s)], size)
                if inside is not None:
                    extended.append(((*prefix, s), inside))
        found = extended
    return [Cell(s, size - rank([f for f, v in zip(forms, s) if v == 0]), point) for s, point in found]


def constraint(relation, symbols):
    """The constraint (form, relation) that a sympy relation between affine expressions states."""
    form, operator = affine(relation.lhs - relation.rhs, symbols), relation.rel_op
    if operator[0] == "<":
        return tuple(-v for v in form), operator.replace("<", ">")
    return form, operator.replace("==", "=")


def clip(polygon, constraints):
    """Corners of the part of a convex polygon where all constraints hold up to their boundary.

    Parameters
    ----------
    polygon : sequence of (Fraction, Fraction)
        Corners in order.
    constraints : iterable of (form, relation)

    Returns
    -------
    list of (Fraction, Fraction)
        Corners in order; two for a segment, one for a point.
    """
    for form, relation in constraints:
        polygon = _cut(polygon, form)
        if relation == "=":
            polygon = _cut(polygon, tuple(-v for v in form))
    return polygon


def _cut(polygon, form):
    """The part of a convex polygon where `form` is not negative."""
    kept = []
    for p, q in zip(polygon, [*polygon[1:], *polygon[:1]]):
        u, v = value(form, p), value(form, q)
        if u >= 0:
            kept.append(p)
        if u * v < 0:
            kept.append(tuple(a + (b - a) * u / (u - v) for a, b in zip(p, q)))
    return list(dict.fromkeys(kept))
