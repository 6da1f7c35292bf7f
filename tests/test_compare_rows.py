"""Rows of verdicts: their chances, what they detect, the correction for several tests, and how outcomes follow from them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from dmft.comparisons.judgement import Judgement
from dmft.comparisons.rows import Row, decisive_times, fit_weights, judged, loss_scale, row


def rows_of(p):
    """Rows of given chances, with an error of infinitely many degrees of freedom."""
    return [Row(f"row {i}", stats.norm.isf(value / 2), 1.0, 1e9) for i, value in enumerate(p)]


def test_a_row_is_students_test():
    values = np.random.default_rng(3).standard_normal(6) + 1
    found, expected = row("", [values], fluctuation=[0.0]), stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue) and found.z == pytest.approx(expected.statistic) and found.degrees == pytest.approx(5)


def test_two_sizes_are_welchs_test():
    random = np.random.default_rng(3)
    first, second = random.standard_normal(6) + 1, 3 * random.standard_normal(11)
    found, expected = row("", [first, second], (1.0, -1.0), fluctuation=[0.0, 0.0]), stats.ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue) and found.degrees == pytest.approx(expected.df)


def test_a_common_error_counts_with_its_own_degrees_of_freedom():
    found = row("", [np.array([0.9, 1.1, 1.3, 0.7])], fluctuation=[0.0], theory_error=0.2, theory_degrees=7)
    spread = np.var([0.9, 1.1, 1.3, 0.7], ddof=1) / 4
    assert found.standard_error == pytest.approx(np.sqrt(spread + 0.04))
    assert found.degrees == pytest.approx((spread + 0.04) ** 2 / (spread**2 / 3 + 0.04**2 / 7))


@pytest.mark.parametrize(("deviation", "z"), [(0.05, 0), (0.07, 2)])
def test_a_bias_within_its_bound_is_no_evidence(deviation, z):
    assert Row("", deviation, 0.01, 1e9, bias=0.05).p == pytest.approx(stats.norm.sf(z) + stats.norm.sf(z + 10), rel=1e-6)
    assert Row("", 0.0, 0.01, 1e9, bias=0.05).p == 1.0


def test_the_bias_is_bounded_by_the_spread_of_single_networks():
    values = 0.2 * np.random.default_rng(0).standard_normal(50)
    variance = values.var(ddof=1)
    assert row("", [values]).bias == pytest.approx(variance) and row("", [values], rate=0.5).bias == pytest.approx(np.sqrt(variance))
    weights = fit_weights([400, 100], [50, 50], 1.0)[0]
    assert row("", [values, values], weights).bias == pytest.approx(np.abs(weights).sum() * variance**2)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_weights_are_those_of_a_weighted_fit(rate):
    sizes, seeds, means = np.array([512.0, 256.0, 64.0]), np.array([8, 20, 64]), np.array([1.0, 1.2, 2.0])
    slope, limit = np.polyfit(sizes**-rate, means, 1, w=np.sqrt(seeds * sizes))
    np.testing.assert_allclose(fit_weights(sizes, seeds, rate) @ means, [limit, slope * 512.0**-rate])


@pytest.mark.parametrize("seeds", [4, 16])
def test_what_is_detectable_is_found_nine_times_in_ten(seeds):
    """Of samples with the true deviation that the row states for the true spread."""
    random = np.random.default_rng(seeds)
    stated = judged([Row("", 0.0, 0.1 / np.sqrt(seeds), seeds - 1, bias=0.01)], 0.01)[0]
    found = []
    for _ in range(500):
        values = stated.detectable + 0.1 * random.standard_normal(seeds)
        found.append(replace(row("", [values]), bias=0.01).p < 0.01)
    low, high = stats.binom.interval(0.999, 500, 0.9)
    assert low <= np.sum(found) <= high


@pytest.mark.parametrize("bias", [0.0, 0.03, 1.0, 1e6])
def test_the_critical_z_has_the_chance_of_the_level(bias):
    stated = judged([Row("", 0.0, 0.1, 5, bias=bias)], 0.01)[0]
    assert replace(stated, deviation=stated.critical * stated.standard_error).p == pytest.approx(0.01, rel=1e-6)
    assert bias > 0 or stated.critical == pytest.approx(stats.t.isf(0.005, 5))


def test_seeds_needed_are_the_least_that_suffice():
    few = judged([Row("", 0.0, 0.1, 3, bias=0.02)], 0.01)[0]
    seeds = few.seeds_needed(4, 0.1, 0.01)
    assert few.repeated(seeds / 4).foreseen(0.01) <= 0.1 < few.repeated((seeds - 1) / 4).foreseen(0.01)
    assert few.seeds_needed(4, few.foreseen(0.01), 0.01) == 4 and few.seeds_needed(4, 0.02, 0.01) is None
    assert replace(few, theory_error=0.1).seeds_needed(4, 0.1, 0.01) is None


@pytest.mark.parametrize("seeds", [4, 16])
def test_a_theory_that_is_wrong_by_the_bound_is_ruled_in_at_the_stated_chance(seeds):
    """Of networks that deviate by ten per cent one ensemble in twenty rules ten per cent out."""
    random, spread = np.random.default_rng(seeds), 0.015 * np.sqrt(seeds)
    ensembles = [row("", [0.1 + spread * random.standard_normal(seeds)], fluctuation=[0.0]) for _ in range(1000)]
    passed = sum(each.at_most(0.05) < 0.1 for each in ensembles)
    assert stats.binom.ppf(1e-3, 1000, 0.05) <= passed <= stats.binom.isf(1e-3, 1000, 0.05)


def test_a_right_theory_passes_as_often_as_foreseen():
    random, spread = np.random.default_rng(3), 0.1
    foreseen = Row("", 0.0, spread / 8, 63).foreseen(0.01)
    ensembles = [row("", [spread * random.standard_normal(64)], fluctuation=[0.0]) for _ in range(1000)]
    passed = sum(each.at_most(0.01) < foreseen for each in ensembles)
    assert stats.binom.ppf(1e-3, 1000, 0.87) <= passed <= stats.binom.isf(1e-3, 1000, 0.93)


def test_holm_corrects_for_the_number_of_rows():
    differs = [r.differs for r in judged(rows_of([0.002, 0.2, 0.004, 0.0001, 0.006]), 0.01)]
    assert differs == [True, False, False, True, False]
    assert [r.differs for r in judged(rows_of([0.0026, 0.0026, 0.0026, 0.0026]), 0.01)] == 4 * [False]
    assert [r.differs for r in judged(rows_of([0.0024, 0.0033, 0.0049, 0.0099]), 0.01)] == 4 * [True]


def test_main_rows_share_nine_tenths_of_the_level():
    rows = rows_of([0.1, 0.1, 0.1, 0.1])
    given = judged([*rows[:3], replace(rows[3], main=False)], 0.01)
    assert [r.level for r in given] == pytest.approx([0.003, 0.003, 0.003, 0.001])
    assert [r.level for r in judged(rows, 0.01)] == pytest.approx(4 * [0.0025])
    few = judged([*rows_of([0.0029, 0.5]), replace(rows_of([0.0011])[0], main=False)], 0.01)
    assert [r.differs for r in few] == [True, False, True]  # the second after the first has left it its level


def test_the_level_is_that_of_all_rows_together():
    random = np.random.default_rng(1)
    rejected = 0
    for _ in range(800):
        common = random.standard_normal(5)
        rows = [row("", [0.5 * common + random.standard_normal(5)], fluctuation=[0.0]) for _ in range(6)]
        rejected += any(r.differs for r in judged(rows, 0.05))
    assert 0.02 < rejected / 800 < 0.05 + 3 * math.sqrt(0.05 / 800)


@pytest.mark.parametrize(("last", "times"), [(15, [5, 10, 15]), (80, [27, 54, 80]), (2, [1, 2]), (1, [1]), (0, [0])])
def test_decisive_times(last, times):
    assert decisive_times(last) == times


def test_scale_of_losses():
    assert loss_scale(0.2, 1.0) == 0.2 and loss_scale(1e-9, 1.0) == 0.05 and loss_scale(0.0, 0.0) == 1.0


@dataclass(frozen=True, repr=False)
class Few(Judgement):
    """A verdict of given rows."""

    table: tuple
    level: float = 0.01
    seeds: int = 8

    @property
    def ensembles(self):
        return (self,)


def few(*rows):
    return Few(judged(rows, 0.01))


def test_outcomes_and_headlines():
    precise, vague = Row("precise", 0.01, 0.01, 7, decides=True), Row("vague", 0.1, 0.1, 7, decides=True)
    assert few(precise).outcome == "agrees"
    assert few(precise).headline() == "Theory and networks agree: largest |z| = 1.00 (precise), p = 0.4"
    blind = few(precise, vague)
    assert blind.outcome == "cannot tell" and not blind.agrees
    assert f"vague up to {100 * blind.row('vague').at_most(0.01):.0f}%; {blind.seeds_needed} seeds would do" in blind.headline()
    near = few(replace(precise, deviation=0.08, spread_error=0.03))
    assert near.outcome == "cannot tell" and near.seeds_needed == 16 and not near.row("precise").differs
    assert few(precise, replace(vague, decides=False)).agrees
    wrong = few(replace(precise, deviation=0.3), vague)
    assert wrong.outcome == "differs" and wrong.headline() == "Theory and networks differ: precise by +30%, z = +30.00, p = 1e-08"
    assert wrong.max_abs_z == 30
    assert "30% ± 1.0%  +30.00  1e-08 x" in "\n".join(wrong.table_lines())
    assert "take larger networks" in few(replace(precise, bias=0.2)).headline()
    assert "take more samples" in few(replace(precise, theory_error=0.1)).headline()
    nothing = few(replace(precise, decides=False))
    assert nothing.outcome == "cannot tell" and "nothing to compare" in nothing.headline() and nothing.seeds_needed is None
