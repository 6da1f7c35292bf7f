"""Power counting in deep networks: tables of exponents, rates that are solved for, proofs for all times, the stable polytope.

The tables are typed here from docs/theory/deep_parameterizations.md, section 2, and arXiv 2110.15596; `deep_networks` trains the finite
networks that check the exponents.
"""

import time
from fractions import Fraction as F
from itertools import combinations, product

import deep_networks
import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dmft
from derivations import activations, arrangements, deep, deep_analysis, induction, polytope, rates, signals
from dmft.parameterizations import NAMES

HALF = F(1, 2)
DEPTHS = range(1, 8)
RELU, TANH, GELU, SOFTPLUS = (activations.classify(name) for name in ("relu", "tanh", "gelu", "softplus"))
P = sympy.Symbol("p", positive=True)


def ip(depth):
    """A and E of integrable parameterizations with the rates of mean-field networks."""
    return (0, *[1] * depth), (-1, *[0] * (depth - 1), 1)


def count(name, depth, activation=RELU, **options):
    return deep.power_counting(dmft.parameterization(name, depth, **options).scaling, activation)


def mean_power_sum(p, depth):
    """(p + ... + p^(L-1)) / 2."""
    return HALF * sum(p**k for k in range(1, depth))


@pytest.mark.parametrize("depth", DEPTHS)
def test_integrable_at_initialization(depth):
    for activation in (RELU, TANH, GELU):
        counting = count("integrable", depth, activation)
        assert counting.values("h", 0) == tuple(-F(l - 1, 2) for l in range(1, depth + 1))
        assert counting.values("dh", 0) == tuple(-1 - F(depth - l, 2) for l in range(1, depth + 1))
        assert counting.value("f", depth + 1, 0) == -F(depth, 2)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_homogeneous_activations_at_initialization(depth, p):
    """The sum of the exponents of dh^l and x^(l-1) is the same in all layers."""
    counting = deep.power_counting(deep.scaling(*ip(depth)), activations.homogeneous(p), steps=1)
    h = [0] + [-HALF * sum(p**k for k in range(l - 1)) for l in range(2, depth + 1)]
    assert counting.values("h", 0) == tuple(h)
    assert counting.values("x", 0) == tuple(p * e for e in h)
    assert counting.value("f", depth + 1, 0) == -HALF - mean_power_sum(p, depth)
    x, dh = counting.values("x", 0), counting.values("dh", 0)
    assert dh[0] == -1 - mean_power_sum(p, depth)
    assert {dh[l] + x[l - 1] for l in range(1, depth)} <= {-HALF - mean_power_sum(p, depth)}
    symbolic = rates.initial(ip(depth)[0], P)
    for name, signal in (("h", symbolic.h), ("x", symbolic.x), ("dx", symbolic.dx), ("dh", symbolic.dh)):
        assert counting.values(name, 0) == tuple(F(str(e.subs(P, p))) for e in signal)
    assert counting.value("f", depth + 1, 0) == F(str(symbolic.f.subs(P, p)))


@pytest.mark.parametrize("depth", DEPTHS)
def test_shifted_activation_at_initialization(depth):
    counting = count("integrable", depth, SOFTPLUS)
    assert counting.values("h", 0) == (0, *[-HALF] * (depth - 1))
    assert counting.values("x", 0) == (0,) * depth
    assert counting.value("f", depth + 1, 0) == -HALF
    assert counting.values("dh", 0) == tuple(-1 - F(depth - l, 2) for l in range(1, depth + 1))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("name", "f", "dh"), [("mup", -HALF, -1), ("ntk", 0, -HALF), ("sp", 0, -HALF)])
def test_order_one_activations_at_initialization(depth, name, f, dh):
    for activation in (RELU, TANH):
        counting = count(name, depth, activation)
        assert set(counting.values("h", 0)) == {0} and set(counting.values("dh", 0)) == {dh}
        assert counting.value("f", depth + 1, 0) == f


@pytest.mark.parametrize("depth", DEPTHS)
def test_first_step_of_integrable(depth):
    for activation in (RELU, TANH):
        counting = count("integrable", depth, activation)
        updates = counting.values("update of h", 1)
        assert counting.value("change of f", depth + 1, 1) == (0 if depth <= 2 else -(depth - 2))
        assert updates[0] == -F(depth - 1, 2)
        assert updates[1:] == tuple(-F(depth - 2, 2) - F(l - 2, 2) for l in range(2, depth + 1))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_integrable_learns_with_one_or_two_hidden_layers_only(depth, activation):
    analysis = dmft.parameterization("integrable", depth).analyze(activation)
    assert analysis.regime == ("feature learning" if depth <= 2 else "trivial")
    assert analysis.result.proven == (depth >= 3)


def test_symbolic_sizes_and_rates():
    """Exponents stay linear forms of symbols: f_0 = L/2 - sum of A for p = 1, and r_l of Yang and Hu."""
    a = sympy.symbols("A1:5")
    start = rates.initial(a)
    assert sympy.expand(start.f - sympy.Rational(3, 2) + sum(a)) == 0
    e = sympy.symbols("E1:5")
    last = rates.first_updates(a, e)[-1]
    assert sympy.expand(last - (-e[3] + 1 + sympy.Integer(1) - a[0] - a[1] - a[2])) == 0
    assert sympy.expand(polytope.own_update(2, e[1], sympy.Min(a[3], e[3])) - (1 - e[1] - sympy.Min(a[3], e[3]))) == 0


@pytest.mark.parametrize("depth", [3, 5])
def test_constant_at_zero_frees_integrable(depth):
    """The readout moves at once, then one layer per step: dh^l is of order 1/m at step t >= L - l."""
    counting = deep.power_counting(dmft.parameterization("integrable", depth).scaling, SOFTPLUS, steps=3)
    assert counting.value("change of f", depth + 1, 1) == 0
    for t, l in product(range(3), range(1, depth + 1)):
        assert counting.value("dh", l, t) == (-1 if t >= depth - l else -1 - F(depth - t - l, 2))


def test_induction_holds_from_three_hidden_layers_on():
    h, dh = induction.hypothesis()
    l, L = induction.LAYER, induction.DEPTH
    assert sympy.expand(h + (l - 1) / sympy.Integer(2)) == 0 and sympy.expand(dh + 1 + (L - l) / sympy.Integer(2)) == 0
    inequalities = induction.integrable()
    assert all(i.violated(3) is None for i in inequalities)
    assert {i.name for i in inequalities if i.condition.subs(L, 2) == False} == {  # noqa: E712
        "update of W^l times x",
        "update of W^l, transposed, times dh",
    }
    real = sympy.Symbol("L", real=True)
    assert sympy.And(*(i.condition for i in inequalities)).subs(L, real).as_set() == sympy.Interval(3, sympy.oo)
    for depth in range(3, 8):
        start = rates.initial(ip(depth)[0])
        assert start.h == tuple(h.subs(l, k) for k in range(1, depth + 1))
        assert start.dh == tuple(dh.subs({l: k, L: depth}) for k in range(1, depth + 1))


@pytest.mark.parametrize("depth", DEPTHS)
def test_bounds_for_all_times(depth):
    bounds = induction.aligned(deep.scaling(*map(lambda v: tuple(map(F, v)), ip(depth))), RELU, 12)
    assert bounds.for_all_times
    assert bounds.change_of_f == (-F(depth - 1, 2) if depth >= 3 else 0)
    if depth >= 3:
        assert bounds.h == tuple(-F(l - 1, 2) for l in range(1, depth + 1))


@pytest.mark.parametrize("depth", DEPTHS)
def test_rates_of_the_first_step(depth):
    """c_1 = c_{L+1} = -(1 + (p + ... + p^(L-1))/2), c_l = c_1 - 1/2, from the requirement that every first update is of order one."""
    a, _ = ip(depth)
    solved = rates.homogeneous_rates(a, P)
    total = sum(P**k for k in range(1, depth)) / 2
    expected = [-1 - total, *[-sympy.Rational(3, 2) - total] * (depth - 1), -1 - total]
    assert all(sympy.expand(e - 2 * x - c) == 0 for e, x, c in zip(solved, a, expected, strict=True))
    for p in (1, 2, 3):
        numbers = tuple(F(str(e.subs(P, p))) for e in solved)
        found, _ = rates.first_rates(deep.scaling(*ip(depth)), activations.homogeneous(p))
        assert found == numbers
        par = dmft.parameterization("ip-llr", depth, degree=p)
        assert par.scaling.rate == numbers
        assert set(par.analyze("relu" if p == 1 else f"relu{p}").first_updates) == {0}


@pytest.mark.parametrize("depth", DEPTHS)
def test_rates_for_the_other_classes(depth):
    """docs/theory/deep_parameterizations.md, section 2.4, last two bullets, and the row of IP-bias."""
    a, _ = ip(depth)
    layers = range(2, depth + 1)
    odd, _ = rates.first_rates(deep.scaling(*ip(depth)), TANH)
    if depth >= 2:
        c = [-F(depth + 1, 2), *(-F(depth + (2 if l == 2 else 3), 2) for l in layers), -F(depth + 2, 2)]
        assert odd == tuple(2 * x + e for x, e in zip(a, c))
    shifted = tuple(2 * x + e for x, e in zip(a, [-F(depth + 1, 2), *(-F(depth - l + 4, 2) for l in layers), -1]))
    assert rates.first_rates(deep.scaling(*ip(depth)), SOFTPLUS)[0] == shifted
    biased = deep.scaling(*ip(depth), bias=(0,) * (depth + 1))
    for activation in (RELU, TANH, GELU):
        weights, biases = rates.first_rates(biased, activation)
        assert weights == shifted
        assert biases == (*(-F(depth - l + 2, 2) for l in range(1, depth + 1)), 0)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("activation", [TANH, GELU])
def test_large_first_rates_fail_for_activations_linear_at_zero(depth, activation):
    counting = count("ip-llr", depth, activation)
    assert counting.values("h", 1) == tuple(0 if l <= 2 else -F(l - 2, 2) for l in range(1, depth + 1))
    assert counting.value("f", depth + 1, 1) == (0 if depth <= 2 else -F(depth - 2, 2))
    assert counting.value("update of f", depth + 1, 1) == (0 if depth == 1 else -F(depth - 1, 2))


@pytest.mark.parametrize("depth", DEPTHS)
def test_large_first_rates_move_every_layer(depth):
    for name, activation in product(("ip-llr", "ip-bias"), (RELU, TANH, GELU)):
        if name == "ip-bias" or activation is RELU:
            counting = count(name, depth, activation)
            assert set(counting.values("update of h", 1)) == {0} and counting.value("update of f", depth + 1, 1) == 0


@pytest.mark.parametrize("depth", DEPTHS)
def test_integrable_with_large_rates_is_rescaled_mup(depth):
    """Exact powers of the width between the two networks, and none between their first updates."""
    mup, integrable = dmft.parameterization("mup", depth).scaling, dmft.parameterization("integrable", depth).scaling
    first = rates.homogeneous_rates(integrable.size, P)
    relation = rates.rescaling(integrable.size, first, mup.size, mup.rate, P)
    assert set(relation.updates) == {0}
    ours, theirs = rates.initial(integrable.size, P), rates.initial(mup.size, P)
    for name in ("h", "x", "dx", "dh"):
        exponents = [sympy.expand(a - b) for a, b in zip(getattr(ours, name), getattr(theirs, name))]
        assert tuple(exponents) == getattr(relation, name)


def test_rescaling_is_exact_in_finite_networks():
    """Forward and backward pass of a small cubic network with both sizes of weights: the same numbers up to powers of the width."""
    depth, m, p, rng = 3, 7, 2, np.random.default_rng(0)
    gaussians = [rng.standard_normal((m, 2)), rng.standard_normal((m, m)), rng.standard_normal((m, m)), rng.standard_normal((1, m))]
    xi = rng.standard_normal((2, 1))
    mup, integrable = dmft.parameterization("mup", depth).scaling, dmft.parameterization("integrable", depth).scaling

    def passes(network):
        weights = [g * float(m) ** -float(a) for g, a in zip(gaussians, network.size)]
        x, h = [xi], []
        for w in weights[:-1]:
            h.append(w @ x[-1])
            x.append(np.maximum(h[-1], 0) ** p)
        dh = [weights[-1].T * p * np.maximum(h[-1], 0) ** (p - 1)]
        for w, below in zip(weights[-2:0:-1], h[-2::-1]):
            dh.insert(0, (w.T @ dh[0]) * p * np.maximum(below, 0) ** (p - 1))
        return x[1:], dh

    relation = rates.rescaling(integrable.size, rates.homogeneous_rates(integrable.size, p), mup.size, mup.rate, sympy.Integer(p))
    for signals_of, exponents in zip(zip(passes(integrable), passes(mup)), (relation.x, relation.dh)):
        for ours, theirs, e in zip(*signals_of, exponents):
            np.testing.assert_allclose(ours, theirs * float(m) ** float(e), rtol=1e-12)


@pytest.mark.parametrize("depth", DEPTHS)
def test_hybrid_mup_has_the_exponents_of_large_first_rates_afterwards(depth):
    hybrid, large = count("hybrid-mup", depth), count("ip-llr", depth)
    for t in (1, 2):
        for signal in ("h", "x", "f", "update of h", "update of f"):
            assert hybrid.values(signal, t) == large.values(signal, t)
    assert hybrid.values("dh", 1) == large.values("dh", 1)


def test_odd_activations_defeat_hybrid_mup():
    assert count("hybrid-mup", 4, TANH).values("h", 1) == (0, 0, -HALF, -1)
    assert set(count("hybrid-mup", 4, GELU).values("h", 1)) == {0}


@pytest.mark.parametrize("depth", DEPTHS)
def test_non_centered_weights_never_vanish(depth):
    counting = count("ip-non-centered", depth)
    assert set(counting.values("h", 0)) == {0} and set(counting.values("dh", 0)) == {-1}
    assert set(counting.values("change of h", 1)) == {0}


def test_exponents_of_seven_hidden_layers_take_a_moment():
    start = time.perf_counter()
    for name in NAMES:
        dmft.parameterization(name, 7).analyze("relu")
    assert time.perf_counter() - start < 5


def test_symmetry_on_the_table_of_forms():
    """Rows of docs/theory/deep_parameterizations.md, section 1, that are the same parameterization."""
    for depth in DEPTHS:
        hidden = depth - 1
        forms = [
            ((-HALF, *[0] * hidden, HALF), (HALF,) * (depth + 1), (0,) * (depth + 1)),
            ((0, *[HALF] * hidden, 1), (0,) * (depth + 1), (-1,) * (depth + 1)),
            ((0,) * (depth + 1), (0, *[HALF] * hidden, 1), (-1, *[0] * hidden, 1)),
        ]
        assert len({deep.invariants(*form) for form in forms}) == 1
        mup = dmft.parameterization("mup", depth).scaling
        assert deep.invariants(*forms[0]) == (mup.size, mup.rate)


exponents = st.fractions(-2, 3, max_denominator=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(exponents, exponents, exponents, st.fractions(-3, 3, max_denominator=7)), min_size=2, max_size=4))
def test_analysis_depends_on_invariants_only(layers):
    a, b, c, theta = zip(*layers)
    shifted = [tuple(v) for v in zip(*((x + t, y - t, z - 2 * t) for x, y, z, t in layers))]
    assert deep.invariants(a, b, c) == deep.invariants(*shifted)
    assert dmft.ABC(a, b, c).analyze("relu").exponents == dmft.ABC(*shifted).analyze("relu").exponents
    assert dmft.ABC(a, b, c).rescaled(theta).scaling == dmft.ABC(a, b, c).scaling


rate_exponents = st.fractions(-1, 2, max_denominator=2)


@settings(max_examples=150, deadline=None)
@given(st.fractions(HALF, 2, max_denominator=4), st.lists(rate_exponents, min_size=2, max_size=4), st.sampled_from([RELU, TANH]))
def test_step_by_step_counting_agrees_with_the_conditions_of_yang_and_hu(size, rates_, activation):
    depth = len(rates_) - 1
    network = deep.scaling((0, *[HALF] * (depth - 1), size), rates_)
    assert deep_analysis.analyze(network, activation).regime == polytope.classify(network).regime


@pytest.mark.parametrize(
    ("name", "options", "regime", "layers"),
    [
        ("sp", {}, "unstable", (0, -1, -1, -1)),
        ("sp", {"rate": 1}, "kernel", (F(3, 2), HALF, HALF, HALF)),
        ("ntk", {}, "kernel", (HALF,) * 4),
        ("mup", {}, "feature learning", (0,) * 4),
    ],
)
def test_yang_and_hu(name, options, regime, layers):
    found = polytope.classify(dmft.parameterization(name, 4, **options).scaling)
    assert (found.regime, found.layers, found.r) == (regime, layers, min(layers))
    assert not polytope.applicable(dmft.parameterization("integrable", 4).scaling)


@pytest.mark.parametrize(("name", "options", "kernels"), [("ntk", {}, (1, 2, 3, 4, 5)), ("sp", {"rate": 1}, (2, 3, 4, 5))])
def test_layers_of_the_limit_kernel(name, options, kernels):
    assert polytope.classify(dmft.parameterization(name, 4, **options).scaling).kernels == kernels


def forms(depth):
    return [arrangements.affine(c.form, polytope.symbols(depth)) for c in polytope.conditions(depth)]


@pytest.mark.parametrize("depth", DEPTHS)
def test_ntk_and_mup_are_the_vertices_of_the_stable_polytope(depth):
    named = [polytope.point(dmft.parameterization(name, depth).scaling) for name in ("ntk", "mup")]
    found = polytope.stable(depth)
    assert list(found.vertices) == sorted(named)
    assert len(found.facets) == 2 + 3 * depth and found.dimension == depth + 2


@pytest.mark.parametrize("depth", [1, 2])
def test_vertices_by_brute_force(depth):
    """Every choice of as many forms as variables, solved exactly."""
    stated, corners = forms(depth), set()
    for chosen in combinations(stated, depth + 2):
        matrix = sympy.Matrix([list(map(sympy.Rational, form[1:])) for form in chosen])
        if matrix.det() != 0:
            solution = matrix.LUsolve(sympy.Matrix([-sympy.Rational(form[0]) for form in chosen]))
            corner = tuple(F(int(v.p), int(v.q)) for v in solution)
            if all(arrangements.value(form, corner) >= 0 for form in stated):
                corners.add(corner)
    assert sorted(corners) == list(polytope.stable(depth).vertices)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_facets_agree_with_z3(depth):
    """A form is a facet if and only if its negation is compatible with the other facets; equal forms count once."""
    z3 = pytest.importorskip("z3")
    stated, names = forms(depth), z3.Reals(" ".join(map(str, polytope.symbols(depth))))
    terms = [z3.Q(int(f[0] * 2), 2) + sum(z3.Q(int(s), 1) * v for s, v in zip(f[1:], names)) for f in stated]
    facets = set(polytope.stable(depth).facets)
    for i in range(len(stated)):
        solver = z3.Solver()
        solver.add(terms[i] < 0, *(terms[k] >= 0 for k in facets - {i}))
        assert (solver.check() == z3.sat) == (i in facets)


def test_faces_of_known_polyhedra():
    quadrant = [(F(0), F(1), F(0)), (F(0), F(0), F(1))]
    assert polytope.polyhedron(quadrant).faces() == (1, 2, 1)
    square = [*quadrant, (F(1), F(-1), F(0)), (F(1), F(0), F(-1)), (F(5), F(-1), F(-1))]
    found = polytope.polyhedron(square)
    assert found.faces() == (4, 4, 1) and found.facets == (0, 1, 2, 3) and not found.rays
    cube = [tuple(F(s if j else (s < 0)) if j in (0, i) else F(0) for j in range(4)) for i in (1, 2, 3) for s in (1, -1)]
    assert polytope.polyhedron(cube).faces() == (8, 12, 6, 1)


def test_faces_of_the_stable_polytope():
    """Euler's relation of a pointed unbounded polyhedron: the alternating sum over its faces vanishes."""
    for depth in (1, 2, 3):
        counts = polytope.stable(depth).faces()
        assert counts[0] == 2 and counts[-2:] == (2 + 3 * depth, 1)
        assert sum((-1) ** k * n for k, n in enumerate(counts)) == 0


def test_signals_by_hand():
    """A Gaussian u and an independent one r: tanh of their sum has parts odd in one of them only, relu all of them."""
    u, r = signals.single(1, F(0)), signals.single(2, F(-1, 2))
    assert signals.activate(TANH, u | r).parts == {1: 0, 2: -HALF}
    assert signals.activate(RELU, u | r).parts == {0: 0, 1: 0, 2: -HALF, 3: -HALF}
    shared = signals.CONSTANT.shifted(1)
    assert signals.activate(RELU, shared | u).parts == {signals.SAME: 1, 1: 0, 0: -1} and (shared | u).spread == 0
    assert signals.activate(RELU, u, r).parts == {2: -HALF, 3: -HALF, 0: -1, 1: -1}
    assert signals.slope(TANH, u, r).parts == {3: -HALF, 0: -1}
    assert signals.overlap(u, r) == -1 and signals.overlap(u, u) == 0 and u.mean == -HALF
    assert (u * r).parts == {3: -HALF}


@pytest.mark.parametrize(
    ("name", "degree", "odd", "offset", "growth"),
    [
        ("relu", 1, False, False, 1),
        ("leaky_relu", 1, False, False, 1),
        ("relu2", 2, False, False, 1),
        ("linear", 1, True, False, 1),
        ("tanh", None, True, False, 0),
        ("erf", None, True, False, 0),
        ("gelu", None, False, False, 1),
        ("silu", None, False, False, 1),
        ("elu", None, False, False, 1),
        ("softplus", None, False, True, 1),
        ("sigmoid", None, False, True, 0),
    ],
)
def test_classes_of_activations(name, degree, odd, offset, growth):
    found = activations.classify(name)
    assert (found.degree, found.odd, found.offset) == (degree, odd, offset)
    assert degree is not None or found.growth == growth
    assert found.linear == (name == "linear")


def test_activations_that_are_not_covered():
    with pytest.raises(ValueError, match="vanishes at zero"):
        activations.derive("gaussian", sympy.exp(-(activations.Z**2)) - 1)


#: Learning rates picked from a scan over 0.3, 0.8, 3, 10, 30, 100 for slopes that have settled at these widths: the exponents hold at any
#: fixed rate for width to infinity, but at small rates initial weights still hide what training adds, and at large ones h saturates or
#: blows up; docs/theory/deep_parameterizations.md, section 6, items 2 and 4.
LARGE = {"sp": 10.0, "ip-llr": 10.0, "ip-bias": 10.0, "hybrid-mup": 10.0}
#: Left out because its slopes at step 2 have not settled at these widths (-0.35 to -0.83 for a derived 0); between 2048 and 4096, at rate 3
#: and ten seeds, they are 0 within 0.02.
SLOW = {("ip-llr", "gelu")}
WIDTHS, SEEDS, BIAS, SHARP = (128, 256, 512, 1024, 2048), 12, 0.2, 0.5


def shrinking(depth):
    """Parameterizations without a name: initial weights of the readout, or of the last hidden layer, count for less after a step."""
    for name, layer in (("mup", -1), ("ntk", -1), ("mup", -2)):
        par = dmft.parameterization(name, depth)
        b_later = list(par.b)
        b_later[layer] += HALF
        yield dmft.ABC(par.a, par.b, par.c, b_later=b_later)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_exponents_of_finite_networks(depth):
    """Every exponent of every named parameterization, up to two updates; most fits are sharper than the distance of two exponents."""
    chosen = ("relu", "tanh", "gelu", "softplus") if depth == 3 else ("relu", "tanh")
    pairs = [pair for pair in product(NAMES, chosen) if pair not in SLOW]
    cases = [(dmft.parameterization(name, depth), activation, LARGE.get(name, 3.0)) for name, activation in pairs]
    cases.append((dmft.parameterization("sp", depth, rate=1), "relu", 3.0))
    cases += [(par, activation, 3.0) for par in shrinking(depth) for activation in chosen[:2]]
    fits = deep_networks.fitted(cases, depth, WIDTHS, SEEDS)
    tolerances = []
    for i, (par, activation, _) in enumerate(cases):
        derived = par.analyze(activation).exponents
        for key, (slopes, errors) in fits.items():
            if key not in derived:
                continue
            tolerances.append(BIAS + 4 * errors[i])
            assert abs(slopes[i] - float(derived[key])) < tolerances[-1], (par, activation, key, derived[key], slopes[i], errors[i])
    assert len(tolerances) > 20 * len(cases) and np.mean(np.array(tolerances) < SHARP) > 0.75
