"""Run a computation that compares affine exponents, at one point or on every piece of a region on which it decides alike.

Power counting is a short program over exponents: sums, and questions which of two is larger. At a point of the space of scaling
exponents the questions have answers. On a region of that space, `pieces` answers every question in all ways that some point of the
region allows, each a convex polyhedron, and follows all of them: a partition of the region into polyhedra, with the result of the
program on each. A question with one possible answer costs no piece. Feasibility is decided by `arrangements.witness`, exactly.

Source: docs/theory/deep_classes.md, section 3 (route A).
"""

import functools
import itertools
from dataclasses import dataclass

from . import arrangements


@dataclass(frozen=True)
class Piece:
    """A relatively open or half-open polyhedron on which a program takes the same decisions.

    Attributes
    ----------
    constraints : tuple of (form, relation)
        Those of the region, then the decisions that were not forced.
    witness : tuple of Fraction
    result
        What the program returns.
    """

    constraints: tuple
    witness: tuple
    result: object


@functools.lru_cache(maxsize=1 << 16)
def form(expression, symbols):
    """`arrangements.affine`, remembered."""
    return arrangements.affine(expression, symbols)


class Point:
    """Answers at one point.

    Parameters
    ----------
    symbols : tuple of sympy.Symbol
    point : tuple of Fraction

    Attributes
    ----------
    asked : list of tuple of Fraction
        The forms whose sign was asked.
    """

    def __init__(self, symbols, point):
        self.symbols, self.point, self.asked = symbols, point, []

    def _at(self, expression):
        return arrangements.value(form(expression, self.symbols), self.point)

    def sign(self, expression):
        """-1, 0 or 1."""
        self.asked.append(form(expression, self.symbols))
        return arrangements.sign(self._at(expression))

    def exceeds(self, left, right):
        """Whether left > right."""
        return self.sign(left - right) > 0

    def largest(self, expressions):
        """Keys of all expressions (a dictionary) that no other exceeds."""
        keys = list(expressions)
        self.asked += [form(expressions[i] - expressions[j], self.symbols) for i, j in itertools.combinations(keys, 2)]
        top = max(map(self._at, expressions.values()))
        return tuple(key for key in keys if self._at(expressions[key]) == top)


class _Path(Point):
    """Answers at a point, collecting the other answers that are possible under the same constraints."""

    def __init__(self, symbols, point, constraints, answers):
        super().__init__(symbols, point)
        self.constraints, self.answers, self.turns = list(constraints), answers, []
        self._given = []
        self._known = {}

    def _replayed(self):
        return len(self._given) < len(self.answers)

    def _record(self, answer):
        self._given.append(answer)
        return answer

    def _possible(self, bounds):
        return arrangements.witness([*self.constraints, *bounds], len(self.symbols))

    def _choose(self, options, here):
        """Take the option `here`; options are {answer: constraints}, those that are possible become turns."""
        if self._replayed():
            return self._record(self.answers[len(self._given)])
        turns = [(answer, bounds, self._possible(bounds)) for answer, bounds in options.items() if answer != here]
        turns = [turn for turn in turns if turn[2] is not None]
        for answer, bounds, point in turns:
            self.turns.append((point, (*self.constraints, *bounds), (*self._given, answer)))
        if turns:
            self.constraints += options[here]
        return self._record(here)

    def sign(self, expression):
        f = form(expression, self.symbols)
        here = arrangements.sign(self._at(expression))
        if not any(f[1:]):
            return here
        if f not in self._known:
            options = {s: [arrangements.signed(f, s)] for s in (-1, 0, 1)}
            if here and not self._replayed() and self._possible(options[0]) is None:
                options = {here: options[here]}
            self._known[f] = self._choose(options, here)
        return self._known[f]

    def exceeds(self, left, right):
        above = form(left - right, self.symbols)
        here = self._at(left - right) > 0
        if not any(above[1:]):
            return here
        if (above, ">") not in self._known:
            below = tuple(-v for v in above)
            self._known[above, ">"] = self._choose({True: [(above, ">")], False: [(below, ">=")]}, here)
        return self._known[above, ">"]

    def largest(self, expressions):
        here = super().largest(expressions)
        options = {here: self._top(expressions, here)}
        if not self._replayed() and any(self._possible([bound]) is not None for b in options[here] for bound in _violations(b)):
            keys = list(expressions)
            subsets = itertools.chain.from_iterable(itertools.combinations(keys, r) for r in range(1, len(keys) + 1))
            options = {subset: self._top(expressions, subset) for subset in subsets}
        return self._choose(options, here)

    def _top(self, expressions, subset):
        first, *equal = subset
        bounds = [(form(expressions[first] - expressions[other], self.symbols), "=") for other in equal]
        smaller = [(form(expressions[first] - e, self.symbols), ">") for key, e in expressions.items() if key not in subset]
        return list(dict.fromkeys(bounds + smaller))


def _violations(bound):
    above, relation = bound
    below = tuple(-v for v in above)
    return [(above, ">"), (below, ">")] if relation == "=" else [(below, ">=")]


def piece(run, symbols, region, point):
    """The piece of a region that contains a point of it; `run(answers)` is the program, `answers` a `Point`."""
    path = _Path(symbols, point, region, ())
    result = run(path)
    return Piece(tuple(path.constraints), point, result)


def pieces(run, symbols, region):
    """All pieces of a region: a partition of it.

    Parameters
    ----------
    run : callable(Point)
        Asks questions and returns a result; the same answers must lead to the same questions.
    symbols : tuple of sympy.Symbol
    region : sequence of (form, relation)

    Yields
    ------
    Piece
    """
    start = arrangements.witness(region, len(symbols))
    turns = [] if start is None else [(start, tuple(region), ())]
    while turns:
        point, constraints, answers = turns.pop()
        path = _Path(symbols, point, constraints, answers)
        result = run(path)
        turns += path.turns
        yield Piece(tuple(path.constraints), point, result)


def snapped(point, forms, tolerance):
    """The point moved so that forms that are zero up to `tolerance` vanish exactly, the first ones first where not all can."""
    rows = {}  # pivot column: row of the reduced echelon form of the linear parts that vanish
    for f in forms:
        rest = arrangements.value(f, point)
        if abs(rest) < tolerance:
            slopes = list(f[1:])
            for pivot, row in rows.items():
                slopes = [a - slopes[pivot] * b for a, b in zip(slopes, row)]
            new = next((j for j, slope in enumerate(slopes) if slope), None)
            if new is not None:
                shift = -rest / slopes[new]
                moves = {new: shift} | {pivot: -row[new] * shift for pivot, row in rows.items()}
                point = tuple(v + moves.get(j, 0) for j, v in enumerate(point))
                scaled = [slope / slopes[new] for slope in slopes]
                rows = {pivot: [a - row[new] * b for a, b in zip(row, scaled)] for pivot, row in rows.items()} | {new: scaled}
    return point
