"""The derivation: counts that come out, assumptions that change them, and networks of width 10^400 that confirm them."""

import json
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path

import mpmath
import pytest
import sympy

from derivations import arrangements, losses, report, scaling, shallow
from derivations.shallow import EVOLVE, INITIAL, KERNELS, PERSISTS, derive

DATA = Path(__file__).parent.parent / "data"
DIGITS = 400
NEGLIGIBLE = 0.02  # an exponent fitted at this width; those of the lattices differ by at least 1/8


@pytest.fixture(scope="module")
def logistic():
    return derive("logistic")


@pytest.fixture(scope="module")
def layer_wise():
    return derive("logistic", "layer-wise")


def dimensions(derivation):
    return dict(Counter(c.dimension for c in derivation.classes))


def test_thirteen_limits_come_out(logistic):
    assert len(logistic.classes) == 13
    assert dimensions(logistic) == {2: 3, 1: 7, 0: 3}


def test_band_and_lines(logistic):
    q_sigma, q_eta = logistic.symbols
    assert logistic.band == sympy.And(q_sigma + q_eta >= -sympy.Rational(1, 2), q_sigma + q_eta <= 0)
    assert [line.lhs - line.rhs for line in logistic.lines.values()] == [
        q_sigma + sympy.Rational(1, 2),
        2 * q_sigma + q_eta + 1,
        q_sigma + q_eta + sympy.Rational(1, 2),
        q_sigma + q_eta,
    ]


@pytest.mark.parametrize(("loss", "count"), [("logistic", 13), ("hinge", 13), ("softmax", 13), ("mse", 7)])
def test_count_for_each_loss(loss, count):
    assert len(derive(loss).classes) == count


def test_mse_keeps_what_has_bounded_logits_and_gains_a_ray(logistic):
    squares = derive("mse")
    bounded = {c.name: c.conditions for c in logistic.classes if c.signs[1] <= 0}
    new = [c for c in squares.classes if c.name not in bounded]
    assert {c.name for c in squares.classes} - {"F1"} == set(bounded)
    assert [c.name for c in new] == ["F1"] and new[0].dimension == 1
    assert all(set(_inside(c, logistic)) == {c.name} for c in squares.classes if c.name != "F1")
    y, z = losses.LABEL, losses.LOGIT
    assert new[0].rules == (z, z) and squares.classes[0].rules == (-y, -y)
    assert logistic.classify(tuple(map(Fraction, map(str, new[0].witness)))) is None


def _inside(limit, derivation):
    """Names that `derivation` gives to some points of a class: convex combinations of its witness and a few lattice points."""
    points = [tuple(map(Fraction, map(str, limit.witness)))]
    points += [p for p in lattice() if limit.contains(p)]
    return [getattr(derivation.classify(p), "name", None) for p in points]


def test_a_bounded_derivative_is_what_thirteen_rests_on(monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "mse", lambda: losses.Loss("mse", -losses.LABEL, losses.LOGIT - losses.LABEL, losses.LOGIT))
    assert len(derive("mse").classes) == 13


def test_centred_output_weights_are_what_thirteen_rests_on(monkeypatch):
    """Output weights with a mean: initial logits as large as what training adds on the upper edge, and the band closes to that line."""
    monkeypatch.setattr(scaling, "CENTRED", scaling.MEAN)
    derivation = derive("logistic")
    assert len(derivation.classes) == 3
    assert derivation.classify((Fraction(-1, 2), Fraction(1, 4))) is None


def test_classes_by_signs_and_regime(logistic):
    keys = {(c.regime, c.signs) for c in logistic.classes}
    assert len(keys) == 13
    assert {signs for regime, signs in keys if regime == "mean field"} == {signs for regime, signs in keys if regime == "kernel"}
    assert {signs for regime, signs in keys if regime == "kernel from F0"} == {(-1, -1), (0, 0), (1, 1)}


def test_properties(logistic):
    held = {c.name: c.properties for c in logistic.classes}
    assert held["M2"] == (KERNELS, EVOLVE) and held["M4"] == (INITIAL, EVOLVE) and held["N2"] == (INITIAL, KERNELS, PERSISTS)
    assert held["A2"] == (KERNELS,) and held["A4"] == (INITIAL,) and held["A1"] == held["A3"] == held["A5"] == ()
    assert not any({PERSISTS, EVOLVE} <= set(properties) for properties in held.values())


@pytest.mark.parametrize("loss", ["logistic", "mse"])
def test_classes_part_the_band(loss):
    """Every point of a fine lattice lies in the band if and only if it lies in exactly one class."""
    derivation = derive(loss)
    for point in lattice(Fraction(1, 4)):
        values = dict(zip(derivation.symbols, (sympy.Rational(v.numerator, v.denominator) for v in point)))
        inside = [c for c in derivation.classes if all(condition.subs(values) == True for condition in c.conditions)]  # noqa: E712
        assert len(inside) == bool(derivation.band.subs(values))


def test_conditions_are_irredundant(logistic, layer_wise):
    for derivation in (logistic, layer_wise):
        size = len(derivation.symbols)
        for c in derivation.classes:
            for form, relation in c.bounds:
                others = [b for b in c.bounds if b != (form, relation)]
                below = tuple(-v for v in form)
                outside = [(form, ">"), (below, ">")] if relation == "=" else [(below, ">=")]
                assert any(arrangements.witness([*others, o], size) is not None for o in outside)


def test_layer_wise_rates(layer_wise):
    """docs/theory/deep_classes.md, section 3: 49 models by dimension 9, 22, 15, 3, of 175 cells by dimension 32, 77, 55, 11."""
    assert len(layer_wise.classes) == 49 and dimensions(layer_wise) == {3: 9, 2: 22, 1: 15, 0: 3}
    assert Counter(c.dimension for c in layer_wise.cells) == {3: 32, 2: 77, 1: 55, 0: 11}
    assert len(derive("mse", "layer-wise").classes) == 25


def test_equal_rates_of_the_layers_are_the_common_rate(logistic, layer_wise):
    for point in lattice():
        common, general = logistic.classify(point), layer_wise.classify((*point, point[1]))
        assert getattr(common, "name", None) == getattr(general, "name", None)


def test_layer_wise_classes_are_convex(layer_wise):
    """The conditions of a class, drawn from all its cells, admit the witnesses of these cells only."""
    names = [layer_wise.classify(cell.witness).name for cell in layer_wise.cells]
    for c in layer_wise.classes:
        assert [name == c.name for name in names] == [c.contains(cell.witness) for cell in layer_wise.cells]


def test_default_scaling_of_common_libraries_lies_on_the_upper_edge(layer_wise):
    """sigma_a = d^-1/2 and one rate: exponents (-1/2, 1, 0); mean field from vanishing output weights."""
    limit = layer_wise.classify((Fraction(-1, 2), Fraction(1), Fraction(0)))
    assert limit.name == "M[a*w]4" and limit.regime == "mean field"
    first = limit.equations["first step of w"]
    assert first.lhs != first.rhs and first.rhs == sympy.Function("w")(0)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_equations_follow_the_rules(loss):
    for c in derive(loss).classes:
        steps = {"step of a", "step of w"} if c.regime == "mean field" else {"step"}
        assert steps <= set(c.equations)
        assert (c.equations["start"].rhs == 0) != (c.regime == "kernel from F0")
        assert len(c.reasons) >= 6 and all(r.because and r.follows for r in c.reasons)


@pytest.mark.parametrize("loss", ["logistic", "hinge", "mse"])
@pytest.mark.parametrize(("label", "logit"), [(y, z) for y in (-1, 1) for z in (-2.0, -0.4, 0.7, 3.0)])
def test_rules_are_limits_of_the_derivative(loss, label, logit):
    loss = losses.LOSSES[loss]()

    def at(rule, z):
        return float(rule.subs({losses.LABEL: label, losses.LOGIT: z}))

    assert at(loss.small, logit) == pytest.approx(at(loss.finite, 1e-9 * logit), abs=1e-8)
    size = 1.0 if loss.bounded else 1e6
    assert at(loss.large, logit) == pytest.approx(at(loss.finite, 1e6 * logit) / size, rel=1e-5, abs=1e-5)


def test_softmax_rules():
    loss = losses.LOSSES["softmax"]()
    assert loss.small == 1 / sympy.Symbol("C") - losses.LABEL
    logits = [mpmath.mpf(z) * 1000 for z in (0.3, -1.0, 0.9)]
    share = [mpmath.exp(z) / sum(map(mpmath.exp, logits)) for z in logits]
    assert [round(float(p)) for p in share] == [0, 0, 1]  # onehot(argmax), as in loss.large
    assert str(loss.large) == "-y + onehot(argmax(z))"


def lattice(step=Fraction(1, 8)):
    """Points (q_sigma, q_eta) with q_sigma in [-2, 1/2] and q_sigma + q_eta in [-1, 1/2]."""
    sigmas = [-2 + step * i for i in range(int(Fraction(5, 2) / step) + 1)]
    sums = [-1 + step * i for i in range(int(Fraction(3, 2) / step) + 1)]
    return [(s, q - s) for s, q in product(sigmas, sums)]


class LinearNetwork:
    """f = sigma sum a w at width d = 10^400, on one sample x = 1: exact gradient descent on the three sums that determine it.

    The sums of a^2 and w^2 are d + d^(1/2) g, that of a w is d^(1/2) g, with g of order one, as for independent Gaussian weights.
    """

    def __init__(self, scale, rate_a, rate_w, steps=6, unbounded=False):
        d, root = width(1), width(Fraction(1, 2))
        self.sums = d + 0.3 * root, 0.7 * root, d - 0.4 * root
        sigma, rates = 0.3 * width(scale), [0.2 * width(rate) for rate in (rate_a, rate_w)]
        a, w = (mpmath.mpf(1), mpmath.mpf(0)), (mpmath.mpf(0), mpmath.mpf(1))  # weights over the initial ones
        self.logits, self.kernels = [], []
        for _ in range(steps):
            self.logits.append(sigma * self.product(a, w))
            self.kernels.append(sigma**2 * (rates[0] * self.product(w, w) + rates[1] * self.product(a, a)))
            c = self.logits[-1] - 1 if unbounded else -1
            a, w = (
                tuple(u - rates[0] * sigma * c * v for u, v in zip(a, w)),
                tuple(v - rates[1] * sigma * c * u for u, v in zip(a, w)),
            )

    def product(self, left, right):
        aa, aw, ww = self.sums
        return left[0] * right[0] * aa + (left[0] * right[1] + left[1] * right[0]) * aw + left[1] * right[1] * ww

    def summary(self):
        """Whether training is stable; exponents of initial and trained logits, of the kernel and of its relative change."""
        f = [exponent(z) for z in self.logits]
        steps = [exponent(v - u) for u, v in zip(self.logits, self.logits[1:])]
        settled = all(abs(e - f[1]) < NEGLIGIBLE for e in f[2:])
        stable = settled and all(abs(e - f[1]) < NEGLIGIBLE for e in steps[1:])
        change = exponent((self.kernels[-1] - self.kernels[0]) / self.kernels[0])
        return stable, f[0], f[1], exponent(self.kernels[0]), change


def width(power):
    """The width to a power that is a multiple of 1 / DIGITS."""
    return mpmath.mpf(10) ** int(power * DIGITS)


def exponent(number):
    with mpmath.workdps(15):
        return float(mpmath.log10(abs(number))) / DIGITS if number else -mpmath.inf


@pytest.fixture
def precision():
    with mpmath.workdps(8 * DIGITS):
        yield


def evaluated(limit, name, symbols, point):
    return float(limit.exponents[name].subs(dict(zip(symbols, (sympy.Rational(v.numerator, v.denominator) for v in point)))))


@pytest.mark.parametrize("loss", ["logistic", "mse"])
def test_networks_of_huge_width_fall_into_the_derived_classes(loss, precision):
    """Independent of power counting: the dynamics itself, with a constant loss derivative or that of the mean square."""
    derivation = derive(loss)
    seen = set()
    for point in lattice():
        stable, e0, e1, kernel, change = LinearNetwork(point[0], point[1], point[1], unbounded=loss == "mse").summary()
        limit = derivation.classify(point)
        assert stable == (limit is not None), point
        if stable:
            seen.add(limit.name)
            names = ("initial logits", "logits", "tangent kernel", "relative kernel change")
            derived = [evaluated(limit, n, derivation.symbols, point) for n in names]
            assert [e0, e1, kernel, change] == pytest.approx(derived, abs=NEGLIGIBLE), point
            holds = [abs(v) < NEGLIGIBLE for v in (e0, kernel, e1 - e0, change)]
            assert limit.properties == tuple(name for name, yes in zip(shallow.PROPERTIES, holds) if yes)
    assert seen == {c.name for c in derivation.classes}


def test_networks_of_huge_width_with_layer_wise_rates(layer_wise, precision):
    quarter = Fraction(1, 4)
    values = [i * quarter for i in range(-4, 5)]
    for scale, alpha_a, alpha_w in product([-1, -3 * quarter, -2 * quarter], values, values):
        point = (scale, alpha_a - scale, alpha_w - scale)
        stable, e0, e1, kernel, _ = LinearNetwork(*point).summary()
        limit = layer_wise.classify(point)
        assert stable == (limit is not None), point
        if stable:
            derived = [evaluated(limit, n, layer_wise.symbols, point) for n in ("initial logits", "logits", "tangent kernel")]
            assert [e0, e1, kernel] == pytest.approx(derived, abs=NEGLIGIBLE), point


def test_sign_vectors_agree_with_z3(logistic):
    """All 81 sign vectors of the four lines, by another solver."""
    z3 = pytest.importorskip("z3")
    variables = z3.Reals("q_sigma q_eta")
    s, e = variables
    lines = [s + z3.Q(1, 2), 2 * s + e + 1, s + e + z3.Q(1, 2), s + e]
    count = 0
    for signs in product((-1, 0, 1), repeat=4):
        solver = z3.Solver()
        solver.add(lines[2] >= 0, lines[3] <= 0)
        solver.add(*({-1: f < 0, 0: f == 0, 1: f > 0}[v] for f, v in zip(lines, signs)))
        count += solver.check() == z3.sat
    assert count == len(logistic.classes)


def test_shipped_file_is_what_is_derived(monkeypatch):
    monkeypatch.syspath_prepend(DATA)
    from make_shallow_classes import content

    assert json.loads((DATA / "shallow_classes.json").read_text(encoding="utf-8")) == content()


def test_reports(logistic):
    text, tex = report.markdown(logistic), report.latex(logistic)
    for c in logistic.classes:
        assert f"| {c.name} | {c.regime} | {c.dimension} |" in text and rf"\paragraph{{{c.name}}}" in tex
    assert "13 stable limit models" in text and r"q_{\sigma}" in tex and tex.count(r"\begin{align*}") == 13
    document = report.to_json(logistic)
    assert sympy.sympify(document["band"]) == logistic.band
    assert [tuple(map(sympy.sympify, c["conditions"])) for c in document["classes"]] == [c.conditions for c in logistic.classes]
