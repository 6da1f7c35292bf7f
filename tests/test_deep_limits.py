"""Limits at any depth: counts by three methods, agreement with the one-hidden-layer derivation, networks that confirm exponents."""

import json
import random
from collections import Counter
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
import sympy

import dmft
from derivations import arrangements, branching, deep_limits, losses, report, shallow
from derivations.deep_limits import Model, Network, derive, model
from derivations.limit_classes import REGIMES

COUNTS = {1: 49, 2: 141, 3: 345, 4: 793}
HALF = Fraction(1, 2)


def formula(depth):
    n = depth + 1
    return 13 * (2**n - 1) + 5 * n * 2 ** (n - 1) - 10


def signatures(limit_model):
    return {piece.result.signature for _, piece in limit_model.pieces}


@pytest.fixture(scope="module")
def two():
    return dmft.limits.deep(2, "layer-wise")


@pytest.mark.parametrize("depth", COUNTS)
def test_count_with_layer_wise_rates(depth):
    assert len(signatures(model(depth, "layer-wise"))) == COUNTS[depth] == formula(depth)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
def test_thirteen_with_one_rate_at_every_depth(depth):
    derivation = derive(depth)
    assert len(derivation.classes) == 13 and Counter(c.dimension for c in derivation.classes) == {2: 3, 1: 7, 0: 3}
    q_sigma, q_eta = derivation.symbols
    q = q_sigma + q_eta + sympy.Rational(depth - 1, 2)
    forms = [q_sigma + sympy.Rational(depth, 2), 2 * q_sigma + q_eta + depth, q + sympy.Rational(1, 2), q]
    assert [sympy.expand(line.lhs - line.rhs) for line in derivation.lines.values()] == forms
    assert derivation.band == sympy.And(q_sigma + q_eta >= -sympy.Rational(depth, 2), q_sigma + q_eta <= sympy.Rational(1 - depth, 2))
    points = {"N2": (-depth * HALF, 0), "M2": (-(depth + 1) * HALF, 1), "M4": (-depth * HALF, HALF)}
    assert {name: c.witness for name in points for c in derivation.classes if c.name == name} == points


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"identify_random_features": False}, [59, 151, 355]),
        ({"bounded_increments": True}, [34, 86, 190]),
        ({"bounded_increments": "hidden"}, [39, 101, 225]),
        ({"loss": "mse"}, [25, 69, 165]),
        ({"loss": "softmax"}, [49, 141, 345]),
    ],
)
def test_choices_that_change_the_count(options, counts):
    """docs/theory/deep_classes.md, section 5."""
    assert [len(signatures(model(depth, "layer-wise", **options))) for depth in (1, 2, 3)] == counts


def test_common_rate_and_loss():
    assert len(derive(3, loss="mse").classes) == 7 and len(derive(2, loss="hinge").classes) == 13


@pytest.mark.parametrize(
    ("depth", "dimensions", "regimes"),
    [
        (1, {3: 9, 2: 22, 1: 15, 0: 3}, {"N": 9, "A": 15, "M": 10, "P1": 10, "P2": 5}),
        (2, {4: 15, 3: 49, 2: 52, 1: 22, 0: 3}, {"N": 21, "A": 35, "M": 30, "P1": 20, "P2": 20, "P3": 15}),
        pytest.param(
            3,
            {5: 21, 4: 85, 3: 124, 2: 85, 1: 27, 0: 3},
            {"N": 45, "A": 75, "M": 70, "P1": 40, "P2": 40, "P3": 40, "P4": 35},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_dimensions_and_regimes(depth, dimensions, regimes):
    """The table of docs/theory/deep_classes.md, section 3; names are unique; the three points are NTK, muP and sym-default."""
    lim = dmft.limits.deep(depth, "layer-wise")
    assert Counter(c.dimension for c in lim.classes) == dimensions
    assert Counter("P" + c.forgotten[0] if c.forgotten else c.name[0] for c in lim.classes) == regimes
    assert len({c.name for c in lim.classes}) == len(lim.classes)
    assert {c.name for c in lim.classes if not c.dimension} == {"N2", "M2", "M4"}
    assert all(len(c.layers) == 1 for c in lim.classes if c.dimension == depth + 2)
    assert sum(c.signs[1] == 0 for c in lim.classes) == {1: 11, 2: 31, 3: 75}[depth]
    assert (len(lim.types()), len(lim.types(forgotten=True))) == (13, 18)
    assert all(len(c.forgotten) <= 1 for c in lim.classes)


def by_raw_rate(sizes):
    """Numbers of models and of cells on the plane of initial scales d^-sizes(A) and one raw rate d^-E."""
    symbols = size, rate = sympy.symbols("A E")
    network = Network(-sum(sizes(size)), tuple(2 * s - rate for s in sizes(size)))
    return [
        len(signatures(Model(network, symbols, losses.LOSSES["logistic"](), {}, identify_random_features=identify)))
        for identify in (True, False)
    ]


@pytest.mark.parametrize(("depth", "standard", "uniform"), [(1, [19, 29], 19), (2, [15, 21], 21), (3, [11, 17], 21), (4, [11, 17], 21)])
def test_planes_of_raw_rates(depth, standard, uniform):
    """docs/theory/deep_classes.md, section 5: one raw rate with scales of standard parameterization and a free readout, or equal scales."""
    half = sympy.Rational(1, 2)
    assert by_raw_rate(lambda size: (0, *[half] * (depth - 1), size)) == standard
    assert by_raw_rate(lambda size: (0, *[size] * depth))[0] == uniform


def key(signature):
    return REGIMES[signature.regime], tuple((int(layer), sign) for layer, sign in signature.layers), signature.initial, signature.trained


def scan(depth):
    """Classes on a lattice of exponents (in eighths), from nothing but the iterated recursion; docs/theory/deep_classes.md, section 2."""
    n = depth + 1
    q = np.array(list(product(range(-8, 9, 2), repeat=n)))
    u = q.copy()
    for _ in range(n + 3):
        w = np.maximum(u, 0)
        before, u = u, np.maximum(u, q + w.sum(axis=1, keepdims=True) - w)
    bounded = (u == before).all(axis=1)
    kappa = q + 2 * (w.sum(axis=1, keepdims=True) - w)  # over p + 1
    top = kappa.max(axis=1)
    stable = bounded & (top >= -4)
    found = set()
    for u, kappa, top in zip(u[stable], kappa[stable], top[stable]):
        largest = [j for j in range(n) if kappa[j] == top]
        moving = any(u[j] >= 0 for l in largest for j in (range(n) if l < depth else range(depth)))
        layers = tuple((j + 1, int(np.sign(u[j]))) for j in range(n)) if moving else tuple((j + 1, 0) for j in largest)
        found.add(("M" if moving else "N" if top == -4 else "A", layers, int(top)))
    signs = {(*content[:2], sign(p + 4), sign(p + 8 + content[2])) for content in found for p in range(-24, 9)}
    return bounded, q, signs


def sign(number):
    return (number > 0) - (number < 0)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_lattice_scan_of_the_recursion_finds_the_same_classes(depth):
    bounded, q, found = scan(depth)
    assert found == set(map(key, signatures(model(depth, "layer-wise"))))
    pairs = np.array([q[:, i] + q[:, j] for i, j in combinations(range(depth + 1), 2)])
    assert (bounded == (pairs <= 0).all(axis=0)).all()


@pytest.mark.parametrize("rates", ["common", "layer-wise"])
def test_one_hidden_layer_is_what_the_other_engine_derives(rates):
    """Same classes, conditions, dimensions, properties, exponents at the witnesses; a network written down differently, other cells."""
    lim, other = dmft.limits.deep(1, rates), shallow.derive("logistic", rates)
    order = [0, 2, 1] if rates == "layer-wise" else [0, 1]
    assert len(lim.classes) == len(other.classes)
    for c in other.classes:
        point = [c.witness[j] for j in order]
        mine = lim.classify(point[0], point[1:] if rates == "layer-wise" else point[1])
        assert set(mine.layers) == {{"a": "2", "w": "1"}[layer] for layer in c.layers}
        assert (mine.dimension, mine.signs, mine.properties, mine.rules) == (c.dimension, c.signs, c.properties, c.rules)
        back = tuple(Fraction(str(mine.witness[order.index(j)])) for j in range(len(order)))
        assert other.classify(back) is c
        if rates == "common":
            assert mine.name == c.name and set(mine.conditions) == set(c.conditions)
        for name, exponent in c.exponents.items():
            same = name.replace("of a", "of 2").replace("of w", "of 1")
            assert exponent.subs(dict(zip(other.symbols, c.witness))) == mine.exponents[same].subs(dict(zip(lim.symbols, point))), name
    if rates == "common":
        assert lim.band == other.band and lim.lines == other.lines


def values_at(lim, point):
    return dict(zip(lim.symbols, (sympy.Rational(v.numerator, v.denominator) for v in point)))


def stable_points(depth, count=120):
    """Random points of the space of layer-wise exponents, most of them on several boundaries at once: (q_sigma, q_eta_1, ...)."""
    draw, found = random.Random(1), []
    for _ in range(count):
        q = [Fraction(draw.choice([-6, -4, -3, -2, -1, 0, 0, 2]), 8) for _ in range(depth + 1)]
        p = Fraction(draw.randrange(-12, 0), 8)
        q_sigma = p - Fraction(depth - 1, 2)
        found.append((q_sigma, *(v - p for v in q)))
    return found


def test_conditions_classify(two):
    """At every point: the class found by power counting is the only one whose conditions hold, and none where the band ends."""
    inside = 0
    for point in stable_points(2):
        limit = two.classify(point[0], point[1:])
        assert [c.name for c in two.classes if c.contains(point)] == ([limit.name] if limit else [])
        values = values_at(two, point)
        assert bool(two.band.subs(values)) == (limit is not None)
        if limit:
            inside += 1
            assert [name for name, line in two.lines.items() if line.subs(values)] == list(limit.properties), point
            assert two[limit.name] is limit
    assert inside > 50


def test_classes_without_enumeration_are_those_with(two):
    """Pieces found across the faces of one piece are all pieces of a class; the merged classes, and some of the others."""
    fresh = Model(two.model.network, two.symbols, two.model.loss, two.model.constants)
    for c in [c for c in two.classes if c.layers == ("3",)] + list(two.classes[::9]):
        alone = fresh.classify(tuple(Fraction(str(v)) for v in c.witness))
        assert (alone.name, alone.dimension, set(alone.conditions)) == (c.name, c.dimension, set(c.conditions))
        at = dict(zip(two.symbols, c.witness))
        assert [e.subs(at) for e in alone.exponents.values()] == [e.subs(at) for e in c.exponents.values()]


def test_merged_classes_are_convex(two):
    """The conditions of a class of several pieces leave nothing outside of them: what is left after subtracting them is empty."""
    groups = {}
    for _, piece in two.model.pieces:
        groups.setdefault(two.model.name(piece.result.signature), []).append(piece.constraints)
    merged = {name: parts for name, parts in groups.items() if len(parts) > 1}
    assert sorted(merged) == [f"A[3]{number}" for number in range(1, 6)]
    for name, parts in merged.items():
        rest = [list(two[name].bounds)]
        for part in parts:
            rest = [piece for whole in rest for piece in subtracted(whole, part, len(two.symbols))]
        assert not rest


def subtracted(whole, part, size):
    kept = []
    for form, relation in part:
        below = tuple(-v for v in form)
        outside = {"=": [(form, ">"), (below, ">")], ">": [(below, ">=")], ">=": [(below, ">")]}[relation]
        kept += [[*whole, bound] for bound in outside if arrangements.witness([*whole, bound], size)]
        whole = [*whole, (form, relation)]
    return kept


def test_pieces_part_the_band():
    limit_model = model(2, "layer-wise")
    for point in stable_points(2, 100):
        holding = [p for _, p in limit_model.pieces if all(arrangements.holds(r, arrangements.value(f, point)) for f, r in p.constraints)]
        found = limit_model.at(point)
        assert [p.result.signature for p in holding] == ([found[0]] if found else [])


def test_cells_agree_with_z3():
    """Every candidate class (regime, layers, signs) of two hidden layers, written in p and q by hand, by another solver: 151 cells."""
    z3 = pytest.importorskip("z3")
    p, *q = z3.Reals("p q1 q2 q3")
    half, layers = z3.Q(1, 2), range(3)
    subsets = [set(s) for r in (1, 2, 3) for s in combinations(layers, r)]
    candidates = []
    for chosen in subsets:
        largest = [q[j] == q[min(chosen)] if j in chosen else q[j] < q[min(chosen)] for j in layers]
        top = q[min(chosen)]
        candidates += [(top, [*largest, top == -half]), (top, [*largest, top > -half, top < 0]), (top, [*largest, top == 0])]
        candidates += [(q[l], [q[l] > 0, *(q[j] == -q[l] if j in chosen else q[j] < -q[l] for j in layers if j != l)]) for l in chosen]
    count = 0
    for (top, bounds), first, later in product(candidates, (-1, 0, 1), (-1, 0, 1)):
        solver = z3.Solver()
        solver.add(*bounds, *({-1: f < 0, 0: f == 0, 1: f > 0}[s] for f, s in ((p + half, first), (p + 1 + top, later))))
        count += solver.check() == z3.sat
    assert count == len(signatures(model(2, "layer-wise", identify_random_features=False))) == 151


NAMED = {
    "NTK": ["N2"] * 5,
    "muP": ["M2"] * 5,
    "sym-default": ["M4"] * 5,
    "muP, readout smaller by d^-1/2": ["M[12*]2", "M[123*]2", "M[1234*]2", "M[12345*]2", "M[123456*]2"],
    "SP, rate 1/d": ["N[2]2", "N[23]2", "N[234]2", "N[2345]2", "N[23456]2"],
    "SP, rate d^-1/2": ["A[2]4", "M[23]4", "M[234]4", "M[2345]4", "M[23456]4"],
    "SP, rate 1": ["M[12*]4", None, None, None, None],
    "integrable": ["M2", "M[12*3]2", "M[23]1", "N[234]1", None],
    "integrable, equal increments": ["M2", "M1", "M1", "M1", "M1"],
}


def test_named_parameterizations():
    """docs/theory/deep_classes.md, section 3, up to five hidden layers."""
    found = [dmft.limits.deep(depth, "layer-wise").named() for depth in range(1, 6)]
    assert {name: [table[name] for table in found] for name in NAMED} == NAMED


def test_named_points_with_one_rate_lie_where_shallow_says():
    lim = dmft.limits.deep(1)
    shown = {name: lim.classify(*point).name for point, names in lim.named_points.items() for name in names}
    assert shown == {"NTK": "N2", "muP": "M2", "sym-default": "M4", "integrable": "M2", "integrable, equal increments": "M2"}


def test_integrable_parameterization_shrinks_as_derived():
    """docs/theory/deep_parameterizations.md, section 2.3: from three hidden layers on the first step is of order m^-(L-2)."""
    for depth in (3, 4):
        lim = dmft.limits.deep(depth, "layer-wise")
        q_sigma, q_eta = dmft.limits.from_abc(*deep_limits.named_exponents(depth)["integrable"])
        limit = lim.classify(q_sigma, q_eta)
        assert limit.exponents["logits"].subs(values_at(lim, (q_sigma, *q_eta))) == -(depth - 2)


def test_classify_without_enumeration_is_cheap_at_depth_five():
    lim = dmft.limits.deep(5, "layer-wise")
    limit = lim.classify(-3, ["1", "1", 1, Fraction(1), 1.0, "1"])
    assert limit.name == "M2" and limit.dimension == 0 and limit.layers == tuple("123456") and "derivation" not in vars(lim)


def test_floats_near_boundaries(two):
    mup = two["M2"]
    assert two.classify(-1.5 + 4e-13, [1.0, 1 - 3e-13, 1.0]) is mup
    assert two.classify("-1.5", ["1", "0.9999999999997", "1"]).name == "M[13]2"
    assert two.classify(0.1 + 0.2 - 1.8, [1.0, 1.0, 1.0]) is mup
    draw = random.Random(0)
    for _ in range(50):
        shift = draw.uniform(-3e-12, 3e-12)
        assert two.classify(-1.0 + shift, [draw.uniform(0.0, 3e-12) - shift for _ in range(3)]) is not None


def test_snapped_meets_all_forms_that_can_vanish_together():
    forms = [(Fraction(0), Fraction(1), Fraction(1)), (Fraction(0), Fraction(1), Fraction(-1)), (Fraction(1), Fraction(1), Fraction(0))]
    point = branching.snapped((Fraction(1, 100), Fraction(1, 50)), forms, Fraction(1, 10))
    assert point == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, "1"), TypeError, "q_eta must be a sequence of 3 exponents"),
        ((0, 1), TypeError, "q_eta must be a sequence of 3 exponents"),
        ((0, [1, 2]), ValueError, "q_eta must be a sequence of 3 exponents"),
        ((0, [1, 2, "x"]), ValueError, r"q_eta\[2\] must be"),
        (("x", [1, 2, 3]), ValueError, "q_sigma must be"),
    ],
)
def test_bad_exponents(two, arguments, error, message):
    with pytest.raises(error, match=message):
        two.classify(*arguments)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "depth must be an integer >= 1"),
        ((1.5,), {}, "depth must be an integer"),
        ((2, "raw"), {}, "rates must be one of 'common', 'layer-wise'"),
        ((2,), {"loss": "l1"}, "loss must be one of"),
        ((2,), {"bounded_increments": "all"}, "bounded_increments must be one of False, True, 'hidden'"),
        ((2,), {"identify_random_features": 1}, "identify_random_features must be True or False"),
    ],
)
def test_bad_choices(arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        dmft.limits.deep(*arguments, **options)


def test_derived_once():
    assert dmft.limits.deep(2) is dmft.limits.deep(depth=2, rates="common", loss="logistic")
    assert repr(dmft.limits.deep(2)) == "DeepLimits(depth=2, rates='common', loss='logistic')"
    with pytest.raises(ValueError, match="'A1', 'A2'"):
        dmft.limits.deep(2)["Z"]


def test_only_homogeneous_products_of_scales_matter():
    """Reduction to (sigma, reduced rates) and its dictionary `from_abc`: two networks of width 8 with equal invariants train alike."""
    draw = np.random.default_rng(0)
    x, raw = draw.standard_normal((3, 4)), [draw.standard_normal(shape) for shape in ((8, 3), (8, 8), (8,))]

    def trained(A, E):
        weights, rates = [w * 8.0 ** -float(a) for w, a in zip(raw, A)], [0.1 * 8.0 ** -float(e) for e in E]
        return Trained(weights, rates, x).logits

    (A, E), shift = deep_limits.named_exponents(2)["NTK"], (Fraction(1, 3), Fraction(-1), Fraction(2, 3))
    other = tuple(a + s for a, s in zip(A, shift)), tuple(e + 2 * s for e, s in zip(E, shift))
    assert dmft.limits.from_abc(A, E) == dmft.limits.from_abc(*other)
    np.testing.assert_allclose(trained(A, E), trained(*other), rtol=1e-12)


class Trained:
    """Leaky ReLU network with two hidden layers, gradient descent on minus the mean of the logits: a constant loss derivative."""

    def __init__(self, weights, rates, x, steps=3):
        first, second, readout = (w.copy() for w in weights)
        samples = x.shape[1]
        self.logits, self.kernels, self.increments = [], [], []
        for step in range(steps + 1):
            h1 = first @ x
            x1 = np.maximum(h1, 0.1 * h1)
            h2 = second @ x1
            x2 = np.maximum(h2, 0.1 * h2)
            self.logits.append(readout @ x2)
            back2 = readout[:, None] * np.where(h2 > 0, 1, 0.1)
            back1 = (second.T @ back2) * np.where(h1 > 0, 1, 0.1)
            grams = ((x.T @ x) * (back1.T @ back1), (x1.T @ x1) * (back2.T @ back2), x2.T @ x2)
            self.kernels.append(sum(rate * gram for rate, gram in zip(rates, grams)))
            if step:
                pairs = ((h1, weights[0] @ x), (h2, weights[1] @ x1), (readout, weights[2]))
                self.increments.append([np.linalg.norm(now - start) / np.linalg.norm(start) for now, start in pairs])
            first += rates[0] / samples * back1 @ x.T
            second += rates[1] / samples * back2 @ x1.T
            readout += rates[2] / samples * x2.sum(axis=1)


SIMULATED = [  # q_1, q_2, q_3 and p of docs/theory/deep_classes.md: kernel regimes, moving layers, forgotten layers
    ("-1/2 -5/4 -3/2", "-1/2", "N[1]2"),
    ("-3/2 -1/2 -1/2", "-1", "N[23]1"),
    ("-1/4 -5/4 -5/4", "-3/4", "A[1]2"),
    ("-5/4 -5/4 -1/4", "-1/2", "A[3]4"),
    ("-1/4 -1/4 -5/4", "-1/4", "A[12]5"),
    ("0 0 0", "-1", "M2"),
    ("0 0 0", "-1/2", "M4"),
    ("0 -1 -1", "-1", "M[1]2"),
    ("-1 0 -1", "-1", "M[2]2"),
    ("-1 0 0", "-1", "M[23]2"),
    ("-1/2 -1/2 1/2", "-1", "M[123*]3"),
    ("-3/2 1/2 -1/2", "-3/2", "M[2*3]2"),
    ("-3/2 -3/2 1/2", "-1", "A[3]3"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("q", "p", "name"), SIMULATED, ids=[name for *_, name in SIMULATED])
def test_networks_have_the_derived_exponents(q, p, name, two):
    """Fits over widths 2^6 to 2^10: logits, their increments, kernel and increments of layers, within 0.12 plus four standard errors."""
    p, q = Fraction(p), [Fraction(v) for v in q.split()]
    q_sigma, q_eta = p - HALF, [v - p for v in q]
    limit = two.classify(q_sigma, q_eta)
    assert limit.name == name
    derived = {n: float(e.subs(values_at(two, (q_sigma, *q_eta)))) for n, e in limit.exponents.items()}
    expected = [derived["initial logits"], *[derived["logits"]] * 3, derived["tangent kernel"]]
    expected += [float(v) for v in q] + [derived[f"increments of {layer}"] for layer in (1, 2, 3)]
    widths = 2 ** np.arange(6, 11)
    log = np.log2(widths)
    slopes = []
    for seed in range(4):
        rows = [measured(int(d), float(p), list(map(float, q)), seed) for d in widths]
        slopes.append(np.polyfit(log, np.log2(rows), 1)[0])
    error = np.std(slopes, axis=0, ddof=1) / 2
    assert (abs(np.mean(slopes, axis=0) - expected) < 0.12 + 4 * error).all(), (np.mean(slopes, axis=0), expected, error)


def measured(d, p, q, seed):
    draw = np.random.default_rng([seed, d])
    x = np.random.default_rng(0).standard_normal((8, 4))
    x /= np.linalg.norm(x, axis=0)
    weights = [draw.standard_normal((d, 8)), draw.standard_normal((d, d)) / np.sqrt(d), draw.standard_normal(d) * d**p]
    # rates of the raw weights: reduced ones, etahat_l = lambda_l / s, times the squared initial scales
    rates = [0.7 * d ** (v - p) * scale for v, scale in zip(q, (1, 1 / d, d ** (2 * p)))]
    run = Trained(weights, rates, x)
    steps = np.linalg.norm(np.diff(run.logits, axis=0), axis=1)
    return [np.linalg.norm(run.logits[0]), *steps, np.linalg.norm(run.kernels[0]), *run.increments[0], *run.increments[-1]]


def test_equations_follow_the_layers(two):
    kernel, zero_readout, mup = two["A[13]2"], two["M[123*]2"], two["M2"]
    assert {"kappa_1", "kappa_3"} == {str(s) for s in kernel.equations["kernel"].rhs.free_symbols if str(s).startswith("kappa")}
    assert kernel.equations["start"].rhs == 0 and two["N2"].equations["start"].rhs != 0
    assert "readout, step 0" in zero_readout.equations and "readout, step 0" not in mup.equations
    assert not zero_readout.equations["readout"].rhs.has(sympy.Function("a")) and mup.equations["readout"].rhs.has(sympy.Function("a"))
    assert two["M[1]2"].equations["readout"].rhs == sympy.Function("a")(0)
    forgotten = two["M[12*3]2"].equations
    assert not forgotten["forward 2"].rhs.has(sympy.Function("u")) and forgotten["forward 2, step 0"].rhs.has(sympy.Function("u"))
    assert all(c.reasons and c.equations for c in two.classes)


def test_reports(two):
    document = report.to_json(two.derivation, layers=True)
    assert json.loads(json.dumps(document))["classes"][0]["layers"] == ["1"]
    assert [tuple(map(sympy.sympify, c["conditions"])) for c in document["classes"]] == [c.conditions for c in two.classes]
    assert sympy.sympify(document["band"]) == two.band
    text, tex = report.markdown(two.derivation), report.latex(two.derivation)
    assert "141 stable limit models" in text and tex.count(r"\begin{align*}") == 141


def test_command_line(monkeypatch, capsys):
    from dmft import cli

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["dmft", "classes", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        return capsys.readouterr()

    assert "141 stable limit models" in call("--depth", "2", "--rates", "layer-wise").out
    assert len(json.loads(call("--depth", "2", "--rates", "layer-wise", "--loss", "mse", "--json").out)["classes"]) == 69
    assert call("--depth", "3", "--latex").out.count(r"\paragraph") == 13
    assert "depth must be" in call("--depth", "0").err and "rates must be" in call("--rates", "raw").err
