"""Exact feasibility and cells, against z3 and against counts known in closed form."""

from fractions import Fraction
from math import comb

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from derivations import arrangements
from derivations.arrangements import cells, signed, value, witness

x, y = sympy.symbols("x y")
small = st.integers(-3, 3)
systems = st.lists(st.tuples(st.tuples(small, small, small, small), st.sampled_from(["=", ">", ">="])), max_size=7)


def forms(*expressions):
    return [arrangements.affine(sympy.sympify(e), (x, y)) for e in expressions]


@settings(max_examples=150, deadline=None)
@given(systems)
def test_feasibility_agrees_with_z3(system):
    z3 = pytest.importorskip("z3")
    system = [(tuple(map(Fraction, form)), relation) for form, relation in system]
    solver, names = z3.Solver(), z3.Reals("a b c")
    for form, relation in system:
        left = z3.Q(form[0].numerator, 1) + sum(z3.Q(s.numerator, 1) * name for s, name in zip(form[1:], names))
        solver.add({"=": left == 0, ">": left > 0, ">=": left >= 0}[relation])
    found = witness(system, 3)
    assert (found is not None) == (solver.check() == z3.sat)


def test_contradiction_among_constants_is_found():
    """q = 0 and q = -1/2 at once: only the constants left after elimination tell; docs/theory/shallow_limits.md, section 3."""
    one, half = forms("x + y", "x + y + 1/2")
    assert witness([(one, "="), (half, "=")], 2) is None
    assert witness([(one, "="), (tuple(-v for v in half), ">")], 2) is None


def test_strict_and_weak_boundaries():
    (f,) = forms("x")
    opposite = tuple(-v for v in f)
    assert witness([(f, ">="), (opposite, ">=")], 2)[0] == 0
    assert witness([(f, ">"), (opposite, ">=")], 2) is None


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_cells_of_lines_in_general_position(lines):
    """n lines: 1 + n + C(n, 2) regions, n^2 segments, C(n, 2) points."""
    found = cells(forms(*(f"{k}*x + y - {k**2}" for k in range(lines))), [(-1, 0, 1)] * lines, 2)
    dimensions = [cell.dimension for cell in found]
    assert [dimensions.count(d) for d in (2, 1, 0)] == [1 + lines + comb(lines, 2), lines**2, comb(lines, 2)]


def test_every_witness_lies_in_its_cell():
    arrangement = forms("x + y", "x - 2*y + 1", "x", "y - 1/3")
    for cell in cells(arrangement, [(-1, 0, 1)] * 4, 2):
        assert [arrangements.sign(value(f, cell.witness)) for f in arrangement] == list(cell.signs)
        assert witness(map(signed, arrangement, cell.signs), 2) is not None


def test_clip_gives_corners_of_what_is_left():
    square = [(Fraction(a), Fraction(b)) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    (diagonal,) = forms("x + y - 1")
    assert arrangements.clip(square, [(diagonal, ">")]) == [(1, 0), (1, 1), (0, 1)]
    assert arrangements.clip(square, [(diagonal, "=")]) == [(1, 0), (0, 1)]


def test_constraint_reads_a_relation():
    assert arrangements.constraint(x < 2, (x, y)) == ((2, -1, 0), ">")
    assert arrangements.constraint(sympy.Eq(x, y), (x, y)) == ((0, 1, -1), "=")


def test_what_is_not_affine_is_refused():
    with pytest.raises(ValueError, match="not affine"):
        forms("x*y")
