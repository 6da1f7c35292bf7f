"""Parameterizations by name and by exponents, their analysis in print, LaTeX and JSON, the command line, bad input."""

import json
import sys
from fractions import Fraction as F

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import dmft
from dmft import cli, specification
from dmft.parameterizations import NAMES, stable_cut

HALF = F(1, 2)


def layers(first, hidden, last, depth):
    return (F(first), *[F(hidden)] * (depth - 1), F(last))


#: The table of docs/theory/deep_parameterizations.md, section 1: name -> function of L giving a, b, c, c_later.
TABLE = {
    "sp": lambda L: (layers(0, 0, 0, L), layers(0, HALF, HALF, L), layers(0, 0, 0, L), layers(0, 0, 0, L)),
    "ntk": lambda L: (layers(0, HALF, HALF, L), layers(0, 0, 0, L), layers(0, 0, 0, L), layers(0, 0, 0, L)),
    "mup": lambda L: (layers(-HALF, 0, HALF, L), layers(HALF, HALF, HALF, L), layers(0, 0, 0, L), layers(0, 0, 0, L)),
    "integrable": lambda L: (layers(0, 1, 1, L), layers(0, 0, 0, L), layers(-1, -2, -1, L), layers(-1, -2, -1, L)),
    "ip-llr": lambda L: (
        layers(0, 1, 1, L),
        layers(0, 0, 0, L),
        layers(-F(L + 1, 2), -F(L + 2, 2), -F(L + 1, 2), L),
        layers(-1, -2, -1, L),
    ),
    "ip-bias": lambda L: (
        layers(0, 1, 1, L),
        layers(0, 0, 0, L),
        (-F(L + 1, 2), *(-F(L - l + 4, 2) for l in range(2, L + 1)), F(-1)),
        layers(-1, -2, -1, L),
    ),
    "ip-non-centered": lambda L: (layers(0, 1, 1, L), layers(0, 0, 0, L), layers(-1, -2, -1, L), layers(-1, -2, -1, L)),
    "hybrid-mup": lambda L: (layers(-HALF, 0, HALF, L), layers(HALF, HALF, HALF, L), layers(0, 0, 0, L), layers(0, 0, 0, L)),
}


@pytest.mark.parametrize("depth", range(1, 8))
@pytest.mark.parametrize("name", NAMES)
def test_exponents_by_name(name, depth):
    par = dmft.parameterization(name, depth)
    assert (par.a, par.b, par.c, par.c_later) == TABLE[name](depth)
    assert par.depth == depth and all(isinstance(e, F) for e in (*par.a, *par.b, *par.c))


def test_what_only_some_have():
    biased = dmft.parameterization("ip-bias", 3)
    assert biased.bias_b == (0,) * 4 and biased.bias_c == (-2, -F(3, 2), -1, 0) and biased.bias_c_later == (-1, -1, -1, 0)
    assert dmft.parameterization("ip-non-centered", 3).mean_b == (None, 0, 0, 0)
    hybrid = dmft.parameterization("hybrid-mup", 3)
    assert hybrid.scaling.size == (0, HALF, HALF, 1) and hybrid.scaling.size_later == (0, 1, 1, 1)
    assert dmft.parameterization("sp", 2, rate="1").c == (1, 1, 1)
    assert dmft.parameterization("ip-llr", 2, degree=2).c == (-2, -F(5, 2), -2)


@pytest.mark.parametrize("convert", [str, float, np.float64, lambda v: sympy.Rational(v.numerator, v.denominator), F])
def test_kinds_of_numbers(convert):
    par = dmft.parameterization("mup", 2)
    assert dmft.ABC(*([convert(e) for e in v] for v in (par.a, par.b, par.c))) == par


@pytest.mark.parametrize("name", NAMES)
def test_survives_json(name):
    par = dmft.parameterization(name, 3)
    read = specification.from_dict(json.loads(json.dumps(par.to_dict())))
    assert read == par and read.scaling == par.scaling and hash(read) == hash(par)
    assert eval(repr(par), {"ABC": dmft.ABC}) == par


rationals = st.fractions(-3, 3, max_denominator=6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 4), st.data())
def test_symmetry(name, depth, data):
    par = dmft.parameterization(name, depth)
    theta = data.draw(st.lists(rationals, min_size=depth + 1, max_size=depth + 1))
    other = par.rescaled(theta)
    assert other.scaling == par.scaling
    assert other.a == tuple(a + t for a, t in zip(par.a, theta)) and other.c == tuple(c - 2 * t for c, t in zip(par.c, theta))
    assert other.rescaled([-t for t in theta]) == par


REGIMES = {
    "sp": "unstable",
    "ntk": "kernel",
    "mup": "feature learning",
    "integrable": "trivial",
    "ip-llr": "feature learning",
    "ip-bias": "feature learning",
    "ip-non-centered": "feature learning",
    "hybrid-mup": "feature learning",
}


@pytest.mark.parametrize("name", NAMES)
def test_regimes(name):
    analysis = dmft.parameterization(name, 4).analyze()
    assert analysis.regime == REGIMES[name]
    assert analysis.stable == (name != "sp") and analysis.trivial == (name == "integrable")
    assert analysis.feature_learning == (REGIMES[name] == "feature learning")


def test_printed_analysis():
    text = str(dmft.parameterization("ip-llr", 4).analyze("tanh"))
    assert "-1/2 by symmetry" in text and "the first step moves layer 3 by m^(-1/2), layer 4 by m^(-1) only" in text
    assert "its r is not defined" in text
    text = str(dmft.parameterization("mup", 2).analyze("tanh"))
    assert text.startswith("feature learning; activation tanh: smooth, phi(0) = 0, odd.") and "r = 0 (r_1 = 0, r_2 = 0)" in text
    assert "at all fixed times" in str(dmft.parameterization("integrable", 3).analyze())


def test_first_updates_and_exponents():
    analysis = dmft.parameterization("ip-llr", 3).analyze("tanh")
    assert analysis.first_updates == (0, 0, -HALF, -1)
    assert analysis.exponents["f", 4, 1] == -HALF and analysis.exponents["h", 3, 0] == -1


def test_latex_and_json():
    analysis = dmft.parameterization("integrable", 3).analyze()
    latex = analysis.to_latex()
    assert latex.count(r"\\") == 3 + 1 + 4 and r"$-\tfrac{1}{2}$" in latex and latex.endswith("\\end{tabular}\n")
    stored = json.loads(json.dumps(analysis.to_dict()))
    assert stored["regime"] == "trivial" and stored["at all times"] is True and stored["Yang-Hu"] is None
    exponents = {(e["signal"], e["layer"], e["step"]): F(e["exponent"]) for e in stored["exponents"]}
    assert exponents == analysis.exponents
    assert json.loads(json.dumps(dmft.parameterization("ntk", 2).analyze().to_dict()))["Yang-Hu"]["r"] == "1/2"


def test_rates_that_vanish():
    never = dmft.ABC(("0", "1/2", "1/2"), (0, 0, 0), (60, 60, 60)).analyze("linear")
    assert never.trivial and never.first_updates == (-F(121, 2), -F(121, 2), -60)


def test_neurons_that_become_equal():
    assert "in layers 2, 3 the mean of the weights outweighs" in str(dmft.parameterization("ip-non-centered", 4).analyze())
    assert "degenerate" not in str(dmft.parameterization("ip-bias", 4).analyze())


def test_planes_through_the_stable_polytope():
    found = stable_cut(3)
    assert found.points == {"ntk": (0, 0), "mup": (1, 0)}
    assert found.cut.regions["feature learning"] == (((1, 0),),)
    assert set(found.cut.regions["stable"][0]) == {(0, 0), (1, 0), (2, HALF), (2, 2), (0, 2)}
    standard = stable_cut(3, "standard")
    assert standard.points == {"sp": (0, 0), "sp, c = 1": (0, 1)} and standard.cut.regions["feature learning"] == ()
    assert standard.cut.point(F(1), F(2)) == (F(3, 2), 2, 2, 2, 2)


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dmft", *arguments])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_command_line(call):
    status, text, _ = call("analyze", "mup", "--depth", "4", "--activation", "tanh")
    assert status == 0 and "feature learning; activation tanh" in text and "r = 0" in text
    status, text, _ = call("analyze", "--a", "0,1/2,1/2", "--b", "0,0,0", "--c", "0,0,0")
    assert status == 0 and "kernel; activation relu" in text
    status, text, _ = call("analyze", "--a", "0,1,1", "--b", "0,0,0", "--c", "-3/2,-2,-3/2", "--c-later", "-1,-2,-1", "--latex")
    assert status == 0 and text == dmft.parameterization("ip-llr", 2).analyze().to_latex()
    status, text, _ = call("analyze", "ntk", "--json")
    assert status == 0 and json.loads(text) == dmft.parameterization("ntk", 3).analyze().to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mop",), "name must be one of 'sp', "),
        ((), "must be given; got name=None and no exponents"),
        (("mup", "--a", "0,0"), "got name='mup' and a"),
        (("--a", "0,0", "--b", "0,0"), "must be given; got name=None and a, b"),
        (("--a", "0,0", "--b", "0,0", "--c", "0,0", "--depth", "1"), "depth follows from"),
        (("--a", "0,0", "--b", "0,x", "--c", "0,0"), "b[1] must be"),
        (("mup", "--latex", "--json"), "latex and json exclude each other"),
        (("mup", "--activation", "tahn"), "activation must be one of 'linear', 'relu'"),
    ],
)
def test_bad_command_line(call, arguments, message):
    status, text, error = call("analyze", *arguments)
    assert status == 2 and not text and message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dmft.parameterization("mup", 0), ValueError, "depth must be an integer >= 1; got 0"),
        (lambda: dmft.parameterization("mup", 2.0), TypeError, "depth must be an integer >= 1; got 2.0"),
        (lambda: dmft.parameterization("mup", 2, rate=1), ValueError, "rate belongs to 'sp' only; got rate=1 with name='mup'"),
        (lambda: dmft.parameterization("sp", 2, degree=2), ValueError, "degree belongs to 'ip-llr' only"),
        (lambda: dmft.parameterization("ip-llr", 2, degree=0), ValueError, "degree must be > 0"),
        (lambda: dmft.ABC("010", (0, 0, 0), (0, 0, 0)), TypeError, "a must be a sequence .*'010'"),
        (lambda: dmft.ABC(1, 1, 1), TypeError, "a must be a sequence"),
        (lambda: dmft.ABC((0,), (0,), (0,)), ValueError, r"a must be a sequence of L \+ 1 >= 2"),
        (lambda: dmft.ABC((0, 0), (0, 0, 0), (0, 0)), ValueError, "b must be a sequence of 2 exponents.*got 3"),
        (lambda: dmft.ABC((0, 0), (0, 0), (0, 0.1)), ValueError, r"c\[1\] must be exact.*0.1"),
        (lambda: dmft.ABC((0, 0), (0, 0), (0, None)), TypeError, r"c\[1\] must be a finite real number"),
        (lambda: dmft.ABC((0, 0), (0, 0), (0, float("nan"))), ValueError, r"c\[1\] must be a finite"),
        (lambda: dmft.ABC((0, 0), (0, 0), (0, 0), bias_c=(0, 0)), ValueError, "bias_c and bias_c_later need bias_b"),
        (lambda: dmft.ABC((0, 0), (0, 0), (0, 0), bias_b=(0, 0)), ValueError, "bias_c must be given with bias_b"),
        (lambda: dmft.ABC((0, 0), (0, 0), (0, 0), b_later=(1, 0)), ValueError, r"b_later\[0\] must be b\[0\] = 0"),
        (lambda: dmft.ABC((0, 0), (0, 0), (0, 0), b_later=(0, 1), mean_b=(None, 0)), ValueError, "b_later excludes mean_b and bias_b"),
        (lambda: dmft.parameterization("mup", 2).analyze("swish"), ValueError, "activation must be one of"),
        (lambda: dmft.parameterization("mup", 2).rescaled((0, 0)), ValueError, "theta must be a sequence of 3"),
        (lambda: stable_cut(2, "diagonal"), ValueError, "plane must be one of 'ntk-mup', 'standard'"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
