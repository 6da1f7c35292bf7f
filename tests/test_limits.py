"""The public face of the derived limits: classification on every boundary, tolerance, bad input, command line, phase diagram."""

import copy
import json
import math
import pickle
import random
import re
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pytest
import sympy

import dmft
from dmft import cli


@pytest.fixture(scope="module")
def lim():
    return dmft.limits.shallow()


def name(limit):
    return None if limit is None else limit.name


def by_hand(q_sigma, q):
    """The table of docs/theory/shallow_limits.md, section 4, as nested comparisons."""
    if not Fraction(-1, 2) <= q <= 0:
        return None
    kernel, half = q_sigma + q + 1, Fraction(-1, 2)
    if q == half:
        return "N1" if q_sigma < half else "N2" if q_sigma == half else "N3"
    rank = 5 if q_sigma > half else 4 if q_sigma == half else 3 if kernel > 0 else 2 if kernel == 0 else 1
    return ("M" if q == 0 else "A") + str(rank)


def test_derived_once():
    assert dmft.limits.shallow() is dmft.limits.shallow("logistic")
    assert len(dmft.limits.shallow().classes) == 13 and "13 classes" in repr(dmft.limits.shallow())


def test_classify_is_exact_on_every_boundary(lim):
    eighths = [Fraction(i, 8) for i in range(-17, 6)]
    for q_sigma in eighths:
        for q in [Fraction(i, 8) for i in range(-6, 3)]:
            for shift in (0, Fraction(1, 10**30), -Fraction(1, 10**30)):
                assert name(lim.classify(q_sigma, q - q_sigma + shift)) == by_hand(q_sigma, q + shift)


@pytest.mark.parametrize("convert", [str, lambda v: sympy.Rational(v.numerator, v.denominator), float, np.float64])
def test_kinds_of_numbers(lim, convert):
    for c in lim.classes:
        point = [convert(Fraction(int(v.p), int(v.q))) for v in c.witness]
        assert lim.classify(*point) is c


def test_integers_and_keywords(lim):
    assert lim.classify(-1, 1).name == lim.classify(q_sigma="-1", q_eta=np.int64(1)).name == "M2"
    assert lim.classify("-0.5", "0").name == "N2"


def test_floats_have_a_tolerance_and_exact_numbers_none(lim):
    assert lim.classify(0.1 + 0.2 - 0.8, 0.0).name == "N2"
    assert lim.classify(-0.5, 9e-13).name == "N2" and lim.classify(-0.5, 2e-12).name == "A4"
    assert lim.classify(-1.0, 1.0 + 9e-13).name == "M2" and lim.classify(-1.0, 1.0 + 2e-12) is None
    assert lim.classify("-1/2", "9e-13").name == "A4"


def test_floats_next_to_a_vertex_always_have_a_class(lim):
    """Near the NTK point one form is the sum of two others, so the signs under a tolerance may contradict each other."""
    draw = random.Random(0)
    for _ in range(300):
        shift, q = draw.uniform(-3e-12, 3e-12), draw.uniform(0.0, 3e-12)
        assert lim.classify(-0.5 + shift, -shift + q) is not None


def test_outside_the_band(lim):
    assert lim.classify(0, "1/100") is None and lim.classify(0, "-51/100") is None and lim.classify(1e300, 1e300) is None


def test_violated_conditions(lim):
    q_sigma, q_eta = lim.symbols
    assert lim.violated("3", "0") == (q_eta + q_sigma <= 0,)
    assert lim.violated(0, "-51/100") == (q_eta + q_sigma >= sympy.Rational(-1, 2),)
    assert lim.violated("-1/2", 0) == () and lim.violation("-1/2", 0) == ""
    assert lim.violation("3", "0") == "q_eta + q_sigma <= 0 (it is 3)" and lim.violation(3.1, 0) == "q_eta + q_sigma <= 0 (it is 3.1)"


def test_violated_conditions_of_a_band_in_parts():
    lim = dmft.limits.shallow("mse")
    q_sigma, q_eta = lim.symbols
    line = sympy.Eq(q_eta + 2 * q_sigma, -1)
    assert lim.violated("3", "0") == (sympy.Or(line, sympy.And(q_eta + q_sigma <= 0, q_eta + 2 * q_sigma <= -1)),)
    first, second = "q_eta + 2*q_sigma = -1 (it is 6)", "q_eta + q_sigma <= 0 (it is 3) and q_eta + 2*q_sigma <= -1 (it is 6)"
    assert lim.violation(3, 0) == f"{first}; or else {second}"


@pytest.mark.parametrize(
    ("make", "loss", "rates"),
    [
        (dmft.limits.shallow, "logistic", "common"),
        (dmft.limits.shallow, "mse", "layer-wise"),
        (lambda loss, rates: dmft.limits.deep(2, rates, loss), "mse", "common"),
        (lambda loss, rates: dmft.limits.deep(2, rates, loss), "logistic", "layer-wise"),
    ],
    ids=["shallow", "shallow, layer-wise", "deep", "deep, layer-wise"],
)
def test_conditions_are_violated_where_there_is_no_class(make, loss, rates):
    lim, draw, outside = make(loss, rates), random.Random(0), 0
    for _ in range(20):
        q_sigma, *rest = [draw.randint(-8, 4) / 4 + draw.choice((0, draw.uniform(-2e-12, 2e-12))) for _ in lim.symbols]
        point = q_sigma, rest if rates == "layer-wise" else rest[0]
        violated, values = lim.violated(*point), dict(zip(lim.symbols, map(sympy.Rational, (q_sigma, *rest))))
        assert (lim.classify(*point) is None) == bool(violated) == bool(lim.violation(*point))
        assert not any(condition.subs(values) for condition in violated)
        outside += bool(violated)
    assert 5 < outside < 20


def test_networks_outside_the_band_are_refused_by_the_violated_condition(lim):
    with pytest.raises(ValueError, match=re.escape(lim.violation("3", "0"))):
        dmft.solve(dmft.ShallowNet("3", "0"), dmft.datasets.binary_digits(samples=4), dmft.GradientDescent(0.1, 2))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda lim: pickle.loads(pickle.dumps(lim))])
def test_copies_are_the_limits_themselves(copied, lim):
    for made in (lim, dmft.limits.shallow("mse", "layer-wise"), dmft.limits.deep(2, bounded_increments="hidden")):
        assert copied(made) is made


@pytest.mark.parametrize(
    ("point", "error", "argument"),
    [
        (("a half", 0), ValueError, "q_sigma"),
        (("1/0", 0), ValueError, "q_sigma"),
        ((0, math.nan), ValueError, "q_eta"),
        ((0, math.inf), ValueError, "q_eta"),
        ((True, 0), TypeError, "q_sigma"),
        ((None, 0), TypeError, "q_sigma"),
        ((0, 1j), TypeError, "q_eta"),
        ((sympy.sqrt(2), 0), TypeError, "q_sigma"),
        ((0, [1]), TypeError, "q_eta"),
    ],
)
def test_bad_exponents_are_named(lim, point, error, argument):
    with pytest.raises(error, match=f"^{argument} must be"):
        lim.classify(*point)


@pytest.mark.parametrize("loss", ["l1", None, ["mse"], 2])
def test_bad_loss_lists_the_valid_ones(loss):
    with pytest.raises(ValueError, match="loss must be one of 'logistic', 'hinge', 'mse', 'softmax'"):
        dmft.limits.shallow(loss)


def test_class_by_name(lim):
    assert lim["M2"].witness == (-1, 1)
    with pytest.raises(ValueError, match="'A1', 'A2'"):
        lim["Z9"]


def test_named_points(lim):
    assert {n: lim.classify(*point).name for point, names in lim.named_points.items() for n in names} == {
        "MF": "M2",
        "IC-MF": "M2",
        "NTK": "N2",
        "sym-default": "M4",
    }


def call(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["dmft", "classes", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0, *capsys.readouterr()


def test_classes_prints_the_table(lim, monkeypatch, capsys):
    status, text, _ = call([], monkeypatch, capsys)
    assert status == 0 and "13 stable limit models" in text and all(c.name in text for c in lim.classes)
    assert "7 stable limit models" in call(["--loss", "mse"], monkeypatch, capsys)[1]
    assert r"\begin{tabular}" in call(["--latex"], monkeypatch, capsys)[1]
    assert len(json.loads(call(["--json", "--loss", "hinge"], monkeypatch, capsys)[1])["classes"]) == 13


def test_classes_refuses_in_one_line(monkeypatch, capsys):
    status, _, error = call(["--loss", "l1"], monkeypatch, capsys)
    assert status == 2 and "logistic" in error and error.count("\n") == 1
    assert call(["--json", "--latex"], monkeypatch, capsys)[0] == 2


@pytest.mark.parametrize("loss", ["logistic", "mse"])
def test_phase_diagram_shows_every_class_where_it_is(loss):
    lim = dmft.limits.shallow(loss)
    ax = dmft.plot.phase_diagram(lim)
    places = {text.get_text(): text.get_position() for text in ax.texts}
    for c in lim.classes:
        if c.dimension:
            x, q = (Fraction(v).limit_denominator(10**6) for v in places[c.name])
            assert lim.classify(x, q - x) is c
        else:
            assert any(label.startswith(f"{c.name}: ") for label in places)
    assert len(ax.patches) == sum(c.dimension == 2 for c in lim.classes)
    assert [t.get_text()[4:] for t in ax.get_legend().get_texts()] == list(lim.lines)
    plt.close(ax.figure)


def test_phase_diagram_draws_into_given_axes(lim):
    figure, ax = plt.subplots()
    assert dmft.plot.phase_diagram(lim, ax=ax) is ax
    plt.close(figure)
