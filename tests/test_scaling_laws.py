"""Exponents of the loss in time: the derivation, and an independent integration of the dynamics that it argues about."""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

import dmft
from derivations import scaling_laws
from derivations.scaling_laws import CAPACITY, DEPTH, SOURCE, balance
from dmft.figures.bordelon_pehlevan_2025 import _absolute as absolute
from dmft.figures.bordelon_pehlevan_2025 import _power_law as power_law


def test_derived_exponents():
    """The lazy one; the rich one, of the literature for one hidden layer and at any depth if two layers of weights grow."""
    derived = dmft.scaling_exponents()
    assert derived.lazy == SOURCE
    assert sympy.simplify(derived.hard(DEPTH + 1) - (DEPTH + 1) * SOURCE / (1 + DEPTH * SOURCE)) == 0
    assert sympy.simplify(derived.hard(2) - 2 * SOURCE / (1 + SOURCE)) == 0
    assert derived.rich.args[1] == (SOURCE, True) and derived.rich.args[0].cond == (SOURCE < 1)
    assert sympy.simplify(derived.learned(1) - 1 / CAPACITY) == 0
    assert sympy.simplify(derived.crossover - 2 / (1 - SOURCE)) == 0


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_exponents_are_continuous_and_bounded(depth):
    """Between the lazy exponent and 1 for hard tasks, growing with depth; equal to the lazy one from b = 1 on."""
    sources = [sympy.Rational(k, 10) for k in range(1, 16)]
    exponents = [dmft.scaling_exponents(depth, str(b)).rich for b in sources]
    assert all(b < e < 1 if b < 1 else e == b for b, e in zip(sources, exponents))
    assert all(e < dmft.scaling_exponents(depth + 1, str(b)).rich for b, e in zip(sources, exponents) if b < 1)
    assert sympy.limit(dmft.scaling_exponents(depth).hard(depth + 1), SOURCE, 1) == 1
    assert dmft.scaling_exponents(depth).logarithm(depth + 1) == sympy.Rational(depth, depth + 1)


def test_difficulty_is_whether_the_norm_of_the_target_is_finite():
    """The sum of w_k^2 over k < x as a definite integral, at sources of each kind."""
    k, x = sympy.symbols("k x", positive=True)
    for source, growth in ((Fraction(1, 2), sympy.oo), (1, sympy.oo), (Fraction(3, 2), 2)):
        total = sympy.integrate(k ** (CAPACITY - CAPACITY * sympy.Rational(source) - 1).subs(CAPACITY, 1), (k, 1, x))
        assert sympy.limit(total, x, sympy.oo) == growth
        assert sympy.limit(total / sympy.log(x), x, sympy.oo) == {1: 1}.get(source, sympy.oo if source < 1 else 0)
        assert scaling_laws.case(sympy.Rational(source)) == {1: "marginal"}.get(source, "hard" if source < 1 else "easy")


def test_exponents_do_not_depend_on_the_units():
    """Target c times as large, and inputs, are other amplitudes and times, not other exponents: the steps balance by powers of t alone."""
    n = sympy.Symbol("n", positive=True)
    time, logarithm = balance(n, "hard")
    assert set(logarithm.values()) == {0}
    assert sympy.simplify(CAPACITY * time["k*"] - 1 - time["K"]) == 0
    assert sympy.simplify(time["loss"] + CAPACITY * SOURCE * time["k*"]) == 0
    assert sympy.simplify(n * time["s"] - time["|M|^2"] / 2) == 0


def test_numbers_are_exact_and_printed_with_their_steps():
    exponents = dmft.scaling_exponents(depth=2, source=0.3, capacity="3/2")
    assert (exponents.lazy, exponents.rich, exponents.growing(2)) == tuple(map(sympy.Rational, ("3/10", "9/16", "6/13")))
    text = str(exponents)
    assert all(step in text for step in scaling_laws._STEPS) and "9/16" in text and "6/13" in text and "hard task" in text
    assert "factor (ln t)^-e, e = 2/3" in str(dmft.scaling_exponents(depth=2, source=1))
    assert "b*(L + 1)/(L*b + 1) if b < 1, else b" in str(dmft.scaling_exponents())


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        (dict(depth=0), ValueError, "depth"),
        (dict(depth=1.5), TypeError, "depth"),
        (dict(source=0.0), ValueError, "source"),
        (dict(source="x"), ValueError, "source"),
        (dict(capacity=-1), ValueError, "capacity"),
    ],
)
def test_what_is_no_exponent_is_refused(arguments, error, name):
    with pytest.raises(error, match=name):
        dmft.scaling_exponents(**arguments)


def balanced_flow(depth, source, capacity=1.5, start=1e-2, end=1e10):
    """Gradient flow of balanced layers of rank one, in ln t: the map M = s^(L + 1) m with |m| = 1, on modes by quadrature.

    Of every layer the singular value is s = |M|^(1/(L + 1)), and dM/dt = s^(2L) (r + L m (m . r)) with r = lambda (w - M).
    """
    head = np.arange(1, 17)
    log_edges = np.log(16.5) + np.arange(31) * (np.log(1e13) / 30)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    half = np.diff(log_edges) / 2
    tail = np.exp((log_edges[:-1] + half)[:, None] + half[:, None] * nodes).ravel()
    modes = np.concatenate((head, tail))
    counts = np.concatenate((np.ones(16), ((half[:, None] * weights).ravel() * tail)))
    eigenvalues, target = modes**-capacity, modes ** ((capacity - capacity * source - 1) / 2)

    def velocity(log_time, learned):
        norm = np.sqrt(np.sum(counts * learned**2))
        pull = eigenvalues * (target - learned)
        along = np.sum(counts * learned * pull) / norm**2
        return np.exp(log_time) * norm ** (2 * depth / (depth + 1)) * (pull + depth * along * learned)

    times = np.geomspace(1e2, end, 97)
    small = 1e-3 * target / np.sqrt(np.sum(counts * eigenvalues * target**2)) * eigenvalues**0.5
    flow = solve_ivp(velocity, np.log((start, end)), small, "BDF", np.log(times), rtol=1e-6, atol=1e-12)
    return times, np.sum((counts * eigenvalues)[:, None] * (target[:, None] - flow.y) ** 2, axis=0)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("source", ["1/2", "7/10", "3/2"])
def test_balanced_layers_follow_the_derived_exponent(depth, source):
    """Its steps take sums for their largest terms and numbers of order one for one; the flow itself does not. And not the others."""
    derived = dmft.scaling_exponents(depth, source)
    times, loss = balanced_flow(depth, float(Fraction(source)))
    fit = dmft.fit_exponent(SimpleNamespace(times=times, test_loss=loss), (1e5, 1e8))
    assert fit.error < 2e-3
    assert abs(fit.value - derived.rich) < fit.error + 2e-4
    if source != "3/2":
        others = {derived.lazy, *(derived.growing(n) for n in range(1, depth + 1))}
        assert min(abs(fit.value - other) for other in others) > 10 * fit.error


@pytest.mark.parametrize(
    ("depth", "richness", "source", "errors"),
    [(1, 1e-6, "1/2", 1), (2, 1e-6, "7/10", 1), (1, 30.0, "1/2", 1), (1, 30.0, "3/10", 1), (2, 10.0, "1/2", 2)],
)
def test_solved_flows_follow_the_derived_exponents(depth, richness, source, errors):
    """Gradient flow of infinitely wide networks on the population, lazy and rich; at two hidden layers not the exponent of one."""
    dim, end = 10**9, 1e3
    data, network = power_law(dim, float(Fraction(source))), absolute(depth, math.inf, richness, dim)
    run = dmft.GradientFlow(time=end / dim, first_time=0.05 / max(richness, 1.0) / dim)
    fit = dmft.fit_exponent(dmft.solve(network, data, run, progress=False), (end / 100 / dim, end / dim))
    derived = dmft.scaling_exponents(depth, source)
    assert fit.error < 0.01
    assert abs(fit.value - (derived.lazy if richness < 1 else derived.rich)) < errors * fit.error
    if depth == 2:
        assert abs(fit.value - (derived.rich if richness < 1 else derived.growing(2))) > 10 * fit.error
