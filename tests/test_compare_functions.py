"""Networks on a data set against their theory: calibrated tests, wrong theories refused, finite-width bias removed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import dmft
from dmft.comparisons.functions import bias_rate
from dmft.comparisons.mean_test import combined_z, mean_test

rng = np.random.default_rng(0)
INPUTS = rng.standard_normal((14, 5))
INPUTS /= np.linalg.norm(INPUTS, axis=1, keepdims=True)
LABELS = np.where(INPUTS @ rng.standard_normal(5) > 0, 1.0, -1.0)
DATA = dmft.Dataset(INPUTS[:10], LABELS[:10], INPUTS[10:], LABELS[10:])
RUN = dmft.GradientDescent(4.0, 6)
WIDTH, SEEDS = 1024, 8
NETS = {
    "N2": dmft.ShallowNet.ntk(),
    "A2": dmft.ShallowNet("-3/4", "1/2"),
    "M2": dmft.ShallowNet.mean_field(),
    "IC": dmft.ShallowNet.initialization_corrected(),
}


def networks(net, width=WIDTH, seeds=SEEDS, rng=1, **options):
    return dmft.simulate(net, DATA, RUN, width=width, seeds=seeds, rng=rng, progress=False, **options)


def theory(net, width=WIDTH, training=RUN, **options):
    return dmft.solve(net, DATA, training, width=width, samples=2**14, progress=False, **options)


def compare(trajectory, ensembles, **options):
    return dmft.compare(trajectory, ensembles, progress=False, **options)


SIMULATED = {name: networks(net) for name, net in NETS.items()}


@pytest.fixture(scope="module")
def verdicts():
    return {name: compare(theory(net), SIMULATED[name]) for name, net in NETS.items()}


@pytest.mark.parametrize("name", NETS)
def test_networks_agree_with_the_equations_at_their_width(name, verdicts):
    verdict = verdicts[name]
    assert isinstance(verdict, dmft.FunctionVerdict) and verdict.agrees and verdict.max_abs_z < 3
    assert list(verdict.tests) == ["function", "initial function", "train loss", "test loss"] and verdict.solves == SEEDS
    assert verdict.zscores.shape == verdict.relative_error.shape == (7,) and verdict.compared.all()
    assert np.all(verdict.relative_error[1:] > 0.002) and np.all(verdict.relative_error[1:] < 0.3)


def test_residuals_are_those_of_each_network_and_its_own_theory(verdicts):
    ensemble, net = SIMULATED["N2"], NETS["N2"]
    own = np.array([theory(net, initial_function=f).function for f in ensemble.initial_function])
    residual = ensemble.function - own
    expected = np.sqrt((residual**2).mean(axis=(0, 2)) / (own**2).mean(axis=(0, 2)))
    np.testing.assert_allclose(verdicts["N2"].relative_error, expected, rtol=1e-10, atol=1e-15)
    assert verdicts["N2"].zscores[3] == pytest.approx(mean_test([residual[:, 3]]).z, abs=1e-4)


def test_the_text_says_how_the_verdict_was_reached(verdicts):
    text = str(verdicts["A2"])
    for part in ("agree: |z| =", "8 seeds, width 1024, P = 10", "equations at the width", "solved for each network (8)"):
        assert part in text
    assert "any of 4 tests: 6e-05" in text and "width^-0.5, not" in text


@pytest.mark.parametrize(("name", "rate", "samples"), [("N2", 4.12, 2**10), ("A2", 4.16, 2**10), ("IC", 4.24, 2**15)])
def test_a_theory_wrong_by_some_per_cent_is_refused(name, rate, samples):
    """The networks train at a rate 3 to 6% above the one they state."""
    ensemble = dmft.simulate(NETS[name], DATA, dmft.GradientDescent(rate, 6), width=8192, seeds=16, progress=False)
    stated = dmft.solve(NETS[name], DATA, RUN, width=8192, samples=samples, progress=False)
    verdict = compare(stated, replace(ensemble, training=RUN))
    assert not verdict.agrees and "DISAGREE" in str(verdict)
    right = compare(replace(stated, training=ensemble.training), ensemble)
    assert right.agrees and right.max_abs_z < 3


def test_an_error_that_is_odd_in_the_initial_function_is_found():
    """Its mean over seeds vanishes; only the part along each network's own initial function shows it."""
    ensemble = networks(NETS["N2"], seeds=16)
    kept = ensemble.function.copy()
    kept[:, 1:] += 0.2 * ensemble.initial_function[:, None, :]
    verdict = compare(theory(NETS["N2"]), replace(ensemble, function=kept))
    assert not verdict.agrees and verdict.tests["initial function"].z > 4 > verdict.tests["function"].z


def test_an_error_of_the_loss_alone_is_found():
    wrong = replace(SIMULATED["N2"], test_loss=1.5 * SIMULATED["N2"].test_loss)
    verdict = compare(theory(NETS["N2"]), wrong)
    assert not verdict.agrees and verdict.tests["test loss"].z > 4 > verdict.tests["function"].z


def test_the_limit_itself_is_compared_when_no_width_is_stated():
    """The logits of M1 vanish at infinite width, and its loss derivative is constant there: far from true at width 256."""
    net = dmft.ShallowNet("-5/4", "5/4")
    limit = dmft.solve(net, DATA, RUN, samples=2**14, progress=False)
    verdict = compare(limit, networks(net, 256, 16))
    assert not verdict.agrees and verdict.solves == 0 and list(verdict.tests) == ["function"]
    assert "the limit of infinite width itself, the same for all networks" in str(verdict)
    assert compare(theory(net, 256), networks(net, 256, 16)).agrees


def test_bias_of_finite_width_is_extrapolated_away():
    """Networks made from the theory: noise width^-1/2 and a bias 4 width^-1/2, the rate derived for A2."""
    net, random = NETS["A2"], np.random.default_rng(5)
    initial = np.repeat(SIMULATED["A2"].initial_function[:1], 12, axis=0)

    def ensemble(width):
        exact = theory(net, width, initial_function=initial[0])
        factor = 1 + width**-0.5 * (4 + random.standard_normal((12, 1, 1)))
        losses = {name: np.repeat(getattr(exact, name)[None], 12, axis=0) for name in ("train_loss", "test_loss")}
        return replace(SIMULATED["A2"], function=exact.function * factor, width=width, initial_function=initial, **losses)

    trajectory, ensembles = theory(net, 4096), [ensemble(4096), ensemble(1024)]
    alone, both = compare(trajectory, ensembles[:1]), compare(trajectory, ensembles)
    assert not alone.agrees and both.agrees and "width^-0.5; single networks deviate by" in str(both)
    assert both.width_errors[0] == pytest.approx(both.width_errors[1] / 2, rel=0.2)
    assert not compare(trajectory, [replace(e, function=1.15 * e.function) for e in ensembles]).agrees


@pytest.mark.parametrize(
    ("exponents", "width", "rate"),
    [
        (("-3/4", "1/2"), 512, 0.5),
        (("-1/2", "0"), 512, 1.0),
        (("-1", "1"), 512, 1.0),
        (("-3/4", "1/2"), None, 0.25),
        (("-5/4", "5/4"), None, 0.25),
    ],
)
def test_rate_of_the_bias(exponents, width, rate):
    assert bias_rate(dmft.ShallowNet(*exponents), "logistic", width) == pytest.approx(rate)


def test_divergence_of_one_side_is_disagreement():
    net, ensemble = NETS["N2"], SIMULATED["N2"]
    function = ensemble.function.copy()
    function[2, 4:] = np.inf
    verdict = compare(theory(net), replace(ensemble, function=function))
    assert verdict.max_abs_z == np.inf and not verdict.agrees and "networks diverge" in str(verdict)
    assert verdict.compared.sum() == 4 and np.all(np.isinf(verdict.zscores[4:]))


def chances(draw, repeats):
    return 2 * stats.norm.sf([draw() for _ in range(repeats)])


@pytest.mark.parametrize("seeds", [4, 16])
@pytest.mark.parametrize("spectrum", [[1.0], np.arange(1.0, 30) ** -1.5, [1.0, *[0.05] * 20]], ids=["one", "power", "dominant"])
def test_chances_of_the_mean_test_are_honest(seeds, spectrum):
    random = np.random.default_rng(seeds)
    p = chances(lambda: mean_test([random.standard_normal((seeds, len(spectrum))) * np.sqrt(spectrum)]).z, 1000)
    for level in (0.3, 0.05):
        assert np.mean(p < level) < level + 4 * np.sqrt(level / 1000)
    if seeds == 16:
        assert np.mean(p < 0.05) > 0.03


def test_a_single_entry_is_students_test():
    values = np.random.default_rng(3).standard_normal((6, 1)) + 1
    assert mean_test([values]).chance == pytest.approx(stats.ttest_1samp(values[:, 0], 0).pvalue, rel=1e-9)


def test_a_common_error_and_combined_groups_stay_honest():
    random = np.random.default_rng(1)

    def draw():
        scale = 0.5 * np.sqrt(random.chisquare(7) / 7)
        groups = [random.standard_normal((8, 5)) + error for error in [0.5 * random.standard_normal()] * 2]
        return mean_test(groups, (1.3, -0.3), scale, 7).z

    p = chances(draw, 800)
    assert np.mean(p < 0.05) < 0.05 + 4 * np.sqrt(0.05 / 800) and np.mean(p < 0.5) > 0.3
    assert mean_test([random.standard_normal((8, 5)) + 3]).z > 4


def test_the_largest_of_several_tests_pays_for_their_number():
    single = mean_test([np.random.default_rng(3).standard_normal((6, 1)) + 2])
    assert combined_z([single]) == pytest.approx(single.z)
    assert 2 * stats.norm.sf(combined_z([single] * 4)) == pytest.approx(1 - (1 - single.chance) ** 4)


def refused(error, match, *args, **options):
    with pytest.raises(error, match=match):
        compare(*args, **options)


def test_bad_arguments_are_refused_by_name():
    trajectory, ensemble = theory(NETS["N2"]), SIMULATED["N2"]
    refused(ValueError, "ensemble must be of the width at which the trajectory is solved, 512; got 1024", theory(NETS["N2"], 512), ensemble)
    refused(ValueError, "ensembles must be of different widths.*; got 1024, 1024", trajectory, [ensemble, ensemble])
    refused(ValueError, "same problem; their network differs", trajectory, SIMULATED["A2"])
    refused(ValueError, "same problem; their training differs", theory(NETS["N2"], training=dmft.GradientDescent(4.1, 6)), ensemble)
    refused(ValueError, "same loss; got 'hinge' and 'logistic'", theory(NETS["N2"], loss="hinge"), ensemble)
    refused(ValueError, "dims must be None for networks on a data set", trajectory, ensemble, dims=[512])
    refused(TypeError, "ensemble must be", trajectory, trajectory)
    refused(ValueError, "at least two seeds", trajectory, networks(NETS["N2"], seeds=1))
    refused(ValueError, "threshold must be", trajectory, ensemble, threshold=-1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [c.name for c in dmft.limits.shallow().classes])
def test_every_class_agrees_and_is_not_another_by_ten_per_cent(name):
    net = dmft.ShallowNet(*map(str, dmft.limits.shallow()[name].witness))
    ensemble, stated = networks(net, 4096, 12), theory(net, 4096)
    assert compare(stated, ensemble).agrees
    assert not compare(stated, replace(ensemble, function=1.1 * ensemble.function)).agrees
