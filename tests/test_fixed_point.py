"""The fixed-point method against the row march, which shares no formula with it, and its own convergence."""

import warnings

import numpy as np
import pytest

from solvers import fixed_point, reference
from solvers.linear_problem import LinearProblem
from solvers.memory_kernel import memory_kernel


def problem(
    rows=30, widths=(1.0, 1.0), rate=0.05, richness=1.0, samples=2.0, noise=0.09, overlap=((1.0,),), noise_overlap=None,
    eigenvalues=(1.0,), fractions=(1.0,), power=None, online=False, fraction_per_batch=1.0, coupling=None, initial_variance=None,
    branch=None, **optimizer,
):  # fmt: skip
    widths, overlap = np.array(widths), np.array(overlap)
    decay, memory = memory_kernel(np.full(rows - 1, rate), **optimizer)
    power = np.ones(len(eigenvalues)) if power is None else np.asarray(power)
    return LinearProblem(
        decay=decay,
        memory=memory,
        coupling=richness**2 if coupling is None else coupling,
        initial_variance=1.0 / (richness**2 * widths[-1]) if initial_variance is None else initial_variance,
        width_steps=widths[1:] / widths[:-1],
        first_over_last=widths[0] / widths[-1],
        eigenvalues=np.asarray(eigenvalues, float),
        fractions=np.asarray(fractions, float),
        target=power[:, None, None] * overlap,
        noise=noise * (np.eye(len(overlap)) if noise_overlap is None else np.array(noise_overlap)),
        sample_ratio=samples,
        online=online,
        batch_excess=1.0 / fraction_per_batch - 1.0,
        divergence_factor=1e3,
        branch=branch,
    )


TWO_LEVELS = dict(eigenvalues=(2.0, 0.5), fractions=(1 / 3, 2 / 3), power=(0.5, 1.25))
POWER_LAW = dict(eigenvalues=np.arange(1, 9) ** -1.5, fractions=np.ones(8), power=np.arange(1, 9) ** -0.25, richness=0.3)
OVERLAP = dict(overlap=((1.0, 0.6), (0.6, 1.5)), noise_overlap=((1.0, -0.3), (-0.3, 2.0)))

CASES = {
    "L=1": dict(widths=(1.0,)),
    "L=2": dict(),
    "L=3": dict(widths=(1.0,) * 3, rate=0.03),
    "L=5": dict(widths=(1.0,) * 5, rate=0.02),
    "narrow, few samples": dict(widths=(0.5, 0.5), samples=0.8),
    "wide, ntk": dict(widths=(2.0, 2.0), richness=2.0**-0.5),
    "unequal": dict(widths=(0.5, 2.0, 1.0), rate=0.03),
    "unequal, ntk": dict(widths=(2.0, 0.5), richness=0.5**-0.5),
    "population": dict(samples=np.inf),
    "noise free": dict(noise=0.0),
    "rich": dict(richness=3.0, rate=0.02),
    "two levels": TWO_LEVELS,
    "power law": POWER_LAW,
    "lazy": dict(coupling=0.0),
    "infinite width": dict(initial_variance=0.0),
    "lazy and infinite width": dict(coupling=0.0, initial_variance=0.0, widths=(1.0,)),
    "online": dict(online=True),
    "online, two outputs": dict(online=True, **OVERLAP),
    "mini-batch": dict(fraction_per_batch=0.25),
    "mini-batch, two outputs": dict(fraction_per_batch=0.25, samples=0.8, rate=0.02, **OVERLAP),
    "momentum": dict(momentum=0.9, rate=0.01),
    "nesterov": dict(momentum=0.9, nesterov=True, rate=0.01),
    "weight decay": dict(weight_decay=0.2),
    "decoupled decay, momentum, online": dict(weight_decay=0.2, decoupled=True, momentum=0.5, rate=0.03, online=True),
    "two outputs": OVERLAP,
    "residual": dict(widths=(1.0,) * 4, branch=0.6, rate=0.03),
    "residual, all together": dict(widths=(1.0,) * 3, branch=0.9, rate=0.01, momentum=0.5, weight_decay=0.1, **TWO_LEVELS, **OVERLAP),
    "all together": dict(widths=(2.0, 1.0, 0.5), rate=0.01, momentum=0.5, weight_decay=0.1, samples=0.8, **TWO_LEVELS, **OVERLAP),
}


def assert_equal(found, expected, tolerance=1e-8):
    scale = expected.test_loss[0]
    np.testing.assert_allclose(found.test_loss, expected.test_loss, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(found.train_loss, expected.train_loss, rtol=0, atol=tolerance * scale)
    for name in expected._fields[:-2]:
        left, right = np.tril(getattr(found, name)), np.tril(getattr(expected, name))
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * np.max(np.abs(right)), err_msg=name)


@pytest.fixture(scope="module")
def marched():
    return {name: reference.march(problem(**case)) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("window", ["auto", 1, 7, 30])
def test_equals_the_march(name, window, marched):
    found, history, finished = fixed_point.solve(problem(**CASES[name]), window=window)
    assert finished == 30
    assert len(history) == {"auto": 2, 1: 30, 7: 5, 30: 1}[window]
    assert_equal(found, marched[name])


@pytest.mark.parametrize("options", [dict(damping=0.6), dict(anderson=3), dict(damping=0.6, anderson=3)])
@pytest.mark.parametrize("name", ["L=3", "mini-batch, two outputs", "all together"])
def test_mixing_does_not_change_the_solution(name, options, marched):
    found, _, _ = fixed_point.solve(problem(**CASES[name]), window=15, **options)
    assert_equal(found, marched[name])


@pytest.mark.parametrize("layers, rate", [(1, 0.3), (2, 0.15), (3, 0.12)])
def test_windows_succeed_where_a_single_window_overflows(layers, rate):
    """The cases of docs/theory/deep_linear.md, section 8: the training is stable, the single window is not."""
    hard = problem(rows=200, widths=(1.0,) * layers, rate=rate)
    with pytest.raises(fixed_point.NoConvergence, match="200 rows from row 0 ended in an overflow.*shorter window") as failure:
        fixed_point.solve(hard, window=200)
    assert not np.isfinite(failure.value.history[-1].residuals[-1])
    found, _, finished = fixed_point.solve(hard)
    assert finished == 200
    assert_equal(found, reference.march(hard))


@pytest.mark.parametrize("layers, rate", [(1, 0.15), (2, 0.08), (3, 0.05)])
def test_single_window_converges_below_half_the_stable_rate(layers, rate):
    """Not monotonically, but every four sweeps bring it closer."""
    easy = problem(rows=200, widths=(1.0,) * layers, rate=rate)
    found, [(start, rows, residuals)], _ = fixed_point.solve(easy, window=200)
    assert (start, rows) == (0, 200)
    assert 10 < len(residuals) <= 32
    assert np.all(residuals[4:] < residuals[:-4] / 5)
    assert_equal(found, reference.march(easy))


@pytest.mark.parametrize("layers, richness, rate", [(1, 0.3, 0.5), (1, 1.0, 0.5), (3, 3.0, 0.08), (5, 1.0, 0.13)])
def test_auto_halves_the_window_that_fails(layers, richness, rate):
    """Close to the largest stable rate even windows of 16 rows overflow; nothing of a failed attempt is left behind."""
    edge = problem(rows=60, widths=(1.0,) * layers, rate=rate, richness=richness)
    found, history, finished = fixed_point.solve(edge)
    failed = [not attempt.residuals[-1] <= 1e-10 for attempt in history]
    assert any(failed)
    for attempt, fails, retry in zip(history, failed, history[1:]):
        if fails:
            assert (retry.start, retry.rows) == (attempt.start, attempt.rows // 2)
    assert finished == 60
    assert_equal(found, reference.march(edge))


def test_a_window_is_exact_after_as_many_sweeps_as_rows():
    """Strict causality: one more row is exact with every sweep, however strong the coupling."""
    strong = problem(rows=12, widths=(1.0,) * 3, rate=0.15)
    for rows in (1, 3, 6, 12):
        _, history, _ = fixed_point.solve(strong, window=rows, tolerance=1e-15)
        assert all(len(attempt.residuals) <= rows + 1 for attempt in history)
    assert all(np.array_equal(attempt.residuals[1:], [0.0]) for attempt in fixed_point.solve(strong, window=1)[1])


def test_late_windows_do_not_chase_rounding_errors():
    """The residual is relative to the largest entry of all times: what has decayed need not be known to ten digits of itself."""
    _, history, _ = fixed_point.solve(problem(rows=112, rate=0.1, samples=np.inf, noise=0.0))
    assert len(history[-1].residuals) <= 13 < len(history[0].residuals)


def test_damping_and_anderson():
    """Half steps bring a window through where full steps overflow; Anderson saves sweeps where they do not."""
    hard = problem(rows=100, widths=(1.0,), rate=0.35)
    with pytest.raises(fixed_point.NoConvergence, match="overflow"):
        fixed_point.solve(hard, window=100)
    found, [(_, _, residuals)], _ = fixed_point.solve(hard, window=100, damping=0.5)
    assert_equal(found, reference.march(hard))

    easy = problem(rows=100, widths=(1.0,) * 3, rate=0.05)
    plain, mixed = (fixed_point.solve(easy, window=100, anderson=m)[1][0].residuals for m in (0, 4))
    assert len(mixed) < len(plain)


def test_no_convergence_within_the_sweeps_allowed():
    with pytest.raises(fixed_point.NoConvergence, match="30 rows from row 0 ended in a residual of .* after 5 sweeps") as failure:
        fixed_point.solve(problem(), window=30, max_sweeps=5)
    assert failure.value.history[-1].residuals.shape == (5,)


@pytest.mark.parametrize("name", ["L=2", "online", "power law"])
def test_tolerance_buys_sweeps(name, marched):
    coarse, fine = (fixed_point.solve(problem(**CASES[name]), window=30, tolerance=tolerance) for tolerance in (1e-4, 1e-10))
    assert len(coarse[1][0].residuals) < len(fine[1][0].residuals)
    error = [np.max(np.abs(found[0].test_loss - marched[name].test_loss)) for found in (coarse, fine)]
    assert error[1] < 1e-9 < error[0] < 1e-2


@pytest.mark.parametrize("window", ["auto", 1])
@pytest.mark.parametrize("case", [dict(rate=0.5), dict(rate=1.0, widths=(1.0,) * 3), dict(rate=1e30), dict(rate=0.6, online=True)])
def test_divergent_training_ends_with_the_rows_finished(case, window):
    wild = problem(rows=40, **case)
    reported = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _, finished = fixed_point.solve(wild, window=window, callback=reported.append)
    with np.errstate(all="ignore"):
        expected = reference.march(wild).test_loss
    stable = expected <= 1e3 * expected[0]
    assert 0 < finished == np.argmin(stable) < 40
    np.testing.assert_allclose(found.test_loss[:finished], expected[:finished], rtol=1e-12)
    assert np.all(np.isinf(found.test_loss[finished:])) and np.all(np.isinf(found.train_loss[finished:]))
    assert reported == sorted(reported) and reported[-1] == finished


def test_callback_counts_finished_rows():
    reported = []
    fixed_point.solve(problem(), window=8, callback=reported.append)
    assert reported == [8, 16, 24, 30]
