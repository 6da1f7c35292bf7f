"""Exponents fitted to networks of several widths, their error bars and verdicts, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import dmft
from dmft.ensemble import FunctionEnsemble
from dmft.width_powers import fitted

rng = np.random.default_rng(0)
INPUTS = rng.standard_normal((8, 4))
INPUTS /= np.linalg.norm(INPUTS, axis=1, keepdims=True)
DATA = dmft.Dataset(INPUTS, np.where(np.arange(8) % 2, 1.0, -1.0))
RUN = dmft.GradientDescent(4.0, 3)
WIDTHS = (128, 256, 512, 1024, 2048)


def fit(net, widths=WIDTHS, **options):
    return dmft.width_exponents(net, DATA, RUN, widths=widths, progress=False, **options)


def synthetic(net, width, power, seeds=8, spread=0.5, random=rng):
    """Normalised logits of size width^power, and kernels that change by a factor 1 + width^-1/2."""
    factors = width**power * np.exp(spread * random.standard_normal(seeds))
    function = factors[:, None, None] * np.ones((1, 4, 8)) * np.array([1.0, 3.0, 3.0, 3.0])[None, :, None]
    change = width**-0.5 * np.exp(0.01 * random.standard_normal((seeds, 1, 1, 1))) * np.arange(4.0)[:, None, None]
    kernel = np.exp(0.01 * random.standard_normal((seeds, 1, 1, 1))) * (1 + change) * np.ones((8, 8))
    options = {"loss": "logistic", "track": "kernels", "allow_unstable": False}
    common = {"network": net, "data": DATA, "training": RUN, "rng": "synthetic", "elapsed": 0.0, "width": width, "options": options}
    return FunctionEnsemble(function=function, train_loss=function[:, :, 0], initial_function=function[:, 0], tangent_grams=kernel, **common)


@pytest.mark.parametrize(
    ("net", "derived"),
    [
        (dmft.ShallowNet.ntk(activation="erf"), (0.0, 0.0, 0.0, 0.0, -1.0)),
        (dmft.ShallowNet.mean_field(activation="erf"), (-0.5, 0.0, 0.0, 0.0, 0.0)),
        (dmft.ShallowNet("-7/8", "1/2"), (-0.375, -0.25, -0.25, -0.25, -0.6875)),
        (dmft.ShallowNet.initialization_corrected(), (0.0, 0.0, 0.0, 0.0, 0.0)),
    ],
    ids=["N2", "M2", "A1", "IC"],
)
def test_derived_exponents(net, derived):
    result = fit(net, (64, 128), seeds=2)
    assert [e.predicted for e in result.exponents] == pytest.approx(derived)
    names = ["initial logits", "logits", "change of logits", "tangent kernel", "relative kernel change"]
    assert [e.name for e in result.exponents] == names


def test_networks_follow_the_derived_exponents():
    result = fit(dmft.ShallowNet("-3/4", "1/4", activation="erf"), seeds=12)
    for name in ("initial logits", "change of logits", "tangent kernel", "relative kernel change"):
        assert abs(result[name].z) < 3 and result[name].standard_error < 0.15
    assert result["initial logits"].predicted == -0.25 and result["relative kernel change"].predicted == -1.0
    assert result["tangent kernel"].outcome == "agrees" and result["tangent kernel"].standard_error < 0.02


def test_other_exponents_are_told_apart():
    """Networks trained at q_eta = 0, held against the exponents of q_eta = 1/4, whose normalisation is undone."""
    true, stated = dmft.ShallowNet("-1/2", "0"), dmft.ShallowNet("-1/2", "1/4")
    ensembles = [dmft.simulate(true, DATA, RUN, width=w, seeds=8, rng=w, track="kernels", progress=False) for w in WIDTHS]
    assert dmft.width_exponents(true, DATA, RUN, ensembles=ensembles, quantities=["tangent kernel"]).agrees
    growth = [w / 128 for w in WIDTHS]
    mislabelled = [replace(e, network=stated, tangent_grams=e.tangent_grams * g**-0.25) for e, g in zip(ensembles, growth)]
    wrong = dmft.width_exponents(stated, DATA, RUN, ensembles=mislabelled, quantities=["tangent kernel"])
    assert wrong.outcome == wrong["tangent kernel"].outcome == "differs" and wrong["tangent kernel"].z < -5
    assert wrong["tangent kernel"].fitted == pytest.approx(0.0, abs=0.05)


def test_slopes_are_those_of_mean_logarithms():
    net = dmft.ShallowNet.ntk()
    ensembles = [synthetic(net, w, 0.3) for w in WIDTHS]
    result = dmft.width_exponents(net, DATA, RUN, ensembles=ensembles[::-1])
    logits = result["initial logits"]
    means = [np.log(np.abs(e.initial_function[:, 0])).mean() for e in ensembles]
    assert logits.plain == pytest.approx(np.polyfit(np.log(WIDTHS), means, 1)[0])
    assert logits.local == pytest.approx((means[-1] - means[-2]) / np.log(2))
    np.testing.assert_allclose(logits.values, np.exp(means))
    assert result["change of logits"].fitted == pytest.approx(logits.fitted)
    assert result["relative kernel change"].plain == pytest.approx(-0.5, abs=0.02)


def test_a_ridge_is_a_measurement_of_the_correction():
    """Weighted least squares with the row k = 0 +- `correction`, the data of equal errors."""
    widths, random = np.array(WIDTHS), np.random.default_rng(4)
    sizes = list(np.exp(0.3 * random.standard_normal((5, 8))) * widths[:, None] ** -0.5)
    means, error = np.log(sizes).mean(axis=1), np.sqrt(np.mean(np.log(sizes).var(axis=1, ddof=1)) / 8)
    rows = np.vstack((np.column_stack((np.log(widths), np.ones(5), widths**-0.5)) / error, [0, 0, 1 / 3.0]))
    expected = np.linalg.lstsq(rows, np.append(means / error, 0.0))[0]
    fit, plain = fitted(sizes, widths, {0.5: 3.0}), fitted(sizes, widths, {})
    assert fit.slope == pytest.approx(expected[0]) and fit.plain == pytest.approx(plain.slope)
    assert fit.error == pytest.approx(np.sqrt(np.linalg.inv(rows.T @ rows)[0, 0]), rel=0.2)
    assert plain.unknown == pytest.approx(0.0, abs=1e-12) and fit.unknown > plain.spread_error


def test_error_bars_are_honest():
    """p of the right exponent over many synthetic fits without correction, of a quantity that varies by a factor from seed to seed."""
    net, random = dmft.ShallowNet.ntk(), np.random.default_rng(1)
    results = []
    for _ in range(200):
        ensembles = [synthetic(net, w, 0.0, 4, 1.0, random) for w in (128, 512, 2048)]
        results.append(dmft.width_exponents(net, DATA, RUN, ensembles=ensembles, quantities=["initial logits"]).exponents[0])
    p = np.array([r.typical.p for r in results])
    assert stats.kstest(p, "uniform").pvalue > 0.001 and not any(r.outcome == "differs" for r in results)


def outcome_of(values, spread=0.01):
    """Of a kernel of these sizes at five widths, where no power is derived."""
    net, random = dmft.ShallowNet.ntk(), np.random.default_rng(2)
    ensembles = [synthetic(net, w, 0.0, spread=0.0) for w in WIDTHS]
    noise = np.exp(spread * random.standard_normal((5, 8, 1, 1, 1)))
    ensembles = [replace(e, tangent_grams=np.ones((8, 4, 8, 8)) * v * n) for e, v, n in zip(ensembles, values, noise)]
    return dmft.width_exponents(net, DATA, RUN, ensembles=ensembles, quantities=["tangent kernel"])["tangent kernel"].outcome


def test_outcomes():
    widths = np.array(WIDTHS, dtype=float)
    assert outcome_of(np.ones(5)) == "agrees"
    assert outcome_of(np.ones(5), spread=1.0) == "cannot tell"
    assert outcome_of(np.exp(8 * widths**-0.5)) == "agrees"
    assert [outcome_of((1 + 1000 / widths) ** 0.5, spread) for spread in (0.01, 0.05)] == ["agrees", "cannot tell"]
    assert outcome_of(widths**0.25) == outcome_of(widths**-0.25) == "differs"


def test_a_large_correction_is_no_difference():
    """Mean field after few steps: logits are mostly the initial function, which falls as d^-1/2, up to thousands of neurons."""
    data = dmft.datasets.binary_digits((3, 8), samples=16)
    problem = dmft.ShallowNet.mean_field(), data, dmft.GradientDescent(1.0, 4)
    result = dmft.width_exponents(*problem, widths=(64, 128, 256, 512), quantities=["logits", "change of logits"], progress=False)
    logits = result["logits"]
    assert logits.predicted == 0.0 and logits.plain < -0.3 and logits.typical.differs
    assert logits.outcome == result.outcome == "cannot tell" and result["change of logits"].outcome != "differs"


def test_the_table_names_what_is_compared():
    text = str(fit(dmft.ShallowNet.ntk(), (64, 128), seeds=2, quantities=["logits", "tangent kernel"], step=1))
    for part in ("class N2\n  d = 64, 128; 2 seeds; step 1", "derived", "fitted", "large k", "seen from", "last two", "tangent kernel"):
        assert part in text
    assert "initial logits" not in text and max(map(len, text.splitlines())) <= 80


def test_seeds_of_different_widths_are_independent_and_reproducible():
    first, again, other = (fit(dmft.ShallowNet.ntk(), (64, 128), seeds=2, rng=r, quantities=["logits"]) for r in (3, 3, 4))
    assert first["logits"].fitted == again["logits"].fitted != other["logits"].fitted


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"widths": None}, ValueError, "either widths or ensembles must be given"),
        ({"widths": [128]}, ValueError, "widths must be two or more different widths"),
        ({"widths": [128, 128]}, ValueError, "widths must be two or more different widths"),
        ({"widths": 128}, TypeError, "widths must be a sequence of integers; got 128"),
        ({"widths": [128, 0]}, ValueError, r"widths\[1\] must be an integer >= 1"),
        ({"seeds": 1}, ValueError, "seeds must be an integer >= 2"),
        ({"step": 4}, ValueError, "step must be at most training.steps = 3; got 4"),
        ({"step": 0}, ValueError, "step must be an integer >= 1"),
        ({"quantities": ["kernel"]}, ValueError, r"quantities\[0\] must be one of 'initial logits'"),
        ({"quantities": "logits"}, TypeError, "quantities must be a non-empty sequence"),
        ({"level": 0.5}, ValueError, "level must be a number between 0 and 0.5; got 0.5"),
        ({"loss": "hinged"}, ValueError, "loss must be one of"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, error, match):
    with pytest.raises(error, match=match):
        dmft.width_exponents(dmft.ShallowNet.ntk(), DATA, RUN, **({"widths": (64, 128), "progress": False} | options))


def test_bad_problems_and_ensembles_are_refused():
    net = dmft.ShallowNet.ntk()
    with pytest.raises(TypeError, match="network must be"):
        dmft.width_exponents(dmft.DeepLinear(2), DATA, RUN, widths=[64, 128])
    with pytest.raises(ValueError, match="q_sigma and q_eta must be exponents of stable training, which needs"):
        fit(dmft.ShallowNet("-1/2", "1"))
    ensembles = [synthetic(net, w, 0.0) for w in (64, 128)]
    with pytest.raises(ValueError, match=r"ensembles\[0\] is of another problem"):
        dmft.width_exponents(dmft.ShallowNet.mean_field(), DATA, RUN, ensembles=ensembles)
    with pytest.raises(ValueError, match=r"track='kernels'.*ensembles\[1\] has none"):
        dmft.width_exponents(net, DATA, RUN, ensembles=[ensembles[0], replace(ensembles[1], tangent_grams=None)])
    with pytest.raises(TypeError, match=r"ensembles\[0\] must be a"):
        dmft.width_exponents(net, DATA, RUN, ensembles=[net, net])
    diverged = replace(ensembles[1], function=np.full((8, 4, 8), np.inf))
    with pytest.raises(ValueError, match="logits must be finite and not zero.* width 128"):
        dmft.width_exponents(net, DATA, RUN, ensembles=[ensembles[0], diverged])
