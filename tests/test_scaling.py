"""Max-plus orders of magnitude: algebra, parity of sums over neurons, pruning, circuits."""

from fractions import Fraction

import pytest
import sympy

from derivations import arrangements, scaling
from derivations.scaling import Order, power

p, q, u, v = sympy.symbols("p q u v")
ODD, EVEN = Order(odd=frozenset({sympy.Integer(0)})), power(0)


def test_products_add_exponents_and_multiply_parities():
    assert (ODD * ODD).even == {0} and not (ODD * ODD).odd
    assert (power(p) * (ODD + power(q))) == Order(even=frozenset({p + q}), odd=frozenset({p}))


def test_zero_annihilates_and_adds_nothing():
    assert Order() * EVEN == Order() and EVEN + Order() == EVEN


def test_sums_grow_by_parity():
    assert power(p).summed() == {p + 1}
    assert (ODD * power(p)).summed() == {p + sympy.Rational(1, 2)}


def test_pruning_keeps_what_is_largest_somewhere():
    region = [(arrangements.affine(-p, (p,)), ">=")]
    assert scaling.prune({p, 2 * p}, region, (p,)) == {p}
    assert scaling.prune({p, 2 * p, sympy.Integer(-1)}, region, (p,)) == {p, sympy.Integer(-1)}
    assert len(scaling.prune({p, 2 * p}, [(arrangements.affine(p, (p,)), "=")], (p,))) == 1


def test_transfer_reads_weights_and_refuses_products_of_unknowns():
    edges = scaling.transfer({"a": {p, p + v}, "b": {q, q + u}}, {"a": u, "b": v})
    assert edges == {("b", "a"): {p}, ("a", "b"): {q}}
    with pytest.raises(ValueError, match="not max-plus linear"):
        scaling.transfer({"a": {u + v}}, {"a": u, "b": v})


def test_elementary_circuits():
    edges = {("a", "b"): {p}, ("b", "a"): {q}, ("b", "b"): {p, q}, ("b", "c"): {q}}
    assert scaling.circuits(edges) == [(("a", "b"), p + q), (("b",), p), (("b",), q)]


@pytest.mark.parametrize("rates", [(x, y) for x in range(-3, 4) for y in range(-3, 4)])
def test_circuits_decide_whether_increments_stay_bounded(rates):
    """Brute force: iterate the recursion of the increments in numbers; docs/theory/shallow_limits.md, lemma 2."""
    alpha_a, alpha_w = (Fraction(r, 4) for r in rates)
    history = [(alpha_a, alpha_w)]
    for _ in range(12):
        a, w = history[-1]
        history.append((max(a, alpha_a + max(0, w)), max(w, alpha_w + max(0, a))))
    assert (history[-1] == history[3]) == (alpha_a + alpha_w <= 0)
